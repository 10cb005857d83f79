package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func isClosed(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.ENOTCONN) || errors.Is(err, io.ErrClosedPipe)
}

// ignoreReset takes a connection that went away for an end: the exit status says what happened.
func ignoreReset(err error) error {
	if err == nil || isClosed(err) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) && errors.As(err, new(*net.OpError)) {
		return nil
	}
	return err
}

// notForwarded are signals that are about this program and not the container's: its children, its place on the
// terminal, pipes that nobody reads any more, the size of the window, and the scheduler's own of the Go runtime.
func notForwarded(s syscall.Signal) bool {
	switch s {
	case syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGWINCH, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGTSTP, syscall.SIGCONT:
		return true
	}
	return false
}

// ForwardSignals passes the signals that this program gets to send (by number, as text) until the returned function is
// called.
func ForwardSignals(ctx context.Context, send func(ctx context.Context, signal string) error) (stop func()) {
	arrived := make(chan os.Signal, 64)
	signal.Notify(arrived)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-arrived:
				number, ok := s.(syscall.Signal)
				if !ok || notForwarded(number) {
					continue
				}
				if err := send(ctx, strconv.Itoa(int(number))); err != nil {
					// The container may be gone, or not be there yet; its end is noticed elsewhere.
					continue
				}
			}
		}
	}()
	return func() {
		signal.Stop(arrived)
		cancel()
	}
}

// FollowSize sends the size of the terminal at each change until the returned function is called; with now, at once too.
func FollowSize(ctx context.Context, out *Out, now bool, send func(ctx context.Context, height, width uint) error) (stop func()) {
	if !out.IsTerminal() {
		return func() {}
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	if now {
		changed <- syscall.SIGWINCH
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				height, width := out.Size()
				if height == 0 {
					continue
				}
				if err := send(ctx, height, width); err != nil {
					// A process that has just ended has no terminal to resize.
					continue
				}
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		cancel()
	}
}
