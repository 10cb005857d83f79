package runtime

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-engine/berth/core"
)

// host is what a spec depends on besides the launch: facts that are looked up before, so that making a spec touches
// neither disk nor kernel.
type host struct {
	bounding uint64 // capabilities that the daemon can give
	unified  bool   // cgroup v2
	noSwap   bool   // cgroups can't limit swap
	shim     string // path of the shim's binary, for --init
	parts    string // folder in which the shim mounts parts of images and volumes
	// devices are those of --device and --privileged; weights and throttles the block devices of --blkio-* by path.
	devices []specs.LinuxDevice
	rules   []specs.LinuxDeviceCgroup
	blocks  map[string]blockNumber
}

type blockNumber struct{ major, minor int64 }

// specOf makes the OCI spec of a container. The user, groups and the path of the root file system are filled in by
// the shim, which can look into the image.
func specOf(l core.Launch, h host) (*specs.Spec, error) {
	c := l.Container
	sec, err := core.ParseSecurity(c.Host.SecurityOpt)
	if err != nil {
		return nil, err
	}
	resources, err := resourcesOf(c.Host.Resources, h)
	if err != nil {
		return nil, err
	}
	resources.Devices = devicesOf(c, h)
	process, err := processOf(l, h, sec)
	if err != nil {
		return nil, err
	}
	namespaces, err := namespacesOf(l, h)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version: specs.Version,
		Process: process,
		Root:    &specs.Root{Path: "rootfs", Readonly: c.Host.ReadonlyRootfs},
		Linux: &specs.Linux{
			Namespaces:  namespaces,
			Resources:   resources,
			CgroupsPath: cgroupPath(c),
			Sysctl:      sysctlsOf(l),
			Devices:     h.devices,
			MountLabel:  c.MountLabel,
		},
		Annotations: c.Host.Annotations,
	}
	if c.Host.UTSMode != "host" {
		s.Hostname, s.Domainname = c.Config.Hostname, c.Config.Domainname
	}
	if !c.Host.Privileged && !sec.SystemPaths {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = core.MaskedPaths, core.ReadonlyPaths
	}
	if c.Host.MaskedPaths != nil {
		s.Linux.MaskedPaths = c.Host.MaskedPaths
	}
	if c.Host.ReadonlyPaths != nil {
		s.Linux.ReadonlyPaths = c.Host.ReadonlyPaths
	}
	s.Mounts, s.Linux.RootfsPropagation = mountsOf(l, h, sec)
	s.Linux.Seccomp, err = seccompOf(s, sec, c.Host.Privileged)
	return s, err
}

// cgroupPath is the container's path below the root of each hierarchy.
func cgroupPath(c *core.Container) string {
	parent := c.Host.CgroupParent
	if parent == "" {
		parent = "/berth"
	}
	return path.Join("/", parent, string(c.ID))
}

func processOf(l core.Launch, h host, sec core.Security) (*specs.Process, error) {
	c := l.Container
	caps, err := capabilities(c.Host.CapAdd, c.Host.CapDrop, c.Host.Privileged, h.bounding)
	if err != nil {
		return nil, err
	}
	limits, err := rlimitsOf(c.Host.Ulimits)
	if err != nil {
		return nil, err
	}
	cwd := c.Config.WorkingDir
	if cwd == "" {
		cwd = "/"
	}
	p := &specs.Process{
		Terminal:        c.Config.Tty,
		Args:            commandOf(c),
		Env:             l.Env,
		Cwd:             cwd,
		Capabilities:    capabilitySets(caps),
		Rlimits:         limits,
		NoNewPrivileges: sec.NoNewPrivileges,
		OOMScoreAdj:     &c.Host.OomScoreAdj,
		ApparmorProfile: appArmorOf(c),
		SelinuxLabel:    c.ProcessLabel,
	}
	p.User.Umask = c.Host.Umask
	return p, nil
}

// appArmorOf is the profile as a spec has it.
func appArmorOf(c *core.Container) string {
	if c.AppArmorProfile == core.Unconfined {
		return ""
	}
	return c.AppArmorProfile
}

// commandOf is the command line. An empty Path leaves the command's own words.
func commandOf(c *core.Container) []string {
	if c.Path == "" {
		return slices.Clone(c.Args)
	}
	return append([]string{c.Path}, c.Args...)
}

// capabilitySets: like Docker, a process of root has all of them, one of another user has them within reach only (the
// kernel clears its effective set).
func capabilitySets(caps []string) *specs.LinuxCapabilities {
	return &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
}

func rlimitsOf(ulimits []core.Ulimit) ([]specs.POSIXRlimit, error) {
	var limits []specs.POSIXRlimit
	for _, u := range ulimits {
		if u.Soft > u.Hard && u.Hard != -1 {
			return nil, core.Invalid("ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
		}
		limits = append(limits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: uint64(u.Soft), Hard: uint64(u.Hard)})
	}
	return limits, nil
}

// namespacesOf gives each namespace: its own, another container's, or (left out) the host's. The network's path is
// put in by the shim, which has it open.
func namespacesOf(l core.Launch, h host) ([]specs.LinuxNamespace, error) {
	c := l.Container
	if m := c.Host.UsernsMode; m != "" && m != "host" {
		return nil, core.Invalid("invalid USER mode: %s", m)
	}
	list := []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	if l.NetNS != nil {
		list = append(list, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: "/proc/self/ns/net"})
	}
	if c.Host.UTSMode != "host" {
		list = append(list, specs.LinuxNamespace{Type: specs.UTSNamespace})
	}
	for _, shared := range []struct {
		kind specs.LinuxNamespaceType
		mode string
		pid  int
	}{{specs.PIDNamespace, c.Host.PidMode, l.JoinPID}, {specs.IPCNamespace, c.Host.IpcMode, l.JoinIPC}} {
		switch {
		case shared.mode == "host":
		case strings.HasPrefix(shared.mode, "container:"):
			if shared.pid == 0 {
				return nil, core.Conflict("cannot join %s namespace of a non running container: %s", strings.ToUpper(string(shared.kind)), strings.TrimPrefix(shared.mode, "container:"))
			}
			list = append(list, specs.LinuxNamespace{Type: shared.kind, Path: namespacePath(shared.pid, string(shared.kind))})
		default:
			list = append(list, specs.LinuxNamespace{Type: shared.kind})
		}
	}
	if privateCgroupNS(c, h) {
		list = append(list, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return list, nil
}

// privateCgroupNS: Docker's default is private on cgroup v2, for the privileged as well, and the host's on v1.
func privateCgroupNS(c *core.Container, h host) bool {
	switch c.Host.CgroupnsMode {
	case "private":
		return true
	case "host":
		return false
	}
	return h.unified
}

// sysctlsOf adds what Docker lets every container with a network of its own do: ping and low ports for all users.
func sysctlsOf(l core.Launch) map[string]string {
	c := l.Container
	sysctls := map[string]string{}
	if l.NetNS != nil && !strings.HasPrefix(c.Host.NetworkMode, "container:") {
		sysctls["net.ipv4.ip_unprivileged_port_start"] = "0"
		sysctls["net.ipv4.ping_group_range"] = "0 2147483647"
	}
	for k, v := range c.Host.Sysctls {
		sysctls[k] = v
	}
	return sysctls
}
