package wire

import (
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/berth-engine/berth/core"
)

// ContainerStats shows a measurement, beside the one before it so that a client can tell the load in between.
// before may be zero: there was none.
func ContainerStats(sample, before core.StatsSample, version Version) any {
	s := &sample.Stats
	shape := container.StatsResponse{
		ID:       string(sample.ID),
		Name:     "/" + sample.Name,
		Read:     s.Read,
		CPUStats: cpuStats(s),
		MemoryStats: container.MemoryStats{
			Usage:    s.MemoryUsage,
			MaxUsage: s.MemoryMaxUsage,
			Stats:    s.MemoryStats,
			Failcnt:  s.MemoryFailcnt,
			Limit:    s.MemoryLimit,
		},
		PidsStats: container.PidsStats{Current: s.PidsCurrent, Limit: s.PidsLimit},
		BlkioStats: container.BlkioStats{
			IoServiceBytesRecursive: list(each(s.Blkio.ServiceBytes, blkio)),
			IoServicedRecursive:     list(each(s.Blkio.Serviced, blkio)),
			IoQueuedRecursive:       []container.BlkioStatEntry{},
			IoServiceTimeRecursive:  []container.BlkioStatEntry{},
			IoWaitTimeRecursive:     []container.BlkioStatEntry{},
			IoMergedRecursive:       []container.BlkioStatEntry{},
			IoTimeRecursive:         []container.BlkioStatEntry{},
			SectorsRecursive:        []container.BlkioStatEntry{},
		},
		PreRead:     before.Stats.Read,
		PreCPUStats: cpuStats(&before.Stats),
	}
	if len(s.Networks) > 0 {
		shape.Networks = make(map[string]container.NetworkStats, len(s.Networks))
		for name, n := range s.Networks {
			shape.Networks[name] = container.NetworkStats{
				RxBytes: n.RxBytes, RxPackets: n.RxPackets, RxErrors: n.RxErrors, RxDropped: n.RxDropped,
				TxBytes: n.TxBytes, TxPackets: n.TxPackets, TxErrors: n.TxErrors, TxDropped: n.TxDropped,
			}
		}
	}
	if !version.Before(52) {
		shape.OSType = "linux"
	}
	return shape
}

// NoStats is what a container shows that does not run.
func NoStats(sample core.StatsSample, version Version) any {
	shape := container.StatsResponse{ID: string(sample.ID), Name: "/" + sample.Name, Read: time.Time{}}
	if !version.Before(52) {
		shape.OSType = "linux"
	}
	return shape
}

func cpuStats(s *core.Stats) container.CPUStats {
	return container.CPUStats{
		CPUUsage: container.CPUUsage{
			TotalUsage:        s.CPUTotal,
			PercpuUsage:       s.CPUPerCPU,
			UsageInKernelmode: s.CPUKernel,
			UsageInUsermode:   s.CPUUser,
		},
		SystemUsage: s.SystemCPU,
		OnlineCPUs:  s.OnlineCPUs,
		ThrottlingData: container.ThrottlingData{
			Periods:          s.Periods,
			ThrottledPeriods: s.ThrottledPeriods,
			ThrottledTime:    s.ThrottledTime,
		},
	}
}

func blkio(e core.BlkioEntry) container.BlkioStatEntry {
	return container.BlkioStatEntry{Major: e.Major, Minor: e.Minor, Op: e.Op, Value: e.Value}
}
