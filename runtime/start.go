package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/cgroup"
	"github.com/berth-engine/berth/linux/mount"
	"github.com/berth-engine/berth/runtime/devices"
	"github.com/berth-engine/berth/shim/wire"
)

// undoTime is how long the undo of a failed start may take before the shim is killed.
const undoTime = 10 * time.Second

// names of the runtime that the shim has in itself: Docker's own for it, and ours.
var names = []string{"", "berth", "runc", "io.containerd.runc.v2"}

// Start runs the container's first process. Streams that Attach queued are connected before the process runs. An
// error means that nothing is left of the attempt.
func (r *Runtime) Start(ctx context.Context, launch core.Launch) (core.Started, error) {
	c := launch.Container
	if _, named := r.named.Load().programs[c.Host.Runtime]; !named && !slices.Contains(names, c.Host.Runtime) {
		return core.Started{}, core.Invalid("unknown or invalid runtime name: %s", c.Host.Runtime)
	}
	r.Ready()
	b := r.box(c.ID, true)
	if err := r.removeOld(ctx, b); err != nil {
		return core.Started{}, err
	}
	m, files, err := r.startMessage(launch)
	if err != nil {
		b.dropWaiting()
		return core.Started{}, err
	}
	attempt := &attempt{box: b, message: m, files: files}
	started, err := r.launch(ctx, attempt)
	if errors.Is(err, errLost) {
		// A shim that waited may have been killed meanwhile; the next one is new.
		started, err = r.launch(ctx, attempt)
	}
	for _, a := range attempt.clients {
		a.handed()
	}
	if err != nil {
		b.dropAll()
	}
	return started, err
}

// Ready is a hint that a start will come within moments: at a create, or at the beginning of a start's other work. It
// takes a wait of the kernel off the start (cgroup.Warm) and returns at once.
func (r *Runtime) Ready() { go cgroup.Warm() }

// removeOld removes what an earlier run of the container left, which the engine has not asked to delete.
func (r *Runtime) removeOld(ctx context.Context, b *box) error {
	b.mu.Lock()
	running := b.link != nil && !b.ended
	old := b.link != nil
	b.mu.Unlock()
	if running {
		return core.Conflict("container %s is already running", b.id)
	}
	if old {
		return r.end(ctx, b)
	}
	return nil
}

// attempt is a start with what goes along.
type attempt struct {
	*box
	message *wire.Message
	files   []*os.File // without those of the clients
	clients []*attachment
}

// launch hands the start to a shim and waits for its answer.
func (r *Runtime) launch(ctx context.Context, b *attempt) (core.Started, error) {
	m, files := b.message, slices.Clone(b.files)
	s, conn, err := r.pool.take(ctx, m.Start.HostMounts)
	if err != nil {
		b.dropWaiting()
		return core.Started{}, err
	}
	defer r.pool.over(s)
	l, waited := b.connect(conn, s)
	b.clients = append(b.clients, waited...)
	m.Start.Attach = nil
	for _, a := range b.clients {
		m.Start.Attach = append(m.Start.Attach, a.wire)
		files = append(files, a.file)
	}
	reply, err := l.call(ctx, m, files...)
	if err == nil && reply.Error == "" {
		b.mu.Lock()
		b.pid, b.paths = reply.PID, reply.State.CgroupPaths
		b.mu.Unlock()
		return core.Started{PID: reply.PID, At: reply.At}, nil
	}
	if err == nil {
		err = errorOf(reply)
	}
	// The shim undoes its attempt and ends the conversation; with one that does not we end it, and the rest is ours.
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if errors.Is(err, ctx.Err()) && ctx.Err() != nil {
		cancel()
	}
	select {
	case <-l.gone:
	case <-undo.Done():
		r.pool.distrust(s)
		l.conn.Close()
		<-l.gone
	}
	if cerr := r.clear(b.id, nil); cerr != nil {
		r.options.Logger.Error("undo of a start", "container", b.id, "error", cerr)
	}
	return core.Started{}, err
}

// startMessage is the start with its open files but those of the clients.
func (r *Runtime) startMessage(launch core.Launch) (*wire.Message, []*os.File, error) {
	c := launch.Container
	h := r.host
	h.parts = filepath.Join(r.dir(c.ID), wire.PartsName)
	if err := h.lookAt(c); err != nil {
		return nil, nil, err
	}
	spec, err := specOf(launch, h)
	if err != nil {
		return nil, nil, err
	}
	if err := devices.Inject(r.named.Load().cdi, spec, c.Host.DeviceRequests); err != nil {
		return nil, nil, err
	}
	log, err := r.logOf(c, launch.LogPath)
	if err != nil {
		return nil, nil, err
	}
	start := &wire.Start{
		Spec: spec, Root: labelled(launch.Root, c.MountLabel), Parts: partsOf(launch.Mounts, c.MountLabel),
		Who:     wire.Who{User: c.Config.User, Groups: c.Host.GroupAdd},
		Streams: wire.Streams{Terminal: c.Config.Tty, Height: c.Host.ConsoleSize[0], Width: c.Host.ConsoleSize[1], OpenStdin: c.Config.OpenStdin, StdinOnce: c.Config.StdinOnce},
		Log:     log, Dir: r.dir(c.ID), Cache: r.cache(),
		HostMounts: wantsHost(launch.Mounts),
		Init:       c.Host.Init != nil && *c.Host.Init,
	}
	if strings.HasPrefix(c.Host.IpcMode, "container:") {
		start.ShareIPC = launch.JoinIPC
	}
	if program, named := r.named.Load().programs[c.Host.Runtime]; named {
		start.Program = &program
	}
	var files []*os.File
	if launch.NetNS != nil {
		start.NetNS = true
		files = append(files, launch.NetNS)
	}
	return &wire.Message{Container: c.ID, Start: start}, files, nil
}

// errorOf puts Docker's words before what a shim says. Kinds are wire.Kind.
func errorOf(reply *wire.Reply) error {
	switch reply.Kind {
	case wire.KindInvalid:
		return core.Invalid("%s", reply.Error)
	case wire.KindCreate:
		return core.Invalid("failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: %s: unknown", reply.Error)
	case wire.KindLog:
		return core.Internal("%s%s", logPrefix, reply.Error)
	case wire.KindExec:
		return core.Invalid("OCI runtime exec failed: exec failed: %s: unknown", reply.Error)
	case wire.KindGone:
		return syscall.ESRCH
	}
	return core.Internal("%s", reply.Error)
}

func readJSON[T any](path string) (value T, err error) {
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &value)
	}
	return value, err
}

// removeDir removes a shim's folder. Its root file system must not be mounted any more: nothing is deleted through a
// mount.
func removeDir(dir string) error {
	if err := mount.Detach(filepath.Join(dir, wire.PartsName)); err != nil {
		return err
	}
	for _, sub := range []string{"rootfs", "shm"} {
		err := syscall.Unmount(filepath.Join(dir, sub), syscall.MNT_DETACH)
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("unmount %s: %w", filepath.Join(dir, sub), err)
		}
	}
	return os.RemoveAll(dir)
}
