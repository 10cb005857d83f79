package engine

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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
	c.Config = define.Config(c.Config, image.Config)
	if c.Path, c.Args, err = define.Command(&c.Config); err != nil {
		return "", nil, err
	}
	warnings, err := cs.complete(c)
	if err != nil {
		return "", nil, err
	}
	if err := cs.checkReferences(ctx, c); err != nil {
		return "", nil, err
	}
	b := newBox(c)
	if err := cs.reserve(b, strings.TrimPrefix(request.Name, "/")); err != nil {
		return "", nil, err
	}
	// Nobody else may act on it before it is whole.
	if err := b.op.take(ctx); err != nil {
		cs.table.drop(b)
		return "", nil, err
	}
	defer b.op.release()
	ladder := ladder{name: "create", log: cs.log.With("container", c.ID)}
	ladder.undo("name", func(context.Context) error { cs.table.drop(b); return nil })
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
			return cs.ports.Layers.Create(ctx, id, image)
		}, func(ctx context.Context) error {
			return cs.ports.Layers.Remove(ctx, id)
		}},
		{"volumes", func(ctx context.Context) error {
			return cs.resolveMounts(ctx, b)
		}, func(ctx context.Context) error {
			return cs.removeAnonymous(ctx, b.View())
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

// complete fills in what the user left open and checks what he said.
func (cs *Containers) complete(c *core.Container) (warnings []string, err error) {
	host := &c.Host
	c.Dir = filepath.Join(cs.options.ContainersDir, string(c.ID))
	if host.NetworkMode == "" {
		host.NetworkMode = "default"
	}
	if c.Config.Hostname == "" && !strings.HasPrefix(host.NetworkMode, "container:") {
		c.Config.Hostname = c.ID.Short()
		if host.NetworkMode == core.NetworkHost || host.UTSMode == "host" {
			if c.Config.Hostname, err = os.Hostname(); err != nil {
				return nil, err
			}
		}
	}
	if err := define.Log(c, cs.options.DefaultLog); err != nil {
		return nil, err
	}
	if host.Runtime == "" {
		host.Runtime = cs.options.Runtimes[0]
	}
	if !slices.Contains(cs.options.Runtimes, host.Runtime) {
		return nil, core.Invalid("unknown or invalid runtime name: %s", host.Runtime)
	}
	if host.ShmSize == 0 {
		host.ShmSize = 64 << 20
	}
	if host.IpcMode == "" {
		host.IpcMode = "private"
	}
	if host.CgroupnsMode == "" {
		host.CgroupnsMode = "host"
		if cs.options.Facts.CgroupV2 {
			host.CgroupnsMode = "private"
		}
	}
	if host.Privileged {
		host.MaskedPaths, host.ReadonlyPaths = []string{}, []string{}
	}
	if c.Config.Healthcheck != nil && len(c.Config.Healthcheck.Test) > 0 && c.Config.Healthcheck.Test[0] == "NONE" {
		c.Config.Healthcheck = &core.Healthcheck{Test: []string{"NONE"}}
	}
	if wd := c.Config.WorkingDir; wd != "" && !filepath.IsAbs(wd) {
		return nil, core.Invalid("the working directory '%s' is invalid, it needs to be an absolute path", wd)
	}
	if err := define.Endpoints(c); err != nil {
		return nil, err
	}
	return define.Host(c, runtime.NumCPU())
}
