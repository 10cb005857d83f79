//go:build cgo

package shim

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/core/logopt"
	"github.com/berth-engine/berth/shim/wire"
)

// pipeSize is how much output a pipe keeps while the shim does something else.
const pipeSize = 256 << 10

// process is the first or a further process of the container.
type process struct {
	id      core.ExecID           // empty: the first
	home    string                // of its user
	lib     *libcontainer.Process // what it is, and its streams
	spec    *specs.Process
	handle  handle // once it runs
	streams *streams
	child   []*os.File // the process's ends of the pipes, closed here once it has them
	tty     *os.File   // the terminal's master; nil without terminal, set before started is closed
	console *os.File   // the socket on which libcontainer's init sends the master
	orphans *orphans   // where its number is known as ours until wait
	pid     int
	at      time.Time     // just before it began: none of its output is older
	noted   chan struct{} // closed when the daemon knows how it ended
	once    sync.Once     // of closing noted
}

// newProcess prepares a process of the spec with its streams. Nothing runs yet.
func newProcess(id core.ExecID, p *specs.Process, init bool) *process {
	nnp := p.NoNewPrivileges
	lib := &libcontainer.Process{
		Args: p.Args, Env: p.Env, Cwd: p.Cwd,
		UID: int(p.User.UID), GID: int(p.User.GID),
		NoNewPrivileges: &nnp, Init: init,
		AppArmorProfile: p.ApparmorProfile, Label: p.SelinuxLabel,
		// Only errors of libcontainer's init come here.
		LogLevel: "2",
	}
	for _, gid := range p.User.AdditionalGids {
		lib.AdditionalGroups = append(lib.AdditionalGroups, int(gid))
	}
	if c := p.Capabilities; c != nil {
		lib.Capabilities = &configs.Capabilities{
			Bounding: c.Bounding, Effective: c.Effective, Inheritable: c.Inheritable, Permitted: c.Permitted, Ambient: c.Ambient,
		}
	}
	return &process{id: id, lib: lib, spec: p, handle: lib, noted: make(chan struct{})}
}

// open makes the streams: pipes, or the socket over which the terminal comes. The pumps start with connect.
func (p *process) open(want wire.Streams, log *logopt.Plan, s *streams) (err error) {
	p.streams = s
	s.terminal, s.stdinOnce = want.Terminal, want.StdinOnce
	defer func() {
		if err != nil {
			p.abandon()
		}
	}()
	if log != nil {
		if s.log, err = openLog(log, s.logger); err != nil {
			return unlogged{err}
		}
	}
	if want.Terminal {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("console socket: %w", err)
		}
		p.console, p.lib.ConsoleSocket = os.NewFile(uintptr(fds[0]), "console"), os.NewFile(uintptr(fds[1]), "console")
		p.child = append(p.child, p.lib.ConsoleSocket)
		p.lib.ConsoleHeight, p.lib.ConsoleWidth = uint16(want.Height), uint16(want.Width)
		return nil
	}
	if want.OpenStdin {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		enlarge(r)
		p.lib.Stdin, s.stdin = r, w
		p.child = append(p.child, r)
	} // else libcontainer's exec.Cmd opens /dev/null
	for _, out := range []struct {
		stderr bool
		end    func(w *os.File)
	}{{false, func(w *os.File) { p.lib.Stdout = w }}, {true, func(w *os.File) { p.lib.Stderr = w }}} {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		enlarge(r)
		out.end(w)
		p.child = append(p.child, w)
		s.pumps.Add(1)
		go s.pump(r, out.stderr)
	}
	return nil
}

// enlarge gives a pipe more room. A smaller one works as well: the limit for all pipes of a user may be reached.
func enlarge(pipe *os.File) {
	if raw, err := pipe.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
}

// running is called once libcontainer has started the process: the child's ends are the child's alone now, and a
// terminal's master is waiting on the console socket. A terminal's output flows after connect.
func (p *process) running(openStdin bool) error {
	p.closeChild()
	if p.console == nil {
		return nil
	}
	var err error
	p.tty, err = receiveFile(p.console)
	p.console.Close()
	p.console = nil
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	if openStdin {
		p.streams.mu.Lock()
		p.streams.stdin = p.tty
		p.streams.mu.Unlock()
	}
	return nil
}

// connect attaches the clients of the start, before the first output is read: called before the process runs when it
// has pipes, and after running when it has a terminal, which is there only then.
func (p *process) connect(clients []attachment) {
	for _, c := range clients {
		p.streams.attach(c.Attach, c.conn)
	}
	if p.tty != nil {
		p.streams.pumps.Add(1)
		go p.streams.pump(p.tty, false)
	}
}

// attachment is a client with what it wants.
type attachment struct {
	wire.Attach
	conn net.Conn
}

func (p *process) closeChild() {
	for _, f := range p.child {
		f.Close()
	}
	p.child = nil
}

// abandon closes what open made, for a process that did not start.
func (p *process) abandon() error {
	p.closeChild()
	if p.console != nil {
		p.console.Close()
	}
	p.streams.release()
	p.streams.pumps.Wait()
	return p.streams.close()
}

// receiveFile takes one file from a socket.
func receiveFile(socket *os.File) (*os.File, error) {
	name := make([]byte, 4096)
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), name, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("no file came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	// Nonblocking, so that a read is given up when the file is closed.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}

// resize sets the size of the terminal.
func (p *process) resize(height, width uint) error {
	if p.tty == nil {
		return invalid{errors.New("cannot resize: the process has no terminal")}
	}
	raw, err := p.tty.SyscallConn()
	if err != nil {
		return err
	}
	var ioctl error
	err = raw.Control(func(fd uintptr) {
		ioctl = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(height), Col: uint16(width)})
	})
	return errors.Join(err, ioctl)
}

// drainTime is how long a process's output may outlive it: something in the background may hold its pipes.
const drainTime = 2 * time.Second

// wait returns how the process ended, with all of its output written out. The streams are still to be closed.
func (p *process) wait() (wire.Exit, error) {
	state, err := p.handle.Wait()
	p.orphans.forget(p.pid)
	exit := wire.Exit{Code: 255, At: time.Now()}
	if state != nil {
		err = nil // the error only says that the code is not 0
		if status, ok := state.Sys().(syscall.WaitStatus); ok {
			if exit.Code = status.ExitStatus(); status.Signaled() {
				exit.Code = 128 + int(status.Signal())
			}
		}
	}
	p.streams.wait(drainTime)
	return exit, err
}

// notedTime is how long a daemon that is there may take to note an exit.
const notedTime = 2 * time.Second

// awaitNoted waits until the daemon knows the exit code, so that a client that sees the end of the output can ask for
// it at once. A daemon that dies meanwhile costs the client a moment.
func (p *process) awaitNoted() {
	timer := time.NewTimer(notedTime)
	defer timer.Stop()
	select {
	case <-p.noted:
	case <-timer.C:
	}
}

// connOf makes a connection of a received socket. It closes the file.
func connOf(file *os.File) (net.Conn, error) {
	defer file.Close()
	return net.FileConn(file)
}

// processes are the further ones, by ID.
type processes struct {
	mu sync.Mutex
	m  map[core.ExecID]*process
}

func (ps *processes) get(id core.ExecID) *process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.m[id]
}

func (ps *processes) put(p *process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.m == nil {
		ps.m = map[core.ExecID]*process{}
	}
	ps.m[p.id] = p
}

func (ps *processes) remove(p *process) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.m, p.id)
}

func (ps *processes) ids() (ids []core.ExecID) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id := range ps.m {
		ids = append(ids, id)
	}
	return ids
}
