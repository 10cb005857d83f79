package define

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

func Name(name string) error {
	if !validName.MatchString(name) {
		return core.Invalid("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	return nil
}

// Host refuses what can't be, in Docker's sentences, and lists what will be ignored.
func Host(c *core.Container, cpus int) (warnings []string, err error) {
	host := &c.Host
	for _, check := range []func() error{
		func() error { return Policy(host.RestartPolicy) },
		func() error { return Memory(host.Resources) },
		func() error { return CPU(host.Resources, cpus) },
		func() error { return checkHealth(c.Config.Healthcheck) },
		func() error { return checkModes(host) },
		func() error { return checkPorts(host) },
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	if host.AutoRemove && host.RestartPolicy.Name != "" && host.RestartPolicy.Name != "no" {
		return nil, core.Invalid("can't create 'AutoRemove' container with restart policy")
	}
	if host.ShmSize < 0 {
		return nil, core.Invalid("SHM size can not be less than 0")
	}
	if host.OomScoreAdj < -1000 || host.OomScoreAdj > 1000 {
		return nil, core.Invalid("Invalid value %d, range for oom score adj is [-1000, 1000]", host.OomScoreAdj)
	}
	if host.Memory > 0 && host.MemorySwap == 0 {
		host.MemorySwap = 2 * host.Memory // Docker's default: as much swap as memory
	}
	if len(host.DeviceRequests) > 0 {
		r := host.DeviceRequests[0]
		return nil, core.Invalid("could not select device driver %q with capabilities: %v", r.Driver, r.Capabilities)
	}
	if len(host.StorageOpt) > 0 {
		return nil, core.Invalid("--storage-opt is supported only for Limits over xfs with 'pquota' mount option")
	}
	if host.Isolation != "" && host.Isolation != "default" {
		return nil, core.Invalid("invalid isolation '%s' on linux", host.Isolation)
	}
	if strings.HasPrefix(host.NetworkMode, "container:") && len(host.PortBindings) > 0 {
		return nil, core.Invalid("conflicting options: port publishing and the container type network mode")
	}
	if host.NetworkMode == core.NetworkHost && len(host.PortBindings) > 0 {
		warnings = append(warnings, "Published ports are discarded when using host network mode")
	}
	return warnings, nil
}

func Policy(policy core.RestartPolicy) error {
	switch policy.Name {
	case "", "no", "always", "unless-stopped":
		if policy.MaximumRetryCount != 0 {
			text := "invalid restart policy: maximum retry count can only be used with 'on-failure'"
			if policy.MaximumRetryCount < 0 {
				text += " and cannot be negative"
			}
			return core.Invalid("%s", text)
		}
	case "on-failure":
		if policy.MaximumRetryCount < 0 {
			return core.Invalid("invalid restart policy: maximum retry count cannot be negative")
		}
	default:
		return core.Invalid("invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'", policy.Name)
	}
	return nil
}

// minMemory is the least memory that a container needs to come up.
const minMemory = 6 << 20

func Memory(r core.Resources) error {
	switch {
	case r.Memory != 0 && r.Memory < minMemory:
		return core.Invalid("Minimum memory limit allowed is 6MB")
	case r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return core.Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.Memory == 0 && r.MemorySwap > 0:
		return core.Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	case r.MemorySwap < -1:
		return core.Invalid("Invalid value: %d, valid memory swap is -1 or greater", r.MemorySwap)
	case r.MemorySwappiness != nil && (*r.MemorySwappiness < -1 || *r.MemorySwappiness > 100):
		return core.Invalid("Invalid value: %d, valid memory swappiness range is 0-100", *r.MemorySwappiness)
	case r.MemoryReservation > 0 && r.MemoryReservation < minMemory:
		return core.Invalid("Minimum memory reservation allowed is 6MB")
	case r.MemoryReservation > 0 && r.Memory > 0 && r.Memory < r.MemoryReservation:
		return core.Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	case r.BlkioWeight > 0 && (r.BlkioWeight < 10 || r.BlkioWeight > 1000):
		return core.Invalid("Range of blkio weight is from 10 to 1000")
	}
	return nil
}

func CPU(r core.Resources, cpus int) error {
	switch {
	case r.NanoCPUs > 0 && r.CPUPeriod > 0:
		return core.Invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set")
	case r.NanoCPUs > 0 && r.CPUQuota > 0:
		return core.Invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
	case r.NanoCPUs < 0 || r.NanoCPUs > int64(cpus)*1e9:
		return core.Invalid("range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", cpus, cpus)
	case r.CPUPeriod != 0 && (r.CPUPeriod < 1000 || r.CPUPeriod > 1000000):
		return core.Invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case r.CPUQuota > 0 && r.CPUQuota < 1000:
		return core.Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case r.CPUShares < 0:
		return core.Invalid("shares can not be negative")
	}
	return nil
}

func checkHealth(h *core.Healthcheck) error {
	if h == nil {
		return nil
	}
	if len(h.Test) > 0 {
		switch h.Test[0] {
		case "NONE", "CMD", "CMD-SHELL":
		default:
			return core.Invalid("unknown type: %s in healthcheck Test", h.Test[0])
		}
	}
	for _, d := range []struct {
		name  string
		value int64
	}{
		{"Interval", int64(h.Interval)}, {"Timeout", int64(h.Timeout)},
		{"StartPeriod", int64(h.StartPeriod)}, {"StartInterval", int64(h.StartInterval)},
	} {
		if d.value != 0 && d.value < 1e6 {
			return core.Invalid("%s in Healthcheck cannot be less than 1ms", d.name)
		}
	}
	if h.Retries < 0 {
		return core.Invalid("Retries in Healthcheck cannot be negative")
	}
	return nil
}

func checkModes(host *core.HostConfig) error {
	isContainer := func(mode string) bool {
		name, ok := strings.CutPrefix(mode, "container:")
		return ok && name != ""
	}
	if m := host.PidMode; m != "" && m != "host" && !isContainer(m) {
		return core.Invalid("invalid PID mode: %s", m)
	}
	if m := host.IpcMode; !slices.Contains([]string{"", "host", "private", "shareable", "none"}, m) && !isContainer(m) {
		return core.Invalid("invalid IPC mode: %s", m)
	}
	if m := host.UTSMode; m != "" && m != "host" {
		return core.Invalid("invalid UTS mode: %s", m)
	}
	if m := host.UsernsMode; m != "" && m != "host" {
		return core.Invalid("invalid user namespace mode: %s", m)
	}
	if m := host.CgroupnsMode; m != "" && m != "host" && m != "private" {
		return core.Invalid("invalid cgroup namespace mode: %v", m)
	}
	if host.NetworkMode == "container:" {
		return core.Invalid("invalid container format container:<name|id>")
	}
	if host.Cgroup != "" {
		return core.NotImplemented("Berth does not join the cgroup of another container yet (--cgroup %s)", host.Cgroup)
	}
	return nil
}

func checkPorts(host *core.HostConfig) error {
	for port, bindings := range host.PortBindings {
		for _, b := range bindings {
			if _, _, err := PortRange(b.HostPort); err != nil {
				return core.Invalid("invalid port specification: %q", b.HostPort)
			}
		}
		if port.Number == 0 {
			return core.Invalid("invalid port specification: %q", port.String())
		}
	}
	return nil
}

// PortRange reads the host's side of a binding: "" (any), "8080", "8000-8010".
func PortRange(s string) (first, last uint16, err error) {
	if s == "" {
		return 0, 0, nil
	}
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	a, err := core.ParsePort(low)
	if err != nil {
		return 0, 0, err
	}
	b, err := core.ParsePort(high)
	if err != nil {
		return 0, 0, err
	}
	if b.Number < a.Number {
		return 0, 0, fmt.Errorf("invalid range %q", s)
	}
	return a.Number, b.Number, nil
}

// Endpoints brings the networks of the request and the network mode together.
func Endpoints(c *core.Container) error {
	mode := c.Host.NetworkMode
	endpoints := map[string]*core.Endpoint{}
	for name, e := range c.Endpoints {
		if e == nil {
			e = &core.Endpoint{}
		}
		if name == "default" {
			name = core.NetworkBridge
		}
		endpoints[name] = e
	}
	switch {
	case strings.HasPrefix(mode, "container:"):
		if len(c.Endpoints) > 0 {
			return core.Invalid("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
		}
	case mode == "default":
		if endpoints[core.NetworkBridge] == nil {
			endpoints[core.NetworkBridge] = &core.Endpoint{}
		}
	case endpoints[mode] == nil:
		endpoints[mode] = &core.Endpoint{}
	}
	if c.Config.NetworkDisabled {
		endpoints = map[string]*core.Endpoint{core.NetworkNone: {}}
	}
	c.Endpoints = endpoints
	return nil
}
