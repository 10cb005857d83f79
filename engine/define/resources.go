package define

import (
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
)

// minMemory is the least memory that a container needs to come up.
const minMemory = 6 << 20

// Resources refuses limits that can't be, takes away those that this host's kernel can't keep, and says so in warnings.
// With update they come on top of others: then swap may be changed alone.
func Resources(r *core.Resources, host *core.Info, update bool) (warnings []string, err error) {
	kernel := host.Limits
	// A limit that the kernel lacks is no reason to refuse the container, but the user must know.
	without := func(given, able bool, warning string, drop func()) {
		if given && !able {
			if warning != "" {
				warnings = append(warnings, warning)
			}
			drop()
		}
	}
	without(r.Memory > 0, kernel.Memory, "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.", func() { r.Memory, r.MemorySwap = 0, -1 })
	without(r.Memory > 0 && r.MemorySwap != -1, kernel.Swap, "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.", func() { r.MemorySwap = -1 })
	if err := memory(r, update); err != nil {
		return nil, err
	}
	without(r.MemorySwappiness != nil, kernel.Swappiness, "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.", func() { r.MemorySwappiness = nil })
	without(r.MemoryReservation > 0, kernel.Memory, "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.", func() { r.MemoryReservation = 0 })
	warning := ""
	if r.OomKillDisable != nil && *r.OomKillDisable {
		warning = "Your kernel does not support OomKillDisable. OomKillDisable discarded."
	}
	without(r.OomKillDisable != nil, kernel.OomKillDisable, warning, func() { r.OomKillDisable = nil })
	if r.OomKillDisable != nil && *r.OomKillDisable && r.Memory == 0 && !update {
		warnings = append(warnings, "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.")
	}
	warning = ""
	if r.PidsLimit != nil && *r.PidsLimit > 0 {
		warning = "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded."
	}
	without(r.PidsLimit != nil, kernel.Pids, warning, func() { r.PidsLimit = nil })
	if err := processors(r, host); err != nil {
		return nil, err
	}
	without(r.CPUShares > 0, kernel.CPUShares, "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.", func() { r.CPUShares = 0 })
	without(r.CPUPeriod != 0 || r.CPUQuota != 0, kernel.CPUCfs, "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.", func() { r.CPUPeriod, r.CPUQuota = 0, 0 })
	without(r.CpusetCpus != "" || r.CpusetMems != "", kernel.CPUSet, "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.", func() { r.CpusetCpus, r.CpusetMems = "", "" })
	if err := cpusets(r, host); err != nil {
		return nil, err
	}
	without(r.BlkioWeight > 0, kernel.BlockWeight, "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.", func() { r.BlkioWeight = 0 })
	if r.BlkioWeight > 0 && (r.BlkioWeight < 10 || r.BlkioWeight > 1000) {
		return nil, core.Invalid("Range of blkio weight is from 10 to 1000")
	}
	without(len(r.BlkioWeightDevice) > 0, kernel.BlockWeight, "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.", func() { r.BlkioWeightDevice = nil })
	without(len(r.BlkioDeviceReadBps) > 0, kernel.BlockThrottle, "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.", func() { r.BlkioDeviceReadBps = nil })
	without(len(r.BlkioDeviceWriteBps) > 0, kernel.BlockThrottle, "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.", func() { r.BlkioDeviceWriteBps = nil })
	without(len(r.BlkioDeviceReadIOps) > 0, kernel.BlockThrottle, "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.", func() { r.BlkioDeviceReadIOps = nil })
	without(len(r.BlkioDeviceWriteIOps) > 0, kernel.BlockThrottle, "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.", func() { r.BlkioDeviceWriteIOps = nil })
	return warnings, nil
}

func memory(r *core.Resources, update bool) error {
	switch {
	case r.Memory != 0 && r.Memory < minMemory:
		return core.Invalid("Minimum memory limit allowed is 6MB")
	case r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return core.Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.Memory == 0 && r.MemorySwap > 0 && !update:
		return core.Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	case r.MemorySwap < -1:
		return core.Invalid("Invalid value: %d, valid memory swap is -1 or greater", r.MemorySwap)
	case r.MemorySwappiness != nil && (*r.MemorySwappiness < 0 || *r.MemorySwappiness > 100):
		return core.Invalid("Invalid value: %d, valid memory swappiness range is 0-100", *r.MemorySwappiness)
	case r.MemoryReservation < 0 || r.MemoryReservation > 0 && r.MemoryReservation < minMemory:
		return core.Invalid("Minimum memory reservation allowed is 6MB")
	case r.MemoryReservation > 0 && r.Memory > 0 && r.Memory < r.MemoryReservation:
		return core.Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	}
	return nil
}

func processors(r *core.Resources, host *core.Info) error {
	switch cpus := host.CPUs; {
	case r.NanoCPUs > 0 && r.CPUPeriod > 0:
		return core.Invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
	case r.NanoCPUs > 0 && r.CPUQuota > 0:
		return core.Invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
	case r.NanoCPUs > 0 && !host.Limits.CPUCfs:
		return core.Invalid("NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted")
	case r.NanoCPUs < 0 || r.NanoCPUs > int64(cpus)*1e9:
		return core.Invalid("range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", cpus, cpus)
	case r.CPUPeriod != 0 && (r.CPUPeriod < 1000 || r.CPUPeriod > 1000000):
		return core.Invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case r.CPUQuota > 0 && r.CPUQuota < 1000:
		return core.Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case r.CPUShares < 0:
		return core.Invalid("invalid CPU shares (%d): value must be a positive integer", r.CPUShares)
	case (r.CPURealtimePeriod != 0 || r.CPURealtimeRuntime != 0) && !host.Limits.Realtime:
		return core.Invalid("kernel does not support CPU real-time scheduler")
	case r.CPURealtimePeriod < 0 || r.CPURealtimeRuntime < 0:
		return core.Invalid("cpu real-time period and runtime cannot be negative")
	case r.CPURealtimePeriod != 0 && r.CPURealtimeRuntime != 0 && r.CPURealtimeRuntime > r.CPURealtimePeriod:
		return core.Invalid("cpu real-time runtime cannot be higher than cpu real-time period")
	}
	return nil
}

// cpusets refuses lists of processors and memory nodes that can't be read, or that this machine does not have.
func cpusets(r *core.Resources, host *core.Info) error {
	for _, set := range []struct{ want, have, name, noun string }{
		{r.CpusetCpus, host.Limits.Processors, "cpus", "CPUs"}, {r.CpusetMems, host.Limits.MemoryNodes, "mems", "memory nodes"},
	} {
		want, err := numbers(set.want)
		if err != nil {
			return core.Invalid("Invalid value %s for cpuset %s: %w", set.want, set.name, err)
		}
		have, err := numbers(set.have)
		if err != nil || set.have == "" {
			continue // not known: the kernel decides
		}
		for n := range want {
			if !have[n] {
				return core.Invalid("Requested %s are not available - requested %s, available: %s", set.noun, set.want, set.have)
			}
		}
	}
	return nil
}

// biggestProcessor is the highest number of a processor that Docker takes.
const biggestProcessor = 8192

// numbers reads a list in the kernel's format (cpuset(7)): "0-2,4".
func numbers(list string) (map[int]bool, error) {
	set := map[int]bool{}
	if list == "" {
		return set, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.Atoi(from)
		if err != nil {
			return nil, core.Invalid("failed to parse cpuset: %s", list)
		}
		last, err := strconv.Atoi(to)
		if err != nil || first < 0 || last < first || last > biggestProcessor {
			return nil, core.Invalid("failed to parse cpuset: %s", list)
		}
		for n := first; n <= last; n++ {
			set[n] = true
		}
	}
	return set, nil
}

// Update is the old limits with those of the new ones that are set, or Docker's reason why the two don't go together.
func Update(old, set core.Resources) (core.Resources, error) {
	switch {
	case set.NanoCPUs > 0 && old.CPUPeriod > 0:
		return old, core.Invalid("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set")
	case set.NanoCPUs > 0 && old.CPUQuota > 0:
		return old, core.Invalid("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set")
	case set.CPUPeriod > 0 && old.NanoCPUs > 0:
		return old, core.Invalid("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")
	case set.CPUQuota > 0 && old.NanoCPUs > 0:
		return old, core.Invalid("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
	case set.Memory > old.MemorySwap && set.MemorySwap == 0 && old.MemorySwap != -1:
		return old, core.Invalid("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
	}
	next := old
	for _, pair := range []struct{ to, from *int64 }{
		{&next.CPUShares, &set.CPUShares}, {&next.NanoCPUs, &set.NanoCPUs}, {&next.CPUPeriod, &set.CPUPeriod},
		{&next.CPUQuota, &set.CPUQuota}, {&next.CPURealtimePeriod, &set.CPURealtimePeriod},
		{&next.CPURealtimeRuntime, &set.CPURealtimeRuntime}, {&next.Memory, &set.Memory},
		{&next.MemoryReservation, &set.MemoryReservation}, {&next.MemorySwap, &set.MemorySwap},
	} {
		if *pair.from != 0 {
			*pair.to = *pair.from
		}
	}
	if set.CpusetCpus != "" {
		next.CpusetCpus = set.CpusetCpus
	}
	if set.CpusetMems != "" {
		next.CpusetMems = set.CpusetMems
	}
	if set.PidsLimit != nil {
		next.PidsLimit = set.PidsLimit
	}
	if set.BlkioWeight != 0 {
		next.BlkioWeight = set.BlkioWeight
	}
	if set.BlkioWeightDevice != nil {
		next.BlkioWeightDevice = set.BlkioWeightDevice
	}
	for _, pair := range []struct{ to, from *[]core.ThrottleDevice }{
		{&next.BlkioDeviceReadBps, &set.BlkioDeviceReadBps}, {&next.BlkioDeviceWriteBps, &set.BlkioDeviceWriteBps},
		{&next.BlkioDeviceReadIOps, &set.BlkioDeviceReadIOps}, {&next.BlkioDeviceWriteIOps, &set.BlkioDeviceWriteIOps},
	} {
		if *pair.from != nil {
			*pair.to = *pair.from
		}
	}
	return next, nil
}

// NotUpdated names a field of an update that Docker's daemon would ignore: what is asked for must not be swallowed.
func NotUpdated(r core.Resources) error {
	for _, field := range []struct {
		name  string
		given bool
	}{
		{"CgroupParent", r.CgroupParent != ""}, {"Devices", len(r.Devices) > 0}, {"DeviceCgroupRules", len(r.DeviceCgroupRules) > 0},
		{"DeviceRequests", len(r.DeviceRequests) > 0}, {"Ulimits", len(r.Ulimits) > 0},
		{"MemorySwappiness", r.MemorySwappiness != nil}, {"OomKillDisable", r.OomKillDisable != nil && *r.OomKillDisable},
	} {
		if field.given {
			return core.Invalid("%s of a container cannot be updated", field.name)
		}
	}
	return nil
}
