package engine

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/engine/events"
	"github.com/berth-engine/berth/engine/files"
	"github.com/berth-engine/berth/engine/mounts"
	"github.com/berth-engine/berth/engine/object"
)

// ground is what the types of the engine share: the containers and what they stand on.
type ground struct {
	table   *table
	ports   Ports
	options Options
	events  *events.Hub
	files   *files.Files
	mounts  *mounts.Mounts
	log     *slog.Logger
}

// Containers is the noun container: making, finding, changing and removing. Verbs are methods, one file each.
type Containers struct {
	*ground
	life    *Lifecycle
	volumes *object.Volumes
	execs   *Execs
	// defaults are what definitions are completed with; they change when settings are read again.
	defaults atomic.Pointer[define.Defaults]
}

// Inspect finds a container and, with size, measures its layers.
func (cs *Containers) Inspect(ctx context.Context, ref string, size bool) (core.ContainerView, error) {
	b, err := cs.table.find(ref)
	if err != nil {
		return core.ContainerView{}, err
	}
	c := b.View()
	view := core.ContainerView{Container: c, ExecIDs: cs.execs.of(c.ID), SizeRw: -1, SizeRoot: -1, ImageName: c.Config.Image}
	_, view.Image = cs.image(ctx, c)
	if size {
		if view.SizeRw, view.SizeRoot, err = cs.ports.Layers.Usage(ctx, c.ID); err != nil {
			return core.ContainerView{}, err
		}
	}
	return view, nil
}

// Rename gives a container another name.
func (cs *Containers) Rename(ctx context.Context, ref, name string) error {
	b, err := cs.table.find(ref)
	if err != nil {
		return err
	}
	name = strings.TrimPrefix(name, "/")
	if name == "" {
		return core.Invalid("Neither old nor new names may be empty")
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	defer b.op.release()
	old := b.View().Name
	if old == name {
		return core.Invalid("Renaming a container with the same name as its current name")
	}
	if err := define.Name(name); err != nil {
		return err
	}
	if err := cs.table.rename(b, name); err != nil {
		return core.Conflict("Error when allocating new name: %w", err)
	}
	c := b.View()
	undo := func(cause error) error {
		if err := cs.table.rename(b, old); err != nil {
			cs.log.Error("take back a rename", "container", c.ID, "error", err)
		}
		return cause
	}
	if err := cs.ports.Records.Save(ctx, c, true); err != nil {
		return undo(err)
	}
	if c.State.Running() {
		if err := cs.ports.Sandboxes.Rename(ctx, c.ID, name); err != nil {
			return undo(err)
		}
	}
	cs.events.Container(c, "rename", map[string]string{"oldName": "/" + old})
	return nil
}

// Find gives a container as it is now, and a channel that is closed when its process has ended; it is closed already
// when none runs.
func (cs *Containers) Find(ref string) (*core.Container, <-chan struct{}, error) {
	b, err := cs.table.find(ref)
	if err != nil {
		return nil, nil, err
	}
	ended, err := b.end()
	if err != nil {
		over := make(chan struct{})
		close(over)
		ended = over
	}
	return b.View(), ended, nil
}

// Hold finds a container and keeps every verb away from it until release is called.
func (cs *Containers) Hold(ctx context.Context, ref string) (c *core.Container, release func(), err error) {
	b, err := cs.table.find(ref)
	if err != nil {
		return nil, nil, err
	}
	if err := b.op.take(ctx); err != nil {
		return nil, nil, err
	}
	return b.View(), b.op.release, nil
}

// Views lists the containers, newest first.
func (cs *Containers) Views() []*core.Container { return cs.table.views() }

// AnyRunning reports whether a container has a process, so that a daemon that stops knows what it may take away.
func (cs *Containers) AnyRunning() bool {
	for _, c := range cs.table.views() {
		if c.State.Running() {
			return true
		}
	}
	return false
}

// save writes the record of a container that already lives; a failure is told to the log, because what happened has
// happened and the shims know it too.
func (g *ground) save(ctx context.Context, c *core.Container, durable bool) {
	if err := g.ports.Records.Save(context.WithoutCancel(ctx), c, durable && !c.Host.AutoRemove); err != nil {
		g.log.Error("save the record of a container", "container", c.ID, "error", err)
	}
}
