package engine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/engine/health"
)

// Lifecycle starts and ends containers: by command, by itself when a process ends, by policy.
type Lifecycle struct {
	*ground
	execs  *Execs
	health *health.Monitor
	// remove takes a container away that asked for it (--rm); the caller holds op.
	remove func(ctx context.Context, b *box, options core.RemoveOptions) error
}

// Start runs a container that does not run. One that runs is core.NotModified.
func (l *Lifecycle) Start(ctx context.Context, ref string) error {
	b, err := l.table.find(ref)
	if err != nil {
		return err
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	defer b.op.release()
	if err := startable(b); err != nil {
		return err
	}
	b.mu.Lock()
	b.retry.reset()
	b.mu.Unlock()
	return l.start(ctx, b)
}

// startable says why a container can't be started, if it can't.
func startable(b *box) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch c := b.c; {
	case b.gone || c.State.Status == core.StatusRemoving || c.State.Status == core.StatusDead:
		return core.Conflict("container is marked for removal and cannot be started")
	case c.State.Status == core.StatusPaused:
		return core.Conflict("cannot start a paused container, try unpause instead")
	case c.State.Status == core.StatusRunning:
		return core.NotModified("container %s is already running", c.ID)
	}
	return nil
}

// start climbs the ladder of a start; the caller holds op. A failure leaves the container as it was, with the
// reason in its state.
func (l *Lifecycle) start(ctx context.Context, b *box) error {
	// A client that goes away in the middle does not stop the start.
	ctx = context.WithoutCancel(ctx)
	l.execs.forget(b.id)
	run := &starting{l: l, b: b, launch: core.Launch{Container: b.View()}}
	ladder := ladder{name: "start", log: l.log.With("container", b.id)}
	defer run.close()
	if err := ladder.climb(ctx, run.steps()); err != nil {
		c := b.Change(func(c *core.Container) {
			if !c.State.StartedAt.IsZero() { // one that never ran stays created, as in Docker
				move(c, core.StatusExited)
			}
			c.State.Error = err.Error()
			c.State.ExitCode = define.StartExitCode(err)
			c.State.PID = 0
			c.Endpoints, c.Published = run.launch.Container.Endpoints, nil
		})
		l.save(ctx, c, false)
		l.notify(b, core.WaitResult{Code: c.State.ExitCode}, waitExit)
		if c.Host.AutoRemove {
			l.autoRemove(ctx, b)
		}
		return err
	}
	b.mu.Lock()
	b.retry.startedAt = time.Now()
	b.mu.Unlock()
	c := b.View()
	l.events.Volumes(c, "mount")
	l.events.Networks(c, "connect", l.network(ctx))
	l.events.Container(c, "start", nil)
	l.health.Watch(b, true)
	return nil
}

// starting is a start under way.
type starting struct {
	l      *Lifecycle
	b      *box
	launch core.Launch
	joined core.Joined
	// borrowed is the namespace of another container.
	borrowed *os.File
}

// close lets go of what only the start itself needed.
func (r *starting) close() {
	if r.joined.NS != nil {
		r.joined.NS.Close()
	}
	if r.borrowed != nil {
		r.borrowed.Close()
	}
}

func (r *starting) steps() []step {
	l, id := r.l, r.b.id
	return []step{
		{"labels", r.confine, nil},
		{"rootfs", r.rootfs, nil},
		{"volumes", r.volumes, func(ctx context.Context) error { return l.mounts.LetGo(ctx, r.b.View()) }},
		{"network", r.network, func(ctx context.Context) error { return l.ports.Sandboxes.Close(ctx, id) }},
		{"process", r.process, func(ctx context.Context) error { return l.ports.Runtime.Delete(ctx, id) }},
		{"record", r.record, nil},
	}
}

func (r *starting) rootfs(ctx context.Context) (err error) {
	if err := r.l.files.Idle(ctx, r.b.id); err != nil {
		return err
	}
	r.launch.Root, err = r.l.ports.Layers.Mounts(ctx, r.b.id)
	return err
}

func (r *starting) volumes(ctx context.Context) (err error) {
	r.launch.Mounts, err = r.l.mounts.Ready(ctx, r.launch.Container)
	return err
}

// network opens the sandbox, or borrows the namespace of the container that is named.
func (r *starting) network(ctx context.Context) (err error) {
	c := r.launch.Container
	if ref, ok := strings.CutPrefix(c.Host.NetworkMode, "container:"); ok {
		return r.borrowNetwork(ref)
	}
	if err := r.l.checkLinks(c); err != nil {
		return err
	}
	if r.joined, err = r.l.ports.Sandboxes.Open(ctx, define.Sandbox(c)); err != nil {
		return core.Internal("failed to set up container networking: %w", err)
	}
	r.launch.NetNS = r.joined.NS
	return r.showFiles(c.Dir)
}

// borrowNetwork joins another container's namespace and shows its hosts, hostname and resolv.conf.
func (r *starting) borrowNetwork(ref string) error {
	other, err := r.l.table.find(ref)
	if err != nil {
		return err
	}
	o := other.View()
	if !o.State.Running() {
		return core.Conflict("cannot join network of a non running container: %s", o.ID)
	}
	if err := r.showFiles(o.Dir); err != nil || o.Host.NetworkMode == core.NetworkHost {
		return err
	}
	ns, err := os.Open("/proc/" + strconv.Itoa(o.State.PID) + "/ns/net")
	if err != nil {
		return core.Conflict("cannot join network of a non running container: %s", o.ID)
	}
	r.borrowed, r.launch.NetNS = ns, ns
	return nil
}

// showFiles mounts the three files that the network organ wrote, where the user mounts nothing of his own.
func (r *starting) showFiles(dir string) error {
	for _, name := range []string{"resolv.conf", "hostname", "hosts"} {
		target := "/etc/" + name
		if slices.ContainsFunc(r.launch.Container.Mounts, func(m core.Mount) bool { return m.Destination == target }) {
			continue
		}
		source := filepath.Join(dir, name)
		// Containers that share a network share them.
		if err := r.l.ports.Labels.Relabel(source, r.launch.Container.MountLabel, true); err != nil {
			return err
		}
		r.launch.Mounts = append(r.launch.Mounts, core.FSMount{
			Type: "bind", Source: source, Target: target, Options: []string{"rbind", "rprivate"},
		})
	}
	return nil
}

func (r *starting) process(ctx context.Context) error {
	c := r.launch.Container
	var err error
	if r.launch.JoinPID, err = r.joinPID(c.Host.PidMode); err != nil {
		return err
	}
	if r.launch.JoinIPC, err = r.joinPID(c.Host.IpcMode); err != nil {
		return err
	}
	r.launch.Env = define.Environment(c)
	r.launch.LogPath = c.LogPath
	started, err := r.l.ports.Runtime.Start(ctx, r.launch)
	if err != nil {
		return err
	}
	profile := c.AppArmorProfile
	r.b.Change(func(c *core.Container) {
		move(c, core.StatusRunning)
		c.State.PID, c.State.StartedAt = started.PID, started.At
		c.State.ExitCode, c.State.Error, c.State.OOMKilled = 0, "", false
		c.State.FinishedAt = time.Time{}
		c.StoppedByUser = false
		c.AppArmorProfile = profile
		if r.joined.Endpoints != nil {
			c.Endpoints = define.JoinEndpoints(c.Endpoints, r.joined.Endpoints)
		}
		c.Published = r.joined.Ports
	})
	r.b.mu.Lock()
	r.b.ended = make(chan struct{})
	r.b.mu.Unlock()
	return nil
}

func (r *starting) joinPID(mode string) (int, error) {
	ref, ok := strings.CutPrefix(mode, "container:")
	if !ok {
		return 0, nil
	}
	other, err := r.l.table.find(ref)
	if err != nil {
		return 0, err
	}
	o := other.View()
	if !o.State.Running() {
		return 0, core.NotRunning(o.ID)
	}
	return o.State.PID, nil
}

func (r *starting) record(ctx context.Context) error {
	return r.l.ports.Records.Save(ctx, r.b.View(), false)
}
