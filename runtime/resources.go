package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/proc"
)

// resourcesOf turns limits into the spec's words. A limit that is not asked for is left out.
func resourcesOf(r core.Resources, h host) (*specs.LinuxResources, error) {
	out := &specs.LinuxResources{CPU: cpuOf(r), Memory: memoryOf(r, h)}
	if r.PidsLimit != nil && *r.PidsLimit != 0 {
		out.Pids = &specs.LinuxPids{Limit: r.PidsLimit}
	}
	block, err := blockOf(r, h)
	out.BlockIO = block
	return out, err
}

func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func cpuOf(r core.Resources) *specs.LinuxCPU {
	cpu := specs.LinuxCPU{
		Shares: some(uint64(r.CPUShares)), Quota: some(r.CPUQuota), Period: some(uint64(r.CPUPeriod)),
		RealtimePeriod: some(uint64(r.CPURealtimePeriod)), RealtimeRuntime: some(r.CPURealtimeRuntime),
		Cpus: r.CpusetCpus, Mems: r.CpusetMems,
	}
	if r.NanoCPUs > 0 {
		const period = 100_000 // µs
		cpu.Period, cpu.Quota = some(uint64(period)), some(r.NanoCPUs*period/1e9)
	}
	if cpu == (specs.LinuxCPU{}) {
		return nil
	}
	return &cpu
}

func memoryOf(r core.Resources, h host) *specs.LinuxMemory {
	m := specs.LinuxMemory{Limit: some(r.Memory), Reservation: some(r.MemoryReservation), Swap: some(r.MemorySwap), DisableOOMKiller: r.OomKillDisable}
	if r.Memory > 0 && r.MemorySwap == 0 {
		m.Swap = some(2 * r.Memory) // Docker's default: as much swap as memory
	}
	if h.noSwap {
		m.Swap = nil // Docker warns and goes on without
	}
	if r.MemorySwappiness != nil && *r.MemorySwappiness >= 0 {
		m.Swappiness = some(uint64(*r.MemorySwappiness))
		if m.Swappiness == nil {
			m.Swappiness = new(uint64)
		}
	}
	if m == (specs.LinuxMemory{}) {
		return nil
	}
	return &m
}

func blockOf(r core.Resources, h host) (*specs.LinuxBlockIO, error) {
	b := &specs.LinuxBlockIO{Weight: some(r.BlkioWeight)}
	for _, d := range r.BlkioWeightDevice {
		n, ok := h.blocks[d.Path]
		if !ok {
			return nil, noBlock(d.Path)
		}
		device := specs.LinuxWeightDevice{Weight: some(d.Weight)}
		device.Major, device.Minor = n.major, n.minor
		b.WeightDevice = append(b.WeightDevice, device)
	}
	for _, t := range []struct {
		from []core.ThrottleDevice
		to   *[]specs.LinuxThrottleDevice
	}{
		{r.BlkioDeviceReadBps, &b.ThrottleReadBpsDevice}, {r.BlkioDeviceWriteBps, &b.ThrottleWriteBpsDevice},
		{r.BlkioDeviceReadIOps, &b.ThrottleReadIOPSDevice}, {r.BlkioDeviceWriteIOps, &b.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.from {
			n, ok := h.blocks[d.Path]
			if !ok {
				return nil, noBlock(d.Path)
			}
			device := specs.LinuxThrottleDevice{Rate: d.Rate}
			device.Major, device.Minor = n.major, n.minor
			*t.to = append(*t.to, device)
		}
	}
	return b, nil
}

func noBlock(path string) error {
	return core.Invalid("cannot limit the block device %s: no such device", path)
}

// devicesOf are the rules for devices: none but the harmless ones that the shim adds itself, and those asked for.
func devicesOf(c *core.Container, h host) []specs.LinuxDeviceCgroup {
	if c.Host.Privileged {
		return []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	}
	return append([]specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, h.rules...)
}

// lookAt collects the facts about devices that the container's spec needs.
func (h *host) lookAt(c *core.Container) error {
	r := c.Host.Resources
	h.lookAtBlocks(r)
	if c.Host.Privileged {
		return h.allDevices()
	}
	for _, d := range r.Devices {
		if err := h.device(d); err != nil {
			return err
		}
	}
	for _, rule := range r.DeviceCgroupRules {
		parsed, err := deviceRule(rule)
		if err != nil {
			return err
		}
		h.rules = append(h.rules, parsed)
	}
	return nil
}

// lookAtBlocks finds the block devices that limits name.
func (h *host) lookAtBlocks(r core.Resources) {
	h.blocks = map[string]blockNumber{}
	for _, d := range r.BlkioWeightDevice {
		h.block(d.Path)
	}
	for _, list := range [][]core.ThrottleDevice{r.BlkioDeviceReadBps, r.BlkioDeviceWriteBps, r.BlkioDeviceReadIOps, r.BlkioDeviceWriteIOps} {
		for _, d := range list {
			h.block(d.Path)
		}
	}
}

func (h *host) block(path string) {
	info, err := os.Stat(path)
	if err != nil {
		return // blockOf says so
	}
	if node, ok := nodeOf(info, path); ok && node.Type == "b" {
		h.blocks[path] = blockNumber{node.Major, node.Minor}
	}
}

// device adds a device node, or all those in a folder.
func (h *host) device(d core.Device) error {
	resolved, err := filepath.EvalSymlinks(d.PathOnHost)
	if err == nil {
		err = h.nodes(resolved, d.PathInContainer, d.CgroupPermissions)
	}
	if err != nil {
		var perr *fs.PathError
		if errors.As(err, &perr) {
			err = perr.Err
		}
		return core.Invalid("error gathering device information while adding custom device %q: %w", d.PathOnHost, err)
	}
	return nil
}

var errNoDevice = errors.New("not a device node")

func (h *host) nodes(path, target, access string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		node, ok := nodeOf(info, target)
		if !ok {
			return errNoDevice
		}
		h.add(node, access)
		return nil
	}
	found := false
	err = filepath.WalkDir(path, func(sub string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if node, ok := nodeOf(info, filepath.Join(target, strings.TrimPrefix(sub, path))); ok {
			h.add(node, access)
			found = true
		}
		return nil
	})
	if err == nil && !found {
		err = errNoDevice
	}
	return err
}

func (h *host) add(node specs.LinuxDevice, access string) {
	if access == "" {
		access = "rwm"
	}
	h.devices = append(h.devices, node)
	h.rules = append(h.rules, specs.LinuxDeviceCgroup{Allow: true, Type: node.Type, Major: &node.Major, Minor: &node.Minor, Access: access})
}

// allDevices lists the host's devices for a privileged container, without terminals and what containers mount anew.
func (h *host) allDevices() error {
	return filepath.WalkDir("/dev", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a device that went while we looked
			}
			return err
		}
		if entry.IsDir() {
			switch entry.Name() {
			case "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev":
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil || entry.Name() == "console" {
			return nil
		}
		if node, ok := nodeOf(info, path); ok {
			h.devices = append(h.devices, node)
		}
		return nil
	})
}

func nodeOf(info fs.FileInfo, target string) (specs.LinuxDevice, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode()&fs.ModeDevice == 0 {
		return specs.LinuxDevice{}, false
	}
	kind := "b"
	if info.Mode()&fs.ModeCharDevice != 0 {
		kind = "c"
	}
	mode := info.Mode().Perm()
	major, minor := proc.Numbers(st.Rdev)
	return specs.LinuxDevice{
		Path: target, Type: kind, Major: major, Minor: minor,
		FileMode: &mode, UID: &st.Uid, GID: &st.Gid,
	}, true
}

// deviceRule reads "c 1:3 rwm", "b *:* r", "a *:* rwm".
func deviceRule(rule string) (specs.LinuxDeviceCgroup, error) {
	bad := core.Invalid("invalid device cgroup rule format: '%s'", rule)
	var kind, numbers, access string
	if n, err := fmt.Sscanf(rule, "%s %s %s", &kind, &numbers, &access); n != 3 || err != nil {
		return specs.LinuxDeviceCgroup{}, bad
	}
	major, minor, ok := strings.Cut(numbers, ":")
	if !ok || len(kind) != 1 || !strings.Contains("acb", kind) || strings.Trim(access, "rwm") != "" {
		return specs.LinuxDeviceCgroup{}, bad
	}
	parsed := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Access: access}
	for _, part := range []struct {
		text string
		to   **int64
	}{{major, &parsed.Major}, {minor, &parsed.Minor}} {
		if part.text == "*" {
			continue
		}
		n, err := strconv.ParseInt(part.text, 10, 64)
		if err != nil || n < 0 {
			return specs.LinuxDeviceCgroup{}, bad
		}
		*part.to = &n
	}
	return parsed, nil
}
