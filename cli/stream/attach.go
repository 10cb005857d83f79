package stream

import (
	"context"
	"errors"
	"io"
)

// Connection is a hijacked connection.
type Connection interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Attachment connects the local streams with a process. Nil streams are not connected.
type Attachment struct {
	Conn           Connection
	In             *In
	Stdout, Stderr io.Writer
	Tty            bool   // the process has a terminal: its output is not framed
	DetachKeys     []byte // looked for in the input; empty: none
}

// Run copies until the output has ended, the user detached (ErrDetached), or ctx is over. The connection is closed, and the terminal
// as it was, when it returns. A read of standard input that is still waiting for keys is left behind: the program ends.
func (a Attachment) Run(ctx context.Context) (err error) {
	if a.Tty && a.In != nil {
		if err := a.In.Raw(); err != nil {
			return errors.Join(err, a.Conn.Close())
		}
		defer func() { err = errors.Join(err, a.In.Restore()) }()
	}
	defer func() {
		// Both sides are done with it: a failing close loses nothing.
		if closeErr := a.Conn.Close(); closeErr != nil && err == nil && !isClosed(closeErr) {
			err = closeErr
		}
	}()
	input := make(chan error, 1)
	output := make(chan error, 1)
	if a.In != nil {
		go func() { input <- a.send() }()
	} else if err := a.Conn.CloseWrite(); err != nil && !isClosed(err) {
		return err
	}
	if a.Stdout == nil && a.Stderr == nil {
		// Nothing to hear: the connection ends when the process does, or when the input was sent.
		go func() { output <- a.drain() }()
	} else {
		go func() { output <- a.receive() }()
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-output:
			return err
		case err := <-input:
			if errors.Is(err, ErrDetached) {
				return ErrDetached
			}
			if a.Stdout == nil && a.Stderr == nil {
				return nil
			}
			// The input has ended, or the other side does not want it any more; output may still come.
			input = nil
		}
	}
}

func (a Attachment) send() error {
	var src io.Reader = a.In.Reader
	if a.Tty && a.In.IsTerminal() {
		src = NewDetachReader(src, a.DetachKeys)
	}
	_, err := io.Copy(a.Conn, src)
	if errors.Is(err, ErrDetached) {
		return err
	}
	if closeErr := a.Conn.CloseWrite(); err == nil {
		err = closeErr
	}
	return err
}

func (a Attachment) receive() error {
	if a.Tty {
		out := a.Stdout
		if out == nil {
			out = a.Stderr
		}
		_, err := io.Copy(out, a.Conn)
		return ignoreReset(err)
	}
	return ignoreReset(Split(a.Stdout, a.Stderr, a.Conn))
}

func (a Attachment) drain() error {
	_, err := io.Copy(io.Discard, a.Conn)
	return ignoreReset(err)
}
