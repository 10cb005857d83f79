// Package rootfs shows the files of a container to the daemon as the container sees them: the root file system with
// the volumes, folders and files that are mounted over it, and nothing of the host beside them. /proc, /sys and /dev are
// left out, as in Docker.
//
// A view is a tree of mounts that belongs to no mount namespace but to an open file: it ends with the file, and so with the
// daemon, however that ends. Paths are resolved by the kernel below its top (openat2, RESOLVE_IN_ROOT), whatever links
// the container makes meanwhile; and the mounts of a view are nodev, so that no device of the container's making is
// ever opened.
package rootfs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/mount"
	"github.com/berth-engine/berth/linux/tree"
)

// ErrEnded says that the container's process has ended since the daemon last heard of it.
var ErrEnded = errors.New("the container's process has ended")

// View is the files of one container. Its methods may be called at the same time.
type View struct {
	root *os.File // with all that is mounted
	bare *os.File // the root file system alone
}

// Open puts a view together.
func Open(v core.FilesView) (*View, error) {
	var given given
	var err error
	defer given.close()
	if v.PID != 0 {
		if given, err = ofProcess(v); err != nil {
			return nil, fmt.Errorf("files of container %s: %w", v.Container.Short(), err)
		}
	}
	var view View
	tree.OnOwnThread(func() { view, err = assemble(v, &given) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("files of container %s: %w", v.Container.Short(), err), view.Close())
	}
	return &view, nil
}

// Close lets the mounts go.
func (v *View) Close() error {
	var err error
	for _, f := range []*os.File{v.root, v.bare} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// submount is a tree of mounts that is to be seen at a path of the container.
type submount struct {
	tree   *os.File
	target string
}

// given is what a running container has mounted.
type given struct {
	root *os.File
	subs []submount
}

func (g *given) close() {
	if g.root != nil {
		g.root.Close()
	}
	for _, s := range g.subs {
		s.tree.Close()
	}
}

// ofProcess copies the mounts of a running container out of its mount namespace.
func ofProcess(v core.FilesView) (g given, err error) {
	process, err := holdProcess(v)
	if err != nil {
		return given{}, err
	}
	defer unix.Close(process)
	tree.OnOwnThread(func() {
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			return
		}
		if err = unix.Setns(process, unix.CLONE_NEWNS); err != nil {
			if errors.Is(err, unix.ESRCH) {
				err = ErrEnded
			}
			return
		}
		g, err = cloneMounts(v.Mounts)
	})
	return g, err
}

// holdProcess opens the container's first process and makes sure that it is still that one: the number of a process
// that has ended may be another's by now. What /proc said of the number was said of the process that is held, if
// that still lives afterwards.
func holdProcess(v core.FilesView) (int, error) {
	process, err := unix.PidfdOpen(v.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, ErrEnded
	}
	if err != nil {
		return -1, fmt.Errorf("process %d: %w", v.PID, err)
	}
	groups, err := os.ReadFile("/proc/" + strconv.Itoa(v.PID) + "/cgroup")
	switch {
	case unix.PidfdSendSignal(process, 0, nil, 0) != nil || errors.Is(err, fs.ErrNotExist):
		err = ErrEnded
	case err == nil && !strings.Contains(string(groups), string(v.Container)):
		err = ErrEnded // the number is another process's
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(process))
	}
	return process, nil
}

// cloneMounts copies the root and the mounts at the targets of the mount namespace that this thread is in.
func cloneMounts(mounts []core.FSMount) (g given, err error) {
	top, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return given{}, fmt.Errorf("the root: %w", err)
	}
	g.root = os.NewFile(uintptr(top), "/")
	here, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return g, err
	}
	root := os.NewFile(uintptr(here), "/")
	defer root.Close()
	for _, m := range mounts {
		at, err := tree.Locate(root, m.Target, 0)
		if err != nil {
			continue // the container has taken it away
		}
		sub, err := cloneMountAt(at)
		if err = errors.Join(err, at.Close()); err != nil {
			return g, fmt.Errorf("%s: %w", m.Target, err)
		}
		if sub != nil {
			g.subs = append(g.subs, submount{sub, m.Target})
		}
	}
	return g, nil
}

// cloneMountAt copies the mount whose top is open; nil: it is not the top of one.
func cloneMountAt(at *os.File) (*os.File, error) {
	var st unix.Statx_t
	if err := unix.Statx(int(at.Fd()), "", unix.AT_EMPTY_PATH, 0, &st); err != nil {
		return nil, err
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return nil, nil
	}
	return cloneTree(int(at.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
}

func cloneTree(folder int, path string, flags uint) (*os.File, error) {
	fd, err := unix.OpenTree(folder, path, flags|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// assemble runs on a thread that ends with it.
func assemble(v core.FilesView, g *given) (View, error) {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return View{}, fmt.Errorf("a mount namespace of its own: %w", err)
	}
	if err := mount.Slave(); err != nil {
		return View{}, err
	}
	if v.PID == 0 {
		// Before the root covers the folder that some of them may lie in.
		if err := g.addBinds(v.Mounts, v.Over); err != nil {
			return View{}, err
		}
		if err := mount.All(v.Root, v.Over); err != nil {
			return View{}, err
		}
	} else if err := attach(g.root, unix.AT_FDCWD, v.Over, 0); err != nil {
		return View{}, err
	}
	top, err := unix.Open(v.Over, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return View{}, err
	}
	root := os.NewFile(uintptr(top), v.Over)
	defer root.Close()
	for _, s := range g.subs {
		if err := attachBelow(root, s); err != nil {
			return View{}, fmt.Errorf("%s: %w", s.target, err)
		}
	}
	if v.ReadOnly {
		attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(unix.AT_FDCWD, v.Over, 0, &attributes); err != nil {
			return View{}, fmt.Errorf("read-only: %w", err)
		}
	}
	// No device is opened, no program of the container's is run, through this view.
	harmless := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(unix.AT_FDCWD, v.Over, unix.AT_RECURSIVE, &harmless); err != nil {
		return View{}, fmt.Errorf("nodev: %w", err)
	}
	var view View
	if view.root, err = cloneTree(unix.AT_FDCWD, v.Over, unix.AT_RECURSIVE); err != nil {
		return view, err
	}
	view.bare, err = cloneTree(unix.AT_FDCWD, v.Over, 0)
	return view, err
}

// addBinds opens what is mounted into a container that does not run: volumes, images, folders and files of the host.
// What is at over may be covered meanwhile.
func (g *given) addBinds(mounts []core.FSMount, over string) error {
	for _, m := range mounts {
		sub, err := openBind(m, over)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the host has taken it away: its start will say so, or make it
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Target, err)
		}
		g.subs = append(g.subs, submount{sub, m.Target})
		if slices.Contains(m.Options, "ro") {
			attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
			if err := unix.MountSetattr(int(sub.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attributes); err != nil {
				return fmt.Errorf("%s read-only: %w", m.Target, err)
			}
		}
	}
	return nil
}

func openBind(m core.FSMount, over string) (*os.File, error) {
	switch {
	case len(m.Below) > 0:
		if err := mount.All(tree.ReadOnly(m.Below), over); err != nil {
			return nil, err
		}
		part, err := mount.OpenPart(over, cmp.Or(m.Subpath, "."))
		return part, errors.Join(err, unix.Unmount(over, unix.MNT_DETACH))
	case m.Subpath != "":
		return mount.OpenPart(m.Source, m.Subpath)
	case slices.Contains(m.Options, "bind"):
		return cloneTree(unix.AT_FDCWD, m.Source, 0)
	}
	return cloneTree(unix.AT_FDCWD, m.Source, unix.AT_RECURSIVE)
}

// attach mounts a tree that belongs to a file. It is private: nothing that happens to it is told to others.
func attach(sub *os.File, folder int, path string, flags int) error {
	private := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(int(sub.Fd()), "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &private); err != nil {
		return fmt.Errorf("private: %w", err)
	}
	return unix.MoveMount(int(sub.Fd()), "", folder, path, unix.MOVE_MOUNT_F_EMPTY_PATH|flags)
}

// attachBelow mounts a tree at a path of the container, which is made where it is missing.
func attachBelow(root *os.File, s submount) error {
	at, err := tree.Locate(root, s.target, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeTarget(root, s); err == nil {
			at, err = tree.Locate(root, s.target, 0)
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(attach(s.tree, int(at.Fd()), "", unix.MOVE_MOUNT_T_EMPTY_PATH), at.Close())
}

// makeTarget makes the place for a mount, as the start of the container would: a folder, or an empty file.
func makeTarget(root *os.File, s submount) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(s.tree.Fd()), "", &st, unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		folder, err := tree.MakeAll(root, "/", s.target)
		if err != nil {
			return err
		}
		return folder.Close()
	}
	folder, err := tree.MakeAll(root, "/", path.Dir(s.target))
	if err != nil {
		return err
	}
	defer folder.Close()
	file, err := unix.Openat(int(folder.Fd()), path.Base(s.target), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(file)
}
