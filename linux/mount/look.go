package mount

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
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

// Point is where something is mounted, and whether it hands mounts on (shared) or takes them over (slave).
type Point struct {
	Point         string
	Shared, Slave bool
}

// Of finds the mount that a path is on.
func Of(path string) (on Point, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return on, err
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return on, err
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) < 7 {
			continue
		}
		point := unescape(fields[4])
		// Of mounts on top of each other the last one counts.
		if len(point) < len(on.Point) || point != "/" && path != point && !strings.HasPrefix(path, point+"/") {
			continue
		}
		on = Point{Point: point}
		for _, field := range fields[6:] {
			if field == "-" {
				break
			}
			on.Shared = on.Shared || strings.HasPrefix(field, "shared:")
			on.Slave = on.Slave || strings.HasPrefix(field, "master:")
		}
	}
	if on.Point == "" {
		return on, fmt.Errorf("%s is on no mount", path)
	}
	return on, nil
}

// unescape reads a path of the table, in which spaces and the like are octal.
func unescape(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if c, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}
