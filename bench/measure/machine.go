package measure

import (
	"bufio"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Machine says where numbers were measured.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMB   int    `json:"memory_mb"`
	Kernel     string `json:"kernel"`
	Cgroups    string `json:"cgroups"`
	FileSystem string `json:"file_system"` // of --root
}

// ThisMachine collects what can be read; what can't be read stays empty, since it is for information only.
func ThisMachine(root string) Machine {
	m := Machine{Cores: runtime.NumCPU(), CPU: valueOf("/proc/cpuinfo", "model name"), Cgroups: "cgroup v1"}
	if m.CPU == "" {
		m.CPU = runtime.GOARCH
	}
	memory, _, _ := strings.Cut(valueOf("/proc/meminfo", "MemTotal"), " ")
	if kilobytes, err := strconv.Atoi(memory); err == nil {
		m.MemoryMB = kilobytes / 1024
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		m.Cgroups = "cgroup v2"
	} else if _, err := os.Stat("/sys/fs/cgroup/unified"); err == nil {
		m.Cgroups = "cgroup v1 with a v2 mount"
	}
	m.FileSystem = fileSystemOf(root)
	return m
}

// valueOf reads the first "key : value" of a file of /proc.
func valueOf(path, key string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystemOf is the type of the file system that holds a directory, by the longest mount point above it.
func fileSystemOf(dir string) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return ""
	}
	kind, longest := "", -1
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		point := strings.TrimSuffix(fields[1], "/")
		if (dir == point || strings.HasPrefix(dir, point+"/")) && len(point) >= longest {
			kind, longest = fields[2], len(point)
		}
	}
	return kind
}

// SyncDisk writes out what earlier work left in memory, so that nobody's measurement pays for another's files.
func SyncDisk() { syscall.Sync() }

// IsStatic says whether a program needs no loader, so that it runs in an image without libraries.
func IsStatic(path string) (bool, error) {
	file, err := elf.Open(path)
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return false, nil
		}
	}
	return true, nil
}
