// Package netns makes network namespaces and runs functions inside them.
//
// A namespace here is an open file, never a name in a file system: it lives as long as a process, a socket or an
// open file refers to it, and the kernel takes it away, with every interface in it, when the last one is gone.
// The package owns the threads that it moves into other namespaces; a thread that can't be moved back is given up
// rather than handed back to the Go scheduler.
package netns

import (
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// New makes a namespace, runs setup on a thread inside it and gives the open namespace. When setup fails nothing is
// left. setup may be nil.
func New(setup func(ns *os.File) error) (*os.File, error) {
	var ns *os.File
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		if ns, err = current(); err != nil {
			return err
		}
		if setup == nil {
			return nil
		}
		if err := setup(ns); err != nil {
			ns.Close()
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ns, nil
}

// Do runs f on a thread inside the namespace. What f opens (sockets, files of /proc/sys/net) belongs to that
// namespace for ever; goroutines that f starts do not run in it.
func Do(ns *os.File, f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

// OfProcess opens the namespace of a process. A process that is gone gives an error that wraps os.ErrNotExist.
func OfProcess(pid int) (*os.File, error) {
	return os.Open("/proc/" + strconv.Itoa(pid) + "/ns/net")
}

// onThread runs f on a thread of its own and brings the thread back to the namespace where it was. Moving the main
// thread would show in /proc/self, so a goroutine that landed there asks for another one.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		home, err := current()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		err = f()
		// A goroutine that ends while locked takes its thread with it.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// current opens the namespace of the calling thread.
func current() (*os.File, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open the thread's network namespace: %w", err)
	}
	return f, nil
}

// Duplicate opens the namespace once more.
func Duplicate(ns *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(ns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate a network namespace: %w", err)
	}
	return os.NewFile(uintptr(fd), ns.Name()), nil
}
