package core

import "time"

// Stats is what cgroups and interfaces count of a container at one moment.
type Stats struct {
	Read time.Time

	CPUTotal, CPUUser, CPUKernel uint64 // ns
	CPUPerCPU                    []uint64
	SystemCPU                    uint64 // ns of the whole host, all CPUs together
	OnlineCPUs                   uint32
	Periods, ThrottledPeriods    uint64
	ThrottledTime                uint64 // ns

	MemoryUsage, MemoryMaxUsage uint64 // bytes
	MemoryLimit, MemoryFailcnt  uint64
	MemoryStats                 map[string]uint64 // the kernel's memory.stat, in its own words

	PidsCurrent, PidsLimit uint64
	Blkio                  BlkioStats
	Networks               map[string]NetworkStats // by interface name inside the container
}

// BlkioStats are counters of block devices. Op is read, write, …, in the kernel's spelling.
type BlkioStats struct {
	ServiceBytes, Serviced []BlkioEntry
}

// BlkioEntry is one counter of a block device.
type BlkioEntry struct {
	Major, Minor uint64
	Op           string
	Value        uint64
}

// NetworkStats are the counters of an interface, seen from inside the container.
type NetworkStats struct {
	RxBytes, RxPackets, RxErrors, RxDropped uint64
	TxBytes, TxPackets, TxErrors, TxDropped uint64
}
