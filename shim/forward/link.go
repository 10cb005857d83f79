package forward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-engine/berth/core/logopt"
)

// connect opens a connection to a server, through berth-log where TLS is asked for.
func connect(ctx context.Context, a logopt.Address, tunnel string) (net.Conn, error) {
	if a.TLS != nil {
		return openTunnel(ctx, a, tunnel)
	}
	return (&net.Dialer{}).DialContext(ctx, a.Network, a.Address)
}

// stream is a link over a connection that keeps the order and has no bounds of records.
type stream struct {
	net.Conn
	timeout time.Duration // of one send; 0: none
}

// newStream watches the connection: a server that goes closes it, and what is written after that would be lost.
func newStream(conn net.Conn) *stream {
	go func() {
		// Whatever a log server says is not for us; its end is.
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
	}()
	return &stream{Conn: conn}
}

func (s *stream) send(data []byte, ends []int) (int, error) {
	if s.timeout > 0 {
		if err := s.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
			return 0, err
		}
	}
	n, err := s.Write(data)
	if err == nil {
		return len(ends), nil
	}
	whole := 0
	for whole < len(ends) && ends[whole] <= n {
		whole++
	}
	return whole, err
}

// packets is a link that sends each record in a datagram of its own, or as cut says.
type packets struct {
	net.Conn
	cut func(record []byte) ([][]byte, error) // nil: as it is
}

func (p *packets) send(data []byte, ends []int) (int, error) {
	begin := 0
	for i, end := range ends {
		if err := p.one(data[begin:end]); err != nil {
			return i, err
		}
		begin = end
	}
	return len(ends), nil
}

func (p *packets) one(record []byte) error {
	pieces := [][]byte{record}
	if p.cut != nil {
		var err error
		if pieces, err = p.cut(record); err != nil {
			return nil // it can't be sent, now or later
		}
	}
	for _, piece := range pieces {
		_, err := p.Write(piece)
		if errors.Is(err, syscall.ECONNREFUSED) && p.RemoteAddr().Network() == "udp" {
			// An earlier datagram found nobody. This one may: nothing is known about it.
			_, err = p.Write(piece)
			if errors.Is(err, syscall.ECONNREFUSED) {
				err = nil
			}
		}
		if errors.Is(err, syscall.EMSGSIZE) {
			return nil // too long for the protocol, now and later
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tunnel is a connection through a berth-log process, which speaks TLS: that library would make every shim larger.
type tunnel struct {
	net.Conn
	process *exec.Cmd
	once    sync.Once
}

// tunnelEnd is how long a tunnel may take to send the last of what it was given.
const tunnelEnd = 2 * time.Second

// openTunnel starts the process. Its standard input is a socket: on it come a zero once TLS is agreed on, or the reason
// why not; then both directions carry the stream.
func openTunnel(ctx context.Context, a logopt.Address, program string) (net.Conn, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "tunnel"), os.NewFile(uintptr(fds[1]), "tunnel")
	address, err := json.Marshal(a)
	if err != nil {
		return nil, errors.Join(err, ours.Close(), theirs.Close())
	}
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	t := &tunnel{Conn: conn, process: exec.Command(program, string(address))}
	t.process.Stdin = theirs
	err = t.process.Start()
	theirs.Close() // the process has it; with a second one open its end would not be seen
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("dial %s %s: %w", a.Network, a.Address, err), t.Close())
	}
	if first[0] != 0 {
		reason, err := io.ReadAll(io.LimitReader(conn, 4096))
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
		return nil, errors.Join(errors.New(strings.TrimSpace(string(first[:])+string(reason))), t.Close())
	}
	return t, nil
}

// Close lets the process send what it has, and waits for its end.
func (t *tunnel) Close() (err error) {
	t.once.Do(func() {
		if half, ok := t.Conn.(*net.UnixConn); ok {
			_ = half.CloseWrite() // it may be closed already
		}
		kill := time.AfterFunc(tunnelEnd, func() { _ = t.process.Process.Kill() })
		defer kill.Stop()
		_ = t.process.Wait() // how it ended says nothing; the shim's reaper may have been faster
		err = t.Conn.Close()
	})
	return err
}
