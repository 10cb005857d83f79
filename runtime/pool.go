package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"github.com/berth-engine/berth/linux/mount"
	"github.com/berth-engine/berth/linux/proc"
	"github.com/berth-engine/berth/shim/wire"
)

// pool keeps shims ready. A warm one has started, has its mount namespace and has compiled the usual seccomp
// program, so that a start finds all that done.
type pool struct {
	exe     *os.File // the shim's binary, sealed
	stderr  *os.File // where shims complain
	prepare wire.Prepare
	logger  *slog.Logger

	idle   chan *shim
	refill chan struct{} // one word for each shim that is wanted
	done   chan struct{} // closed by close
	filler sync.WaitGroup
	once   sync.Once
}

// shim is a shim process before it has a container.
type shim struct {
	conn *wire.Conn
	pid  int
	seen mount.Mark // the host's mounts when it was started
}

func newPool(path, log string, warm int, prepare wire.Prepare, logger *slog.Logger) (*pool, error) {
	exe, err := proc.Sealed(path)
	if err != nil {
		return nil, fmt.Errorf("shim: %w", err)
	}
	stderr, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		exe.Close()
		return nil, fmt.Errorf("shim: %w", err)
	}
	p := &pool{exe: exe, stderr: stderr, prepare: prepare, logger: logger, idle: make(chan *shim, warm), refill: make(chan struct{}, warm+1), done: make(chan struct{})}
	for range warm {
		p.refill <- struct{}{}
	}
	p.filler.Add(1)
	go p.fill()
	return p, nil
}

// fill makes a shim for each request until the pool is full.
func (p *pool) fill() {
	defer p.filler.Done()
	for {
		select {
		case <-p.done:
			return
		case <-p.refill:
		}
		if len(p.idle) == cap(p.idle) {
			continue
		}
		s, err := p.spawn(true)
		if err != nil {
			p.logger.Error("warm shim", "error", err)
			continue
		}
		if err := p.warm(s); err != nil {
			p.logger.Error("warm shim", "error", err)
			s.conn.Close()
			continue
		}
		select {
		case p.idle <- s:
		default:
			s.conn.Close() // it ends by itself
		}
	}
}

// warm lets a shim prepare itself. Nobody else uses its connection yet.
func (p *pool) warm(s *shim) error {
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

// take gives a shim: a warm one when there is one, else one that is started now. With host it lives in the host's
// mount namespace, and is never warm.
func (p *pool) take(ctx context.Context, host bool) (*shim, error) {
	if !host {
		if s := p.warmed(); s != nil {
			return s, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return p.spawn(!host)
}

// warmed gives a warm shim, or nil. One that is older than a mount of the host which it was not told of is no good: the
// container would get the folder below the mount.
func (p *pool) warmed() *shim {
	now := mount.Look()
	for {
		select {
		case s := <-p.idle:
			if s.seen == now {
				return s
			}
			s.conn.Close() // it ends by itself
			p.taken()
		default:
			return nil
		}
	}
}

// taken asks for a replacement. Called when the start is over, so that making one does not slow it down.
func (p *pool) taken() {
	select {
	case p.refill <- struct{}{}:
	default:
	}
}

// spawn starts a shim: in its own session, so that no terminal's signal reaches it.
func (p *pool) spawn(private bool) (*shim, error) {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	seen := mount.Look() // before: what comes meanwhile shows as a difference
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

// close lets the idle shims go. Those with containers stay.
func (p *pool) close() {
	p.once.Do(func() {
		close(p.done)
		p.filler.Wait()
		for {
			select {
			case s := <-p.idle:
				s.conn.Close()
				continue
			default:
			}
			break
		}
		p.exe.Close()
		p.stderr.Close()
	})
}
