// Package tarball packs files into tars and unpacks them, relative to open folders: no path is looked up twice, and
// no symbolic link that appears on the way is followed out of where the work is done.
package tarball

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/linux/tree"
)

// deepest is how many folders may lie in each other: each costs an open file while it is being packed.
const deepest = 2048

// attributePrefix is in front of the names of extended attributes in PAX records, as libarchive, GNU tar and Docker have it.
const attributePrefix = "SCHILY.xattr."

// Writer writes a tar.
type Writer struct {
	to     *bufio.Writer
	tar    *tar.Writer
	links  map[inode]string // the first name of each file with several names
	buffer []byte
}

// inode is what two names of one file have in common.
type inode struct{ device, number uint64 }

// NewWriter begins a tar.
func NewWriter(w io.Writer) *Writer {
	to := bufio.NewWriterSize(w, 64<<10)
	return &Writer{to: to, tar: tar.NewWriter(to), links: map[inode]string{}, buffer: make([]byte, 256<<10)}
}

// Close writes the end of the tar.
func (w *Writer) Close() error {
	if err := w.tar.Close(); err != nil {
		return err
	}
	return w.to.Flush()
}

// Tree adds what has the name in the folder and, when that is a folder, all that is in it, under the given path. What
// vanishes while it is looked at is left out; sockets are, too, since no tar can hold them.
func (w *Writer) Tree(ctx context.Context, folder int, name, as string) error {
	return w.tree(ctx, folder, name, as, 0)
}

func (w *Writer) tree(ctx context.Context, folder int, name, as string, depth int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	isFolder, err := w.Entry(folder, name, as)
	if err != nil || !isFolder {
		return err
	}
	return w.children(ctx, folder, name, as, depth)
}

// Children adds all that is in a folder, but not the folder itself.
func (w *Writer) Children(ctx context.Context, folder int, name, as string) error {
	return w.children(ctx, folder, name, as, 0)
}

func (w *Writer) children(ctx context.Context, folder int, name, as string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%s: too many folders in each other", as)
	}
	opened, err := open(folder, name, unix.O_DIRECTORY)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", as, err)
	}
	defer opened.Close()
	names, err := tree.ReadNames(int(opened.Fd()))
	if vanished(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", as, err)
	}
	slices.Sort(names)
	for _, child := range names {
		// Not path.Join: a path may begin with "./" or end with a slash, and both are to stay.
		below := strings.TrimSuffix(as, "/") + "/" + child
		if as == "" {
			below = child
		}
		if err := w.tree(ctx, int(opened.Fd()), child, below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Entry adds one entry of a folder and reports whether it is a folder itself.
func (w *Writer) Entry(folder int, name, as string) (isFolder bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(folder, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if vanished(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", as, err)
	}
	switch kind := st.Mode & unix.S_IFMT; kind {
	case unix.S_IFREG:
		err = w.file(folder, name, as)
	case unix.S_IFSOCK:
	default:
		isFolder = kind == unix.S_IFDIR
		err = w.special(folder, name, as, &st)
	}
	if vanished(err) {
		return false, nil
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", as, err)
	}
	return isFolder, err
}

// vanished reports errors of what was there, or was something else, a moment ago.
func vanished(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENXIO)
}

// special adds what has no content.
func (w *Writer) special(folder int, name, as string, st *unix.Stat_t) error {
	header := headerOf(as, st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		header.Typeflag, header.Name = tar.TypeDir, strings.TrimSuffix(as, "/")+"/"
	case unix.S_IFLNK:
		target, err := tree.ReadLink(folder, name)
		if errors.Is(err, unix.EINVAL) {
			err = unix.ENOENT // it is no link any more
		}
		if err != nil {
			return err
		}
		header.Typeflag, header.Linkname = tar.TypeSymlink, target
	case unix.S_IFIFO:
		header.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		header.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			header.Typeflag = tar.TypeBlock
		}
		header.Devmajor, header.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	if err := addAttributes(header, folder, name); err != nil {
		return err
	}
	return w.tar.WriteHeader(header)
}

// file adds a file, of which it takes as much as it had when it was opened.
func (w *Writer) file(folder int, name, as string) (err error) {
	// Whatever took the file's place meanwhile: a pipe does not block, a link is not followed.
	f, err := open(folder, name, unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.ENOENT
	}
	header := headerOf(as, &st)
	header.Typeflag, header.Size = tar.TypeReg, st.Size
	if st.Nlink > 1 {
		key := inode{st.Dev, st.Ino}
		if first, ok := w.links[key]; ok {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
			return w.tar.WriteHeader(header)
		}
		w.links[key] = as
	}
	if err := addAttributes(header, folder, name); err != nil {
		return err
	}
	if err := w.tar.WriteHeader(header); err != nil {
		return err
	}
	written, err := io.CopyBuffer(writerOnly{w.tar}, io.LimitReader(f, st.Size), w.buffer)
	if err != nil {
		return err
	}
	return w.pad(st.Size - written)
}

// pad fills up a file that has become shorter, as tar(1) does.
func (w *Writer) pad(missing int64) error {
	clear(w.buffer)
	for missing > 0 {
		n, err := w.tar.Write(w.buffer[:min(missing, int64(len(w.buffer)))])
		if err != nil {
			return err
		}
		missing -= int64(n)
	}
	return nil
}

// writerOnly hides that a tar.Writer can read, which would go around our buffer.
type writerOnly struct{ io.Writer }

// Empty adds a file without content that belongs to root: the mark of a layer for something that is gone.
func (w *Writer) Empty(as string, at time.Time) error {
	return w.tar.WriteHeader(&tar.Header{Format: tar.FormatPAX, Typeflag: tar.TypeReg, Name: as, Mode: 0o600, ModTime: at})
}

func headerOf(as string, st *unix.Stat_t) *tar.Header {
	return &tar.Header{
		Format: tar.FormatPAX, Name: as, Mode: int64(st.Mode &^ unix.S_IFMT), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Sec, 0), // whole seconds, as Docker: a fraction would cost each entry a kilobyte
	}
}

// addAttributes adds the extended attributes that mean something elsewhere: the user's own, capabilities of programs
// and access control lists. Labels of the host's SELinux and the books of its file systems do not.
func addAttributes(header *tar.Header, folder int, name string) error {
	place := tree.ProcPath(folder, name)
	names, err := tree.ListAttributes(place)
	if err != nil {
		return err
	}
	for _, attribute := range names {
		if !travels(attribute) {
			continue
		}
		value, err := tree.Attribute(place, attribute)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return err
		}
		if header.PAXRecords == nil {
			header.PAXRecords = map[string]string{}
		}
		header.PAXRecords[attributePrefix+attribute] = string(value)
	}
	return nil
}

func travels(attribute string) bool {
	if tree.IsOverlayAttribute(attribute) {
		return false
	}
	return attribute == "security.capability" || strings.HasPrefix(attribute, "user.") || strings.HasPrefix(attribute, "system.posix_acl_")
}

func open(folder int, name string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(folder, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// Pack writes a tar of what is at a path inside root: of a folder with all that is in it, of a symbolic link the link
// alone, unless a slash or a dot follows it. The entries' names begin with the last part of the path, which is how `docker
// cp` wants them: "/a/b" gives "b/…", "/a/b/." gives "./…", "/" gives "/…".
func Pack(ctx context.Context, root *os.File, name string, w io.Writer) error {
	at, err := tree.Locate(root, name, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer at.Close()
	info, err := at.Stat()
	if err != nil {
		return err
	}
	writer := NewWriter(w)
	switch base := path.Base(name); {
	case info.IsDir() && strings.HasSuffix(name, "/."):
		err = writer.Tree(ctx, int(at.Fd()), ".", ".")
	case info.IsDir() && base == "/":
		err = writer.Tree(ctx, int(at.Fd()), ".", "/")
	case info.IsDir():
		err = writer.Tree(ctx, int(at.Fd()), ".", base)
	default:
		err = packOne(ctx, root, name, writer)
	}
	if err != nil {
		return err
	}
	return writer.Close()
}

func packOne(ctx context.Context, root *os.File, name string, writer *Writer) error {
	folder, err := tree.OpenIn(root, path.Dir(name))
	if err != nil {
		return err
	}
	defer folder.Close()
	base := path.Base(name)
	if _, err := writer.Entry(int(folder.Fd()), base, base); err != nil {
		return err
	}
	return ctx.Err()
}

// PackAll writes a tar of everything inside root but the folder root itself; names begin with no slash.
func PackAll(ctx context.Context, root *os.File, w io.Writer) error {
	writer := NewWriter(w)
	if err := writer.Children(ctx, int(root.Fd()), ".", ""); err != nil {
		return err
	}
	return writer.Close()
}
