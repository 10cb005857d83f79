package runtime

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/cgroup"
	"github.com/berth-engine/berth/linux/proc"
	"github.com/berth-engine/berth/shim/wire"
)

// ask sends a request to the shim of a running container.
func (r *Runtime) ask(ctx context.Context, id core.ContainerID, m *wire.Message) (*wire.Reply, error) {
	b := r.box(id, false)
	if b == nil {
		return nil, core.NotRunning(id)
	}
	l, err := b.running()
	if err != nil {
		return nil, err
	}
	m.Container = id
	reply, err := l.call(ctx, m)
	if errors.Is(err, errLost) {
		return nil, core.NotRunning(id)
	}
	if err == nil && reply.Error != "" {
		err = errorOf(reply)
	}
	return reply, err
}

// Exec runs a further process in a running container. The streams' connection is taken over; how the process ends
// arrives through OnExit. On an error the connection is the caller's, who tells the client why.
func (r *Runtime) Exec(ctx context.Context, c *core.Container, exec *core.Exec, streams *core.Streams) (core.Started, error) {
	b := r.box(c.ID, false)
	var l *link
	err := error(core.NotRunning(c.ID))
	if b != nil {
		l, err = b.running()
	}
	if err != nil {
		return core.Started{}, err
	}
	process, err := r.execProcess(c, exec)
	m := &wire.Message{Container: c.ID, Process: exec.ID, Exec: &wire.Exec{
		Process: process,
		Who:     wire.Who{User: exec.Spec.User, Groups: c.Host.GroupAdd},
		Streams: wire.Streams{
			Terminal: exec.Spec.Tty, Height: exec.Spec.ConsoleSize[0], Width: exec.Spec.ConsoleSize[1],
			OpenStdin: exec.Spec.AttachStdin, StdinOnce: true,
		},
	}}
	if m.Exec.Who.User == "" {
		m.Exec.Who.User = c.Config.User
	}
	if err != nil {
		return core.Started{}, err
	}
	if streams == nil {
		return b.exec(ctx, l, m, nil)
	}
	a, err := r.newAttachment(*streams)
	if err != nil {
		return core.Started{}, err
	}
	b.mu.Lock()
	b.attachments[a.wire.Number] = a
	b.mu.Unlock()
	return b.exec(ctx, l, m, a)
}

func (b *box) exec(ctx context.Context, l *link, m *wire.Message, a *attachment) (core.Started, error) {
	b.r.Ready()
	var reply *wire.Reply
	var err error
	if a == nil {
		reply, err = l.call(ctx, m)
	} else {
		m.Exec.Attach = &a.wire
		reply, err = l.call(ctx, m, a.file)
	}
	if err == nil && reply.Error != "" {
		err = errorOf(reply)
	}
	if a != nil {
		if err != nil {
			a.conn = nil // stays open for the caller
		}
		a.handed()
	}
	if errors.Is(err, errLost) || errors.Is(err, syscall.ESRCH) {
		err = core.NotRunning(b.id)
	}
	if err != nil {
		if a != nil {
			b.mu.Lock()
			delete(b.attachments, a.wire.Number)
			b.mu.Unlock()
			a.finish()
		}
		return core.Started{}, err
	}
	return core.Started{PID: reply.PID, At: reply.At}, nil
}

// execProcess is the further process as the spec says it: like the container's own but for what was asked.
func (r *Runtime) execProcess(c *core.Container, exec *core.Exec) (*specs.Process, error) {
	sec, err := core.ParseSecurity(c.Host.SecurityOpt)
	if err != nil {
		return nil, err
	}
	caps, err := capabilities(c.Host.CapAdd, c.Host.CapDrop, c.Host.Privileged || exec.Spec.Privileged, r.host.bounding)
	if err != nil {
		return nil, err
	}
	cwd := exec.Spec.WorkingDir
	if cwd == "" {
		cwd = c.Config.WorkingDir
	}
	if cwd == "" {
		cwd = "/"
	}
	return &specs.Process{
		Terminal: exec.Spec.Tty, Args: exec.Spec.Cmd, Env: exec.Spec.Env, Cwd: cwd,
		Capabilities: capabilitySets(caps), NoNewPrivileges: sec.NoNewPrivileges, ApparmorProfile: appArmorOf(c), SelinuxLabel: c.ProcessLabel,
		OOMScoreAdj: &c.Host.OomScoreAdj,
	}, nil
}

// Signal sends a signal to the container's first process. ESRCH: it is gone already.
func (r *Runtime) Signal(ctx context.Context, id core.ContainerID, signal syscall.Signal) error {
	_, err := r.ask(ctx, id, &wire.Message{Signal: &wire.Signal{Number: int(signal)}})
	return err
}

// KillExec ends a further process by SIGKILL; one that is gone is no error.
func (r *Runtime) KillExec(ctx context.Context, id core.ContainerID, exec core.ExecID) error {
	_, err := r.ask(ctx, id, &wire.Message{Process: exec, Signal: &wire.Signal{Number: int(syscall.SIGKILL)}})
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Pause stops all processes of a container.
func (r *Runtime) Pause(ctx context.Context, id core.ContainerID) error {
	_, err := r.ask(ctx, id, &wire.Message{Freeze: &wire.Freeze{Frozen: true}})
	return err
}

// Resume lets a paused container go on.
func (r *Runtime) Resume(ctx context.Context, id core.ContainerID) error {
	_, err := r.ask(ctx, id, &wire.Message{Freeze: &wire.Freeze{Frozen: false}})
	return err
}

// Update changes the limits of a running container.
func (r *Runtime) Update(ctx context.Context, id core.ContainerID, resources core.Resources) error {
	h := r.host
	h.lookAtBlocks(resources)
	limits, err := resourcesOf(resources, h)
	if err != nil {
		return err
	}
	_, err = r.ask(ctx, id, &wire.Message{Update: &wire.Update{Resources: limits}})
	return err
}

// Delete ends what is left of the container, by SIGKILL, and removes shim, cgroup and folder. Deleting what is not
// there is harmless.
func (r *Runtime) Delete(ctx context.Context, id core.ContainerID) error {
	b := r.box(id, false)
	if b == nil {
		return r.clear(id, nil)
	}
	if err := r.end(ctx, b); err != nil {
		return err
	}
	b.dropWaiting()
	r.forget(b)
	return nil
}

// endTime is how long a shim may take to end its container. SIGKILL needs moments; a process that the kernel holds
// (a disk that does not answer) can take longer than anybody wants to wait.
const endTime = 30 * time.Second

// end lets the shim delete the container, or does so itself when the shim can't.
func (r *Runtime) end(ctx context.Context, b *box) error {
	b.mu.Lock()
	l, paths := b.link, b.paths
	b.deleted = true
	b.mu.Unlock()
	if l == nil {
		return r.clear(b.id, paths)
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	reply, err := l.call(ctx, &wire.Message{Container: b.id, Delete: &wire.Delete{}})
	if err == nil && reply.Error == "" {
		<-l.gone
		return nil
	}
	if err == nil {
		err = errorOf(reply)
	}
	if !errors.Is(err, errLost) {
		r.options.Logger.Error("a shim could not delete its container, so we do", "container", b.id, "error", err)
		r.pool.distrust(l.shim)
		l.conn.Close()
	}
	<-l.gone
	return r.clear(b.id, paths)
}

// Stats reads the container's counters.
func (r *Runtime) Stats(ctx context.Context, id core.ContainerID) (core.Stats, error) {
	pid, paths, err := r.whereabouts(id)
	if err != nil {
		return core.Stats{}, err
	}
	s, err := cgroup.Stats(paths)
	if err != nil {
		return s, core.Internal("stats of container %s: %w", id, err)
	}
	if s.SystemCPU, s.OnlineCPUs, err = proc.CPU(); err != nil {
		return s, core.Internal("stats of the host: %w", err)
	}
	if memory := uint64(r.options.Memory); memory > 0 && (s.MemoryLimit == 0 || s.MemoryLimit > memory) {
		s.MemoryLimit = memory // without a limit it is the machine's memory that is left, as Docker shows
	}
	if s.Networks, err = proc.Networks(pid); err != nil {
		return s, core.NotRunning(id) // it ended this moment
	}
	return s, ctx.Err()
}

// PIDs lists the container's processes, in the host's namespace.
func (r *Runtime) PIDs(_ context.Context, id core.ContainerID) ([]int, error) {
	_, paths, err := r.whereabouts(id)
	if err != nil {
		return nil, err
	}
	return cgroup.PIDs(paths)
}

func (r *Runtime) whereabouts(id core.ContainerID) (pid int, paths map[string]string, err error) {
	b := r.box(id, false)
	if b == nil {
		return 0, nil, core.NotRunning(id)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pid == 0 || b.ended {
		return 0, nil, core.NotRunning(id)
	}
	return b.pid, b.paths, nil
}
