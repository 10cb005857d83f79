package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/berth-engine/berth/linux/mount"
	"github.com/berth-engine/berth/linux/proc"
	"github.com/berth-engine/berth/shim/wire"
)

// pool keeps shims ready. A warm one has started, has its mount namespace and has compiled the usual seccomp
// program, so that a start finds all that done. A shim serves a few containers (docs/decisions/0005).
type pool struct {
	exe     *os.File // the shim's binary, sealed
	stderr  *os.File // where shims complain
	prepare wire.Prepare
	logger  *slog.Logger
	warm    int // how many shims with room there should be
	look    func() mount.Mark

	refill chan struct{} // a word when there may be fewer
	done   chan struct{} // closed by close
	filler sync.WaitGroup
	once   sync.Once

	mu     sync.Mutex    // guards what follows and the counters of all shims
	open   []*shim       // those that may take another container, the oldest first
	others map[int]*shim // those that the last daemon left, by their number
	closed bool
}

// A shim's death costs each of its containers, and its memory is theirs together: six of them weigh a third of what each
// would weigh alone. After some starts a shim takes no more: what may have gathered in it goes with it.
const (
	containersPerShim = 6
	startsPerShim     = 100
)

// shim is a shim process. Its counters belong to the pool.
type shim struct {
	conn *wire.Conn // about the shim as a whole; nil: it was adopted, or lives for one container only
	pid  int
	seen mount.Mark // the host's mounts when it was started

	containers int  // that it serves
	starting   int  // of these, how many are being started
	starts     int  // that it has done
	leaving    bool // it takes no more: conn is closed as soon as no start needs it
	stuck      bool // it does not answer: killed once nobody else needs it
}

func newPool(options *Options, prepare wire.Prepare) (*pool, error) {
	exe, err := proc.Sealed(options.ShimPath)
	if err != nil {
		return nil, fmt.Errorf("shim: %w", err)
	}
	stderr, err := os.OpenFile(filepath.Join(options.ExecRoot, "shim.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		exe.Close()
		return nil, fmt.Errorf("shim: %w", err)
	}
	p := &pool{
		exe: exe, stderr: stderr, prepare: prepare, logger: options.Logger, warm: options.Warm, look: options.look,
		refill: make(chan struct{}, 1), done: make(chan struct{}), others: map[int]*shim{},
	}
	p.refill <- struct{}{}
	p.filler.Add(1)
	go p.fill()
	return p, nil
}

// fill makes shims whenever too few have room.
func (p *pool) fill() {
	defer p.filler.Done()
	for {
		select {
		case <-p.done:
			return
		case <-p.refill:
		}
		for p.wanting() {
			s, err := p.spawn(true)
			if err == nil {
				if err = p.warmUp(s); err != nil {
					s.conn.Close()
				}
			}
			if err != nil {
				p.logger.Error("warm shim", "error", err)
				break // the next start asks again
			}
			p.add(s)
		}
	}
}

// wanting reports whether there are fewer shims with room, and with nothing else to do, than there should be.
func (p *pool) wanting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ready := 0
	for _, s := range p.open {
		if s.room() && s.starting == 0 {
			ready++
		}
	}
	return ready < p.warm && !p.closed
}

func (s *shim) room() bool { return s.containers < containersPerShim }

// add puts a warm shim among those that take containers.
func (p *pool) add(s *shim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		s.conn.Close() // it ends by itself
		return
	}
	p.open = append(p.open, s)
}

// warmUp lets a shim prepare itself. Nobody else uses its connection yet.
func (p *pool) warmUp(s *shim) error {
	if err := s.conn.Send(&wire.Message{Seq: 1, Prepare: &p.prepare}); err != nil {
		return err
	}
	m, files, err := s.conn.Receive()
	for _, f := range files {
		f.Close()
	}
	switch {
	case err != nil:
		return err
	case m.Reply == nil || m.Seq != 1:
		return fmt.Errorf("shim %d answered something else", s.pid)
	case m.Reply.Error != "":
		return fmt.Errorf("shim %d: %s", s.pid, m.Reply.Error)
	}
	return nil
}

// take opens a conversation about one more container with a shim that has room, or else with one that is started now.
// With host the shim lives in the host's mount namespace and serves this container only.
func (p *pool) take(ctx context.Context, host bool) (*shim, *wire.Conn, error) {
	for !host {
		s := p.choose()
		if s == nil {
			break
		}
		conn, err := s.converse()
		if err == nil {
			return s, conn, nil
		}
		p.logger.Warn("a shim that waited is gone", "shim", s.pid, "error", err)
		p.distrust(s)
		p.over(s)
		p.release(s)
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s, err := p.spawn(!host)
	if err != nil {
		return nil, nil, err
	}
	conn, err := s.converse()
	if err != nil {
		s.conn.Close()
		return nil, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.containers, s.starting, s.starts = 1, 1, 1
	if host || p.closed {
		s.conn.Close() // it ends with its container
		s.conn = nil
	} else {
		p.open = append(p.open, s)
	}
	return s, conn, nil
}

// choose takes a place in a shim: in the fullest of those that have nothing else to start, since a shim weighs nearly
// the same for one container as for six; when all are starting something, in the one that starts least. nil: all are full.
func (p *pool) choose() *shim {
	now := p.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *shim
	for _, s := range slices.Clone(p.open) {
		switch {
		case s.seen != now:
			// Older than a mount of the host which it was not told of: the container would get the folder below the mount.
			p.shut(s)
		case !s.room():
		case best == nil || s.starting < best.starting || s.starting == best.starting && s.containers > best.containers:
			best = s
		}
	}
	if best != nil {
		best.containers++
		best.starting++
		best.starts++
		if best.starts >= startsPerShim {
			p.shut(best)
		}
	}
	return best
}

// converse opens the conversation about one container.
func (s *shim) converse() (*wire.Conn, error) {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	if err := s.conn.Send(&wire.Message{Converse: &wire.Converse{}}, theirs); err != nil {
		ours.Close()
		return nil, err
	}
	return wire.FileConn(ours)
}

// shut takes a shim out of those that take containers; it ends once it has none. The caller holds mu.
func (p *pool) shut(s *shim) {
	if i := slices.Index(p.open, s); i >= 0 {
		p.open = slices.Delete(p.open, i, i+1)
		if s.leaving = true; s.starting == 0 {
			s.conn.Close()
		}
	}
}

// over is called when a start is over, well or not. Only then is a replacement made, so that making one does not slow
// the start down.
func (p *pool) over(s *shim) {
	p.mu.Lock()
	if s.starting--; s.starting == 0 && s.leaving {
		s.conn.Close()
	}
	p.mu.Unlock()
	select {
	case p.refill <- struct{}{}:
	default:
	}
}

// release gives back a container's place, when its conversation is over. A shim that is not needed as a warm one goes.
func (p *pool) release(s *shim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.containers--; s.containers > 0 {
		return
	}
	delete(p.others, s.pid)
	if s.stuck {
		proc.KillIf(s.pid, "berth-shim")
	}
	idle := 0
	for _, other := range p.open {
		if other.containers == 0 {
			idle++
		}
	}
	if idle > p.warm {
		p.shut(s)
	}
}

// distrust is for a shim that does not answer about a container, which others have to end: it takes no more, and is killed
// once it has no other.
func (p *pool) distrust(s *shim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.stuck = true
	p.shut(s)
}

// adopted gives the shim of a container that survived the last daemon.
func (p *pool) adopted(pid int) *shim {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.others[pid]
	if s == nil {
		s = &shim{pid: pid}
		p.others[pid] = s
	}
	s.containers++
	return s
}

// spawn starts a shim: in its own session, so that no terminal's signal reaches it.
func (p *pool) spawn(private bool) (*shim, error) {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	seen := p.look() // before: what comes meanwhile shows as a difference
	word := "host"
	attributes := &syscall.SysProcAttr{Setsid: true}
	if private {
		word = "private"
		attributes.Cloneflags = syscall.CLONE_NEWNS
	}
	var exe string
	raw, err := p.exe.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { exe = "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(int(fd)) })
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: exe, Args: []string{"berth-shim", word}, Dir: "/", Env: []string{"PATH=" + os.Getenv("PATH")},
		Stderr: p.stderr, ExtraFiles: []*os.File{theirs}, SysProcAttr: attributes,
	}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start of a shim: %w", err)
	}
	// The shim's end shows on its connection; this only takes it out of the table of processes.
	go func() { _ = cmd.Wait() }()
	conn, err := wire.FileConn(ours)
	if err != nil {
		return nil, err
	}
	return &shim{conn: conn, pid: cmd.Process.Pid, seen: seen}, nil
}

// close lets the shims go that have no container; the others go with their last one.
func (p *pool) close() {
	p.once.Do(func() {
		close(p.done)
		p.filler.Wait()
		p.mu.Lock()
		p.closed = true
		for _, s := range slices.Clone(p.open) {
			p.shut(s)
		}
		p.mu.Unlock()
		p.exe.Close()
		p.stderr.Close()
	})
}
