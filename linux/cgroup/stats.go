package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs2"

	v1 "github.com/opencontainers/cgroups/fs"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
)

// Stats reads the counters of a container. What the host's cgroups do not count stays zero.
func Stats(paths map[string]string) (core.Stats, error) {
	s := core.Stats{Read: time.Now()}
	group := &cgroups.Cgroup{Resources: &cgroups.Resources{}}
	var raw *cgroups.Stats
	if Unified() {
		m, err := fs2.NewManager(group, paths[""])
		if err != nil {
			return s, err
		}
		if raw, err = m.GetStats(); err != nil {
			return s, err
		}
	} else {
		m, err := v1.NewManager(group, paths)
		if err != nil {
			return s, err
		}
		if raw, err = m.GetStats(); err != nil {
			return s, err
		}
	}
	cpu := raw.CpuStats
	s.CPUTotal, s.CPUUser, s.CPUKernel = cpu.CpuUsage.TotalUsage, cpu.CpuUsage.UsageInUsermode, cpu.CpuUsage.UsageInKernelmode
	s.CPUPerCPU = cpu.CpuUsage.PercpuUsage
	s.Periods, s.ThrottledPeriods, s.ThrottledTime = cpu.ThrottlingData.Periods, cpu.ThrottlingData.ThrottledPeriods, cpu.ThrottlingData.ThrottledTime
	memory := raw.MemoryStats
	s.MemoryUsage, s.MemoryMaxUsage = memory.Usage.Usage, memory.Usage.MaxUsage
	s.MemoryLimit, s.MemoryFailcnt, s.MemoryStats = memory.Usage.Limit, memory.Usage.Failcnt, memory.Stats
	s.PidsCurrent, s.PidsLimit = raw.PidsStats.Current, raw.PidsStats.Limit
	s.Blkio.ServiceBytes = blkio(raw.BlkioStats.IoServiceBytesRecursive)
	s.Blkio.Serviced = blkio(raw.BlkioStats.IoServicedRecursive)
	if Unified() {
		return s, asDockerOnV2(&s, paths[""])
	}
	return s, nil
}

// asDockerOnV2 does what Docker does with the numbers of cgroup v2: "read" and "write" in small letters, and the times
// that the limit of memory could not be kept as failures.
func asDockerOnV2(s *core.Stats, dir string) error {
	for _, list := range [][]core.BlkioEntry{s.Blkio.ServiceBytes, s.Blkio.Serviced} {
		for i := range list {
			list[i].Op = strings.ToLower(list[i].Op)
		}
	}
	events, err := keyed(filepath.Join(dir, "memory.events"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no memory controller
	}
	s.MemoryFailcnt = events["oom"]
	return err
}

func blkio(entries []cgroups.BlkioStatEntry) []core.BlkioEntry {
	var list []core.BlkioEntry
	for _, e := range entries {
		list = append(list, core.BlkioEntry{Major: e.Major, Minor: e.Minor, Op: e.Op, Value: e.Value})
	}
	return list
}

// Kill ends every process of a container whose shim is gone. A frozen one is thawed first, since on v1 it would not
// die.
func Kill(paths map[string]string) error {
	if dir := main(paths); dir != "" {
		err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
		if err == nil {
			return nil
		}
	}
	if freezer := paths["freezer"]; freezer != "" {
		err := os.WriteFile(filepath.Join(freezer, "freezer.state"), []byte("THAWED"), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// A process can fork while the list is read; each round leaves fewer.
	for range 16 {
		pids, err := PIDs(paths)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill %d: %w", pid, err)
			}
		}
	}
	return nil
}

// Remove removes the cgroups of a container. Those that are gone are no error.
func Remove(paths map[string]string) error {
	return cgroups.RemovePaths(paths)
}
