package define

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/moby/sys/signal"

	"github.com/berth-engine/berth/core"
)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

func Name(name string) error {
	if !validName.MatchString(name) {
		return core.Invalid("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", name)
	}
	return nil
}

// Host refuses what can't be, in Docker's sentences, takes away what this host's kernel can't do, and lists what will
// be ignored.
func Host(c *core.Container, facts *core.Info) (warnings []string, err error) {
	host := &c.Host
	for _, check := range []func() error{
		func() error { return checkConfig(&c.Config) },
		func() error { return checkAutoRemove(host) },
		func() error { return checkHosts(host.ExtraHosts) },
		func() error { return checkPorts(host) },
		func() error { return Policy(host.RestartPolicy) },
		func() error { return checkCapabilities(host) },
		func() error { return checkAnnotations(host.Annotations) },
		func() error { return checkIsolation(host.Isolation) },
		func() error { return checkHealth(c.Config.Healthcheck) },
		func() error { return checkModes(host) },
		func() error { return checkUlimits(host.Ulimits) },
		func() error { return checkDevices(host.Devices) },
		func() error { return checkLinks(host) },
		func() error { return checkTmpfs(host.Tmpfs) },
		func() error { _, err := core.ParseSecurity(host.SecurityOpt); return err },
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	warnings, err = Resources(&host.Resources, facts, false)
	if err != nil {
		return nil, err
	}
	switch {
	case host.ShmSize < 0:
		return nil, core.Invalid("SHM size can not be less than 0")
	case host.OomScoreAdj < -1000 || host.OomScoreAdj > 1000:
		return nil, core.Invalid("Invalid value %d, range for oom score adj is [-1000, 1000]", host.OomScoreAdj)
	}
	if host.Memory > 0 && host.MemorySwap == 0 {
		host.MemorySwap = 2 * host.Memory // Docker's default: as much swap as memory
	}
	if host.NetworkMode == core.NetworkHost && len(host.PortBindings) > 0 {
		warnings = append(warnings, "Published ports are discarded when using host network mode")
	}
	if DefaultBridge(host.NetworkMode) && len(host.Links) > 0 {
		warnings = append(warnings, "Links on the default bridge network are deprecated and will be removed in a future release. Use a custom network instead.")
	}
	if sec, err := core.ParseSecurity(host.SecurityOpt); err == nil && !slices.Contains(facts.SecurityOptions, core.HasSELinux) &&
		slices.ContainsFunc(sec.Labels, func(label string) bool { return label != "disable" }) {
		warnings = append(warnings, "SELinux is not in use on this daemon. Labels discarded.")
	}
	return warnings, nil
}

// DefaultBridge reports whether the mode is the network that a container gets when it names none.
func DefaultBridge(mode string) bool {
	return mode == "" || mode == "default" || mode == core.NetworkBridge
}

func checkAutoRemove(host *core.HostConfig) error {
	if host.AutoRemove && host.RestartPolicy.Name != "" && host.RestartPolicy.Name != "no" {
		return core.Invalid("can't create 'AutoRemove' container with restart policy")
	}
	return nil
}

func checkIsolation(isolation string) error {
	if isolation != "" && !strings.EqualFold(isolation, "default") {
		return core.Invalid("invalid isolation '%s' on linux", isolation)
	}
	return nil
}

// longestHostname is the kernel's limit (HOST_NAME_MAX).
const longestHostname = 64

func checkConfig(config *core.Config) error {
	if wd := config.WorkingDir; wd != "" {
		if !filepath.IsAbs(wd) {
			return core.Invalid("the working directory '%s' is invalid, it needs to be an absolute path", wd)
		}
		config.WorkingDir = filepath.Clean(wd)
	}
	if config.StopSignal != "" {
		if _, err := Signal(config.StopSignal); err != nil {
			return err
		}
	}
	for _, entry := range config.Env {
		if entry == "" || entry[0] == '=' {
			return core.Invalid("invalid environment variable: %s", entry)
		}
	}
	if len(config.Hostname) > longestHostname {
		return core.Invalid("hostname %q is too long (maximum %d bytes)", config.Hostname, longestHostname)
	}
	return nil
}

// Signal reads the name or the number of a signal.
func Signal(s string) (syscall.Signal, error) {
	sig, err := signal.ParseSignal(s)
	if err != nil || sig <= 0 || int(sig) > 64 {
		return 0, core.Invalid("invalid signal: %s", s)
	}
	return sig, nil
}

func checkHosts(hosts []string) error {
	for _, line := range hosts {
		at := strings.IndexAny(line, ":=")
		if at <= 0 {
			return core.Invalid("bad format for add-host: %q", line)
		}
		address := line[at+1:]
		if address == "host-gateway" {
			continue
		}
		bare := address
		if strings.HasPrefix(bare, "[") && strings.HasSuffix(bare, "]") {
			bare = bare[1 : len(bare)-1]
		}
		if _, err := netip.ParseAddr(bare); err != nil {
			return core.Invalid("invalid IP address in add-host: %q", address)
		}
	}
	return nil
}

func checkCapabilities(host *core.HostConfig) error {
	for _, list := range []struct {
		field string
		names []string
	}{{"CapAdd", host.CapAdd}, {"CapDrop", host.CapDrop}} {
		for _, given := range list.names {
			if name, ok := core.CapabilityName(given); !ok {
				return core.Invalid("invalid %s: unknown capability: %q", list.field, name)
			}
		}
	}
	return nil
}

// HealthOnFailure is the annotation that says what happens to a container that became unhealthy: none, kill, restart or
// stop. An annotation, so that every client can set it.
const HealthOnFailure = "io.berth.health-on-failure"

func checkAnnotations(annotations map[string]string) error {
	if _, empty := annotations[""]; empty {
		return core.Invalid("invalid Annotations: the empty string is not permitted as an annotation key")
	}
	if action, given := annotations[HealthOnFailure]; given && !slices.Contains([]string{"none", "kill", "restart", "stop"}, action) {
		return core.Invalid("invalid health-on-failure action: '%s'; use one of 'none', 'kill', 'restart', or 'stop'", action)
	}
	return nil
}

// UserNetwork refuses what the user, and not the image, said against the network mode: checked before the two are merged.
func UserNetwork(config *core.Config, host *core.HostConfig) error {
	name, joins := strings.CutPrefix(host.NetworkMode, "container:")
	switch {
	case joins && name == "", host.NetworkMode == "container":
		return core.Invalid("invalid network mode: invalid container format container:<name|id>")
	case joins && config.Hostname != "":
		return core.Invalid("conflicting options: hostname and the network mode")
	case joins && len(host.Links) > 0:
		return core.Invalid("conflicting options: container type network can't be used with links. This would result in undefined behavior")
	case joins && len(host.DNS) > 0:
		return core.Invalid("conflicting options: dns and the network mode")
	case joins && len(host.ExtraHosts) > 0:
		return core.Invalid("conflicting options: custom host-to-IP mapping and the network mode")
	case joins && (len(host.PortBindings) > 0 || host.PublishAllPorts):
		return core.Invalid("conflicting options: port publishing and the container type network mode")
	case joins && len(config.ExposedPorts) > 0:
		return core.Invalid("conflicting options: port exposing and the container type network mode")
	case host.UTSMode == "host" && config.Hostname != "":
		return core.Invalid("conflicting options: hostname and the UTS mode")
	case host.NetworkMode == core.NetworkHost && len(host.Links) > 0:
		return core.Invalid("conflicting options: host type networking can't be used with links. This would result in undefined behavior")
	}
	return nil
}

// ulimits are the limits that setrlimit(2) knows, in the words of `--ulimit`.
var ulimits = []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}

func checkUlimits(limits []core.Ulimit) error {
	for _, u := range limits {
		switch {
		case !slices.Contains(ulimits, strings.ToLower(u.Name)):
			return core.Invalid("invalid ulimit type: %s", u.Name)
		case u.Soft < -1 || u.Hard < -1:
			return core.Invalid("invalid ulimit value: %s=%d:%d", u.Name, u.Soft, u.Hard)
		case u.Hard != -1 && (u.Soft > u.Hard || u.Soft == -1):
			return core.Invalid("ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
		}
	}
	return nil
}

func checkDevices(devices []core.Device) error {
	for _, d := range devices {
		if strings.Trim(d.CgroupPermissions, "rwm") != "" {
			return core.Invalid("invalid device mode: %s", d.CgroupPermissions)
		}
		if d.PathInContainer != "" && !filepath.IsAbs(d.PathInContainer) {
			return core.Invalid("%s is not an absolute path", d.PathInContainer)
		}
	}
	return nil
}

// checkLinks refuses links that can't be read.
func checkLinks(host *core.HostConfig) error {
	for _, l := range host.Links {
		if _, _, err := Link(l); err != nil {
			return err
		}
	}
	return nil
}

// Link reads `--link`: container, container:alias, or what an inspected container shows, /container:/parent/alias.
func Link(l string) (name, alias string, err error) {
	if l == "" {
		return "", "", core.Invalid("empty string specified for links")
	}
	name, alias, aliased := strings.Cut(l, ":")
	switch {
	case strings.Contains(alias, ":"):
		return "", "", core.Invalid("bad format for links: %s", l)
	case !aliased:
		alias = name
	case strings.HasPrefix(name, "/"):
		name, alias = name[1:], alias[strings.LastIndexByte(alias, '/')+1:]
	}
	if name == "" || alias == "" {
		return "", "", core.Invalid("bad format for links: %s", l)
	}
	return name, alias, nil
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
	if host.Cgroup != "" {
		return core.NotImplemented("Berth does not join the cgroup of another container yet (--cgroup %s)", host.Cgroup)
	}
	return nil
}
