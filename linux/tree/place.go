package tree

import (
	"os"

	"golang.org/x/sys/unix"
)

// Exchange gives each of two paths what the other one has, in one step that a crash can't divide.
func Exchange(a, b string) error { return rename(a, b, unix.RENAME_EXCHANGE) }

// Place renames, and fails with fs.ErrExist when the new name is taken.
func Place(from, to string) error { return rename(from, to, unix.RENAME_NOREPLACE) }

func rename(from, to string, flags uint) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// Sync brings the file system that a folder is on to the disk: one call for all of a large tree.
func Sync(folder string) error {
	fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: folder, Err: err}
	}
	defer unix.Close(fd)
	if err := unix.Syncfs(fd); err != nil {
		return &os.PathError{Op: "syncfs", Path: folder, Err: err}
	}
	return nil
}
