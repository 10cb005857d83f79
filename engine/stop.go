package engine

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

// Stop asks the first process to end, waits, and kills it when it does not. A container that does not run is
// core.NotModified.
func (l *Lifecycle) Stop(ctx context.Context, ref string, options core.StopOptions) error {
	b, err := l.table.find(ref)
	if err != nil {
		return err
	}
	return l.stop(ctx, b, options)
}

func (l *Lifecycle) stop(ctx context.Context, b *box, options core.StopOptions) error {
	if err := b.settled(ctx); err != nil {
		return err
	}
	c := b.View()
	sig, err := stopSignal(c, options.Signal)
	if err != nil {
		return err
	}
	if c.State.Status == core.StatusRestarting {
		b.Change(func(c *core.Container) { c.StoppedByUser = true })
		l.cancelRestart(b)
		return nil
	}
	ended, err := b.end()
	if err != nil {
		return core.NotModified("container %s is already stopped", c.ID)
	}
	// From here on the restart policy keeps still.
	l.save(ctx, b.Change(func(c *core.Container) { c.StoppedByUser = true }), false)
	l.health.Stop(b.id)
	if err := l.end(ctx, b, sig, l.stopTimeout(c, options.Timeout), ended); err != nil {
		return err
	}
	l.events.Container(b.View(), "stop", nil)
	if c.Host.AutoRemove {
		// Whoever stops a container with --rm may want its name again at once: wait until it is gone.
		return b.settled(ctx)
	}
	return nil
}

// end sends the signal, waits for the given time (negative: for ever), then sends SIGKILL and waits for the end.
func (l *Lifecycle) end(ctx context.Context, b *box, sig syscall.Signal, timeout time.Duration, ended <-chan struct{}) error {
	id := b.id
	if err := l.signal(ctx, b, sig); err != nil {
		return err
	}
	if b.View().State.Status == core.StatusPaused && sig != syscall.SIGKILL {
		// The signal is delivered when the container thaws.
		if err := l.resume(ctx, b); err != nil {
			l.log.Warn("thaw a container that stops", "container", id, "error", err)
		}
	}
	if sig != syscall.SIGKILL {
		var deadline <-chan time.Time
		if timeout >= 0 {
			timer := time.NewTimer(timeout)
			defer timer.Stop()
			deadline = timer.C
		}
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
		}
		if err := l.signal(ctx, b, syscall.SIGKILL); err != nil {
			return err
		}
	}
	// The runtime thaws what it kills.
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// signal sends a signal and publishes the event; a process that is gone already is no error.
func (l *Lifecycle) signal(ctx context.Context, b *box, sig syscall.Signal) error {
	b.signalling.Lock()
	defer b.signalling.Unlock()
	err := l.ports.Runtime.Signal(ctx, b.id, sig)
	if err != nil && !errors.Is(err, syscall.ESRCH) && !errdefs.IsConflict(err) { // a conflict: it does not run any more
		return err
	}
	l.events.Container(b.View(), "kill", map[string]string{"signal": strconv.Itoa(int(sig))})
	return nil
}

// stopSignal is the one asked for, the container's, or SIGTERM.
func stopSignal(c *core.Container, asked string) (syscall.Signal, error) {
	if asked == "" {
		asked = c.Config.StopSignal
	}
	if asked == "" {
		return syscall.SIGTERM, nil
	}
	return define.Signal(asked)
}

func (l *Lifecycle) stopTimeout(c *core.Container, asked *int) time.Duration {
	switch {
	case asked != nil:
		return time.Duration(*asked) * time.Second
	case c.Config.StopTimeout != nil:
		return time.Duration(*c.Config.StopTimeout) * time.Second
	}
	return l.options.StopTimeout
}

// Kill sends a signal to a running container: by default SIGKILL.
func (l *Lifecycle) Kill(ctx context.Context, ref, name string) error {
	sig := syscall.SIGKILL
	if name != "" {
		var err error
		if sig, err = define.Signal(name); err != nil {
			return err
		}
	}
	b, err := l.table.find(ref)
	if err != nil {
		return err
	}
	if err := b.settled(ctx); err != nil {
		return err
	}
	c := b.View()
	ended, err := b.end()
	if err != nil {
		return err
	}
	if sig == syscall.SIGKILL || isStopSignal(c, sig) {
		l.save(ctx, b.Change(func(c *core.Container) { c.StoppedByUser = true }), false)
	}
	if sig == syscall.SIGKILL {
		return l.end(ctx, b, sig, 0, ended)
	}
	return l.signal(ctx, b, sig)
}

// isStopSignal reports whether the signal is the one that stops this container: then a kill is meant as a stop.
func isStopSignal(c *core.Container, sig syscall.Signal) bool {
	stop, err := stopSignal(c, "")
	return err == nil && stop == sig
}

// Restart stops a container that runs and starts it.
func (l *Lifecycle) Restart(ctx context.Context, ref string, options core.StopOptions) error {
	b, err := l.table.find(ref)
	if err != nil {
		return err
	}
	// A container with --rm must not vanish between its end and its start.
	keep := b.View().Host.AutoRemove
	if keep {
		b.Change(func(c *core.Container) { c.Host.AutoRemove = false })
	}
	restore := func() {
		if keep {
			b.Change(func(c *core.Container) { c.Host.AutoRemove = true })
		}
	}
	if err := l.stop(ctx, b, options); err != nil && !errdefs.IsNotModified(err) {
		restore()
		return err
	}
	if err := b.op.take(ctx); err != nil {
		restore()
		return err
	}
	defer b.op.release()
	restore()
	if err := startable(b); err != nil {
		return err
	}
	if err := l.start(ctx, b); err != nil {
		return err
	}
	l.events.Container(b.View(), "restart", nil)
	return nil
}

// Pause freezes every process of a container.
func (l *Lifecycle) Pause(ctx context.Context, ref string) error { return l.pause(ctx, ref, false) }

// Freeze is a pause for the time of a copy: should the daemon die meanwhile, the next one ends it.
func (l *Lifecycle) Freeze(ctx context.Context, ref string) error { return l.pause(ctx, ref, true) }

func (l *Lifecycle) pause(ctx context.Context, ref string, brief bool) error {
	b, err := l.table.find(ref)
	if err != nil {
		return err
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	defer b.op.release()
	switch c := b.View(); c.State.Status {
	case core.StatusPaused:
		return core.Conflict("Container %s is already paused", c.ID)
	case core.StatusRunning:
	default:
		return core.NotRunning(c.ID)
	}
	if c := b.Change(func(c *core.Container) { c.State.BrieflyPaused = brief }); brief {
		l.save(ctx, c, false)
	}
	if err := l.ports.Runtime.Pause(ctx, b.id); err != nil {
		return err
	}
	c := b.Change(func(c *core.Container) { move(c, core.StatusPaused) })
	l.save(ctx, c, false)
	l.events.Container(c, "pause", nil)
	return nil
}

// Unpause thaws a container.
func (l *Lifecycle) Unpause(ctx context.Context, ref string) error {
	b, err := l.table.find(ref)
	if err != nil {
		return err
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	defer b.op.release()
	if c := b.View(); c.State.Status != core.StatusPaused {
		return core.Conflict("Container %s is not paused", c.ID)
	}
	return l.resume(ctx, b)
}

// resume thaws a paused container.
func (l *Lifecycle) resume(ctx context.Context, b *box) error {
	if err := l.ports.Runtime.Resume(ctx, b.id); err != nil {
		return err
	}
	thawed := false
	c := b.Change(func(c *core.Container) {
		c.State.BrieflyPaused = false
		if thawed = c.State.Status == core.StatusPaused; thawed {
			move(c, core.StatusRunning)
		}
	})
	if thawed {
		l.save(ctx, c, false)
		l.events.Container(c, "unpause", nil)
	}
	return nil
}
