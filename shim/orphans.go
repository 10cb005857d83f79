//go:build cgo

package shim

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// orphans takes dead processes out of the table that nobody else waits for: what the containers' processes left
// behind where the container has no process 1 of its own (--pid=host, --pid=container:X), and what libcontainer leaves
// of an exec that failed half way, a dead member of the container's PID namespace, without whose burial its process 1
// could never end (pid_namespaces(7)).
type orphans struct {
	// starting is read-locked while a process is started: that child is libcontainer's, though nobody knows its number
	// yet. The reaper never waits for it, since a start that hangs would stop all others: whoever ends a start wakes it.
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
		select {
		case o.wake <- unix.SIGCHLD:
		default: // it is awake
		}
	}
}

// forget is called once a child of start was waited for.
func (o *orphans) forget(pid int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, pid)
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
		for _, pid := range o.strangers() {
			var status unix.WaitStatus
			// One that still runs is left alone; one that is gone already needs nothing.
			_, _ = unix.Wait4(pid, &status, unix.WNOHANG, nil)
		}
		o.starting.Unlock()
	}
}

// strangers are the children of this process that nobody waits for.
func (o *orphans) strangers() []int {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", os.Getpid()))
	if err != nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var pids []int
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that ended meanwhile
		}
		for field := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil && !o.known[pid] {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
