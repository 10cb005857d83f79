package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// deepest is how many folders may lie in each other: each costs two open files while it is being copied.
const deepest = 2048

// step is how many bytes of a file are copied between two looks at whether somebody still wants the copy.
const step = 64 << 20

// Copying says how Copy copies, and what it has copied.
type Copying struct {
	// Live leaves out what vanishes while it is looked at, instead of failing: somebody may be writing to the source.
	Live bool
	// Count, when not nil, is told of each piece of content.
	Count func(bytes int64)

	Files  int   // that are no folders
	Bytes  int64 // of content, without holes at the end of the work
	Shared int64 // of those: content that both files have in common until one is written to (FICLONE)
}

// Copy copies everything in the folder from into the folder to, which should be empty: files with their holes,
// folders, links symbolic and hard, devices, pipes and sockets, with owners, modes, times and extended attributes, and
// those of from itself onto to. Where the file system can, content is shared and not copied. Neither symbolic links nor
// mounts inside from are followed out of it. On an error, or when ctx ends, a part may have been copied. how may be nil.
func Copy(ctx context.Context, from, to *os.File, how *Copying) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if how == nil {
		how = &Copying{}
	}
	c := &copier{Copying: how, top: int(to.Fd()), device: st.Dev, links: map[inode]string{}}
	if err := c.folder(ctx, int(from.Fd()), int(to.Fd()), &st, "", 0); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}

type copier struct {
	*Copying
	top     int              // the folder that everything is copied to
	device  uint64           // of the source
	links   map[inode]string // the first name below top of each file with several names
	noClone bool             // the file system can't share content
}

// gone reports errors of what was there, or was something else, a moment ago, when that is to be expected.
func (c *copier) gone(err error) bool {
	return c.Live && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENXIO))
}

func (c *copier) count(bytes int64) {
	c.Bytes += bytes
	if c.Count != nil {
		c.Count(bytes)
	}
}

// inode is what two names of one file have in common.
type inode struct{ device, number uint64 }

// folder copies the content of an open folder, then what the folder itself carries.
func (c *copier) folder(ctx context.Context, from, to int, st *unix.Stat_t, path string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%s: too many folders in each other", path)
	}
	names, err := ReadNames(from)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := c.entry(ctx, from, to, name, filepath.Join(path, name), depth); err != nil && !c.gone(err) {
			return err
		}
	}
	if err := finish(to, ".", ProcPath(from, "."), ProcPath(to, "."), st); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// ReadNames lists an open folder, in no order.
func ReadNames(folder int) ([]string, error) {
	fd, err := unix.Openat(folder, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "")
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// entry copies one name of a folder. path is for messages and hard links.
func (c *copier) entry(ctx context.Context, from, to int, name, path string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFDIR {
		return c.subfolder(ctx, from, to, name, path, &st, depth)
	}
	key := inode{st.Dev, st.Ino}
	if first, ok := c.links[key]; ok {
		if err := unix.Linkat(c.top, first, to, name, 0); err != nil {
			return fmt.Errorf("%s: link to %s: %w", path, first, err)
		}
		return nil
	}
	var err error
	switch kind {
	case unix.S_IFREG:
		err = c.file(ctx, from, to, name, st.Size)
	case unix.S_IFLNK:
		err = copyLink(from, to, name)
	default:
		err = unix.Mknodat(to, name, kind|0o600, int(st.Rdev))
	}
	if err == nil {
		err = finish(to, name, ProcPath(from, name), ProcPath(to, name), &st)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if st.Nlink > 1 {
		c.links[key] = path
	}
	c.Files++
	return nil
}

func (c *copier) subfolder(ctx context.Context, from, to int, name, path string, st *unix.Stat_t, depth int) (err error) {
	if st.Dev != c.device {
		return nil // a mount inside the source
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	source, err := unix.Openat(from, name, flags, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer func() { err = errors.Join(err, unix.Close(source)) }()
	if err := unix.Mkdirat(to, name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: %w", path, err)
	}
	target, err := unix.Openat(to, name, flags, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer func() { err = errors.Join(err, unix.Close(target)) }()
	return c.folder(ctx, source, target, st, path, depth+1)
}

func copyLink(from, to int, name string) error {
	target, err := ReadLink(from, name)
	if err != nil {
		return err
	}
	return unix.Symlinkat(target, to, name)
}

// ReadLink gives what a symbolic link in an open folder says; without a name the folder is the link itself (O_PATH).
func ReadLink(folder int, name string) (string, error) {
	buffer := make([]byte, 256)
	for {
		n, err := unix.Readlinkat(folder, name, buffer)
		if err != nil {
			return "", err
		}
		if n < len(buffer) {
			return string(buffer[:n]), nil
		}
		buffer = make([]byte, 2*len(buffer))
	}
}

// file makes a file share the content of another one or, where that is not possible, copies the pieces that hold data and
// leaves the holes as holes.
func (c *copier) file(ctx context.Context, from, to int, name string, size int64) (err error) {
	in, err := openFile(from, name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := openFile(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if size > 0 && !c.noClone {
		// Whatever the reason for a refusal: what copying says of it counts.
		if c.noClone = unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil; !c.noClone {
			c.Shared += size
			c.count(size)
			return nil
		}
	}
	for at := int64(0); at < size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		data, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // only a hole is left
		}
		hole := size
		if err == nil {
			hole, err = unix.Seek(int(in.Fd()), data, unix.SEEK_HOLE)
		} else if errors.Is(err, unix.EINVAL) {
			data, err = at, nil // a file system that knows no holes
		}
		if err != nil {
			return err
		}
		at = min(hole, data+step)
		if err := copyRange(in, out, data, at); err != nil {
			return err
		}
		c.count(at - data)
	}
	return out.Truncate(size)
}

func openFile(folder int, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(folder, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// copyRange copies between the files without bringing the bytes into this process, where the kernel can.
func copyRange(in, out *os.File, begin, end int64) error {
	if _, err := in.Seek(begin, io.SeekStart); err != nil {
		return err
	}
	if _, err := out.Seek(begin, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(out, io.LimitReader(in, end-begin))
	return err
}

// finish gives an entry what its source carries. The order matters: a change of owner clears the set-uid bit and the
// file capabilities, and everything changes the times.
func finish(to int, name, source, target string, st *unix.Stat_t) error {
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("owner: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(to, name, st.Mode&0o7777, 0); err != nil {
			return fmt.Errorf("mode: %w", err)
		}
	}
	if err := copyAttributes(source, target); err != nil {
		return fmt.Errorf("attributes: %w", err)
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(to, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("times: %w", err)
	}
	return nil
}

// ProcPath names an entry of an open folder, or without a name what is open itself, for the calls that know paths only.
func ProcPath(folder int, name string) string {
	open := "/proc/self/fd/" + strconv.Itoa(folder)
	if name == "" {
		return open
	}
	return open + "/" + name
}

// copyAttributes copies the extended attributes, but for those with which overlayfs keeps its books. Some the target's
// file system can't keep; those are left out.
func copyAttributes(source, target string) error {
	names, err := ListAttributes(source)
	if err != nil {
		return err
	}
	for _, name := range names {
		if IsOverlayAttribute(name) {
			continue
		}
		value, err := Attribute(source, name)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err == nil {
			err = unix.Lsetxattr(target, name, value, 0)
		}
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// IsOverlayAttribute knows the extended attributes in which overlayfs keeps its books.
func IsOverlayAttribute(name string) bool {
	return strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.")
}

// ListAttributes names the extended attributes of a file; a symbolic link at the end of the path is not followed.
func ListAttributes(path string) ([]string, error) {
	list, err := growing(func(buffer []byte) (int, error) { return unix.Llistxattr(path, buffer) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(string(list), func(r rune) bool { return r == 0 }), nil
}

// Attribute gives the value of an extended attribute; a symbolic link at the end of the path is not followed.
func Attribute(path, name string) ([]byte, error) {
	return growing(func(buffer []byte) (int, error) { return unix.Lgetxattr(path, name, buffer) })
}

// growing calls with larger buffers until one is large enough.
func growing(call func([]byte) (int, error)) ([]byte, error) {
	buffer := make([]byte, 256)
	for {
		n, err := call(buffer)
		if err == nil {
			return buffer[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || len(buffer) > 1<<20 {
			return nil, err
		}
		buffer = make([]byte, 4*len(buffer))
	}
}
