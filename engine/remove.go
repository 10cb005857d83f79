package engine

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/failpoint"
)

// Remove deletes a container; with Force it is killed first.
func (cs *Containers) Remove(ctx context.Context, ref string, options core.RemoveOptions) error {
	if options.Link {
		return cs.unlink(ctx, ref)
	}
	b, err := cs.table.find(ref)
	if err != nil {
		return err
	}
	if err := b.settled(ctx); err != nil {
		return err
	}
	switch c := b.View(); {
	case c.State.Running() && !options.Force:
		if c.State.Status == core.StatusPaused {
			return core.Conflict("cannot remove container %q: container is paused and must be unpaused first", c.Name)
		}
		return core.Conflict("cannot remove container %q: container is running: stop the container before removing or force remove", c.Name)
	case c.State.Status == core.StatusRestarting && !options.Force:
		return core.Conflict("cannot remove container %q: container is restarting: stop the container before removing or force remove", c.Name)
	case c.State.Running():
		if err := cs.killForRemoval(ctx, b); err != nil {
			return err
		}
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	defer b.op.release()
	b.mu.Lock()
	gone := b.gone
	b.mu.Unlock()
	if gone {
		return nil // --rm, or somebody else, was faster
	}
	if b.View().State.Running() {
		return core.Conflict("cannot remove container %q: container is running: stop the container before removing or force remove", b.View().Name)
	}
	cs.life.cancelRestart(b)
	return cs.remove(ctx, b, options)
}

func (cs *Containers) killForRemoval(ctx context.Context, b *box) error {
	ended, err := b.end()
	if err != nil {
		return nil // it ended meanwhile
	}
	b.Change(func(c *core.Container) { c.StoppedByUser = true })
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	if err := cs.life.end(ctx, b, syscall.SIGKILL, time.Duration(0), ended); err != nil {
		return core.Internal("cannot remove container %q: could not kill: %w", b.View().Name, err)
	}
	return nil
}

// remove deletes everything of a container that does not run; the caller holds op. It goes on after a failed part
// and leaves a container that is not wholly gone as dead, so that another try (or restore) can finish the work.
func (cs *Containers) remove(ctx context.Context, b *box, options core.RemoveOptions) error {
	ctx = context.WithoutCancel(ctx)
	c := b.Change(func(c *core.Container) { move(c, core.StatusRemoving) })
	parts := []step{
		{name: "files", do: func(ctx context.Context) error { return cs.files.Idle(ctx, c.ID) }},
		{name: "process", do: func(ctx context.Context) error { return cs.ports.Runtime.Delete(ctx, c.ID) }},
		{name: "network", do: func(ctx context.Context) error { return cs.ports.Sandboxes.Close(ctx, c.ID) }},
		{name: "unmount", do: func(ctx context.Context) error { return cs.mounts.LetGo(ctx, c) }},
		{name: "volumes", do: func(ctx context.Context) error {
			if !options.Volumes {
				return nil
			}
			return cs.mounts.DropAnonymous(ctx, c)
		}},
		{name: "images", do: func(ctx context.Context) error { return cs.mounts.Unmake(ctx, c) }},
		{name: "layer", do: func(ctx context.Context) error { return cs.ports.Layers.Remove(ctx, c.ID) }},
		{name: "folder", do: func(context.Context) error { return os.RemoveAll(c.Dir) }},
		{name: "record", do: func(ctx context.Context) error { return cs.ports.Records.Delete(ctx, c.ID) }},
	}
	for _, part := range parts {
		err := failpoint.Hit("remove:before-" + part.name)
		if err == nil {
			err = part.do(ctx)
		}
		if err != nil {
			dead := b.Change(func(c *core.Container) { move(c, core.StatusDead); c.State.Error = err.Error() })
			cs.save(ctx, dead, true)
			cs.life.notify(b, core.WaitResult{Code: c.State.ExitCode, Err: err}, waitRemoval)
			return core.Internal("container %s: remove %s: %w", c.ID, part.name, err)
		}
	}
	cs.unlabel(c)
	cs.table.drop(b)
	cs.execs.forget(c.ID)
	cs.events.Container(c, "destroy", nil)
	cs.life.notify(b, core.WaitResult{Code: c.State.ExitCode}, waitRemoval)
	return nil
}
