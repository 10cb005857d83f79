package object

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

// CopyPort is what the engine needs of the volume organ to copy what volumes hold. Each makes all of what it makes or
// nothing, whenever the daemon dies.
type CopyPort interface {
	// Export writes a tar of a volume or, with a tag, of a snapshot of it.
	Export(ctx context.Context, name, tag string, w io.Writer) error
	// Import makes a volume of a tar, fills an empty one, or with replace takes away what a volume holds.
	Import(ctx context.Context, name string, r io.Reader, replace bool) (volume core.Volume, isNew bool, err error)
	// Clone makes a volume with the content of another one or, with a tag, of a snapshot of it.
	Clone(ctx context.Context, name, tag, as string, progress core.ProgressFunc) (core.Volume, error)
	// Rename gives a volume another name. The engine has checked that no container refers to it.
	Rename(ctx context.Context, name, as string) (core.Volume, error)
	// Snapshot keeps what a volume holds under a tag; an empty one is made up. Snapshots lists them, oldest first.
	Snapshot(ctx context.Context, name, tag string, progress core.ProgressFunc) (core.VolumeSnapshot, error)
	Snapshots(ctx context.Context, name string) ([]core.VolumeSnapshot, error)
	// Rollback gives a volume that nobody uses the content of a snapshot.
	Rollback(ctx context.Context, name, tag string, progress core.ProgressFunc) error
	RemoveSnapshot(ctx context.Context, name, tag string) error
}

// Freezer pauses containers for as long as their files are copied. A daemon that dies meanwhile thaws them when it comes
// back.
type Freezer interface {
	Freeze(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
}

// Packing is how tars are compressed.
type Packing struct {
	// Compress packs as the format says: "gzip" or "zstd". Closing its writer ends the compressed data, and no more.
	Compress func(w io.Writer, format string) (io.WriteCloser, error)
	// Decompress unpacks what is in any known format, or in none.
	Decompress func(io.Reader) (io.ReadCloser, error)
}

// Copies are the verbs of volumes that Docker does not have.
type Copies struct {
	volumes *Volumes
	port    CopyPort
	freezer Freezer
	packing Packing
}

// NewCopies makes them.
func NewCopies(volumes *Volumes, port CopyPort, freezer Freezer, packing Packing) *Copies {
	return &Copies{volumes: volumes, port: port, freezer: freezer, packing: packing}
}

// frozen calls do while every running container that has the volume is paused, so that what it holds is that of one
// moment.
func (t *Copies) frozen(ctx context.Context, name string, pause bool, do func() error) (err error) {
	if pause {
		for _, c := range t.volumes.containers.Views() {
			if c.State.Status != core.StatusRunning || !mountsVolume(c, name) {
				continue
			}
			// One that ends, or that somebody else pauses, at this moment needs no pause.
			if t.freezer.Freeze(ctx, string(c.ID)) == nil {
				defer func() {
					thawed := t.freezer.Unpause(context.WithoutCancel(ctx), string(c.ID))
					if ended := errdefs.IsConflict(thawed) || errdefs.IsNotFound(thawed); thawed != nil && !ended {
						err = errors.Join(err, thawed)
					}
				}()
			}
		}
	}
	return do()
}

func mountsVolume(c *core.Container, name string) bool {
	return slices.ContainsFunc(c.Mounts, func(m core.Mount) bool { return m.Type == core.MountVolume && m.Name == name })
}

// settled waits until containers that have just ended have let go of the volume.
func (t *Copies) settled(ctx context.Context, name string) error {
	for _, c := range t.volumes.containers.Views() {
		if c.State.Running() || !mountsVolume(c, name) {
			continue
		}
		_, release, err := t.volumes.containers.Hold(ctx, string(c.ID))
		switch {
		case err == nil:
			release()
		case !errdefs.IsNotFound(err): // it is gone, and all that it had
			return err
		}
	}
	return nil
}

// Export writes a tar of a volume as it is at the time or, with a tag, of a snapshot. An empty format leaves it as it is.
func (t *Copies) Export(ctx context.Context, name, tag, format string, w io.Writer) error {
	if format == "" || format == "none" {
		return t.port.Export(ctx, name, tag, w)
	}
	// Before anything is written: a name that is not there has a status.
	if _, err := t.volumes.port.Lookup(ctx, name); err != nil {
		return err
	}
	out := &cuttable{to: w}
	packed, err := t.packing.Compress(out, format)
	if err != nil {
		return err
	}
	if err := t.port.Export(ctx, name, tag, packed); err != nil {
		out.cut.Store(true) // nobody must take what was sent for whole
		return errors.Join(err, ignoreCut(packed.Close()))
	}
	return packed.Close()
}

// cuttable is a writer that takes nothing more once it is cut; compressors write from goroutines of their own.
type cuttable struct {
	to  io.Writer
	cut atomic.Bool
}

var errCut = errors.New("cut off")

// Write writes, unless it is cut.
func (c *cuttable) Write(p []byte) (int, error) {
	if c.cut.Load() {
		return 0, errCut
	}
	return c.to.Write(p)
}

func ignoreCut(err error) error {
	if errors.Is(err, errCut) {
		return nil
	}
	return err
}

// Import makes or fills a volume. Stopped containers that have it get the new content; a running one is in the way.
func (t *Copies) Import(ctx context.Context, name string, r io.Reader, replace bool) (core.Volume, error) {
	unpacked, err := t.packing.Decompress(r)
	if err != nil {
		return core.Volume{}, err
	}
	defer unpacked.Close()
	if err := t.settled(ctx, name); err != nil {
		return core.Volume{}, err
	}
	v, isNew, err := t.port.Import(ctx, name, unpacked, replace)
	if err != nil {
		return core.Volume{}, err
	}
	if isNew {
		t.volumes.publish(v, "create")
	}
	t.volumes.publish(v, "import")
	return v, nil
}

// Clone makes a volume like another one. pause stops the containers that write to it meanwhile; a snapshot needs none.
func (t *Copies) Clone(ctx context.Context, name, tag, as string, pause bool, progress core.ProgressFunc) (made core.Volume, err error) {
	err = t.frozen(ctx, name, pause && tag == "", func() error {
		made, err = t.port.Clone(ctx, name, tag, as, progress)
		return err
	})
	if err == nil {
		t.volumes.publish(made, "create")
	}
	return made, err
}

// Rename gives a volume another name, unless a container refers to it by the old one, running or not: its definition
// (`-v old:/data`) is what the user wrote, and compared by tools with what they want; to change it behind their back would
// have them make the old volume again.
func (t *Copies) Rename(ctx context.Context, name, as string) error {
	t.volumes.mu.Lock()
	defer t.volumes.mu.Unlock()
	if _, err := t.volumes.port.Lookup(ctx, name); err != nil {
		return err
	}
	if err := t.volumes.unused("rename", name); err != nil {
		return err
	}
	v, err := t.port.Rename(ctx, name, as)
	if err == nil {
		t.volumes.events.Publish(core.Event{Type: "volume", Action: "rename", ID: v.Name, Attributes: map[string]string{"driver": v.Driver, "oldName": name}})
	}
	return err
}

// Snapshot keeps what a volume holds; pause stops the containers that write to it meanwhile.
func (t *Copies) Snapshot(ctx context.Context, name, tag string, pause bool, progress core.ProgressFunc) (made core.VolumeSnapshot, err error) {
	err = t.frozen(ctx, name, pause, func() error {
		made, err = t.port.Snapshot(ctx, name, tag, progress)
		return err
	})
	if err == nil {
		t.tell(name, "snapshot", made.Tag)
	}
	return made, err
}

// Snapshots lists the snapshots of a volume.
func (t *Copies) Snapshots(ctx context.Context, name string) ([]core.VolumeSnapshot, error) {
	return t.port.Snapshots(ctx, name)
}

// Rollback gives a volume the content of a snapshot. A running container that has it is in the way.
func (t *Copies) Rollback(ctx context.Context, name, tag string, progress core.ProgressFunc) error {
	err := t.settled(ctx, name)
	if err == nil {
		err = t.port.Rollback(ctx, name, tag, progress)
	}
	if err == nil {
		t.tell(name, "rollback", tag)
	}
	return err
}

// RemoveSnapshot deletes a snapshot.
func (t *Copies) RemoveSnapshot(ctx context.Context, name, tag string) error {
	return t.port.RemoveSnapshot(ctx, name, tag)
}

func (t *Copies) tell(name, action, tag string) {
	t.volumes.events.Publish(core.Event{Type: "volume", Action: action, ID: name, Attributes: map[string]string{"driver": "local", "tag": tag}})
}
