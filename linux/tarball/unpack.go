package tarball

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/tree"
)

// Options say how a tar is unpacked.
type Options struct {
	// KeepKinds refuses to replace a folder by something else, or something else by a folder.
	KeepKinds bool
	// Owner, when not nil, owns what is unpacked; else it is whom the tar names.
	Owner *Owner
	// Top gives the folder that is unpacked to what the tar says of its own top; else it stays as it is, as in Docker.
	Top bool
	// Whole refuses a tar without the block of zeros at its end, which one that was cut off between two files has not.
	Whole bool
}

// Owner is a user and a group.
type Owner struct{ UID, GID int }

// Unpack writes what is in a tar below a folder inside root, which is there: where it is not, also because somebody has
// just moved it away, the error is fs.ErrNotExist. Names can't lead out of the folder; symbolic links that are
// in it already lead where they lead for a process whose root that is. What is in the way is replaced, folders are
// merged. On an error a part may have been unpacked.
func Unpack(ctx context.Context, root *os.File, folder string, r io.Reader, options Options) error {
	u := &unpacker{root: root, folder: path.Clean("/" + folder), options: options, buffer: make([]byte, 256<<10)}
	err := u.all(ctx, &counted{r: r})
	if u.parent != nil {
		err = errors.Join(err, u.parent.Close())
	}
	return err
}

type unpacker struct {
	root    *os.File
	folder  string // where the tar's top is, inside root
	options Options
	buffer  []byte
	// parent is the folder that was used last, opened, and its path: most entries lie in the same one as the one before.
	parent     *os.File
	parentPath string
	folders    []dated
}

// dated is a folder that gets its time at the end: whatever is put into it changes it.
type dated struct {
	path string
	at   time.Time
}

// counted counts what is read, and the zeros at its end: tar.Reader reads no byte ahead.
type counted struct {
	r        io.Reader
	n, zeros int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.zeros += int64(n)
	for i := n - 1; i >= 0; i-- {
		if p[i] != 0 {
			c.zeros = int64(n - 1 - i)
			break
		}
	}
	return n, err
}

// ended reports whether what was read since a mark, where content and its padding had been read, ends a tar.
func (c *counted) ended(mark int64) bool { return min(c.n-mark, c.zeros) >= block }

// block is the unit of a tar; content is padded to it.
const block = 512

func (u *unpacker) all(ctx context.Context, source *counted) error {
	r, mark := tar.NewReader(source), int64(0)
	for ; ; mark = source.n {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		header, err := r.Next()
		if err == io.EOF && u.options.Whole && !source.ended(mark) {
			err = io.ErrUnexpectedEOF
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return core.Invalid("%w", err)
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := local(header.Name)
		if err != nil {
			return err
		}
		if name == "." {
			if err := u.top(header); err != nil {
				return err
			}
			continue
		}
		if err := u.entry(ctx, header, name, r); err != nil {
			return err
		}
	}
	for _, d := range u.folders {
		if err := u.date(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// top gives the folder that everything goes to what the tar says of it, when that is asked for.
func (u *unpacker) top(header *tar.Header) error {
	if !u.options.Top || header.Typeflag != tar.TypeDir {
		return nil
	}
	folder, err := tree.OpenIn(u.root, u.folder)
	if err != nil {
		return err
	}
	u.folders = append(u.folders, dated{".", header.ModTime})
	return errors.Join(u.finish(folder, ".", header), folder.Close())
}

// local makes a name of a tar relative to its top and refuses what leads out of that.
func local(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if !filepath.IsLocal(clean) {
		return "", core.Invalid("invalid entry name %q: it leads out of the folder that is unpacked to", name)
	}
	return clean, nil
}

// open gives the folder that an entry lies in, made where it is missing.
func (u *unpacker) open(name string) (folder *os.File, err error) {
	place := path.Join(u.folder, path.Dir(name))
	if u.parent != nil && u.parentPath == place {
		return u.parent, nil
	}
	opened, err := tree.MakeAll(u.root, u.folder, place)
	if err != nil {
		return nil, err
	}
	if u.parent != nil {
		err = u.parent.Close()
	}
	u.parent, u.parentPath = opened, place
	return opened, err
}

func (u *unpacker) entry(ctx context.Context, header *tar.Header, name string, content io.Reader) error {
	folder, err := u.open(name)
	if err != nil {
		return err
	}
	base := path.Base(name)
	merged, err := u.clear(folder, base, header, name)
	if err != nil {
		return err
	}
	if merged || header.Typeflag == tar.TypeDir {
		u.folders = append(u.folders, dated{name, header.ModTime})
	}
	if !merged {
		err = u.make(ctx, folder, base, header, content)
	}
	if err == nil && header.Typeflag != tar.TypeLink {
		err = u.finish(folder, base, header)
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	return nil
}

// clear takes away what is in an entry's way. merged says that a folder is there, which stays.
func (u *unpacker) clear(folder *os.File, base string, header *tar.Header, name string) (merged bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(int(folder.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("unpack %s: %w", name, err)
	}
	wasFolder, isFolder := st.Mode&unix.S_IFMT == unix.S_IFDIR, header.Typeflag == tar.TypeDir
	switch {
	case wasFolder && isFolder:
		return true, nil
	case u.options.KeepKinds && wasFolder:
		return false, core.Invalid("cannot overwrite directory %q with non-directory %q", name, u.folder)
	case u.options.KeepKinds && isFolder:
		return false, core.Invalid("cannot overwrite non-directory %q with directory %q", name, u.folder)
	}
	if err := remove(int(folder.Fd()), base, 0); err != nil {
		return false, fmt.Errorf("unlinkat %s: %w", path.Join(u.folder, name), err)
	}
	return false, nil
}

// remove deletes an entry of a folder with all that is in it, without following links. What something is mounted on stays:
// the kernel keeps it from being deleted only where this thread sees the mount, and would take it away from the
// container else.
func remove(folder int, name string, depth int) error {
	if depth > deepest {
		return errors.New("too many folders in each other")
	}
	var st unix.Statx_t
	err := unix.Statx(folder, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	if err != nil {
		return ignoreGone(err)
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return unix.EBUSY
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return ignoreGone(unix.Unlinkat(folder, name, 0))
	}
	opened, err := open(folder, name, unix.O_DIRECTORY)
	if err != nil {
		return ignoreGone(err)
	}
	defer opened.Close()
	names, err := tree.ReadNames(int(opened.Fd()))
	if err != nil {
		return err
	}
	for _, child := range names {
		if err := remove(int(opened.Fd()), child, depth+1); err != nil {
			return err
		}
	}
	return ignoreGone(unix.Unlinkat(folder, name, unix.AT_REMOVEDIR))
}

func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// make makes the entry, where nothing is.
func (u *unpacker) make(ctx context.Context, folder *os.File, base string, header *tar.Header, content io.Reader) error {
	at, mode := int(folder.Fd()), uint32(header.Mode)&0o7777
	switch header.Typeflag {
	case tar.TypeDir:
		return unix.Mkdirat(at, base, 0o700)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(ctx, at, base, content)
	case tar.TypeSymlink:
		return unix.Symlinkat(header.Linkname, at, base)
	case tar.TypeLink:
		return u.link(folder, base, header.Linkname)
	case tar.TypeFifo:
		return unix.Mknodat(at, base, unix.S_IFIFO|mode, 0)
	case tar.TypeChar, tar.TypeBlock:
		kind := uint32(unix.S_IFCHR)
		if header.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
		if header.Devmajor < 0 || header.Devmajor > 1<<32-1 || header.Devminor < 0 || header.Devminor > 1<<32-1 {
			return core.Invalid("device %d:%d does not exist", header.Devmajor, header.Devminor)
		}
		return unix.Mknodat(at, base, kind|mode, int(unix.Mkdev(uint32(header.Devmajor), uint32(header.Devminor))))
	}
	return core.Invalid("unhandled tar header type %d", header.Typeflag)
}

func (u *unpacker) file(ctx context.Context, folder int, base string, content io.Reader) (err error) {
	fd, err := unix.Openat(folder, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	defer func() { err = errors.Join(err, f.Close()) }()
	source := &reading{ctx: ctx, r: content}
	target := &holes{file: f}
	if _, err = io.CopyBuffer(target, source, u.buffer); err != nil && source.err != nil {
		return core.Invalid("%w", source.err)
	}
	if err != nil {
		return err
	}
	return f.Truncate(target.size)
}

// holes writes a file and leaves out what is zero: a tar of some bytes can hold a file of gigabytes without content.
type holes struct {
	file *os.File
	size int64
}

var zeros [256 << 10]byte

// Write appends.
func (h *holes) Write(p []byte) (int, error) {
	if len(p) <= len(zeros) && bytes.Equal(p, zeros[:len(p)]) {
		h.size += int64(len(p))
		return len(p), nil
	}
	n, err := h.file.WriteAt(p, h.size)
	h.size += int64(n)
	return n, err
}

// reading remembers how reading failed, which is the fault of whoever sent the tar.
type reading struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (r *reading) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// link gives a file that lies below the tar's top a further name.
func (u *unpacker) link(folder *os.File, base, target string) error {
	name, err := local(target)
	if err != nil {
		return core.Invalid("invalid hardlink %q -> %q", base, target)
	}
	source, err := tree.OpenIn(u.root, path.Join(u.folder, path.Dir(name)))
	if err != nil {
		return err
	}
	err = unix.Linkat(int(source.Fd()), path.Base(name), int(folder.Fd()), base, 0)
	return errors.Join(err, source.Close())
}

// finish gives an entry what the tar says of it. The entry is held while that is done, so that it is the one that was
// made; the order matters: a change of owner clears the set-uid bit and the capabilities.
func (u *unpacker) finish(folder *os.File, base string, header *tar.Header) error {
	fd, err := unix.Openat(int(folder.Fd()), base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != kindOf(header.Typeflag) {
		return fmt.Errorf("%s has become something else while it was unpacked", base)
	}
	owner := Owner{header.Uid, header.Gid}
	if u.options.Owner != nil {
		owner = *u.options.Owner
	}
	if !isID(owner.UID) || !isID(owner.GID) {
		return core.Invalid("no file can belong to %d:%d", owner.UID, owner.GID)
	}
	if err := unix.Fchownat(fd, "", owner.UID, owner.GID, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("owner %d:%d: %w", owner.UID, owner.GID, err)
	}
	// Through /proc, since the calls themselves take no O_PATH; the link there leads to what is open and no further.
	held := tree.ProcPath(fd, "")
	if header.Typeflag != tar.TypeSymlink {
		if err := unix.Chmod(held, uint32(header.Mode)&0o7777); err != nil {
			return fmt.Errorf("mode: %w", err)
		}
		if err := setAttributes(held, header); err != nil {
			return err
		}
	}
	return setTimes(fd, header.ModTime)
}

// isID knows the numbers that a user or group can have; the highest means none.
func isID(n int) bool { return n >= 0 && n < 1<<32-1 }

func kindOf(flag byte) uint32 {
	switch flag {
	case tar.TypeDir:
		return unix.S_IFDIR
	case tar.TypeSymlink:
		return unix.S_IFLNK
	case tar.TypeFifo:
		return unix.S_IFIFO
	case tar.TypeChar:
		return unix.S_IFCHR
	case tar.TypeBlock:
		return unix.S_IFBLK
	}
	return unix.S_IFREG
}

// setAttributes sets the extended attributes of a tar that travel. Some the file system can't keep; they are left out.
func setAttributes(held string, header *tar.Header) error {
	for key, value := range header.PAXRecords {
		name, found := strings.CutPrefix(key, attributePrefix)
		if !found || !travels(name) {
			continue
		}
		err := unix.Setxattr(held, name, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

func setTimes(fd int, at time.Time) error {
	if at.Unix() < 0 {
		at = time.Unix(0, 0) // as Docker: what is before 1970 is taken for a mistake
	}
	stamp, err := unix.TimeToTimespec(at)
	if err != nil {
		return core.Invalid("a time that no file can have: %s", at)
	}
	if err := unix.UtimesNanoAt(fd, "", []unix.Timespec{stamp, stamp}, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("times: %w", err)
	}
	return nil
}

// date gives a folder its time.
func (u *unpacker) date(d dated) error {
	at, err := tree.Locate(u.root, path.Join(u.folder, d.path), unix.O_NOFOLLOW|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOTDIR) {
		return nil // replaced by a later entry
	}
	if err != nil {
		return err
	}
	return errors.Join(setTimes(int(at.Fd()), d.at), at.Close())
}
