// Package cgroup reads and empties the cgroups of containers, on cgroup v1, hybrid and v2 hosts alike. A container's
// cgroups are its paths by controller; on v2 the only key is "".
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Mountpoint is where cgroups are mounted.
const Mountpoint = "/sys/fs/cgroup"

// Unified reports whether this host has nothing but cgroup v2.
var Unified = sync.OnceValue(func() bool {
	var st unix.Statfs_t
	return unix.Statfs(Mountpoint, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
})

// Warm makes the next move of a process into a cgroup cheap. The kernel guards all moves with a lock whose first
// taking after some idle time waits for a grace period of RCU (7 ms and more); the next ones, for a moment, do not.
// So Warm moves this process to where it is already, ahead of need. It blocks for that time, and so does every fork
// and exit on the host: the earlier, the better. Whether it helped shows in the time of the next move only: errors
// mean nothing.
func Warm() {
	own, err := ownFile()
	if err != nil {
		return
	}
	file, err := os.OpenFile(own, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer file.Close()
	// "0" is the writer itself.
	_, _ = file.WriteString("0")
}

// ownFile is cgroup.procs of a cgroup that this process is in.
var ownFile = sync.OnceValues(func() (string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		dir := filepath.Join(Mountpoint, strings.TrimPrefix(fields[1], "name="), fields[2])
		path := filepath.Join(dir, "cgroup.procs")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fs.ErrNotExist
})

// Swap reports whether this host's cgroups can limit memory and swap together.
var Swap = sync.OnceValue(func() bool {
	if Unified() {
		return true
	}
	_, err := os.Stat(filepath.Join(Mountpoint, "memory", "memory.memsw.limit_in_bytes"))
	return err == nil
})

// OOMKills counts the processes that the kernel killed for want of memory.
func OOMKills(paths map[string]string) (uint64, error) {
	file := "memory.events"
	dir, ok := paths[""]
	if memory, v1 := paths["memory"]; v1 {
		dir, file, ok = memory, "memory.oom_control", true
	}
	if !ok {
		return 0, nil
	}
	values, err := keyed(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // no memory controller
	}
	return values["oom_kill"], err
}

// keyed reads a file of "key value" lines.
func keyed(path string) (map[string]uint64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	values := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			values[key] = n
		}
	}
	return values, nil
}

// main is the path in which processes are counted.
func main(paths map[string]string) string {
	for _, controller := range []string{"pids", "devices", "memory", "freezer", ""} {
		if p := paths[controller]; p != "" {
			return p
		}
	}
	return ""
}

// PIDs lists the processes of a container and of the cgroups that it made inside, in the host's namespace.
func PIDs(paths map[string]string) ([]int, error) {
	root := main(paths)
	if root == "" {
		return nil, nil
	}
	var pids []int
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone while we looked
			}
			return err
		}
		if !d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		if err != nil {
			return err
		}
		for field := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("%s/cgroup.procs: %w", path, err)
			}
			pids = append(pids, pid)
		}
		return nil
	})
	return pids, err
}
