package engine

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/lib/id"
)

// Create makes a container: its record, its writable layer, its volumes. It starts nothing. Either all of it is
// there afterwards or nothing.
func (cs *Containers) Create(ctx context.Context, request core.CreateRequest) (core.ContainerID, []string, error) {
	image, err := cs.ports.Images.Lookup(ctx, request.Config.Image, request.Platform)
	if err != nil {
		return "", nil, err
	}
	c := &core.Container{
		ID:        core.ContainerID(id.New()),
		Created:   time.Now().UTC(),
		ImageID:   image.ID,
		Platform:  image.Platform,
		Config:    request.Config,
		Host:      request.Host,
		Endpoints: request.Endpoints,
		State:     core.State{Status: core.StatusCreated},
	}
	if err := define.UserNetwork(&c.Config, &c.Host); err != nil {
		return "", nil, err
	}
	c.Config = define.Config(c.Config, image.Config)
	if c.Path, c.Args, err = define.Command(&c.Config); err != nil {
		return "", nil, err
	}
	warnings, err := define.Complete(c, cs.defaults.Load())
	if err != nil {
		return "", nil, err
	}
	if err := cs.checkReferences(c); err != nil {
		return "", nil, err
	}
	if err := cs.label(c); err != nil {
		return "", nil, err
	}
	b := newBox(c)
	if err := cs.reserve(b, strings.TrimPrefix(request.Name, "/")); err != nil {
		cs.unlabel(c)
		return "", nil, err
	}
	// Nobody else may act on it before it is whole.
	if err := b.op.take(ctx); err != nil {
		cs.unlabel(c)
		cs.table.drop(b)
		return "", nil, err
	}
	defer b.op.release()
	ladder := ladder{name: "create", log: cs.log.With("container", c.ID)}
	ladder.undo("name", func(context.Context) error { cs.unlabel(c); cs.table.drop(b); return nil })
	if err := ladder.climb(ctx, cs.createSteps(b, image)); err != nil {
		return "", nil, err
	}
	cs.events.Container(b.View(), "create", nil)
	return c.ID, warnings, nil
}

// createSteps are the parts of a new container on the disk, in the order in which they are made.
func (cs *Containers) createSteps(b *box, image core.Image) []step {
	id := b.id
	return []step{
		{"folder", func(ctx context.Context) error {
			return os.MkdirAll(b.View().Dir, 0o710)
		}, func(ctx context.Context) error {
			return os.RemoveAll(b.View().Dir)
		}},
		{"layer", func(ctx context.Context) error {
			if err := cs.ports.Layers.Create(ctx, id, image); err != nil {
				return err
			}
			if size := define.LayerSize(b.View(), cs.defaults.Load()); size > 0 {
				return cs.ports.Layers.Limit(ctx, id, size)
			}
			return nil
		}, func(ctx context.Context) error {
			return cs.ports.Layers.Remove(ctx, id)
		}},
		{"volumes", func(ctx context.Context) error {
			// What is made before a later one fails must be known, so that the undo finds it.
			made, err := cs.mounts.Make(ctx, b.View())
			b.Change(func(c *core.Container) { c.Mounts = made })
			cs.volumes.Settle(id)
			return err
		}, func(ctx context.Context) error {
			c := b.View()
			return errors.Join(cs.mounts.DropAnonymous(ctx, c), cs.mounts.Unmake(ctx, c))
		}},
		{"record", func(ctx context.Context) error {
			c := b.View()
			return cs.ports.Records.Save(ctx, c, !c.Host.AutoRemove)
		}, func(ctx context.Context) error {
			return cs.ports.Records.Delete(ctx, id)
		}},
	}
}

// reserve gives the container its name: the one asked for, or a free one made of two words.
func (cs *Containers) reserve(b *box, name string) error {
	if name != "" {
		if err := define.Name(name); err != nil {
			return err
		}
		b.c.Name = name
		return cs.table.add(b)
	}
	for range 6 {
		b.c.Name = id.Name()
		if cs.table.add(b) == nil {
			return nil
		}
	}
	b.c.Name = b.id.Short()
	return cs.table.add(b)
}

// checkReferences looks up the other containers that the definition names.
func (cs *Containers) checkReferences(c *core.Container) error {
	for _, mode := range []*string{&c.Host.PidMode, &c.Host.IpcMode, &c.Host.NetworkMode} {
		if ref, ok := strings.CutPrefix(*mode, "container:"); ok {
			other, err := cs.table.find(ref)
			if err != nil {
				return err
			}
			*mode = "container:" + string(other.id)
		}
	}
	return cs.resolveLinks(c)
}
