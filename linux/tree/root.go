// Package tree looks into root file systems and copies trees of files, without ever leaving them: whatever links the
// files inside contain, a path is resolved below the root that was given.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/mount"
)

// OpenRoot mounts a root file system read-only where nobody else sees it, and gives its top folder. The mount lives as
// long as the file is open. over is any folder that is not part of the root file system; the mount covers it in a
// namespace of its own, so that the host does not notice.
func OpenRoot(mounts []core.FSMount, over string) (root *os.File, err error) {
	mounts = ReadOnly(mounts)
	OnOwnThread(func() { root, err = openRoot(mounts, over) })
	return root, err
}

// OnOwnThread runs f on a thread that ends with it, so that what f changes of the thread touches nobody else, and waits
// for its end.
func OnOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		locked(f)
	}()
	<-done
}

// locked runs f on a thread of its own, in a goroutine that ends with it. It must not be the first thread of the process,
// which can't end and is what others see of the process.
func locked(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		f() // not unlocked: the thread ends with the goroutine
		return
	}
	OnOwnThread(f)
	runtime.UnlockOSThread()
}

func openRoot(mounts []core.FSMount, over string) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("a mount namespace of its own: %w", err)
	}
	if err := mount.Slave(); err != nil {
		return nil, err
	}
	if err := mount.All(mounts, over); err != nil {
		return nil, err
	}
	// A copy of the mount that belongs to the file alone: the one at over ends with the namespace, and in a mount that
	// has ended the kernel no longer resolves "..".
	fd, err := unix.OpenTree(unix.AT_FDCWD, over, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", over, err)
	}
	return os.NewFile(uintptr(fd), over), nil
}

// ReadOnly turns overlays with a writable layer into ones that only read it: a layer may be written through one mount
// at a time.
func ReadOnly(mounts []core.FSMount) []core.FSMount {
	mounts = slices.Clone(mounts)
	for i, m := range mounts {
		var upper string
		var lower int
		options := make([]string, 0, len(m.Options)+1)
		for _, option := range m.Options {
			key, value, _ := strings.Cut(option, "=")
			switch key {
			case "upperdir":
				upper = value
			case "workdir", "rw", "ro":
			default:
				if key == "lowerdir" {
					lower = len(options)
				}
				options = append(options, option)
			}
		}
		if m.Type == "overlay" && upper != "" {
			options[lower] = "lowerdir=" + upper + ":" + strings.TrimPrefix(options[lower], "lowerdir=")
		}
		mounts[i].Options = append(options, "ro")
	}
	return mounts
}

// OpenIn opens a folder by its path inside root, as a process whose root that is would. The errors for what is not
// there and what is no folder are fs.ErrNotExist and ENOTDIR.
func OpenIn(root *os.File, path string) (*os.File, error) {
	return resolve(root, path, unix.O_RDONLY|unix.O_DIRECTORY)
}

// OpenQuiet opens a folder of the host that a container writes to. What is opened below it is opened through a mount that
// belongs to the file alone, read-only, and through which no device can be opened: whatever the container puts in a
// file's place, looking at it has no effect.
func OpenQuiet(folder string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, folder, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: folder, Err: err}
	}
	defer unix.Close(fd)
	quiet := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &quiet); err != nil {
		return nil, &os.PathError{Op: "mount_setattr", Path: folder, Err: err}
	}
	top, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: folder, Err: err}
	}
	return os.NewFile(uintptr(top), folder), nil
}

// OpenFileIn opens a file for reading by its path inside root. Whatever is no file is fs.ErrNotExist; a pipe does not block.
func OpenFileIn(root *os.File, path string) (*os.File, error) {
	file, err := resolve(root, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Locate finds whatever is at a path inside root, as a process whose root that is would, without opening it: the file
// stands for the entry (O_PATH). With unix.O_NOFOLLOW among the flags a symbolic link at the end is not followed.
func Locate(root *os.File, path string, flags uint64) (*os.File, error) {
	return resolve(root, path, unix.O_PATH|flags)
}

func resolve(root *os.File, path string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(int(root.Fd()), path, &how)
		// EAGAIN: somebody renamed or mounted on the way, and the kernel could not make sure that the path stays inside.
		if tries < 1000 && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}

// MakeAll opens a folder by its path inside root and makes what is missing on the way below top, for the owner root and
// readable by all. top is clean and absolute, as folder's path begins; where it is not there, the error is fs.ErrNotExist.
func MakeAll(root *os.File, top, folder string) (*os.File, error) {
	folder = path.Clean("/" + folder)
	found, err := OpenIn(root, folder)
	if !errors.Is(err, fs.ErrNotExist) || folder == top {
		return found, err
	}
	parent, err := MakeAll(root, top, path.Dir(folder))
	if err != nil {
		return nil, err
	}
	err = unix.Mkdirat(int(parent.Fd()), path.Base(folder), 0o755)
	if errors.Is(err, unix.EEXIST) {
		err = nil // somebody was faster, or it is a link that leads nowhere: the next look tells
	}
	if err = errors.Join(err, parent.Close()); err != nil {
		return nil, &os.PathError{Op: "mkdir", Path: folder, Err: err}
	}
	return OpenIn(root, folder)
}

// IsMount reports whether path is the top of a mount.
func IsMount(path string) (bool, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, 0, &st); err != nil {
		return false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return false, errors.New("the kernel does not tell what is a mount: Linux 5.8 or newer is needed")
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// Unmount takes the mounts at path away, all of them; one that is busy goes as soon as it no longer is. None is no
// error.
func Unmount(path string) error {
	for {
		switch err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil
		case err != nil:
			return &os.PathError{Op: "unmount", Path: path, Err: err}
		}
	}
}
