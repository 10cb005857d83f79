package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/cgroup"
	"github.com/berth-engine/berth/linux/mount"
	"github.com/berth-engine/berth/linux/proc"
	"github.com/berth-engine/berth/shim/wire"
)

// Options of the runtime organ.
type Options struct {
	// ExecRoot is a folder that is emptied by a reboot (/run/berth). The runtime uses shim/ and seccomp/ in it.
	ExecRoot string
	// ShimPath is the berth-shim binary.
	ShimPath string
	// TunnelPath is the berth-log binary, which speaks TLS to log servers for the shims.
	TunnelPath string
	// Warm is how many shims with room for a container are kept ready; 0: none, a start that finds no room makes one.
	Warm int
	// OnExit is called for the end of every process, in order for each container, one at a time. It may call the
	// runtime.
	OnExit func(core.Exit)
	// Memory is the host's, in bytes: what Stats shows as the limit of a container without one. 0: not known.
	Memory int64
	look   func() mount.Mark // mount.Look, but in tests
	// Programs are the OCI runtimes that containers may name besides the shim's own.
	Programs map[string]wire.Program
	// CDI are the folders of descriptions of CDI devices; none: there are no such devices.
	CDI    []string
	Logger *slog.Logger
}

// Runtime runs containers' processes. It implements the engine's Runtime, Console and Meter.
type Runtime struct {
	options Options
	pool    *pool
	host    host // the facts that are the same for all containers

	named atomic.Pointer[named]

	mu    sync.Mutex // guards boxes and last
	boxes map[core.ContainerID]*box
	last  uint64 // number of the newest attachment
}

// New readies the runtime and begins to warm shims up. Adopt comes next.
func New(options Options) (*Runtime, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.look == nil {
		options.look = mount.Look
	}
	// Numbers of attachments go on from the last daemon's, which shims may still have.
	r := &Runtime{options: options, boxes: map[core.ContainerID]*box{}, last: uint64(time.Now().UnixNano())}
	r.Change(options.Programs, options.CDI)
	for _, dir := range []string{r.shims(), r.cache()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	bounding, err := proc.Bounding()
	if err != nil {
		return nil, fmt.Errorf("capabilities: %w", err)
	}
	r.host = host{bounding: bounding, unified: cgroup.Unified(), noSwap: !cgroup.Swap(), shim: options.ShimPath}
	profile, err := likelySeccomp(bounding)
	if err != nil {
		return nil, err
	}
	prepare := wire.Prepare{Seccomp: profile, Cache: r.cache()}
	r.pool, err = newPool(&options, prepare)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// named is what containers may name: runtimes besides the shim's own, and folders of descriptions of devices.
type named struct {
	programs map[string]wire.Program
	cdi      []string
}

// Change replaces what containers may name from now on.
func (r *Runtime) Change(programs map[string]wire.Program, cdi []string) {
	r.named.Store(&named{programs, cdi})
}

// Close lets shims without a container go and cuts the connections to the others, which go on without a daemon.
func (r *Runtime) Close() error {
	r.pool.close()
	r.mu.Lock()
	boxes := slices.Collect(maps.Values(r.boxes))
	r.mu.Unlock()
	for _, b := range boxes {
		b.leave()
	}
	return nil
}

func (r *Runtime) shims() string { return filepath.Join(r.options.ExecRoot, "shim") }
func (r *Runtime) cache() string { return filepath.Join(r.options.ExecRoot, "seccomp") }

func (r *Runtime) dir(id core.ContainerID) string { return filepath.Join(r.shims(), string(id)) }

// box is what is known of a container: its shim, its attachments, what is to be told about it.
type box struct {
	id core.ContainerID
	r  *Runtime

	mu          sync.Mutex // guards what follows
	link        *link      // nil: not started, or its shim is gone
	left        bool       // the daemon goes: silence
	pid         int
	paths       map[string]string // of the cgroups
	ended       bool              // the exit was told
	deleted     bool              // Delete is under way: the shim's end is wanted
	attachments map[uint64]*attachment
	waiting     []*attachment // for the start
	exits       []core.Exit   // to be told, in order
	telling     bool
}

// box gives the container's, and makes it with make.
func (r *Runtime) box(id core.ContainerID, make bool) *box {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.boxes[id]
	if b == nil && make {
		b = newBox(r, id)
		r.boxes[id] = b
	}
	return b
}

func newBox(r *Runtime, id core.ContainerID) *box {
	return &box{id: id, r: r, attachments: map[uint64]*attachment{}}
}

func (r *Runtime) forget(b *box) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.boxes[b.id] == b {
		delete(r.boxes, b.id)
	}
}

// connect makes the shim this container's. The link listens from then on. The clients that waited are attachments
// now: the start takes them along. One that comes later finds the link.
func (b *box) connect(conn *wire.Conn, s *shim) (l *link, waited []*attachment) {
	l = newLink(conn, s, b.news)
	b.mu.Lock()
	b.link, b.ended, b.deleted, b.pid, b.paths = l, false, false, 0, nil
	waited, b.waiting = b.waiting, nil
	for _, a := range waited {
		b.attachments[a.wire.Number] = a
	}
	b.mu.Unlock()
	go l.listen(func() {
		b.lost(l)
		b.r.pool.release(s)
	})
	return l, waited
}

// running gives the link to a container that has started, or Docker's sentence.
func (b *box) running() (*link, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == nil || b.ended {
		return nil, core.NotRunning(b.id)
	}
	return b.link, nil
}

// news takes what the shim tells by itself.
func (b *box) news(m *wire.Message) {
	switch {
	case m.Exit != nil:
		b.exited(m.Process, *m.Exit)
	case m.Detached != nil:
		b.mu.Lock()
		a := b.attachments[m.Detached.Number]
		delete(b.attachments, m.Detached.Number)
		b.mu.Unlock()
		if a != nil {
			a.finish()
		}
	}
}

// exited queues the end of a process for OnExit; that of the first one counts once.
func (b *box) exited(process core.ExecID, e wire.Exit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if process == "" {
		if b.ended {
			return
		}
		b.ended = true
	}
	b.exits = append(b.exits, core.Exit{Container: b.id, Exec: process, Status: statusOf(e)})
	if !b.telling {
		b.telling = true
		go b.tell()
	}
}

func statusOf(e wire.Exit) core.ExitStatus {
	return core.ExitStatus{Code: e.Code, OOMKilled: e.OOMKilled, At: e.At}
}

// tell calls OnExit until nothing is left to tell.
func (b *box) tell() {
	for {
		b.mu.Lock()
		if len(b.exits) == 0 || b.left {
			b.telling = false
			b.mu.Unlock()
			return
		}
		e := b.exits[0]
		b.exits = b.exits[1:]
		b.mu.Unlock()
		b.r.options.OnExit(e)
		if e.Exec != "" {
			b.noted(e.Exec)
		}
	}
}

// noted tells the shim that everybody here knows how a further process ended: now its client may see the end of the
// output, and ask.
func (b *box) noted(process core.ExecID) {
	b.mu.Lock()
	l := b.link
	b.mu.Unlock()
	if l == nil {
		return
	}
	if err := l.conn.Send(&wire.Message{Container: b.id, Process: process, Noted: &wire.Noted{}}); err != nil {
		b.r.options.Logger.Debug("tell a shim", "container", b.id, "error", err) // the link's end is noticed elsewhere
	}
}

// lost is called when a conversation has ended: expected after Delete, else the shim died. Then the container
// has nobody who reads its output and knows its exit code; it is ended, as Docker does.
func (b *box) lost(l *link) {
	b.mu.Lock()
	if b.link != l {
		b.mu.Unlock()
		return
	}
	b.link = nil
	expected := b.deleted || b.left || b.pid == 0
	ended, paths := b.ended, b.paths
	var attachments []*attachment
	if b.pid != 0 || b.left { // else the start that failed has them
		attachments = slices.Collect(maps.Values(b.attachments))
		clear(b.attachments)
	}
	b.mu.Unlock()
	for _, a := range attachments {
		a.finish()
	}
	if expected || ended {
		return
	}
	b.r.pool.distrust(l.shim) // should it live after all
	b.r.options.Logger.Error("a shim died; its container is killed", "container", b.id, "shim", l.shim.pid)
	b.exited("", b.r.salvage(b.id, paths))
}

// salvage ends what a dead shim left and finds out how the first process ended: by its record, or else 255.
func (r *Runtime) salvage(id core.ContainerID, paths map[string]string) wire.Exit {
	exit := wire.Exit{Code: 255, At: time.Now()}
	if recorded, err := readJSON[wire.Exit](filepath.Join(r.dir(id), wire.ExitName)); err == nil {
		exit = recorded
	}
	if err := r.clear(id, paths); err != nil {
		r.options.Logger.Error("clean up after a dead shim", "container", id, "error", err)
	}
	return exit
}

// clear removes cgroups and folder of a container whose shim is gone.
func (r *Runtime) clear(id core.ContainerID, paths map[string]string) error {
	if paths == nil {
		if state, err := readJSON[wire.State](filepath.Join(r.dir(id), wire.StateName)); err == nil {
			paths = state.CgroupPaths
		}
	}
	err := cgroup.Kill(paths)
	if rerr := cgroup.Remove(paths); rerr != nil {
		err = errors.Join(err, rerr)
	}
	return errors.Join(err, removeDir(r.dir(id)))
}

// leave silences the container and cuts the connection.
func (b *box) leave() {
	b.mu.Lock()
	b.left = true
	l := b.link
	b.mu.Unlock()
	b.dropWaiting()
	if l != nil {
		l.conn.Close()
		<-l.gone
	}
}
