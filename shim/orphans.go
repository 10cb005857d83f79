//go:build cgo

package shim

import (
	"os"
	"os/signal"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// orphans takes dead processes out of the table that nobody else waits for: what the containers' processes left
// behind where the container has no process 1 of its own (--pid=host, --pid=container:X), and what libcontainer leaves
// of an exec that failed half way, a dead member of the container's PID namespace, without whose burial its process 1
// could never end (pid_namespaces(7)).
type orphans struct {
	// starting is read-locked while a process is started: that child is waited for by who starts it, though
	// nobody knows its number yet. The reaper never waits for it, since a start that hangs would stop all others: whoever ends a start wakes it.
	starting sync.RWMutex
	wake     chan os.Signal // SIGCHLD, or the end of a start

	mu    sync.Mutex   // guards known
	known map[int]bool // the children that somebody waits for
}

// start begins the start of a child. The function that it gives ends it; with a number of a process other than 0 that
// process belongs to the caller until forget.
func (o *orphans) start() (end func(pid int)) {
	o.starting.RLock()
	return func(pid int) {
		if pid != 0 {
			o.mu.Lock()
			o.known[pid] = true
			o.mu.Unlock()
		}
		o.starting.RUnlock()
		o.rouse()
	}
}

// forget is called once a child of start was waited for. Behind a known dead child the reaper sees no other, so it looks
// again.
func (o *orphans) forget(pid int) {
	o.mu.Lock()
	delete(o.known, pid)
	o.mu.Unlock()
	o.rouse()
}

func (o *orphans) rouse() {
	select {
	case o.wake <- unix.SIGCHLD:
	default: // it is awake
	}
}

func newOrphans() *orphans {
	o := &orphans{wake: make(chan os.Signal, 1), known: map[int]bool{}}
	signal.Notify(o.wake, unix.SIGCHLD)
	return o
}

// reap works for as long as the shim lives.
func (o *orphans) reap() {
	for range o.wake {
		if !o.starting.TryLock() {
			continue
		}
		for {
			pid := deadChild()
			if pid == 0 || o.knows(pid) {
				break
			}
			var status unix.WaitStatus
			if _, err := unix.Wait4(pid, &status, unix.WNOHANG, nil); err != nil {
				break
			}
		}
		o.starting.Unlock()
	}
}

func (o *orphans) knows(pid int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.known[pid]
}

// deadChild is the number of a child that ended and was not waited for; 0: there is none.
func deadChild() int {
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		return 0
	}
	// Behind the common part siginfo_t of SIGCHLD has the number first (sigaction(2)).
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), childPID)))
}

// childPID is where si_pid lies on 64-bit machines.
const childPID = 16
