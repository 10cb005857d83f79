// Package stream carries what a process says and hears between the command line and the daemon: attached connections,
// the terminal in raw mode, its size, signals, the keys that detach, and the progress of long work.
package stream

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// In is standard input, possibly a terminal.
type In struct {
	io.Reader
	fd       int
	terminal bool

	mu    sync.Mutex // guards state: the terminal may be given back by whoever notices the end first
	state *term.State
}

// Out is standard output or standard error, possibly a terminal.
type Out struct {
	io.Writer
	fd       int
	terminal bool
}

// NewIn wraps a reader; only an *os.File can be a terminal.
func NewIn(r io.Reader) *In {
	in := &In{Reader: r, fd: -1}
	if f, ok := r.(*os.File); ok {
		in.fd = int(f.Fd())
		in.terminal = term.IsTerminal(in.fd)
	}
	return in
}

// NewOut wraps a writer; only an *os.File can be a terminal.
func NewOut(w io.Writer) *Out {
	out := &Out{Writer: w, fd: -1}
	if f, ok := w.(*os.File); ok {
		out.fd = int(f.Fd())
		out.terminal = term.IsTerminal(out.fd)
	}
	return out
}

// IsTerminal reports whether a person types.
func (in *In) IsTerminal() bool { return in.terminal }

// IsTerminal reports whether a person reads.
func (o *Out) IsTerminal() bool { return o.terminal }

// Raw puts the terminal into raw mode: keys go to the container as they are, Ctrl-C included. Without a terminal, or
// when NORAW is set, nothing happens.
func (in *In) Raw() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.terminal || in.state != nil || os.Getenv("NORAW") != "" {
		return nil
	}
	state, err := term.MakeRaw(in.fd)
	if err != nil {
		return err
	}
	in.state = state
	return nil
}

// Restore gives the terminal back as Raw found it. It may be called any number of times.
func (in *In) Restore() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.state == nil {
		return nil
	}
	state := in.state
	in.state = nil
	return term.Restore(in.fd, state)
}

// ReadPassword reads a line without showing it.
func (in *In) ReadPassword() (string, error) {
	text, err := term.ReadPassword(in.fd)
	return string(text), err
}

// Size is height and width; zeroes when it is not a terminal.
func (o *Out) Size() (height, width uint) {
	if !o.terminal {
		return 0, 0
	}
	w, h, err := term.GetSize(o.fd)
	if err != nil || w <= 0 || h <= 0 {
		return 0, 0
	}
	return uint(h), uint(w)
}

// Color reports whether colours are welcome here.
func (o *Out) Color() bool {
	return o.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
