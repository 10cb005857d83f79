package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/engine/mounts"
)

// restorer is the engine while a daemon comes back.
type restorer struct {
	*Lifecycle
	containers *Containers
}

// Restore makes true again what the last daemon left: it adopts the containers that run, notes the ends that nobody
// saw, takes down what a daemon that died in between had half made, and applies the restart policies. It is called
// once, before the API listens. What it can't repair it tells the log and leaves alone: a daemon always comes up.
func (e *Engine) Restore(ctx context.Context) error {
	r := &restorer{Lifecycle: e.Lifecycle, containers: e.Containers}
	return r.run(ctx)
}

func (r *restorer) run(ctx context.Context) error {
	records, err := r.ports.Records.All(ctx)
	if err != nil {
		return err
	}
	// From Adopt on the runtime tells of ends: every container must be known by then, and none be taken down before
	// its network was taken over.
	for _, c := range records {
		if err := r.ports.Labels.Keep(c.ProcessLabel); err != nil {
			r.log.Warn("keep the label of a container", "container", c.ID, "label", c.ProcessLabel, "error", err)
		}
		b := newBox(c)
		if err := b.op.take(ctx); err != nil {
			return err
		}
		if err := r.table.add(b); err != nil {
			// Two records of one name: the ID is a name that nobody else has.
			r.log.Error("restore a container whose name is taken", "container", c.ID, "error", err)
			c.Name = c.ID.Short()
			if err := r.table.add(b); err != nil {
				return err
			}
		}
	}
	adopted, err := r.ports.Runtime.Adopt(ctx)
	if err != nil {
		return err
	}
	found := make(map[core.ContainerID]core.Adopted, len(adopted))
	for _, a := range adopted {
		found[a.Container] = a
	}
	for id := range found {
		if r.table.get(id) == nil {
			r.log.Warn("end a process without a record", "container", id)
			r.mustDelete(ctx, id)
		}
	}
	var sandboxes []core.Sandbox
	var ends []func()
	for _, b := range r.table.all() {
		sandbox, after := r.restoreOne(b, found[b.id])
		if sandbox != nil {
			sandboxes = append(sandboxes, *sandbox)
		}
		if after != nil {
			ends = append(ends, after)
		}
	}
	if err := r.ports.Sandboxes.Restore(ctx, sandboxes); err != nil {
		return err
	}
	for _, b := range r.table.all() {
		b.op.release()
	}
	for _, end := range ends {
		end()
	}
	if err := r.ports.Volumes.Sweep(ctx); err != nil {
		r.log.Error("let go of volumes that nobody uses", "error", err)
	}
	r.finishRemovals(ctx, r.sweepLayers(ctx))
	r.sweepFolders()
	r.applyPolicies(ctx)
	return nil
}

func (r *restorer) mustDelete(ctx context.Context, id core.ContainerID) {
	if err := r.ports.Runtime.Delete(ctx, id); err != nil {
		r.log.Error("remove what is left of a process", "container", id, "error", err)
	}
}

// restoreOne puts one container into the state that is true. It gives the sandbox that its process lives in, if it
// has one, and what is to be done once the networks are restored.
func (r *restorer) restoreOne(b *box, a core.Adopted) (*core.Sandbox, func()) {
	ctx := context.Background()
	c := b.View()
	if a.PID != 0 && !c.State.Running() {
		// The daemon died between the start and its record: nobody was told that it runs, and what it has of the network
		// is not known. The start is undone like any other that was half made.
		r.log.Warn("end a process whose start was not recorded", "container", c.ID)
		a = core.Adopted{}
	}
	if a.PID != 0 && a.Paused && c.State.BrieflyPaused {
		// Whoever made the copy is gone with the daemon.
		if err := r.ports.Runtime.Resume(ctx, c.ID); err != nil {
			r.log.Error("end the pause of a container that was being copied", "container", c.ID, "error", err)
		} else {
			a.Paused = false
		}
	}
	switch {
	case a.PID != 0:
		c = b.Change(func(c *core.Container) {
			c.State.Status = core.StatusRunning
			if a.Paused {
				c.State.Status = core.StatusPaused
			}
			c.State.PID, c.State.StartedAt = a.PID, a.StartedAt
			c.State.Error, c.State.BrieflyPaused = "", a.Paused && c.State.BrieflyPaused
		})
		b.mu.Lock()
		b.ended = make(chan struct{})
		b.retry.startedAt = a.StartedAt
		b.mu.Unlock()
		sandbox := define.Sandbox(c)
		return &sandbox, func() {
			if err := r.mounts.Adopt(ctx, c); err != nil {
				r.log.Error("take over the volumes of a container", "container", c.ID, "error", err)
			}
			r.health.Watch(b, false)
		}
	case a.Exit != nil || c.State.Running():
		status := core.ExitStatus{Code: 255, At: time.Now()}
		if a.Exit != nil {
			status = *a.Exit
		}
		// It ended while nobody looked: the same work as for an end that somebody saw.
		b.Change(func(c *core.Container) { c.State.Status = core.StatusRunning })
		return nil, func() { r.ended(ctx, b, status) }
	default:
		// Nothing of it runs: whatever a start left half made goes.
		return nil, func() {
			r.mustDelete(ctx, c.ID)
			if err := r.ports.Sandboxes.Close(ctx, c.ID); err != nil {
				r.log.Error("take down the network of a container", "container", c.ID, "error", err)
			}
			if err := r.mounts.LetGo(ctx, c); err != nil {
				r.log.Error("let go of the volumes of a container", "container", c.ID, "error", err)
			}
		}
	}
}

// sweepLayers removes the writable layers that belong to no container and gives those that do; nil: not known.
func (r *restorer) sweepLayers(ctx context.Context) map[core.ContainerID]bool {
	layers, err := r.ports.Layers.List(ctx)
	if err != nil {
		r.log.Error("list the layers", "error", err)
		return nil
	}
	kept := map[core.ContainerID]bool{}
	for _, id := range layers {
		if r.table.get(mounts.Owner(id)) != nil {
			kept[id] = true
			continue
		}
		if err := r.ports.Layers.Remove(ctx, id); err != nil {
			r.log.Error("remove a layer without a container", "layer", id, "error", err)
		}
	}
	return kept
}

// sweepFolders removes the folders that belong to no container.
func (r *restorer) sweepFolders() {
	entries, err := os.ReadDir(r.options.Defaults.ContainersDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Error("list the containers' folders", "error", err)
	}
	for _, entry := range entries {
		if r.table.get(core.ContainerID(entry.Name())) != nil {
			continue
		}
		if err := os.RemoveAll(filepath.Join(r.options.Defaults.ContainersDir, entry.Name())); err != nil {
			r.log.Error("remove a folder without a container", "folder", entry.Name(), "error", err)
		}
	}
}

// finishRemovals ends what a remove began, and removes what asked to be removed at its end. A container without a
// layer was removed too: the daemon died before the record was gone from the disk.
func (r *restorer) finishRemovals(ctx context.Context, layers map[core.ContainerID]bool) {
	for _, b := range r.table.all() {
		c := b.View()
		begun := c.State.Status == core.StatusRemoving || c.State.Status == core.StatusDead || layers != nil && !layers[c.ID]
		ended := c.Host.AutoRemove && !c.State.StartedAt.IsZero()
		if c.State.Running() || c.State.Status == core.StatusRestarting || !begun && !ended {
			continue
		}
		b.Change(func(c *core.Container) { c.State.Status = core.StatusExited })
		if err := r.containers.Remove(ctx, string(c.ID), core.RemoveOptions{Volumes: true}); err != nil {
			r.log.Error("finish the removal of a container", "container", c.ID, "error", err)
		}
	}
}

// applyPolicies starts what should run: it ran, or waited for its next try, when the machine or the daemon went down.
func (r *restorer) applyPolicies(ctx context.Context) {
	for _, b := range r.table.all() {
		c := b.View()
		if c.State.Running() {
			continue
		}
		if c.State.Status == core.StatusRestarting {
			r.scheduleRestart(b, firstDelay)
			continue
		}
		// "always" comes back even when the user had stopped it; "unless-stopped" does not.
		if c.Host.RestartPolicy.Name == "always" && !c.State.StartedAt.IsZero() {
			b.Change(func(c *core.Container) { move(c, core.StatusRestarting) })
			r.scheduleRestart(b, 0)
		}
	}
}
