package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/failpoint"
	"github.com/berth-engine/berth/linux/mount"
	"github.com/berth-engine/berth/linux/tree"
)

// Mount readies a volume for a container and gives its path on the host. Mounting twice for one container is harmless.
func (vs *Volumes) Mount(ctx context.Context, name string, by core.ContainerID) (string, error) {
	v, err := vs.locked(name)
	if err != nil {
		return "", err
	}
	defer v.mu.Unlock()
	if err := v.attach(ctx); err != nil {
		return "", err
	}
	v.users[by] = true
	return v.record.Mountpoint, nil
}

// attach mounts what the options say, unless it is. The caller holds the lock.
func (v *volume) attach(ctx context.Context) error {
	name, path := v.record.Name, v.record.Mountpoint
	if _, err := os.Stat(path); err != nil {
		return core.Internal("volume %s: its folder is gone: %w", name, err)
	}
	if !isMounted(&v.record) {
		return nil
	}
	mounted, err := tree.IsMount(path)
	if err != nil {
		return core.Internal("volume %s: %w", name, err)
	}
	if mounted {
		return nil // for another container, or by the daemon before this one
	}
	if err := failpoint.Hit("volume:before-mount"); err != nil {
		return err
	}
	if err := mountOptions(ctx, v.record.Options, path); err != nil {
		return core.Internal("error while mounting volume '%s': failed to mount local volume: %w", path, err)
	}
	return failpoint.Hit("volume:mounted")
}

// Unmount lets go of a volume for a container. Letting go twice is harmless, also of a volume that is gone.
func (vs *Volumes) Unmount(_ context.Context, name string, by core.ContainerID) error {
	v, err := vs.locked(name)
	if err != nil {
		return nil // no volume, no mount
	}
	defer v.mu.Unlock()
	delete(v.users, by)
	return v.detach()
}

// Sweep takes the mounts away that nobody uses: of a container whose making the daemon did not survive. It is called once,
// when all containers that live have their volumes.
func (vs *Volumes) Sweep(ctx context.Context) error {
	all, err := vs.List(ctx)
	for _, known := range all {
		v, gone := vs.locked(known.Name)
		if gone != nil {
			continue
		}
		err = errors.Join(err, v.detach())
		v.mu.Unlock()
	}
	return err
}

// detach takes the mount away once nobody uses it. The caller holds the lock.
func (v *volume) detach() error {
	if !isMounted(&v.record) || len(v.users) > 0 || v.copies > 0 {
		return nil
	}
	if err := tree.Unmount(v.record.Mountpoint); err != nil {
		return core.Internal("volume %s: %w", v.record.Name, err)
	}
	return nil
}

// Fill copies what the image has at the destination into an empty volume, with owners and modes. root is the mounts of
// a root file system to look into. A volume that has content stays as it is, and so does one whose destination the
// image does not have.
func (vs *Volumes) Fill(ctx context.Context, name string, root []core.FSMount, destination string) (err error) {
	v, err := vs.locked(name)
	if err != nil {
		return err
	}
	defer v.mu.Unlock()
	if err := v.attach(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.detach()) }()
	empty, err := isEmpty(v.record.Mountpoint)
	if err != nil {
		return core.Internal("volume %s: %w", name, err)
	}
	if !empty {
		return nil
	}
	top, err := tree.OpenRoot(root, filepath.Dir(v.record.Mountpoint))
	if err != nil {
		return core.Internal("volume %s: look into the image: %w", name, err)
	}
	defer func() { err = errors.Join(err, top.Close()) }()
	from, err := tree.OpenIn(top, destination)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return core.Internal("cannot mount volume over existing file, file exists %s", destination)
	}
	if err != nil {
		return core.Internal("volume %s: look into the image: %w", name, err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if err := vs.fill(ctx, v, from); err != nil {
		return core.Internal("volume %s: fill it from the image: %w", name, err)
	}
	return nil
}

// fill copies into a folder beside the data and puts that in place of it, so that nobody ever finds half of it. A
// volume that is mounted, or that another container has open, is filled where it is.
func (vs *Volumes) fill(ctx context.Context, v *volume, from *os.File) error {
	data := v.record.Mountpoint
	if isMounted(&v.record) || len(v.users) > 0 || v.copies > 0 {
		return copyTo(ctx, from, data)
	}
	filling := filepath.Join(filepath.Dir(data), fillingName)
	if err := vs.drop(filling); err != nil {
		return err
	}
	if err := vs.makeData(filling, &v.record); err != nil {
		return errors.Join(err, vs.drop(filling))
	}
	err := copyTo(ctx, from, filling)
	if err == nil {
		err = failpoint.Hit("volume-fill:before-rename")
	}
	if err == nil {
		err = tree.Exchange(filling, data)
	}
	return errors.Join(err, vs.drop(filling))
}

func copyTo(ctx context.Context, from *os.File, path string) (err error) {
	to, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	return tree.Copy(ctx, from, to, nil)
}

func isEmpty(path string) (empty bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	names, err := f.Readdirnames(2)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	// A file system of its own has this one from birth.
	empty = len(names) == 0 || len(names) == 1 && names[0] == "lost+found"
	return empty, errors.Join(err, f.Close())
}

// Source checks that the source of a bind is there; with make a missing one becomes a folder.
func (vs *Volumes) Source(_ context.Context, path string, make bool) error {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist) && make:
		if err := os.MkdirAll(path, 0o755); err != nil {
			return core.Internal("error while creating mount source path '%s': %w", path, err)
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return core.Invalid(`invalid mount config for type "bind": bind source path does not exist: %s`, path)
	case make:
		return core.Internal("error while creating mount source path '%s': %w", path, err)
	}
	return core.Invalid(`invalid mount config for type "bind": %w`, err)
}

// Propagates refuses a propagation that the mount which a bind's source is on can't give: nothing would come through.
func (vs *Volumes) Propagates(_ context.Context, path, propagation string) error {
	var kinds string
	switch propagation {
	case "shared", "rshared":
		kinds = "shared"
	case "slave", "rslave":
		kinds = "shared or slave"
	default:
		return nil
	}
	on, err := mount.Of(path)
	if err != nil {
		return core.Internal("look for the mount that %s is on: %w", path, err)
	}
	if on.Shared || on.Slave && kinds != "shared" {
		return nil
	}
	return core.Internal("path %s is mounted on %s but it is not a %s mount", path, on.Point, kinds)
}

// Size is how many bytes the files of a volume hold, each counted once whatever its number of names. What is mounted
// from elsewhere is not counted.
func (vs *Volumes) Size(ctx context.Context, name string) (int64, error) {
	v, err := vs.find(name)
	if err != nil {
		return 0, err
	}
	if isMounted(&v.record) {
		return 0, nil
	}
	size, err := folderSize(ctx, v.record.Mountpoint)
	if err != nil {
		return 0, core.Internal("size of volume %s: %w", name, err)
	}
	return size, nil
}

func folderSize(ctx context.Context, path string) (total int64, err error) {
	type inode struct{ device, number uint64 }
	seen := map[inode]bool{}
	err = filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil && entry.IsDir() {
			return nil
		}
		var info fs.FileInfo
		if err == nil {
			info, err = entry.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted while we looked
		}
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: no inode", entry.Name())
		}
		if st.Nlink > 1 {
			key := inode{st.Dev, st.Ino}
			if seen[key] {
				return nil
			}
			seen[key] = true
		}
		total += st.Size
		return nil
	})
	return total, err
}
