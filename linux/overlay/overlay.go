// Package overlay reads what was written to the upper folder of an overlay mount: how it differs from what lies below,
// and the same as a layer of an image. It looks at the folders themselves and so needs the overlay mounted nowhere. How overlayfs
// keeps its books there is in the kernel's Documentation/filesystems/overlayfs.rst.
package overlay

import (
	"bytes"
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

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/tarball"
	"github.com/berth-engine/berth/linux/tree"
)

// deepest is how many folders may lie in each other.
const deepest = 2048

// Upper is the upper folder of an overlay, and what it lies on.
type Upper struct {
	// Path is the folder.
	Path string
	// Below are the mounts of what lies below it, and Over a folder that is part of neither (see tree.OpenRoot).
	Below []core.FSMount
	Over  string
	// Ignore tells of entries that do not count: empty ones that were made to mount something on them.
	Ignore func(path string, folder bool) bool
}

// Changes lists the paths at which the upper folder differs from what lies below: folders before what is in them, names
// in order. Of a folder that was removed only itself is listed.
func (u Upper) Changes(ctx context.Context) ([]core.Change, error) {
	var list []core.Change
	err := u.walk(ctx, &walker{found: func(_ int, _ string, change core.Change) error {
		list = append(list, change)
		return nil
	}})
	return list, err
}

// Pack writes the differences as a layer of an image (OCI image spec, layer.md): what is new or changed as it is,
// with the folders on the way, and for what is gone an empty file whose name begins with ".wh.". It reports whether
// there were any.
func (u Upper) Pack(ctx context.Context, w io.Writer) (any bool, err error) {
	writer := tarball.NewWriter(w)
	now := time.Now()
	err = u.walk(ctx, &walker{found: func(folder int, name string, change core.Change) error {
		any = true
		as := strings.TrimPrefix(change.Path, "/")
		if change.Kind == core.ChangeDelete {
			return writer.Empty(path.Join(path.Dir(as), ".wh."+path.Base(as)), now)
		}
		_, err := writer.Entry(folder, name, as)
		return err
	}})
	return any, errors.Join(err, writer.Close())
}

func (u Upper) walk(ctx context.Context, w *walker) (err error) {
	upper, err := tree.OpenQuiet(u.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, upper.Close()) }()
	below, err := tree.OpenRoot(u.Below, u.Over)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, below.Close()) }()
	w.ignore = u.Ignore
	if w.ignore == nil {
		w.ignore = func(string, bool) bool { return false }
	}
	return w.folder(ctx, upper, below, "/", 0)
}

// walker compares folder by folder.
type walker struct {
	ignore func(path string, folder bool) bool
	// found is told of each difference, with the folder of the upper side that has it (nothing, for what is gone).
	found func(folder int, name string, change core.Change) error
	// pending are changed folders' ways: folders that are the same themselves, but may have changes in them. They are
	// told of before the first of these.
	pending []pending
}

type pending struct {
	folder int
	name   string
	path   string
}

// tell passes a difference on, after the folders on the way to it.
func (w *walker) tell(folder int, name string, change core.Change) error {
	for _, p := range w.pending {
		if err := w.found(p.folder, p.name, core.Change{Path: p.path, Kind: core.ChangeModify}); err != nil {
			return err
		}
	}
	w.pending = w.pending[:0]
	return w.found(folder, name, change)
}

// folder compares a folder of the upper side with the one that it lies on; nil: it lies on none.
func (w *walker) folder(ctx context.Context, upper, below *os.File, at string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%s: too many folders in each other", at)
	}
	names, err := tree.ReadNames(int(upper.Fd()))
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if below != nil && isOpaque(upper) {
		// What lies below is hidden: the names that are there only are gone.
		hidden, err := tree.ReadNames(int(below.Fd()))
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		names = append(names, hidden...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := w.entry(ctx, upper, below, name, path.Join(at, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(ctx context.Context, upper, below *os.File, name, at string, depth int) error {
	now, isThere, err := stat(upper, name)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	before, wasThere, err := stat(below, name)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if isThere && now.Mode&unix.S_IFMT == unix.S_IFCHR && now.Rdev == 0 {
		isThere = false // a whiteout
	}
	isFolder := isThere && now.Mode&unix.S_IFMT == unix.S_IFDIR
	wasFolder := wasThere && before.Mode&unix.S_IFMT == unix.S_IFDIR
	waiting := len(w.pending)
	switch {
	case !isThere && !wasThere:
		return nil
	case !isThere:
		return w.tell(-1, "", core.Change{Path: at, Kind: core.ChangeDelete})
	case !wasThere && isEmpty(upper, name, &now) && w.ignore(at, isFolder):
		return nil
	case !wasThere:
		err = w.tell(int(upper.Fd()), name, core.Change{Path: at, Kind: core.ChangeAdd})
	case different(&before, &now) || !bytes.Equal(capability(below, name), capability(upper, name)):
		err = w.tell(int(upper.Fd()), name, core.Change{Path: at, Kind: core.ChangeModify})
	case isFolder:
		w.pending = append(w.pending, pending{int(upper.Fd()), name, at})
	}
	if err != nil || !isFolder {
		return err
	}
	err = w.into(ctx, upper, below, name, at, wasFolder, depth)
	if len(w.pending) > waiting {
		w.pending = w.pending[:waiting] // nothing in it has changed
	}
	return err
}

// into compares a folder with the one that had its name.
func (w *walker) into(ctx context.Context, upper, below *os.File, name, at string, wasFolder bool, depth int) (err error) {
	above, err := openFolder(upper, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	defer func() { err = errors.Join(err, above.Close()) }()
	var under *os.File
	if wasFolder {
		if under, err = openFolder(below, name); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		defer func() { err = errors.Join(err, under.Close()) }()
	}
	return w.folder(ctx, above, under, at, depth+1)
}

func openFolder(folder *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(folder.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// stat looks at an entry of a folder, which may be none.
func stat(folder *os.File, name string) (st unix.Stat_t, found bool, err error) {
	if folder == nil {
		return st, false, nil
	}
	err = unix.Fstatat(int(folder.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return st, false, nil
	}
	return st, err == nil, err
}

// different compares as Docker does: the time and size of a folder say nothing.
func different(before, now *unix.Stat_t) bool {
	if before.Mode != now.Mode || before.Uid != now.Uid || before.Gid != now.Gid || before.Rdev != now.Rdev {
		return true
	}
	return now.Mode&unix.S_IFMT != unix.S_IFDIR && (before.Mtim != now.Mtim || before.Size != now.Size)
}

// capability is the capabilities of a program; nothing when it has none, or is gone.
func capability(folder *os.File, name string) []byte {
	value, err := tree.Attribute(tree.ProcPath(int(folder.Fd()), name), "security.capability")
	if err != nil {
		return nil
	}
	return value
}

// isOpaque reports whether a folder of the upper side hides what lies below it.
func isOpaque(folder *os.File) bool {
	for _, name := range []string{"trusted.overlay.opaque", "user.overlay.opaque"} {
		if value, err := tree.Attribute(tree.ProcPath(int(folder.Fd()), "."), name); err == nil && string(value) == "y" {
			return true
		}
	}
	return false
}

// isEmpty reports whether an entry is a file or folder with nothing in it.
func isEmpty(folder *os.File, name string, st *unix.Stat_t) bool {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return st.Size == 0
	case unix.S_IFDIR:
		opened, err := openFolder(folder, name)
		if err != nil {
			return false
		}
		defer opened.Close()
		_, err = opened.Readdirnames(1)
		return err == io.EOF
	}
	return false
}
