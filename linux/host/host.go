// Package host tells what machine this is: kernel, distribution, processors, memory, cgroups.
package host

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Facts never change while the daemon runs.
type Facts struct {
	Hostname    string
	Kernel      string // uname -r
	KernelBuild string // uname -v
	Machine     string // uname -m: "x86_64"
	OS          string // PRETTY_NAME of os-release(5)
	OSVersion   string // VERSION_ID of os-release(5)
	CPUs        int
	Memory      int64           // bytes
	CgroupV2    bool            // only the unified hierarchy (cgroups(7)); a hybrid host is a v1 host
	Controllers map[string]bool // "memory", "cpu", "pids", …
	Seccomp     bool
	Realtime    bool   // cgroups can give real-time processes a share of the processors
	BlockWeight bool   // cgroups can share block devices out by weight
	Processors  string // that cgroups may use: "0-3"
	MemoryNodes string
}

// Read asks the kernel and /etc/os-release.
func Read() (Facts, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return Facts{}, fmt.Errorf("uname: %w", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return Facts{}, fmt.Errorf("sysinfo: %w", err)
	}
	hostname, err := os.Hostname()
	if err != nil {
		return Facts{}, err
	}
	f := Facts{
		Hostname:    hostname,
		Kernel:      unix.ByteSliceToString(uts.Release[:]),
		KernelBuild: unix.ByteSliceToString(uts.Version[:]),
		Machine:     unix.ByteSliceToString(uts.Machine[:]),
		CPUs:        runtime.NumCPU(),
		Memory:      int64(info.Totalram) * int64(info.Unit),
		Controllers: map[string]bool{},
	}
	f.OS, f.OSVersion = distribution()
	var fs unix.Statfs_t
	f.CgroupV2 = unix.Statfs("/sys/fs/cgroup", &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
	f.readControllers()
	f.readAbilities()
	_, err = os.Stat("/proc/self/seccomp_cache")
	f.Seccomp = err == nil || seccompInStatus()
	return f, nil
}

// seccompInStatus looks for the line that a kernel with seccomp(2) shows for every process (proc_pid_status(5)).
func seccompInStatus() bool {
	status, err := os.ReadFile("/proc/self/status")
	return err == nil && bytes.Contains(status, []byte("\nSeccomp:"))
}

func (f *Facts) readControllers() {
	if f.CgroupV2 {
		list, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		if err == nil {
			for _, name := range strings.Fields(string(list)) {
				f.Controllers[name] = true
			}
		}
		return
	}
	table, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(table), "\n") {
		// name, hierarchy, number of cgroups, enabled; a hierarchy of 0 is not mounted as v1
		if fields := strings.Fields(line); len(fields) == 4 && fields[1] != "0" && fields[3] == "1" {
			f.Controllers[fields[0]] = true
		}
	}
}

// readAbilities looks for files of the cgroup file systems that only some kernels have.
func (f *Facts) readAbilities() {
	has := func(names ...string) bool {
		for _, name := range names {
			if _, err := os.Stat("/sys/fs/cgroup/" + name); err == nil {
				return true
			}
		}
		return false
	}
	first := func(names ...string) string {
		for _, name := range names {
			if text, err := os.ReadFile("/sys/fs/cgroup/" + name); err == nil {
				return strings.TrimSpace(string(text))
			}
		}
		return ""
	}
	if f.CgroupV2 {
		f.BlockWeight = f.Controllers["io"] // io.weight is in every cgroup but the root
	} else {
		f.Realtime = has("cpu/cpu.rt_runtime_us", "cpu,cpuacct/cpu.rt_runtime_us")
		f.BlockWeight = has("blkio/blkio.weight", "blkio/blkio.bfq.io_serviced") // the root has no weight of its own
	}
	f.Processors = first("cpuset.cpus.effective", "cpuset/cpuset.cpus")
	f.MemoryNodes = first("cpuset.mems.effective", "cpuset/cpuset.mems")
}

// distribution reads os-release(5).
func distribution() (name, version string) {
	name = "Linux"
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			key, value, _ := strings.Cut(lines.Text(), "=")
			value = strings.Trim(value, `"'`)
			switch key {
			case "PRETTY_NAME":
				name = value
			case "VERSION_ID":
				version = value
			}
		}
		return name, version
	}
	return name, version
}
