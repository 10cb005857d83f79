package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Part shows a part of a folder at target, which it makes: a folder or a file. Links on the way are followed as long as
// they stay below base; whoever can write into base can't make it lead anywhere else, not even while Part runs, since
// the kernel resolves and what it found is what is mounted.
func Part(base, subpath, target string) error {
	tree, err := OpenPart(base, subpath)
	if err != nil {
		return err
	}
	defer tree.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(tree.Fd()), &st); err != nil {
		return fmt.Errorf("cannot access path %s: %w", filepath.Join(base, subpath), err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = os.Mkdir(target, 0o700)
	} else {
		err = os.WriteFile(target, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if err := unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s at %s: %w", filepath.Join(base, subpath), target, err)
	}
	return nil
}

// OpenPart gives a part of a folder, found as Part finds it, as a tree of mounts that is not mounted anywhere.
func OpenPart(base, subpath string) (*os.File, error) {
	found, err := beneath(base, subpath)
	if err != nil {
		return nil, err
	}
	defer unix.Close(found)
	tree, err := unix.OpenTree(found, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", filepath.Join(base, subpath), err)
	}
	return os.NewFile(uintptr(tree), filepath.Join(base, subpath)), nil
}

// maxTries bounds how often somebody who renames all the time can make the kernel start over.
const maxTries = 1000

func beneath(base, subpath string) (int, error) {
	root, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot access path %s: %w", base, err)
	}
	defer unix.Close(root)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	for tries := 0; ; tries++ {
		found, err := unix.Openat2(root, filepath.Clean(subpath), &how)
		switch {
		case err == nil:
			return found, nil
		case (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) && tries < maxTries:
		case errors.Is(err, unix.EXDEV):
			return -1, fmt.Errorf("cannot access path %s: path escapes from %s", filepath.Join(base, subpath), base)
		default:
			return -1, fmt.Errorf("cannot access path %s: %w", filepath.Join(base, subpath), err)
		}
	}
}

// Detach takes away everything that is mounted at the entries of a folder; what is busy goes as soon as it is not. A
// folder that is not there has none.
func Detach(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var errs []error
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}
