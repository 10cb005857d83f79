//go:build cgo

package shim

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// reapOrphans takes dead processes out of the table that nobody else waits for: what the container's processes left
// behind where the container has no process 1 of its own (--pid=host, --pid=container:X), and what libcontainer leaves
// of an exec that failed half way, a dead member of the container's PID namespace, without whose burial its process 1
// could never end (pid_namespaces(7)). It ends with the shim.
func (c *container) reapOrphans() {
	dead := make(chan os.Signal, 1)
	signal.Notify(dead, unix.SIGCHLD)
	for range dead {
		c.starting.Lock() // the child of a start under way is libcontainer's, though nobody knows its number yet
		c.calls.Lock()
		for _, pid := range c.strangers() {
			var status unix.WaitStatus
			// One that still runs is left alone; one that is gone already needs nothing.
			_, _ = unix.Wait4(pid, &status, unix.WNOHANG, nil)
		}
		c.calls.Unlock()
		c.starting.Unlock()
	}
}

// strangers are the children of this process that it did not start.
func (c *container) strangers() []int {
	known := map[int]bool{}
	c.mu.Lock()
	if c.first != nil {
		known[c.first.pid] = true
	}
	c.mu.Unlock()
	for _, id := range c.more.ids() {
		if p := c.more.get(id); p != nil {
			known[p.pid] = true
		}
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", os.Getpid()))
	if err != nil {
		return nil
	}
	var pids []int
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that ended meanwhile
		}
		for field := range strings.FieldsSeq(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil && !known[pid] {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
