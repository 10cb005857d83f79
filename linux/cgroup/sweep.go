package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Sweep removes the empty cgroups at and below path ("/berth/ab12cd") in every hierarchy. One that has processes, or
// children that have, stays: the kernel says so (EBUSY). Nobody else may be making cgroups there: between the making of
// a parent and of its child both are empty. That is why what lies above path stays: other daemons share it.
func Sweep(path string) error {
	roots := []string{Mountpoint}
	if !Unified() {
		entries, err := os.ReadDir(Mountpoint)
		if err != nil {
			return err
		}
		roots = roots[:0]
		for _, entry := range entries {
			if entry.IsDir() {
				roots = append(roots, filepath.Join(Mountpoint, entry.Name()))
			}
		}
	}
	var failed error
	for _, root := range roots {
		top := filepath.Join(root, path)
		var dirs []string
		err := filepath.WalkDir(top, func(dir string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, dir)
			}
			return nil // one that vanished meanwhile needs no removal
		})
		failed = errors.Join(failed, err)
		slices.Reverse(dirs) // children first
		for _, dir := range dirs {
			if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.ENOENT) {
				failed = errors.Join(failed, &fs.PathError{Op: "rmdir", Path: dir, Err: err})
			}
		}
	}
	return failed
}
