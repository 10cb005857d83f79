package engine

import (
	"context"
	"time"

	"github.com/berth-engine/berth/core"
)

// Restore makes true again what the last daemon left: it adopts the containers that run, notes the ends that nobody
// saw, takes down what a daemon that died in between had half made, and applies the restart policies. It is called
// once, before the API listens. What it can't repair it tells the log and leaves alone: a daemon always comes up.
func (cs *Containers) Restore(ctx context.Context) error {
	records, err := cs.ports.Records.All(ctx)
	if err != nil {
		return err
	}
	adopted, err := cs.ports.Runtime.Adopt(ctx)
	if err != nil {
		return err
	}
	found := make(map[core.ContainerID]core.Adopted, len(adopted))
	for _, a := range adopted {
		found[a.Container] = a
	}
	for _, c := range records {
		b := newBox(c)
		if err := cs.table.add(b); err != nil {
			// Two records of one name: the ID is a name that nobody else has.
			cs.log.Error("restore a container whose name is taken", "container", c.ID, "error", err)
			c.Name = c.ID.Short()
			if err := cs.table.add(b); err != nil {
				return err
			}
		}
	}
	for id := range found {
		if cs.table.get(id) == nil {
			cs.log.Warn("end a process without a record", "container", id)
			cs.mustDelete(ctx, id)
		}
	}
	var sandboxes []core.Sandbox
	var ends []func()
	for _, b := range cs.table.all() {
		sandbox, after := cs.restoreOne(b, found[b.c.ID])
		if sandbox != nil {
			sandboxes = append(sandboxes, *sandbox)
		}
		if after != nil {
			ends = append(ends, after)
		}
	}
	if err := cs.ports.Sandboxes.Restore(ctx, sandboxes); err != nil {
		return err
	}
	for _, end := range ends {
		end()
	}
	cs.finishRemovals(ctx, cs.sweepLayers(ctx))
	cs.applyPolicies(ctx)
	return nil
}

func (cs *Containers) mustDelete(ctx context.Context, id core.ContainerID) {
	if err := cs.ports.Runtime.Delete(ctx, id); err != nil {
		cs.log.Error("remove what is left of a process", "container", id, "error", err)
	}
}

// restoreOne puts one container into the state that is true. It gives the sandbox that its process lives in, if it
// has one, and what is to be done once the networks are restored.
func (cs *Containers) restoreOne(b *box, a core.Adopted) (*core.Sandbox, func()) {
	ctx := context.Background()
	c := b.view()
	switch {
	case a.PID != 0:
		c = b.change(func(c *core.Container) {
			c.State.Status = core.StatusRunning
			if a.Paused {
				c.State.Status = core.StatusPaused
			}
			c.State.PID, c.State.StartedAt = a.PID, a.StartedAt
			c.State.Error = ""
		})
		b.mu.Lock()
		b.ended = make(chan struct{})
		b.retry.startedAt = a.StartedAt
		b.mu.Unlock()
		sandbox := sandboxOf(c)
		return &sandbox, func() {
			for _, m := range c.Mounts {
				if m.Type != core.MountVolume {
					continue
				}
				if _, err := cs.ports.Volumes.Mount(ctx, m.Name, c.ID); err != nil {
					cs.log.Error("take over the volume of a container", "container", c.ID, "volume", m.Name, "error", err)
				}
			}
			cs.watchHealth(b)
		}
	case a.Exit != nil || c.State.Running():
		status := core.ExitStatus{Code: 255, At: time.Now()}
		if a.Exit != nil {
			status = *a.Exit
		}
		// It ended while nobody looked: the same work as for an end that somebody saw.
		b.change(func(c *core.Container) { c.State.Status = core.StatusRunning })
		return nil, func() { cs.ended(ctx, b, status) }
	default:
		// Nothing of it runs: whatever a start left half made goes.
		return nil, func() {
			cs.mustDelete(ctx, c.ID)
			if err := cs.ports.Sandboxes.Close(ctx, c.ID); err != nil {
				cs.log.Error("take down the network of a container", "container", c.ID, "error", err)
			}
			if err := cs.unmountVolumes(ctx, c); err != nil {
				cs.log.Error("let go of the volumes of a container", "container", c.ID, "error", err)
			}
		}
	}
}

// sweepLayers removes the writable layers that belong to no container and gives those that do; nil: not known.
func (cs *Containers) sweepLayers(ctx context.Context) map[core.ContainerID]bool {
	layers, err := cs.ports.Layers.List(ctx)
	if err != nil {
		cs.log.Error("list the layers", "error", err)
		return nil
	}
	kept := map[core.ContainerID]bool{}
	for _, id := range layers {
		if cs.table.get(id) != nil {
			kept[id] = true
			continue
		}
		if err := cs.ports.Layers.Remove(ctx, id); err != nil {
			cs.log.Error("remove a layer without a container", "layer", id, "error", err)
		}
	}
	return kept
}

// finishRemovals ends what a remove began, and removes what asked to be removed at its end. A container without a
// layer was removed too: the daemon died before the record was gone from the disk.
func (cs *Containers) finishRemovals(ctx context.Context, layers map[core.ContainerID]bool) {
	for _, b := range cs.table.all() {
		c := b.view()
		begun := c.State.Status == core.StatusRemoving || c.State.Status == core.StatusDead || layers != nil && !layers[c.ID]
		ended := c.Host.AutoRemove && !c.State.StartedAt.IsZero()
		if c.State.Running() || c.State.Status == core.StatusRestarting || !begun && !ended {
			continue
		}
		b.change(func(c *core.Container) { c.State.Status = core.StatusExited })
		if err := cs.Remove(ctx, string(c.ID), core.RemoveOptions{Volumes: true}); err != nil {
			cs.log.Error("finish the removal of a container", "container", c.ID, "error", err)
		}
	}
}

// applyPolicies starts what should run: it ran, or waited for its next try, when the machine or the daemon went down.
func (cs *Containers) applyPolicies(ctx context.Context) {
	for _, b := range cs.table.all() {
		c := b.view()
		if c.State.Running() {
			continue
		}
		if c.State.Status == core.StatusRestarting {
			cs.scheduleRestart(b, firstDelay)
			continue
		}
		// "always" comes back even when the user had stopped it; "unless-stopped" does not.
		if c.Host.RestartPolicy.Name == "always" && !c.State.StartedAt.IsZero() {
			b.change(func(c *core.Container) { move(c, core.StatusRestarting) })
			cs.scheduleRestart(b, 0)
		}
	}
}
