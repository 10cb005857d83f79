package engine

import (
	"context"
	"strconv"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/lib/failpoint"
)

// Exited is what the runtime calls when a process ended: the first process of a container, or an exec. It comes in
// order for one container and must not wait for another call of the engine: the work goes on in a goroutine.
func (l *Lifecycle) Exited(exit core.Exit) {
	if exit.Exec != "" {
		l.execs.exited(exit)
		return
	}
	b := l.table.get(exit.Container)
	if b == nil {
		return
	}
	go l.ended(context.Background(), b, exit.Status)
}

// ended does what follows the end of a container's first process. It waits for a verb that is under way (a start
// whose process ended at once), then takes the container down and asks the restart policy.
func (l *Lifecycle) ended(ctx context.Context, b *box, status core.ExitStatus) {
	if err := b.op.take(ctx); err != nil {
		return
	}
	defer b.op.release()
	l.takeDown(ctx, b, status)
}

// takeDown is ended for a caller that holds op. The order matters: the network goes before anybody is told, so that
// whoever waited can use the port again; the record is on the disk before the shim may forget the exit status.
func (l *Lifecycle) takeDown(ctx context.Context, b *box, status core.ExitStatus) {
	was := b.View()
	if !was.State.Running() {
		return // told twice: by the shim and by restore
	}
	b.signalling.Lock() // a kill is told before what it caused
	b.signalling.Unlock()
	l.health.Stop(b.id)
	l.attempt(ctx, was, "take down the network of a container", "exit:before-network", func(ctx context.Context) error {
		return l.ports.Sandboxes.Close(ctx, was.ID)
	})
	again, delay := l.nextTry(b, was, status)
	c := b.Change(func(c *core.Container) {
		if again {
			move(c, core.StatusRestarting)
			c.RestartCount++
		} else {
			move(c, core.StatusExited)
		}
		c.State.PID = 0
		c.State.ExitCode = status.Code
		c.State.OOMKilled = status.OOMKilled
		c.State.FinishedAt = status.At.UTC()
		c.Endpoints, c.Published = define.Released(c.Endpoints), nil
		if c.State.Health != nil && !again {
			health := *c.State.Health
			health.Status = core.HealthUnhealthy
			c.State.Health = &health
		}
	})
	b.mu.Lock()
	if b.ended != nil {
		close(b.ended)
		b.ended = nil
	}
	b.mu.Unlock()
	l.execs.over(c.ID)
	l.events.Networks(was, "disconnect", l.network(ctx))
	l.events.Volumes(was, "unmount") // letGo does it
	if status.OOMKilled {
		l.events.Container(c, "oom", nil)
	}
	l.events.Container(c, "die", map[string]string{
		"exitCode":     strconv.Itoa(status.Code),
		"execDuration": strconv.Itoa(int(status.At.Sub(was.State.StartedAt).Seconds())),
	})
	remove := c.Host.AutoRemove && !again
	l.notify(b, core.WaitResult{Code: status.Code}, waitExit)
	if remove {
		l.autoRemove(ctx, b)
		return
	}
	l.attempt(ctx, c, "record the end of a container", "exit:before-record", func(ctx context.Context) error {
		return l.ports.Records.Save(context.WithoutCancel(ctx), c, true)
	})
	l.letGo(ctx, c)
	if again {
		l.scheduleRestart(b, delay)
	}
}

// network looks networks up for events.
func (l *Lifecycle) network(ctx context.Context) func(ref string) (core.Network, error) {
	return func(ref string) (core.Network, error) { return l.ports.Networks.Lookup(ctx, ref) }
}

// letGo frees what a container held while it ran, once its end is recorded.
func (l *Lifecycle) letGo(ctx context.Context, c *core.Container) {
	l.attempt(ctx, c, "remove what is left of a process", "exit:before-process", func(ctx context.Context) error {
		return l.ports.Runtime.Delete(ctx, c.ID)
	})
	l.attempt(ctx, c, "let go of the volumes of a container", "exit:before-volumes", func(ctx context.Context) error {
		return l.mounts.LetGo(ctx, c)
	})
}

// attempt does a part of what follows an end, at a failpoint. What fails is told to the log: the container has ended, and
// the other parts are to be done all the same.
func (l *Lifecycle) attempt(ctx context.Context, c *core.Container, what, failpointName string, do func(ctx context.Context) error) {
	err := failpoint.Hit(failpointName)
	if err == nil {
		err = do(ctx)
	}
	if err != nil {
		l.log.Error(what, "container", c.ID, "error", err)
	}
}

// autoRemove removes a container that asked for it (`--rm`); the caller holds op.
func (l *Lifecycle) autoRemove(ctx context.Context, b *box) {
	l.table.remember(b.View())
	if err := l.remove(ctx, b, core.RemoveOptions{Volumes: true}); err != nil {
		l.log.Error("remove a container that ended", "container", b.id, "error", err)
	}
}
