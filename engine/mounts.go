package engine

import (
	"cmp"
	"context"
	"path/filepath"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/lib/id"
)

// resolveMounts makes the volumes that the definition asks for and fills new ones from the image.
func (cs *Containers) resolveMounts(ctx context.Context, b *box) error {
	c := b.View()
	inherited, err := cs.volumesFrom(c)
	if err != nil {
		return err
	}
	mounts, err := define.Mounts(c, inherited)
	if err != nil {
		return err
	}
	// What is made before a later one fails must be known, so that the ladder's undo finds it.
	defer func() { b.Change(func(c *core.Container) { c.Mounts = mounts }) }()
	for i := range mounts {
		if err := cs.makeMount(ctx, c, &mounts[i]); err != nil {
			mounts = mounts[:i+1]
			return err
		}
	}
	return nil
}

// makeMount readies the source of a mount.
func (cs *Containers) makeMount(ctx context.Context, c *core.Container, m *core.Mount) error {
	switch m.Type {
	case core.MountBind:
		return cs.ports.Volumes.Source(ctx, m.Source, m.Mode != define.MountSyntax)
	case core.MountVolume:
		return cs.makeVolume(ctx, c, m)
	case core.MountImage:
		return core.NotImplemented("Berth does not mount images yet (--mount type=image)")
	}
	return nil
}

func (cs *Containers) makeVolume(ctx context.Context, c *core.Container, m *core.Mount) error {
	want := core.Volume{Name: m.Name, Driver: cmp.Or(m.Driver, c.Host.VolumeDriver, "local")}
	if m.Name == "" {
		want.Name, want.Anonymous, m.Anonymous = id.New(), true, true
	}
	for _, spec := range c.Host.MountSpecs {
		if spec.Volume != nil && filepath.Clean(spec.Target) == m.Destination {
			want.Labels, want.Options = spec.Volume.Labels, spec.Volume.DriverOptions
		}
	}
	volume, err := cs.volumes.Ensure(ctx, want)
	if err != nil {
		return err
	}
	m.Name, m.Driver, m.Source = volume.Name, volume.Driver, volume.Mountpoint
	if m.NoCopy {
		return nil
	}
	root, err := cs.ports.Layers.Mounts(ctx, c.ID)
	if err != nil {
		return err
	}
	return cs.ports.Volumes.Fill(ctx, volume.Name, root, m.Destination)
}

// volumesFrom gives the mounts of the containers named by `--volumes-from ID[:ro|rw]`.
func (cs *Containers) volumesFrom(c *core.Container) ([]core.Mount, error) {
	var mounts []core.Mount
	for _, spec := range c.Host.VolumesFrom {
		ref, mode, _ := strings.Cut(spec, ":")
		if ref == "" {
			return nil, core.Invalid("malformed volumes-from specification: %s", spec)
		}
		if mode != "" && mode != "ro" && mode != "rw" && mode != "z" && mode != "Z" {
			return nil, core.Invalid("invalid mode for volumes-from: %s", mode)
		}
		other, err := cs.table.find(ref)
		if err != nil {
			return nil, err
		}
		for _, m := range other.View().Mounts {
			if m.Type == core.MountTmpfs {
				continue
			}
			m.RW = m.RW && mode != "ro"
			m.NoCopy, m.Anonymous = true, false
			mounts = append(mounts, m)
		}
	}
	return mounts, nil
}

// checkReferences looks up the other things that the definition names.
func (cs *Containers) checkReferences(ctx context.Context, c *core.Container) error {
	for _, mode := range []*string{&c.Host.PidMode, &c.Host.IpcMode, &c.Host.NetworkMode} {
		if ref, ok := strings.CutPrefix(*mode, "container:"); ok {
			other, err := cs.table.find(ref)
			if err != nil {
				return err
			}
			*mode = "container:" + string(other.id)
		}
	}
	for destination := range c.Host.Tmpfs {
		if !filepath.IsAbs(destination) {
			return core.Invalid("invalid mount path: '%s' mount path must be absolute", destination)
		}
	}
	return nil
}

// removeAnonymous deletes the volumes that were made for this container alone and that nobody else uses.
func (cs *Containers) removeAnonymous(ctx context.Context, c *core.Container) error {
	var first error
	for _, m := range c.Mounts {
		if m.Type != core.MountVolume || !m.Anonymous {
			continue
		}
		if err := cs.volumes.Drop(ctx, m.Name, c.ID); err != nil && first == nil {
			first = err
		}
	}
	return first
}
