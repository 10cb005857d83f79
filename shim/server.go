//go:build cgo

package shim

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/shim/wire"
)

// errGone says that a process is not there any more.
var errGone = errors.New("no such process")

// created and executed are errors of the OCI part of a start or an exec, unlogged one of the log driver: the runtime puts
// Docker's words before them.
type (
	unlogged struct{ error }
	created  struct{ error }
	executed struct{ error }
)

// server answers for one container, to one daemon at a time.
type server struct {
	shared *shared
	logger *slog.Logger
	done   chan struct{} // closed when nothing is left to do
	over   sync.Once     // closes done

	mu        sync.Mutex // guards what follows
	link      *wire.Conn // to the daemon; one that is gone until the next one comes
	container *container // nil until the start
	listener  net.Listener
}

// serve answers the daemon on link and, once there is a container, whichever daemon connects to its socket. It returns
// when the container was deleted, or never came to be.
func (s *server) serve(link *wire.Conn) {
	idle := make(chan error, 1)
	go func() { idle <- s.converse(link) }()
	select {
	case <-s.done:
	case err := <-idle:
		s.mu.Lock()
		busy := s.container != nil
		s.mu.Unlock()
		if busy {
			<-s.done
		} else if err != nil {
			s.logger.Error("conversation", "error", err)
		}
	}
	s.mu.Lock()
	last := s.link
	s.mu.Unlock()
	last.Close() // which tells the daemon that the container is gone from here
}

// converse answers the requests of one daemon until its connection ends.
func (s *server) converse(link *wire.Conn) error {
	s.mu.Lock()
	old := s.link
	s.link = link
	s.mu.Unlock()
	if old != link {
		old.Close() // the daemon behind it is gone, or about to notice that it was replaced
	}
	defer link.Close()
	for {
		m, files, err := link.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Noted != nil {
			s.noted(m)
			continue
		}
		if m.Start != nil {
			if err := s.take(m, files); err != nil {
				s.answer(link, m, nil, err)
			}
			continue
		}
		go s.handle(link, m, files)
	}
}

// finish ends serve: the container was deleted, or never came to be.
func (s *server) finish() { s.over.Do(func() { close(s.done) }) }

// handle answers one request. Files that the request did not use up are closed.
func (s *server) handle(link *wire.Conn, m *wire.Message, files []*os.File) {
	c, err := s.current(m)
	if err != nil {
		closeFiles(files)
		s.answer(link, m, nil, err)
		return
	}
	<-c.ready // what comes during the start is about what it makes
	reply := &wire.Reply{}
	switch {
	case m.Exec != nil:
		s.exec(link, c, m, files)
		return
	case m.Attach != nil:
		err = s.attach(c, m, files)
	case m.Resize != nil:
		err = c.resize(m.Process, m.Resize)
	case m.Signal != nil:
		err = c.signal(m.Process, m.Signal.Number)
	case m.Freeze != nil:
		err = c.freeze(m.Freeze.Frozen)
	case m.Update != nil && m.Update.Resources != nil:
		err = c.update(m.Update.Resources)
	case m.Ask != nil:
		reply.State = c.state()
	case m.Delete != nil:
		if err = s.delete(c); err == nil {
			defer link.Close() // also where serve has returned already
			defer s.finish()
		}
	default:
		err = errors.New("unknown request")
	}
	s.answer(link, m, reply, err)
}

// current gives the container, if it is the one that the message names.
func (s *server) current(m *wire.Message) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.container == nil || s.container.id != m.Container {
		return nil, fmt.Errorf("this shim does not have container %s: %w", m.Container, errGone)
	}
	return s.container, nil
}

// answer sends the reply. A daemon that is gone by now learns the state when it comes back.
func (s *server) answer(link *wire.Conn, m *wire.Message, reply *wire.Reply, err error) {
	answer(s.logger, link, m, reply, err)
}

func answer(logger *slog.Logger, link *wire.Conn, m *wire.Message, reply *wire.Reply, err error) {
	if err != nil {
		reply = &wire.Reply{Error: err.Error(), Kind: kindOf(err)}
	}
	if err := link.Send(&wire.Message{Seq: m.Seq, Container: m.Container, Process: m.Process, Reply: reply}); err != nil {
		logger.Debug("answer", "error", err)
	}
}

func kindOf(err error) wire.Kind {
	var (
		bad invalid
		cr  created
		ex  executed
		un  unlogged
	)
	switch {
	case errors.Is(err, errGone):
		return wire.KindGone
	case errors.As(err, &cr):
		return wire.KindCreate
	case errors.As(err, &un):
		return wire.KindLog
	case errors.As(err, &ex):
		return wire.KindExec
	case errors.As(err, &bad):
		return wire.KindInvalid
	}
	return wire.KindInternal
}

// noted lets the client of a further process see its end.
func (s *server) noted(m *wire.Message) {
	s.mu.Lock()
	c := s.container
	s.mu.Unlock()
	if c == nil {
		return
	}
	if p := c.more.get(m.Process); p != nil {
		p.once.Do(func() { close(p.noted) })
	}
}

// report sends what happened by itself; false: there is no daemon at the moment.
func (s *server) report(m *wire.Message) bool {
	s.mu.Lock()
	link := s.link
	s.mu.Unlock()
	if err := link.Send(m); err != nil {
		s.logger.Debug("report", "error", err)
		return false
	}
	return true
}

// take makes this conversation the given container's and starts it in the background.
func (s *server) take(m *wire.Message, files []*os.File) error {
	start := m.Start
	want := len(start.Attach)
	if start.NetNS {
		want++
	}
	if len(files) != want || start.Spec == nil || start.Spec.Process == nil || start.Spec.Root == nil || start.Spec.Linux == nil {
		closeFiles(files)
		return errors.New("incomplete start")
	}
	c := &container{
		id: m.Container, dir: start.Dir, spec: start.Spec, who: start.Who, cache: start.Cache,
		logger: s.logger, shared: s.shared, report: s.report,
		ready: make(chan struct{}), destroyed: make(chan struct{}),
	}
	s.mu.Lock()
	taken := s.container != nil
	if !taken {
		s.container = c
	}
	link := s.link
	s.mu.Unlock()
	if taken {
		closeFiles(files)
		return errors.New("this conversation has a container already")
	}
	go func() {
		reply, err := s.start(c, m, files)
		close(c.ready)
		s.answer(link, m, reply, err)
		if err != nil {
			// Nothing is left of the attempt.
			s.unlisten()
			if err := c.cleanup(); err != nil {
				s.logger.Error("undo of a start", "container", c.id, "error", err)
			}
			s.finish()
			return
		}
		s.shared.trim.Reset(trimAfter)
		c.watch(c.first) // its end is told after the answer to the start
	}()
	return nil
}

func (s *server) start(c *container, m *wire.Message, files []*os.File) (*wire.Reply, error) {
	var netns *os.File
	if m.Start.NetNS {
		netns, files = files[0], files[1:]
		defer netns.Close()
	}
	clients, err := clientsOf(m.Start.Attach, files)
	if err != nil {
		return nil, err
	}
	if err := s.listen(c); err != nil {
		closeClients(clients)
		return nil, err
	}
	if err := c.start(m.Start, netns, clients); err != nil {
		return nil, err
	}
	return &wire.Reply{PID: c.first.pid, At: c.first.at, State: &wire.State{CgroupPaths: c.paths}}, nil
}

func clientsOf(wants []wire.Attach, files []*os.File) ([]attachment, error) {
	var clients []attachment
	for i, a := range wants {
		conn, err := connOf(files[i])
		if err != nil {
			closeFiles(files[i+1:])
			closeClients(clients)
			return nil, fmt.Errorf("attach: %w", err)
		}
		clients = append(clients, attachment{a, conn})
	}
	return clients, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// listen opens the socket on which the next daemon finds this shim. The folder is bound through its descriptor, since
// a path of a socket has at most 107 bytes.
func (s *server) listen(c *container) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	dir, err := os.Open(c.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	listener, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", fdOf(dir), wire.SocketName))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(filepath.Join(c.dir, wire.SocketName), 0o600); err != nil {
		listener.Close()
		return err
	}
	s.mu.Lock()
	s.listener = listener
	s.mu.Unlock()
	go s.accept(listener)
	return nil
}

// accept lets daemons in, the newest replacing the one before.
func (s *server) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.logger.Error("accept", "error", err)
			}
			return
		}
		go func() {
			if err := s.converse(wire.NewConn(conn.(*net.UnixConn))); err != nil {
				s.logger.Debug("daemon", "error", err)
			}
		}()
	}
}

func (s *server) exec(link *wire.Conn, c *container, m *wire.Message, files []*os.File) {
	var wants []wire.Attach
	if m.Exec.Attach != nil {
		wants = append(wants, *m.Exec.Attach)
	}
	if len(files) != len(wants) || m.Exec.Process == nil {
		closeFiles(files)
		s.answer(link, m, nil, errors.New("incomplete exec"))
		return
	}
	clients, err := clientsOf(wants, files)
	if err != nil {
		s.answer(link, m, nil, err)
		return
	}
	p, err := c.exec(m.Process, m.Exec, clients)
	if err != nil {
		s.answer(link, m, nil, err)
	} else {
		s.answer(link, m, &wire.Reply{PID: p.pid, At: p.at}, nil)
	}
	if p != nil {
		c.watchMore(p)
	}
}

func (s *server) attach(c *container, m *wire.Message, files []*os.File) error {
	if len(files) != 1 {
		closeFiles(files)
		return errors.New("incomplete attach")
	}
	conn, err := connOf(files[0])
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	p := c.process(m.Process)
	if p == nil {
		conn.Close()
		return errGone
	}
	p.streams.attach(*m.Attach, conn)
	return nil
}

func (c *container) process(id core.ExecID) *process {
	if id != "" {
		return c.more.get(id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

func (c *container) resize(id core.ExecID, size *wire.Resize) error {
	p := c.process(id)
	if p == nil {
		return errGone
	}
	return p.resize(size.Height, size.Width)
}

// delete ends the container and removes its folder.
func (s *server) delete(c *container) error {
	if err := c.kill(); err != nil {
		return err
	}
	s.unlisten()
	return c.cleanup()
}

// unlisten closes the socket for other daemons. Its path is the one through the descriptor, which is closed: it goes with
// the folder.
func (s *server) unlisten() {
	s.mu.Lock()
	listener := s.listener
	s.listener = nil
	s.mu.Unlock()
	if listener != nil {
		listener.(*net.UnixListener).SetUnlinkOnClose(false)
		listener.Close()
	}
}

// fdOf gives the descriptor without making the file blocking.
func fdOf(file *os.File) int {
	raw, err := file.SyscallConn()
	if err != nil {
		return -1
	}
	fd := -1
	if err := raw.Control(func(n uintptr) { fd = int(n) }); err != nil {
		return -1
	}
	return fd
}
