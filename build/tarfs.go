package build

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	gofs "io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"

	"github.com/berth-engine/berth/core"
)

// spoolLimit is how much of a context is kept in memory, in bytes. A larger one goes to a file.
const spoolLimit = 4 << 20

// xattrPrefix begins the PAX records that carry extended attributes.
const xattrPrefix = "SCHILY.xattr."

// tarFS is a build context: a tar read once and served as a file system. Names and links of the tar are only ever looked
// up in this tree, never on a disk, so a hostile tar has nothing to climb out of.
type tarFS struct {
	root  *node
	spool *spool
	// sum is that of the whole tar: equal contexts can be recognized without a look at every file.
	sum string
}

// node is a file, folder or link of the tree.
type node struct {
	stat     *types.Stat
	children map[string]*node // of a folder
	offset   int64            // of a file's content in the spool
}

func (n *node) mode() gofs.FileMode { return gofs.FileMode(n.stat.Mode) }

func newFolder(name string) *node {
	return &node{stat: &types.Stat{Path: name, Mode: uint32(gofs.ModeDir | 0o755)}, children: map[string]*node{}}
}

// readTar reads a context, compressed or not. folder is where a large one is spooled. Close the result.
func readTar(ctx context.Context, r io.Reader, folder string) (_ *tarFS, err error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, unreadable(err)
	}
	defer plain.Close()
	t := &tarFS{root: newFolder(""), spool: &spool{folder: folder}}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	sum := sha256.New()
	archive := tar.NewReader(io.TeeReader(plain, sum))
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, unreadable(err)
		}
		if err := t.add(header, archive); err != nil {
			return nil, err
		}
	}
	t.sum = hex.EncodeToString(sum.Sum(nil))
	return t, nil
}

// unreadable is Docker's answer to a context of garbage. A disk of ours that is full is not the tar's fault.
func unreadable(err error) error {
	var onDisk *os.PathError
	if errors.As(err, &onDisk) {
		return core.Internal("keep the build context: %w", err)
	}
	return core.Invalid("Error processing tar file: %w", err)
}

// add puts an entry of the tar into the tree. Devices, pipes and sockets are left out: no build can use them.
func (t *tarFS) add(header *tar.Header, content io.Reader) error {
	name, err := entryName(header.Name)
	if err != nil {
		return err
	}
	if name == "" {
		return nil // the root itself
	}
	parent, err := t.folder(path.Dir(name), header.Name)
	if err != nil {
		return err
	}
	base := path.Base(name)
	entry := &node{stat: &types.Stat{
		Path:    name,
		Mode:    uint32(header.FileInfo().Mode()),
		Uid:     uint32(header.Uid),
		Gid:     uint32(header.Gid),
		ModTime: header.ModTime.UnixNano(),
		Xattrs:  xattrs(header),
	}}
	switch header.Typeflag {
	case tar.TypeDir:
		entry.children = map[string]*node{}
		if old := parent.children[base]; old != nil && old.children != nil {
			entry.children = old.children
		}
	case tar.TypeReg, '\x00':
		if entry.offset, err = t.spool.copy(content, header.Size); err != nil {
			return unreadable(err)
		}
		entry.stat.Size = header.Size
	case tar.TypeSymlink:
		entry.stat.Linkname = header.Linkname
	case tar.TypeLink:
		if entry, err = t.hardlink(header, name); err != nil {
			return err
		}
	default:
		return nil
	}
	parent.children[base] = entry
	return nil
}

// entryName cleans a name. One that climbs above the root is refused, as Docker does.
func entryName(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(name, 0) {
		return "", core.Invalid("Error processing tar file: %q is outside of the build context", name)
	}
	if clean == "." {
		return "", nil
	}
	return clean, nil
}

// folder finds a folder and makes what is missing of it.
func (t *tarFS) folder(name, wanted string) (*node, error) {
	at := t.root
	if name == "." {
		return at, nil
	}
	so := ""
	for part := range strings.SplitSeq(name, "/") {
		so = path.Join(so, part)
		next := at.children[part]
		switch {
		case next == nil:
			next = newFolder(so)
			at.children[part] = next
		case next.children == nil:
			return nil, core.Invalid("Error processing tar file: %q lies below %q, which is not a folder", wanted, so)
		}
		at = next
	}
	return at, nil
}

// hardlink makes a second file of an earlier one; they share the spooled content.
func (t *tarFS) hardlink(header *tar.Header, name string) (*node, error) {
	target, err := entryName(header.Linkname)
	if err != nil {
		return nil, core.Invalid("Error processing tar file: invalid hardlink %q -> %q", header.Name, header.Linkname)
	}
	found := t.find(target)
	if found == nil || found.children != nil {
		return nil, core.Invalid("Error processing tar file: invalid hardlink %q -> %q", header.Name, header.Linkname)
	}
	stat := found.stat.Clone()
	stat.Path = name
	return &node{stat: stat, offset: found.offset}, nil
}

func (t *tarFS) find(name string) *node {
	at := t.root
	if name == "" || name == "." {
		return at
	}
	for part := range strings.SplitSeq(name, "/") {
		if at = at.children[part]; at == nil {
			return nil
		}
	}
	return at
}

func xattrs(header *tar.Header) map[string][]byte {
	var found map[string][]byte
	for key, value := range header.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrPrefix); ok {
			if found == nil {
				found = map[string][]byte{}
			}
			found[name] = []byte(value)
		}
	}
	return found
}

// Walk implements fsutil.FS: folders before what is in them, names in order, the root itself left out.
func (t *tarFS) Walk(ctx context.Context, target string, fn gofs.WalkDirFunc) error {
	clean := strings.TrimPrefix(path.Clean("/"+target), "/")
	start := t.find(clean)
	if start == nil {
		return fn(clean, nil, &os.PathError{Op: "lstat", Path: clean, Err: os.ErrNotExist})
	}
	err := walk(ctx, start, fn)
	if err == gofs.SkipDir || err == gofs.SkipAll {
		return nil
	}
	return err
}

func walk(ctx context.Context, n *node, fn gofs.WalkDirFunc) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.stat.Path != "" {
		// The receiver may change what it gets: it gets its own.
		if err := fn(n.stat.Path, &fsutil.DirEntryInfo{Stat: n.stat.Clone()}, nil); err != nil {
			if err == gofs.SkipDir && n.children != nil {
				return nil
			}
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if err := walk(ctx, n.children[name], fn); err != nil {
			if err == gofs.SkipDir {
				return nil // said of a file: the rest of its folder is skipped
			}
			return err
		}
	}
	return nil
}

// Open implements fsutil.FS.
func (t *tarFS) Open(name string) (io.ReadCloser, error) {
	found := t.find(strings.TrimPrefix(path.Clean("/"+name), "/"))
	if found == nil || !found.mode().IsRegular() {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return io.NopCloser(t.spool.section(found.offset, found.stat.Size)), nil
}

// follow finds a file, through links as far as they stay inside the context.
func (t *tarFS) follow(name string) *node {
	for range 40 { // as many links as Linux follows
		name = strings.TrimPrefix(path.Clean("/"+name), "/")
		at, so := t.root, ""
		parts := strings.Split(name, "/")
		relinked := false
		for i, part := range parts {
			if at = at.children[part]; at == nil {
				return nil
			}
			if at.mode()&gofs.ModeSymlink != 0 {
				target := at.stat.Linkname
				if !path.IsAbs(target) {
					target = path.Join("/", so, target)
				}
				name = path.Join(append([]string{target}, parts[i+1:]...)...)
				relinked = true
				break
			}
			so = path.Join(so, part)
		}
		if !relinked {
			return at
		}
	}
	return nil
}

// ReadFile reads a whole file, at most limit bytes of it.
func (t *tarFS) ReadFile(name string, limit int64) ([]byte, error) {
	found := t.follow(name)
	if found == nil || !found.mode().IsRegular() {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return io.ReadAll(t.spool.section(found.offset, min(found.stat.Size, limit)))
}

// Close gives the spool back.
func (t *tarFS) Close() error { return t.spool.Close() }

// spool keeps the contents of files, one after the other: in memory, and from spoolLimit on in a file without a name,
// which is gone with the daemon whatever happens.
type spool struct {
	folder string
	memory bytes.Buffer
	file   *os.File
	size   int64
}

// copy appends size bytes and says where they begin.
func (s *spool) copy(r io.Reader, size int64) (offset int64, err error) {
	offset = s.size
	if s.file == nil && s.size+size > spoolLimit {
		if err := s.spill(); err != nil {
			return 0, err
		}
	}
	var to io.Writer = &s.memory
	if s.file != nil {
		to = s.file
	}
	n, err := io.Copy(to, r)
	s.size += n
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return offset, err
}

func (s *spool) spill() error {
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(s.folder, "context-")
	if err != nil {
		return err
	}
	if err := os.Remove(file.Name()); err != nil {
		return errors.Join(err, file.Close())
	}
	if _, err := file.Write(s.memory.Bytes()); err != nil {
		return errors.Join(err, file.Close())
	}
	s.file, s.memory = file, bytes.Buffer{}
	return nil
}

func (s *spool) section(offset, size int64) io.Reader {
	if s.file != nil {
		return io.NewSectionReader(s.file, offset, size)
	}
	return bytes.NewReader(s.memory.Bytes()[offset : offset+size])
}

// Close frees memory or file.
func (s *spool) Close() error {
	if s.file == nil {
		s.memory = bytes.Buffer{}
		return nil
	}
	return s.file.Close()
}
