package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// sshDialer gives a connection that is the standard input and output of `berth system dial-stdio` on the other machine.
// A word that begins with a dash would be an option to ssh, so it is refused.
func sshDialer(u *url.URL) (dialer, error) {
	if u.Hostname() == "" {
		return nil, errors.New("ssh host connection is not valid: no host specified")
	}
	if _, hasPassword := u.User.Password(); hasPassword {
		return nil, errors.New("ssh host connection is not valid: plain-text password is not supported")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("ssh host connection is not valid: query and fragment are not allowed")
	}
	if strings.HasPrefix(u.Hostname(), "-") || strings.HasPrefix(u.User.Username(), "-") {
		return nil, errors.New("ssh host connection is not valid: host and user must not begin with a dash")
	}
	args := []string{"-o", "ConnectTimeout=30", "-T"}
	if name := u.User.Username(); name != "" {
		args = append(args, "-l", name)
	}
	if port := u.Port(); port != "" {
		args = append(args, "-p", port)
	}
	args = append(args, "--", u.Hostname(), "berth")
	if path := strings.TrimSuffix(u.Path, "/"); path != "" {
		args = append(args, "--host", shellQuote("unix://"+path))
	}
	args = append(args, "system", "dial-stdio")
	return func(ctx context.Context) (net.Conn, error) { return startPipe(ctx, sshCommand(), args) }, nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// pipeConn is a process whose standard streams are the connection. Close ends the process.
type pipeConn struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	errors *tail
	close  sync.Once
	name   string
}

// startPipe outlives ctx on purpose: the connection may be kept for later requests; Close ends it.
func startPipe(ctx context.Context, program string, args []string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	p := &pipeConn{cmd: cmd, errors: &tail{limit: 4096}, name: program}
	cmd.Stderr = p.errors
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.out, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

func (p *pipeConn) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if n == 0 && err != nil {
		if text := p.errors.String(); text != "" {
			return 0, fmt.Errorf("%s: %s", p.name, text)
		}
	}
	return n, err
}

func (p *pipeConn) Write(b []byte) (int, error) { return p.in.Write(b) }

// CloseWrite tells the other side that nothing more will be sent.
func (p *pipeConn) CloseWrite() error { return p.in.Close() }

func (p *pipeConn) Close() error {
	p.close.Do(func() {
		p.in.Close()
		p.out.Close()
		if p.cmd.Process != nil {
			// The process may have ended by itself, which is what is wanted.
			if err := p.cmd.Process.Kill(); err == nil || p.cmd.ProcessState == nil {
				go p.reap()
			}
		}
	})
	return nil
}

func (p *pipeConn) reap() {
	// How it ended says nothing: it was killed.
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.errors.Write([]byte(err.Error()))
	}
}

func (p *pipeConn) LocalAddr() net.Addr              { return pipeAddr(p.name) }
func (p *pipeConn) RemoteAddr() net.Addr             { return pipeAddr(p.name) }
func (p *pipeConn) SetDeadline(time.Time) error      { return nil }
func (p *pipeConn) SetReadDeadline(time.Time) error  { return nil }
func (p *pipeConn) SetWriteDeadline(time.Time) error { return nil }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }

// tail keeps the last bytes that were written to it.
type tail struct {
	mu    sync.Mutex // guards buf
	buf   bytes.Buffer
	limit int
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(b)
	if extra := t.buf.Len() - t.limit; extra > 0 {
		t.buf.Next(extra)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.buf.String())
}
