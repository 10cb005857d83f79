// Package mount makes the mounts that core.FSMount describes, with mount(2) and its younger siblings.
package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
)

// flags are the options of mount(8) that are bits of mount(2); the rest is the file system's own data.
var flags = map[string]struct {
	clear bool
	bit   uintptr
}{
	"ro": {false, unix.MS_RDONLY}, "rw": {true, unix.MS_RDONLY},
	"nosuid": {false, unix.MS_NOSUID}, "suid": {true, unix.MS_NOSUID},
	"nodev": {false, unix.MS_NODEV}, "dev": {true, unix.MS_NODEV},
	"noexec": {false, unix.MS_NOEXEC}, "exec": {true, unix.MS_NOEXEC},
	"sync": {false, unix.MS_SYNCHRONOUS}, "async": {true, unix.MS_SYNCHRONOUS},
	"dirsync": {false, unix.MS_DIRSYNC}, "defaults": {false, 0},
	"noatime": {false, unix.MS_NOATIME}, "atime": {true, unix.MS_NOATIME},
	"nodiratime": {false, unix.MS_NODIRATIME}, "diratime": {true, unix.MS_NODIRATIME},
	"relatime": {false, unix.MS_RELATIME}, "norelatime": {true, unix.MS_RELATIME},
	"strictatime": {false, unix.MS_STRICTATIME}, "nostrictatime": {true, unix.MS_STRICTATIME},
	"bind": {false, unix.MS_BIND}, "rbind": {false, unix.MS_BIND | unix.MS_REC},
	"nosymfollow": {false, unix.MS_NOSYMFOLLOW}, "symfollow": {true, unix.MS_NOSYMFOLLOW},
	"lazytime": {false, unix.MS_LAZYTIME}, "nolazytime": {true, unix.MS_LAZYTIME},
	"iversion": {false, unix.MS_I_VERSION}, "noiversion": {true, unix.MS_I_VERSION},
	"mand": {false, unix.MS_MANDLOCK}, "nomand": {true, unix.MS_MANDLOCK},
	"silent": {false, unix.MS_SILENT}, "loud": {true, unix.MS_SILENT},
	"remount": {false, unix.MS_REMOUNT},
}

// propagations are options for a call of their own, once something is mounted.
var propagations = map[string]uintptr{
	"private": unix.MS_PRIVATE, "rprivate": unix.MS_PRIVATE | unix.MS_REC,
	"shared": unix.MS_SHARED, "rshared": unix.MS_SHARED | unix.MS_REC,
	"slave": unix.MS_SLAVE, "rslave": unix.MS_SLAVE | unix.MS_REC,
	"unbindable": unix.MS_UNBINDABLE, "runbindable": unix.MS_UNBINDABLE | unix.MS_REC,
}

// forFstab are options of mount(8) that the kernel never sees (mount(8), "Filesystem-independent mount options").
var forFstab = []string{"auto", "noauto", "user", "nouser", "users", "group", "owner", "nofail", "_netdev"}

// Options sorts the options of mount(8): those that are bits of mount(2), how mounts propagate, and the file system's own
// data. What only the table of mounts is interested in is left out.
func Options(options []string) (bits uintptr, propagation []uintptr, data string) {
	var rest []string
	for _, o := range options {
		o = strings.TrimSpace(o)
		kind, found := propagations[o]
		switch {
		case found:
			propagation = append(propagation, kind)
		case o == "", slices.Contains(forFstab, o), strings.HasPrefix(o, "x-"), strings.HasPrefix(o, "comment="):
		default:
			rest = append(rest, o)
		}
	}
	bits, rest = parse(rest)
	return bits, propagation, join(rest)
}

// join makes the text that mount(2) reads. A label of SELinux may have commas in it.
func join(options []string) string {
	options = slices.Clone(options)
	for i, o := range options {
		if label, ok := strings.CutPrefix(o, "context="); ok && strings.Contains(label, ",") {
			options[i] = "context=" + strconv.Quote(label)
		}
	}
	return strings.Join(options, ",")
}

// parse takes out of options what is a bit.
func parse(options []string) (bits uintptr, rest []string) {
	for _, o := range options {
		flag, ok := flags[o]
		switch {
		case !ok:
			rest = append(rest, o)
		case flag.clear:
			bits &^= flag.bit
		default:
			bits |= flag.bit
		}
	}
	return bits, rest
}

// All makes the mounts of a root file system at target, in order. When one fails, those before it are undone.
func All(mounts []core.FSMount, target string) error {
	for i, m := range mounts {
		if err := One(m, target); err != nil {
			for j := i - 1; j >= 0; j-- {
				err = errors.Join(err, unix.Unmount(filepath.Join(target, mounts[j].Target), unix.MNT_DETACH))
			}
			return err
		}
	}
	return nil
}

// One makes a mount below target.
func One(m core.FSMount, target string) error {
	if m.Target != "" {
		target = filepath.Join(target, m.Target)
	}
	bits, propagation, data := Options(m.Options)
	kind := m.Type
	if kind == "bind" || kind == "rbind" {
		bits |= unix.MS_BIND
		kind = ""
	}
	if kind == "overlay" && len(data) >= os.Getpagesize()-1 {
		return overlayInPieces(m, bits, target)
	}
	if err := unix.Mount(m.Source, target, kind, bits, data); err != nil {
		return failed(m.Source, target, bits, data, err)
	}
	// A bind takes over the flags of its source; what was asked for needs a second call (mount(2), "bind mounts").
	const remount = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME | unix.MS_NOSYMFOLLOW
	if bits&unix.MS_BIND != 0 && bits&remount != 0 {
		if err := unix.Mount("", target, "", bits&^uintptr(unix.MS_REC)|unix.MS_REMOUNT, ""); err != nil {
			err = fmt.Errorf("mount %s with its flags at %s: %w", m.Source, target, err)
			return errors.Join(err, unix.Unmount(target, unix.MNT_DETACH))
		}
	}
	for _, how := range propagation {
		if err := unix.Mount("", target, "", how, ""); err != nil {
			return errors.Join(failed("", target, how, "", err), unix.Unmount(target, unix.MNT_DETACH))
		}
	}
	return nil
}

// failed says what could not be mounted, in the words that Docker's users know. The options of an overlay are pages long.
func failed(source, target string, bits uintptr, data string, err error) error {
	what := source + ":" + target
	if source == "" {
		what = target
	}
	if bits != 0 {
		what += ", flags: 0x" + strconv.FormatUint(uint64(bits), 16)
	}
	if data != "" && source != "overlay" {
		what += ", data: " + withoutSecrets(data)
	}
	return fmt.Errorf("mount %s: %w", what, err)
}

// secrets are the options of mount.cifs(8) that nobody else is to read.
var secrets = []string{"password", "password2", "pass"}

func withoutSecrets(data string) string {
	options := strings.Split(data, ",")
	for i, option := range options {
		if key, _, ok := strings.Cut(option, "="); ok && slices.Contains(secrets, key) {
			options[i] = key + "=********"
		}
	}
	return strings.Join(options, ",")
}

// overlayInPieces mounts an overlay whose options do not fit into the one page that mount(2) reads: each option is
// set by a call of fsconfig(2), each lower folder by one of its own where the kernel can do that (6.5).
func overlayInPieces(m core.FSMount, bits uintptr, target string) error {
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("mount overlay at %s: fsopen: %w", target, err)
	}
	defer unix.Close(fd)
	_, rest := parse(m.Options)
	for _, option := range rest {
		key, value, hasValue := strings.Cut(option, "=")
		switch {
		case key == "lowerdir":
			for lower := range strings.SplitSeq(value, ":") {
				if err := unix.FsconfigSetString(fd, "lowerdir+", lower); err != nil {
					return fmt.Errorf("mount overlay at %s: lower folder %s: %w", target, lower, err)
				}
			}
			continue
		case hasValue:
			err = unix.FsconfigSetString(fd, key, value)
		default:
			err = unix.FsconfigSetFlag(fd, key)
		}
		if err != nil {
			return fmt.Errorf("mount overlay at %s: option %s: %w", target, option, err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return fmt.Errorf("mount overlay at %s: %w", target, err)
	}
	attributes := 0
	if bits&unix.MS_RDONLY != 0 {
		attributes = unix.MOUNT_ATTR_RDONLY
	}
	made, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return fmt.Errorf("mount overlay at %s: fsmount: %w", target, err)
	}
	defer unix.Close(made)
	if err := unix.MoveMount(made, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount overlay at %s: move: %w", target, err)
	}
	return nil
}

// Slave makes this process's mount namespace receive the host's mounts and unmounts, but send none: a folder that is
// unmounted on the host is not kept busy here.
func Slave() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make / a slave: %w", err)
	}
	return nil
}

// From shows the tree of mounts that another process sees at path, at target in this mount namespace.
func From(pid int, path, target string) error {
	tree, err := treeOf(pid, path)
	if err != nil {
		return fmt.Errorf("mount %s of process %d: %w", path, pid, err)
	}
	defer unix.Close(tree)
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s of process %d at %s: %w", path, pid, target, err)
	}
	return nil
}

// treeOf copies a tree of mounts in another process's mount namespace. Only a thread that is in that namespace may do
// so; the thread ends afterwards, since it can't go back.
func treeOf(pid int, path string) (tree int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			return
		}
		var ns int
		ns, err = unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		defer unix.Close(ns)
		if err = unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
			return
		}
		tree, err = unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	}()
	<-done
	return tree, err
}
