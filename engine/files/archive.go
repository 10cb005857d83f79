package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"github.com/berth-engine/berth/core"
)

// Stat describes what is at a path of a container.
func (f *Files) Stat(ctx context.Context, ref, name string) (core.PathStat, error) {
	u, err := f.look(ctx, ref)
	if err != nil {
		return core.PathStat{}, err
	}
	defer u.close()
	defer f.tell(u)()
	stat, err := u.view.Stat(absolute(name))
	return stat, explain(err, name, ref)
}

// Archive writes a tar of what is at a path of a container (see linux/tarball, Pack). Before the first byte head is called
// with what is there, and gives where the tar goes. cut breaks a connection off that nothing moves through.
func (f *Files) Archive(ctx context.Context, ref, name string, head func(core.PathStat) (io.Writer, error), cut func()) error {
	u, err := f.look(ctx, ref)
	if err != nil {
		return err
	}
	defer u.close()
	defer f.tell(u)()
	defer context.AfterFunc(u, cut)()
	place := absolute(name)
	stat, err := u.view.Stat(place)
	if err != nil {
		return explain(err, name, ref)
	}
	w, err := head(stat)
	if err != nil {
		return err
	}
	f.ports.Events.Container(u.container, "archive-path", nil)
	return broken(u, explain(u.view.Pack(u, place, w), name, ref))
}

// Extract unpacks a tar, compressed or not, into a folder of a container.
func (f *Files) Extract(ctx context.Context, ref, name string, options core.ExtractOptions, asUser bool, r io.Reader, cut func()) error {
	u, err := f.look(ctx, ref)
	if err != nil {
		return err
	}
	defer u.close()
	defer f.tell(u)()
	defer context.AfterFunc(u, cut)()
	place, err := u.view.Evaluate(path.Join("/", name))
	if err != nil {
		return explain(err, name, ref)
	}
	stat, err := u.view.Stat(place)
	if err != nil {
		return explain(err, name, ref)
	}
	if !stat.Mode.IsDir() {
		return core.Invalid("extraction point is not a directory")
	}
	if err := readOnly(u.container, place); err != nil {
		return err
	}
	if user := u.container.Config.User; asUser && user != "" {
		options.User = &user
	}
	content, err := f.ports.Decompress(r)
	if err != nil {
		return broken(u, core.Invalid("%w", err))
	}
	err = u.view.Unpack(u, place, content, options)
	if closing := content.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return broken(u, explain(err, name, ref))
	}
	f.ports.Events.Container(u.container, "extract-to-dir", nil)
	return nil
}

// Export writes a tar of a container's root file system, without what is mounted over it.
func (f *Files) Export(ctx context.Context, ref string, w io.Writer, cut func()) error {
	if err := f.whole(ref, "export"); err != nil {
		return err
	}
	u, err := f.look(ctx, ref)
	if err != nil {
		return err
	}
	defer u.close()
	defer context.AfterFunc(u, cut)()
	if err := u.view.Export(u, w); err != nil {
		return core.Internal("Error exporting container %s: %w", ref, broken(u, err))
	}
	f.ports.Events.Container(u.container, "export", nil)
	return nil
}

// whole says why nothing can be made of a container, if it is on its way out.
func (f *Files) whole(ref, verb string) error {
	c, _, err := f.ports.Containers.Find(ref)
	if err != nil {
		return err
	}
	switch c.State.Status {
	case core.StatusDead:
		return core.Conflict("You cannot %s container %s which is Dead", verb, c.ID)
	case core.StatusRemoving:
		return core.Conflict("You cannot %s container %s which is being removed", verb, c.ID)
	}
	return nil
}

// absolute makes a path one that begins at the container's root, without losing what a slash or a dot at its end says: that it
// is a folder, and whether its name counts.
func absolute(name string) string {
	clean := path.Join("/", name)
	switch {
	case clean == "/" && path.Base(name) == ".":
		return "/."
	case clean == "/":
	case path.Base(name) == "." && strings.HasSuffix(name, "."):
		return clean + "/."
	case strings.HasSuffix(name, "/"):
		return clean + "/"
	}
	return clean
}

// explain gives errors of the file system Docker's words, and the class that they have for a client.
func explain(err error, name, ref string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return core.NotFound("Could not find the file %s in container %s", name, ref)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EINVAL):
		return core.Invalid("%w", err)
	case errors.Is(err, syscall.EBUSY):
		return core.Conflict("%w", err) // something is mounted there
	}
	return err
}
