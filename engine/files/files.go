// Package files is the room of the engine for the files of containers: copying in and out, what has changed, the export, and
// the making of images of containers.
//
// A container's files are looked at through a view (core.FilesView), which takes part in the container's root file
// system: an overlay may be written through one mount at a time. So all who look at a container at the same time share one
// view, and the container is neither started nor removed while there is one: Idle waits for that.
package files

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/failpoint"
)

// Containers is what files need of the noun container.
type Containers interface {
	// Find gives a container as it is now, and a channel that is closed when its process has ended; it is closed
	// already when none runs.
	Find(ref string) (c *core.Container, ended <-chan struct{}, err error)
	// Hold is Find that waits until no verb works on the container; none begins before release is called.
	Hold(ctx context.Context, ref string) (c *core.Container, release func(), err error)
}

// Freezer pauses containers for as long as their files are read.
type Freezer interface {
	Freeze(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
}

// Layers is what files need of the image organ: the writable layer of a container.
type Layers interface {
	// Mounts says how the root file system is mounted.
	Mounts(ctx context.Context, id core.ContainerID) ([]core.FSMount, error)
	// Changes lists how it differs from the image, folders before what is in them.
	Changes(ctx context.Context, id core.ContainerID) ([]core.Change, error)
}

// Images makes images of containers.
type Images interface {
	Commit(ctx context.Context, commit core.Commit) (core.ImageID, error)
}

// Mounts are readied for a container that does not run.
type Mounts interface {
	// Look says what is mounted, in order. LetGo undoes it, also when it failed half way.
	Look(ctx context.Context, c *core.Container) ([]core.FSMount, error)
	LetGo(ctx context.Context, c *core.Container) error
}

// View is the files of a container as it sees them. Paths are those of the container: they never lead out of it. What is
// not there is fs.ErrNotExist.
type View interface {
	Stat(path string) (core.PathStat, error)
	// Evaluate follows the symbolic links in a path, as far as it exists.
	Evaluate(path string) (string, error)
	// Pack writes a tar of what is at a path, Export one of everything that is not mounted from elsewhere.
	Pack(ctx context.Context, path string, w io.Writer) error
	Export(ctx context.Context, w io.Writer) error
	// Unpack unpacks a tar into a folder. Errors that are the tar's fault have the class of an invalid argument.
	Unpack(ctx context.Context, folder string, r io.Reader, options core.ExtractOptions) error
	Close() error
}

// Publisher is where events go.
type Publisher interface {
	// Container publishes an event of a container, with more attributes than those that every one has.
	Container(c *core.Container, action string, more map[string]string)
	// Volumes publishes that a container uses its volumes ("mount"), or does not any more ("unmount").
	Volumes(c *core.Container, action string)
}

// Ports are what files stand on.
type Ports struct {
	Containers Containers
	Freezer    Freezer
	Layers     Layers
	Images     Images
	Mounts     Mounts
	Events     Publisher
	// Open opens a view. Ended says of its error that the process has ended, of which the engine has not heard yet.
	Open  func(core.FilesView) (View, error)
	Ended func(error) bool
	// Decompress unpacks a stream in whatever format it is.
	Decompress func(io.Reader) (io.ReadCloser, error)
	Logger     *slog.Logger
}

// Files are the files of containers.
type Files struct {
	ports Ports
	grace time.Duration // how long a start or a removal waits for copies before it breaks them off

	mu   sync.Mutex // guards open and the counts in it; never held while a view is opened
	open map[core.ContainerID]*opened
}

// opened is a view with those who use it.
type opened struct {
	view    View
	readied *core.Container // the mounts of this one were readied for it; nil: none were
	users   int
	over    context.Context // ends when the view must go
	end     context.CancelFunc
	closed  chan struct{}
}

// New makes the room.
func New(ports Ports) *Files {
	return &Files{ports: ports, grace: 10 * time.Second, open: map[core.ContainerID]*opened{}}
}

// Idle waits until nobody looks at a container's files. Copies that take too long are broken off. The caller keeps new ones
// away: he holds the container.
func (f *Files) Idle(ctx context.Context, id core.ContainerID) error {
	f.mu.Lock()
	o := f.open[id]
	f.mu.Unlock()
	if o == nil {
		return nil
	}
	timer := time.NewTimer(f.grace)
	defer timer.Stop()
	select {
	case <-o.closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	o.end()
	select {
	case <-o.closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// use is a look at a container's files.
type use struct {
	context.Context // ends with the client's, or when the container can't wait any longer
	container       *core.Container
	view            View
	close           func()
}

// tell publishes that the volumes of a container that does not run are used by a copy, and gives what tells the end of it.
func (f *Files) tell(u *use) func() {
	if u.container.State.Running() {
		return func() {}
	}
	f.ports.Events.Volumes(u.container, "mount")
	return func() { f.ports.Events.Volumes(u.container, "unmount") }
}

// look opens the files of a container, or shares what is open.
func (f *Files) look(ctx context.Context, ref string) (*use, error) {
	for {
		u, ended, err := f.try(ctx, ref)
		if err == nil || !f.ports.Ended(err) {
			return u, err
		}
		// Its end is about to be told; then it is looked at as one that does not run.
		select {
		case <-ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (f *Files) try(ctx context.Context, ref string) (_ *use, ended <-chan struct{}, err error) {
	c, release, err := f.ports.Containers.Hold(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	if c.State.Status == core.StatusRemoving {
		return nil, nil, core.NoSuchContainer(ref)
	}
	if _, ended, err = f.ports.Containers.Find(string(c.ID)); err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	o := f.open[c.ID]
	if o != nil {
		o.users++
	}
	f.mu.Unlock()
	if o == nil {
		if o, err = f.begin(ctx, c); err != nil {
			return nil, ended, err
		}
	}
	cause, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(o.over, func() { cancel(core.Conflict("container %s can't wait for the copy any longer", c.ID)) })
	return &use{Context: cause, container: c, view: o.view, close: func() {
		stop()
		cancel(nil)
		f.leave(c.ID, o)
	}}, ended, nil
}

// begin opens a view; the caller holds the container.
func (f *Files) begin(ctx context.Context, c *core.Container) (*opened, error) {
	o := &opened{users: 1, closed: make(chan struct{})}
	view, err := f.describe(ctx, c, o)
	if err == nil {
		err = failpoint.Hit("files:before-view")
	}
	if err == nil {
		o.view, err = f.ports.Open(view)
	}
	if err != nil {
		f.letGo(o)
		return nil, err
	}
	o.over, o.end = context.WithCancel(context.Background())
	f.mu.Lock()
	f.open[c.ID] = o
	f.mu.Unlock()
	if err := failpoint.Hit("files:with-view"); err != nil {
		f.leave(c.ID, o)
		return nil, err
	}
	return o, nil
}

// networkFiles are what the network organ writes, mounted into every container that runs.
var networkFiles = []string{"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}

// describe says what the container's files are made of.
func (f *Files) describe(ctx context.Context, c *core.Container, o *opened) (core.FilesView, error) {
	view := core.FilesView{Container: c.ID, Over: c.Dir, ReadOnly: c.Host.ReadonlyRootfs}
	if c.State.Running() {
		view.PID = c.State.PID
		for _, m := range c.Mounts {
			view.Mounts = append(view.Mounts, core.FSMount{Target: m.Destination})
		}
		for _, target := range networkFiles {
			if !slices.ContainsFunc(c.Mounts, func(m core.Mount) bool { return m.Destination == target }) {
				view.Mounts = append(view.Mounts, core.FSMount{Target: target})
			}
		}
		return view, nil
	}
	var err error
	if view.Root, err = f.ports.Layers.Mounts(ctx, c.ID); err != nil {
		return view, err
	}
	o.readied = c
	if view.Mounts, err = f.ports.Mounts.Look(ctx, c); err != nil {
		return view, err
	}
	// Memory is there only while it runs.
	view.Mounts = slices.DeleteFunc(view.Mounts, func(m core.FSMount) bool { return m.Type == "tmpfs" })
	return view, nil
}

// leave ends a use; the last one closes the view.
func (f *Files) leave(id core.ContainerID, o *opened) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.users--; o.users > 0 {
		return
	}
	// Under the lock: nobody may open another one before this is closed.
	delete(f.open, id)
	if err := o.view.Close(); err != nil {
		f.ports.Logger.Warn("close the view of a container's files", "container", id, "error", err)
	}
	f.letGo(o)
	o.end()
	close(o.closed)
}

// letGo gives back what was readied.
func (f *Files) letGo(o *opened) {
	c := o.readied
	if c == nil {
		return
	}
	if err := f.ports.Mounts.LetGo(context.Background(), c); err != nil {
		f.ports.Logger.Warn("let go of the volumes of a container", "container", c.ID, "error", err)
	}
}

// readOnly says why nothing may be written to a path of the container, if nothing may.
func readOnly(c *core.Container, place string) error {
	inMount := func(m core.Mount) bool { return m.Destination == place || within(place, m.Destination) }
	mounts := slices.DeleteFunc(slices.Clone(c.Mounts), func(m core.Mount) bool { return !inMount(m) })
	if len(mounts) == 0 && c.Host.ReadonlyRootfs {
		return core.Invalid("container rootfs is marked read-only")
	}
	// The innermost one counts.
	innermost := core.Mount{RW: true}
	for _, m := range mounts {
		if len(m.Destination) >= len(innermost.Destination) {
			innermost = m
		}
	}
	if !innermost.RW && innermost.Type != core.MountTmpfs {
		return core.Invalid("mounted volume is marked read-only")
	}
	return nil
}

func within(place, folder string) bool {
	return len(place) > len(folder) && place[:len(folder)] == folder && (folder == "/" || place[len(folder)] == '/')
}

// broken is the error of a copy: the reason for which it was broken off, where there is one.
func broken(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			return cause
		}
	}
	return err
}
