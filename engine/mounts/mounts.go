// Package mounts is what a container sees besides its root file system: volumes, binds, images, and file systems in
// memory. They are made when the container is created, readied when it starts, and let go when it ends.
package mounts

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/lib/id"
)

// Volumes is what containers need of the volume organ.
type Volumes interface {
	// Mount readies a volume for a container and gives its path on the host; Unmount lets go.
	Mount(ctx context.Context, name string, by core.ContainerID) (path string, err error)
	Unmount(ctx context.Context, name string, by core.ContainerID) error
	// Fill copies what the image has at the destination into an empty volume, with owners and modes.
	// root is the mounts of a root file system to look into.
	Fill(ctx context.Context, name string, root []core.FSMount, destination string) error
	// Sweep lets go of what is mounted for nobody; called once, when the containers are restored.
	Sweep(ctx context.Context) error
	// Source checks that the source of a bind is there; with make a missing one becomes a folder.
	Source(ctx context.Context, path string, make bool) error
	// Propagates refuses a propagation that the mount which a bind's source is on can't give.
	Propagates(ctx context.Context, path, propagation string) error
}

// Objects makes volumes, and drops them when nobody else uses them.
type Objects interface {
	// Ensure gives a volume, which is not removed before Settle is called for the container that it is for: until that is
	// told of its mounts, nobody else knows that it has the volume.
	Ensure(ctx context.Context, volume core.Volume, with core.ContainerID) (core.Volume, error)
	Settle(with core.ContainerID)
	Drop(ctx context.Context, name string, with core.ContainerID) error
}

// Layers keeps the content of images that are in use.
type Layers interface {
	Create(ctx context.Context, id core.ContainerID, image core.Image) error
	Mounts(ctx context.Context, id core.ContainerID) ([]core.FSMount, error)
	Remove(ctx context.Context, id core.ContainerID) error
}

// Images finds images.
type Images interface {
	Lookup(ctx context.Context, ref string, platform core.Platform) (core.Image, error)
}

// Mounts makes and readies the mounts of containers.
type Mounts struct {
	Volumes Volumes
	Objects Objects
	Layers  Layers
	Images  Images
	// Find looks a container up by name, ID or prefix of an ID.
	Find func(ref string) (*core.Container, error)
	// Relabel gives what is at a path of the host the label of a container's files (see engine.Labels).
	Relabel func(path, label string, shared bool) error
}

// Make makes what a new container's definition asks for, and fills new volumes from the image. With an error come the
// mounts that were made before: Unmake takes them back.
func (m *Mounts) Make(ctx context.Context, c *core.Container) ([]core.Mount, error) {
	inherited, err := m.from(c)
	if err != nil {
		return nil, err
	}
	mounts, err := define.Mounts(c, inherited)
	if err != nil {
		return nil, err
	}
	for i := range mounts {
		if err := m.make(ctx, c, &mounts[i], i); err != nil {
			return mounts[:i+1], err
		}
	}
	return mounts, nil
}

// make readies the source of a mount.
func (m *Mounts) make(ctx context.Context, c *core.Container, mount *core.Mount, number int) error {
	switch mount.Type {
	case core.MountBind:
		return m.Volumes.Source(ctx, mount.Source, mount.Mode != define.MountSyntax)
	case core.MountVolume:
		return m.makeVolume(ctx, c, mount)
	case core.MountImage:
		image, err := m.Images.Lookup(ctx, mount.Name, core.Platform{})
		if err != nil {
			return err
		}
		mount.Layer = core.ContainerID(fmt.Sprintf("%s-%d", c.ID, number))
		return m.Layers.Create(ctx, mount.Layer, image)
	}
	return nil
}

// Owner is the container that a layer belongs to: its own, or one that keeps an image that it mounts.
func Owner(layer core.ContainerID) core.ContainerID {
	owner, _, _ := strings.Cut(string(layer), "-")
	return core.ContainerID(owner)
}

func (m *Mounts) makeVolume(ctx context.Context, c *core.Container, mount *core.Mount) error {
	want := core.Volume{Name: mount.Name, Driver: cmp.Or(mount.Driver, c.Host.VolumeDriver, "local")}
	if mount.Name == "" {
		want.Name, want.Anonymous, mount.Anonymous = id.New(), true, true
	}
	for _, spec := range c.Host.MountSpecs {
		if spec.Volume != nil && filepath.Clean(spec.Target) == mount.Destination {
			want.Labels, want.Options = spec.Volume.Labels, spec.Volume.DriverOptions
		}
	}
	volume, err := m.Objects.Ensure(ctx, want, c.ID)
	if err != nil {
		return err
	}
	mount.Name, mount.Driver, mount.Source = volume.Name, volume.Driver, volume.Mountpoint
	if mount.Mode == "" && !mount.Anonymous {
		mount.Mode = "z" // as Docker's inspect shows it
	}
	if mount.NoCopy || mount.Subpath != "" {
		return nil
	}
	root, err := m.Layers.Mounts(ctx, c.ID)
	if err != nil {
		return err
	}
	return m.Volumes.Fill(ctx, volume.Name, root, mount.Destination)
}

// from gives the mounts of the containers named by `--volumes-from`.
func (m *Mounts) from(c *core.Container) ([]core.Mount, error) {
	var mounts []core.Mount
	for _, spec := range c.Host.VolumesFrom {
		ref, readOnly, err := define.From(spec)
		if err != nil {
			return nil, err
		}
		other, err := m.Find(ref)
		if err != nil {
			return nil, err
		}
		for _, mount := range other.Mounts {
			if mount.Type == core.MountTmpfs {
				continue
			}
			mount.RW = mount.RW && !readOnly
			mount.NoCopy, mount.Anonymous, mount.Layer = true, false, ""
			mounts = append(mounts, mount)
		}
	}
	return mounts, nil
}

// Ready readies the mounts of a container that starts and says how they are mounted, in order.
func (m *Mounts) Ready(ctx context.Context, c *core.Container) ([]core.FSMount, error) {
	for _, mount := range c.Mounts {
		if mount.Type != core.MountBind {
			continue
		}
		if err := m.Volumes.Source(ctx, mount.Source, mount.Mode != define.MountSyntax); err != nil {
			return nil, err
		}
		if err := m.Volumes.Propagates(ctx, mount.Source, mount.Propagation); err != nil {
			return nil, err
		}
	}
	list, err := m.Look(ctx, c)
	if err != nil {
		return nil, err
	}
	for i, mount := range c.Mounts {
		if wanted, shared := define.Labelled(mount); wanted {
			if err := m.Relabel(list[i].Source, c.MountLabel, shared); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// Look is Ready for somebody who wants to see the files of a container that does not start: a bind whose source is gone is
// no error.
func (m *Mounts) Look(ctx context.Context, c *core.Container) ([]core.FSMount, error) {
	var list []core.FSMount
	for _, mount := range c.Mounts {
		fs := core.FSMount{Type: "bind", Source: mount.Source, Target: mount.Destination, Subpath: mount.Subpath, IDs: mount.IDs}
		var err error
		switch mount.Type {
		case core.MountVolume:
			fs.Source, err = m.Volumes.Mount(ctx, mount.Name, c.ID)
		case core.MountImage:
			fs.Below, err = m.Layers.Mounts(ctx, mount.Layer)
		case core.MountTmpfs:
			list = append(list, core.FSMount{Type: "tmpfs", Source: "tmpfs", Target: mount.Destination, Options: mount.Options})
			continue
		}
		if err != nil {
			return nil, err
		}
		fs.Options = define.BindOptions(mount)
		list = append(list, fs)
	}
	return list, nil
}

// volumes calls do for each volume and goes on after a failure; the first one is the answer.
func volumes(c *core.Container, do func(mount core.Mount) error) (first error) {
	for _, mount := range c.Mounts {
		if mount.Type != core.MountVolume {
			continue
		}
		if err := do(mount); err != nil && first == nil {
			first = fmt.Errorf("volume %s: %w", mount.Name, err)
		}
	}
	return first
}

// Adopt takes the volumes over of a container that ran on without a daemon.
func (m *Mounts) Adopt(ctx context.Context, c *core.Container) error {
	return volumes(c, func(mount core.Mount) error {
		_, err := m.Volumes.Mount(ctx, mount.Name, c.ID)
		return err
	})
}

// LetGo lets go of the volumes of a container that ended.
func (m *Mounts) LetGo(ctx context.Context, c *core.Container) error {
	return volumes(c, func(mount core.Mount) error { return m.Volumes.Unmount(ctx, mount.Name, c.ID) })
}

// DropAnonymous deletes the volumes that were made for this container alone and that nobody else uses.
func (m *Mounts) DropAnonymous(ctx context.Context, c *core.Container) error {
	return volumes(c, func(mount core.Mount) error {
		if !mount.Anonymous {
			return nil
		}
		return m.Objects.Drop(ctx, mount.Name, c.ID)
	})
}

// Unmake lets go of the images that a container mounts.
func (m *Mounts) Unmake(ctx context.Context, c *core.Container) (first error) {
	for _, mount := range c.Mounts {
		if mount.Layer == "" {
			continue
		}
		if err := m.Layers.Remove(ctx, mount.Layer); err != nil && first == nil {
			first = err
		}
	}
	return first
}
