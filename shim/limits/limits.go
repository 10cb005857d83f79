//go:build cgo

// Package limits turns the limits of a specification into those of the libraries.
package limits

import (
	"fmt"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rlimitNumbers are the numbers of getrlimit(2).
var rlimitNumbers = map[string]int{
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
	"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
	"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
}

// Rlimits are those of processes.
func Rlimits(list []specs.POSIXRlimit) ([]configs.Rlimit, error) {
	limits := make([]configs.Rlimit, 0, len(list))
	for _, l := range list {
		number, ok := rlimitNumbers[l.Type]
		if !ok {
			return nil, fmt.Errorf("invalid rlimit type %s", l.Type)
		}
		limits = append(limits, configs.Rlimit{Type: number, Soft: l.Soft, Hard: l.Hard})
	}
	return limits, nil
}

// Merge changes the limits that are given. The cgroup library takes 0 as "leave it".
func Merge(to *cgroups.Resources, from *specs.LinuxResources) {
	if m := from.Memory; m != nil {
		set(&to.Memory, m.Limit)
		set(&to.MemoryReservation, m.Reservation)
		set(&to.MemorySwap, m.Swap)
	}
	if c := from.CPU; c != nil {
		if c.Shares != nil {
			to.CpuShares = *c.Shares
			to.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*c.Shares)
		}
		set(&to.CpuQuota, c.Quota)
		set(&to.CpuPeriod, c.Period)
		set(&to.CpuRtPeriod, c.RealtimePeriod)
		set(&to.CpuRtRuntime, c.RealtimeRuntime)
		if c.Cpus != "" {
			to.CpusetCpus = c.Cpus
		}
		if c.Mems != "" {
			to.CpusetMems = c.Mems
		}
	}
	if p := from.Pids; p != nil && p.Limit != nil {
		to.PidsLimit = p.Limit
	}
	if b := from.BlockIO; b != nil {
		set(&to.BlkioWeight, b.Weight)
		mergeDevices(to, b)
	}
}

// mergeDevices changes the limits of single block devices.
func mergeDevices(to *cgroups.Resources, b *specs.LinuxBlockIO) {
	if len(b.WeightDevice) > 0 {
		to.BlkioWeightDevice = nil
		for _, d := range b.WeightDevice {
			var weight, leaf uint16
			set(&weight, d.Weight)
			set(&leaf, d.LeafWeight)
			to.BlkioWeightDevice = append(to.BlkioWeightDevice, cgroups.NewWeightDevice(d.Major, d.Minor, weight, leaf))
		}
	}
	for _, pair := range []struct {
		to   *[]*cgroups.ThrottleDevice
		from []specs.LinuxThrottleDevice
	}{
		{&to.BlkioThrottleReadBpsDevice, b.ThrottleReadBpsDevice}, {&to.BlkioThrottleWriteBpsDevice, b.ThrottleWriteBpsDevice},
		{&to.BlkioThrottleReadIOPSDevice, b.ThrottleReadIOPSDevice}, {&to.BlkioThrottleWriteIOPSDevice, b.ThrottleWriteIOPSDevice},
	} {
		if len(pair.from) == 0 {
			continue
		}
		*pair.to = nil
		for _, d := range pair.from {
			*pair.to = append(*pair.to, cgroups.NewThrottleDevice(d.Major, d.Minor, d.Rate))
		}
	}
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}
