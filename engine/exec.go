package engine

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/lib/id"
)

// Execs is the noun exec: further processes in running containers. They live in memory only, as in Docker: an exec
// of a daemon that is gone can't be asked for any more, though its process runs on.
type Execs struct {
	*ground
	mu   sync.Mutex // guards all below
	byID map[core.ExecID]*core.Exec
	done map[core.ExecID]chan struct{} // closed at the end of a started one
}

func newExecs(g *ground) *Execs {
	return &Execs{ground: g, byID: map[core.ExecID]*core.Exec{}, done: map[core.ExecID]chan struct{}{}}
}

// Create notes a process to be started.
func (es *Execs) Create(ctx context.Context, container string, spec core.ExecSpec) (core.ExecID, error) {
	b, err := es.table.find(container)
	if err != nil {
		return "", err
	}
	if err := b.settled(ctx); err != nil {
		return "", err
	}
	c := b.View()
	switch {
	case c.State.Status == core.StatusPaused:
		return "", core.Paused(container)
	case c.State.Status == core.StatusRestarting:
		return "", core.Conflict("Container %s is restarting, wait until the container is running", c.ID)
	case !c.State.Running():
		return "", core.NotRunning(c.ID)
	}
	if len(spec.Cmd) == 0 {
		return "", core.Invalid("No exec command specified")
	}
	if _, err := define.DetachKeys(spec.DetachKeys); err != nil {
		return "", err
	}
	exec := &core.Exec{ID: core.ExecID(id.New()), ContainerID: c.ID, Spec: spec}
	es.mu.Lock()
	es.byID[exec.ID] = exec
	es.done[exec.ID] = make(chan struct{})
	es.shrink()
	es.mu.Unlock()
	es.publish(c, exec, "exec_create", true)
	return exec.ID, nil
}

// keptExecs is how many execs that are over can still be asked for.
const keptExecs = 1000

// shrink forgets execs that are over when there are too many; the caller holds mu.
func (es *Execs) shrink() {
	if len(es.byID) < 2*keptExecs {
		return
	}
	excess := len(es.byID) - keptExecs
	for id, exec := range es.byID {
		if exec.Started && !exec.Running && excess > 0 {
			delete(es.byID, id)
			excess--
		}
	}
}

func (es *Execs) publish(c *core.Container, exec *core.Exec, action string, command bool) {
	if command {
		action += ": " + exec.Spec.Cmd[0] + " " + strings.Join(exec.Spec.Cmd[1:], " ")
	}
	attributes := map[string]string{"execID": string(exec.ID)}
	if action == "exec_die" {
		attributes["exitCode"] = strconv.Itoa(exec.ExitCode)
	}
	es.events.Container(c, action, attributes)
}

// find gives the exec and its container.
func (es *Execs) find(ref string) (*core.Exec, *box, error) {
	es.mu.Lock()
	exec := es.byID[core.ExecID(ref)]
	es.mu.Unlock()
	if exec == nil {
		return nil, nil, core.NoSuchExec(ref)
	}
	b := es.table.get(exec.ContainerID)
	if b == nil {
		return nil, nil, core.NoSuchContainer(string(exec.ContainerID))
	}
	return exec, b, nil
}

// Start runs the process: detached, or connected with the client.
func (es *Execs) Start(ctx context.Context, ref string, options core.ExecStartOptions, hijack core.Hijack) error {
	exec, b, err := es.find(ref)
	if err != nil {
		return err
	}
	c := b.View()
	switch {
	case c.State.Status == core.StatusPaused:
		return core.Paused(string(c.ID))
	case !c.State.Running():
		return core.NotRunning(c.ID)
	}
	run, err := es.claim(exec, options)
	if err != nil {
		return err
	}
	var streams *core.Streams
	if !options.Detach {
		connected, err := hijack(!run.Spec.Tty)
		if err != nil {
			es.update(exec, func(e *core.Exec) { e.Started = false })
			return err
		}
		connected.Stdin, connected.Stdout, connected.Stderr = run.Spec.AttachStdin, run.Spec.AttachStdout, run.Spec.AttachStderr
		if run.Spec.Tty {
			connected.DetachKeys, _ = define.DetachKeys(run.Spec.DetachKeys) // checked at creation
		}
		streams = &connected
	}
	return es.run(ctx, c, exec, run, streams)
}

// run starts a claimed exec.
func (es *Execs) run(ctx context.Context, c *core.Container, exec *core.Exec, run core.Exec, streams *core.Streams) error {
	es.publish(c, &run, "exec_start", true)
	run.Spec.Env = define.ExecEnvironment(c, run.Spec)
	started, err := es.ports.Runtime.Exec(ctx, c, &run, streams)
	if err != nil {
		code := define.StartExitCode(err)
		if code != define.ExitNotFound {
			code = define.ExitNotExecutable // Docker's for every other exec that can't start
		}
		es.finish(exec, code)
		return err
	}
	es.update(exec, func(e *core.Exec) { e.PID = started.PID })
	return nil
}

// claim marks an exec as started; it can be started once.
func (es *Execs) claim(exec *core.Exec, options core.ExecStartOptions) (core.Exec, error) {
	es.mu.Lock()
	defer es.mu.Unlock()
	if exec.Started {
		return core.Exec{}, core.Conflict("exec instance %s has already been started", exec.ID)
	}
	exec.Started, exec.Running = true, true
	if options.ConsoleSize != [2]uint{} {
		exec.Spec.ConsoleSize = options.ConsoleSize
	}
	return *exec, nil
}

func (es *Execs) update(exec *core.Exec, edit func(*core.Exec)) {
	es.mu.Lock()
	defer es.mu.Unlock()
	edit(exec)
}

// finish notes the end of an exec; the first note counts.
func (es *Execs) finish(exec *core.Exec, code int) bool {
	es.mu.Lock()
	defer es.mu.Unlock()
	done := es.done[exec.ID]
	if done == nil || !exec.Running {
		return false
	}
	exec.Running, exec.ExitCode = false, code
	close(done)
	delete(es.done, exec.ID)
	return true
}

// exited is told by the runtime.
func (es *Execs) exited(exit core.Exit) {
	exec, b, err := es.find(string(exit.Exec))
	if err != nil {
		return // of a daemon that is gone, or of a container that is
	}
	if es.finish(exec, exit.Status.Code) {
		es.publish(b.View(), exec, "exec_die", false)
	}
}

// Inspect shows an exec.
func (es *Execs) Inspect(_ context.Context, ref string) (core.Exec, error) {
	exec, _, err := es.find(ref)
	if err != nil {
		return core.Exec{}, err
	}
	es.mu.Lock()
	defer es.mu.Unlock()
	return *exec, nil
}

// Resize sets the size of an exec's terminal.
func (es *Execs) Resize(ctx context.Context, ref string, height, width uint) error {
	exec, _, err := es.find(ref)
	if err != nil {
		return err
	}
	es.mu.Lock()
	running := exec.Running
	es.mu.Unlock()
	if !running {
		return core.Conflict("cannot resize a stopped container: exec %s is not running", ref)
	}
	return es.ports.Terminals.Resize(ctx, exec.ContainerID, exec.ID, height, width)
}

// of lists the execs of a container that run or will.
func (es *Execs) of(container core.ContainerID) []core.ExecID {
	es.mu.Lock()
	defer es.mu.Unlock()
	var ids []core.ExecID
	for id, exec := range es.byID {
		if exec.ContainerID == container && (exec.Running || !exec.Started) {
			ids = append(ids, id)
		}
	}
	return ids
}

// over marks the execs of a container that ended: those that ran were killed with it. They can be asked for until the
// container starts again or is removed.
func (es *Execs) over(container core.ContainerID) {
	es.mu.Lock()
	defer es.mu.Unlock()
	for id, exec := range es.byID {
		if done := es.done[id]; exec.ContainerID == container && done != nil && exec.Running {
			exec.Running, exec.ExitCode = false, 128+int(syscall.SIGKILL)
			close(done)
			delete(es.done, id)
		}
	}
}

// forget drops the execs of a container.
func (es *Execs) forget(container core.ContainerID) {
	es.mu.Lock()
	defer es.mu.Unlock()
	maps.DeleteFunc(es.byID, func(_ core.ExecID, exec *core.Exec) bool { return exec.ContainerID == container })
}
