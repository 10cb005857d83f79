package mount

import (
	"bytes"
	"hash/maphash"
	"os"
	"regexp"
	"sync"
)

// Mark stands for the mounts of this process's namespace at a moment.
type Mark uint64

// seed is the same for all marks of one process.
var seed = maphash.MakeSeed()

// ownRoot finds the line of /proc/self/mountinfo (proc_pid_mountinfo(5)) that tells of /, with its optional fields. It is
// compiled when it is needed: a shim, which never looks, starts once for each container.
var ownRoot = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^\d+ \d+ \S+ \S+ / \S+ (.*?)- `) })

// Look marks the mounts that are there now. Two marks are equal when a namespace made at the first moment, and a Slave,
// shows what is mounted at the second: either nothing has changed, or / is shared, as systemd makes it, and the
// namespace was told of the changes.
func Look() Mark {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0
	}
	if root := ownRoot().FindSubmatch(table); root != nil && bytes.Contains(root[1], []byte("shared:")) {
		return 0
	}
	return Mark(maphash.Bytes(seed, table))
}
