package define_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

// machine has two processors and can limit everything.
func machine() *core.Info {
	return &core.Info{CPUs: 2, Limits: core.HostLimits{
		Memory: true, Swap: true, CPUCfs: true, CPUShares: true, CPUSet: true, Pids: true, OomKillDisable: true,
		Swappiness: true, Realtime: true, BlockWeight: true, BlockThrottle: true, Processors: "0-1", MemoryNodes: "0",
	}}
}

func number(n int64) *int64 { return &n }

func TestWhatCantBeIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		edit func(*core.Container)
		want string
	}{
		{"too little memory", func(c *core.Container) { c.Host.Memory = 1 }, "Minimum memory limit allowed is 6MB"},
		{"negative memory", func(c *core.Container) { c.Host.Memory = -1 }, "Minimum memory limit allowed is 6MB"},
		{"swap below memory", func(c *core.Container) { c.Host.Memory, c.Host.MemorySwap = 10<<20, 9<<20 }, "Minimum memoryswap limit should be larger than memory limit, see usage"},
		{"swap alone", func(c *core.Container) { c.Host.MemorySwap = 9 << 20 }, "You should always set the Memory limit when using Memoryswap limit, see usage"},
		{"swappiness out of range", func(c *core.Container) { c.Host.MemorySwappiness = number(101) }, "Invalid value: 101, valid memory swappiness range is 0-100"},
		{"too little reserved", func(c *core.Container) { c.Host.MemoryReservation = 1 }, "Minimum memory reservation allowed is 6MB"},
		{"more reserved than there is", func(c *core.Container) { c.Host.Memory, c.Host.MemoryReservation = 10<<20, 11<<20 }, "Minimum memory limit can not be less than memory reservation limit, see usage"},
		{"more CPUs than there are", func(c *core.Container) { c.Host.NanoCPUs = 3e9 }, "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"},
		{"CPUs below zero", func(c *core.Container) { c.Host.NanoCPUs = -1 }, "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"},
		{"CPUs and a quota", func(c *core.Container) { c.Host.NanoCPUs, c.Host.CPUQuota = 1e9, 5000 }, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"},
		{"CPUs and a period", func(c *core.Container) { c.Host.NanoCPUs, c.Host.CPUPeriod = 1e9, 5000 }, "Conflicting options: Nano CPUs and CPU Period cannot both be set"},
		{"a period too short", func(c *core.Container) { c.Host.CPUPeriod = 999 }, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"},
		{"a period too long", func(c *core.Container) { c.Host.CPUPeriod = 1000001 }, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"},
		{"a quota too small", func(c *core.Container) { c.Host.CPUQuota = 999 }, "CPU cfs quota can not be less than 1ms (i.e. 1000)"},
		{"negative shares", func(c *core.Container) { c.Host.CPUShares = -1 }, "invalid CPU shares (-1): value must be a positive integer"},
		{"more real time than there is", func(c *core.Container) { c.Host.CPURealtimePeriod, c.Host.CPURealtimeRuntime = 1000, 1001 }, "cpu real-time runtime cannot be higher than cpu real-time period"},
		{"a processor that is not there", func(c *core.Container) { c.Host.CpusetCpus = "1-2" }, "Requested CPUs are not available - requested 1-2, available: 0-1"},
		{"no list of processors", func(c *core.Container) { c.Host.CpusetCpus = "one" }, "Invalid value one for cpuset cpus: failed to parse cpuset: one"},
		{"a range the wrong way round", func(c *core.Container) { c.Host.CpusetCpus = "1-0" }, "Invalid value 1-0 for cpuset cpus: failed to parse cpuset: 1-0"},
		{"a memory node that is not there", func(c *core.Container) { c.Host.CpusetMems = "7" }, "Requested memory nodes are not available - requested 7, available: 0"},
		{"a weight out of range", func(c *core.Container) { c.Host.BlkioWeight = 9 }, "Range of blkio weight is from 10 to 1000"},
		{"an unknown policy", func(c *core.Container) { c.Host.RestartPolicy.Name = "sometimes" }, "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"},
		{"retries of always", func(c *core.Container) {
			c.Host.RestartPolicy = core.RestartPolicy{Name: "always", MaximumRetryCount: 3}
		}, "invalid restart policy: maximum retry count can only be used with 'on-failure'"},
		{"negative retries", func(c *core.Container) {
			c.Host.RestartPolicy = core.RestartPolicy{Name: "on-failure", MaximumRetryCount: -1}
		}, "invalid restart policy: maximum retry count cannot be negative"},
		{"--rm with a policy", func(c *core.Container) { c.Host.AutoRemove, c.Host.RestartPolicy.Name = true, "always" }, "can't create 'AutoRemove' container with restart policy"},
		{"a PID mode of no meaning", func(c *core.Container) { c.Host.PidMode = "mine" }, "invalid PID mode: mine"},
		{"an IPC mode of no meaning", func(c *core.Container) { c.Host.IpcMode = "mine" }, "invalid IPC mode: mine"},
		{"a UTS mode of no meaning", func(c *core.Container) { c.Host.UTSMode = "mine" }, "invalid UTS mode: mine"},
		{"a cgroup namespace of no meaning", func(c *core.Container) { c.Host.CgroupnsMode = "mine" }, "invalid cgroup namespace mode: mine"},
		{"a port of no meaning", func(c *core.Container) {
			c.Host.PortBindings = map[core.Port][]core.PortBinding{{Number: 80, Protocol: core.TCP}: {{HostPort: "x"}}}
		}, `invalid port specification: "x"`},
		{"port 0", func(c *core.Container) {
			c.Host.PortBindings = map[core.Port][]core.PortBinding{{Protocol: core.TCP}: {{HostPort: "1"}}}
		}, `invalid port specification: "0/tcp"`},
		{"a health check every microsecond", func(c *core.Container) { c.Config.Healthcheck = &core.Healthcheck{Interval: 1000} }, "Interval in Healthcheck cannot be less than 1ms"},
		{"a health check of no kind", func(c *core.Container) { c.Config.Healthcheck = &core.Healthcheck{Test: []string{"true"}} }, "unknown type: true in healthcheck Test"},
		{"an action on failure of no meaning", func(c *core.Container) { c.Host.Annotations = map[string]string{define.HealthOnFailure: "cry"} }, "invalid health-on-failure action: 'cry'; use one of 'none', 'kill', 'restart', or 'stop'"},
		{"an annotation without a name", func(c *core.Container) { c.Host.Annotations = map[string]string{"": "x"} }, "invalid Annotations: the empty string is not permitted as an annotation key"},
		{"a capability that nobody knows", func(c *core.Container) { c.Host.CapDrop = []string{"fly"} }, `invalid CapDrop: unknown capability: "CAP_FLY"`},
		{"a relative working folder", func(c *core.Container) { c.Config.WorkingDir = "x" }, "the working directory 'x' is invalid, it needs to be an absolute path"},
		{"a signal that nobody knows", func(c *core.Container) { c.Config.StopSignal = "SIGNOT" }, "invalid signal: SIGNOT"},
		{"a variable without a name", func(c *core.Container) { c.Config.Env = []string{"=x"} }, "invalid environment variable: =x"},
		{"a hostname that is too long", func(c *core.Container) { c.Config.Hostname = strings.Repeat("a", 65) }, `hostname "` + strings.Repeat("a", 65) + `" is too long (maximum 64 bytes)`},
		{"a host without an address", func(c *core.Container) { c.Host.ExtraHosts = []string{"web"} }, `bad format for add-host: "web"`},
		{"a host with no address", func(c *core.Container) { c.Host.ExtraHosts = []string{"web:1.2.3"} }, `invalid IP address in add-host: "1.2.3"`},
		{"an isolation of another system", func(c *core.Container) { c.Host.Isolation = "hyperv" }, "invalid isolation 'hyperv' on linux"},
		{"too little shared memory", func(c *core.Container) { c.Host.ShmSize = -1 }, "SHM size can not be less than 0"},
		{"an OOM score out of range", func(c *core.Container) { c.Host.OomScoreAdj = 1001 }, "Invalid value 1001, range for oom score adj is [-1000, 1000]"},
		{"a network of nobody", func(c *core.Container) { c.Host.NetworkMode = "container:" }, "invalid network mode: invalid container format container:<name|id>"},
		{"a name in another's network", func(c *core.Container) { c.Host.NetworkMode, c.Config.Hostname = "container:x", "ship" }, "conflicting options: hostname and the network mode"},
		{"exposed ports in another's network", func(c *core.Container) {
			c.Host.NetworkMode, c.Config.ExposedPorts = "container:x", []core.Port{{Number: 80, Protocol: core.TCP}}
		}, "conflicting options: port exposing and the container type network mode"},
		{"a name beside the host's", func(c *core.Container) { c.Host.UTSMode, c.Config.Hostname = "host", "ship" }, "conflicting options: hostname and the UTS mode"},
		{"links in another's network", func(c *core.Container) { c.Host.NetworkMode, c.Host.Links = "container:x", []string{"db"} }, "conflicting options: container type network can't be used with links. This would result in undefined behavior"},
		{"links in the host's network", func(c *core.Container) { c.Host.NetworkMode, c.Host.Links = "host", []string{"db"} }, "conflicting options: host type networking can't be used with links. This would result in undefined behavior"},
		{"DNS in another's network", func(c *core.Container) {
			c.Host.NetworkMode, c.Host.DNS = "container:x", []netip.Addr{netip.MustParseAddr("1.1.1.1")}
		}, "conflicting options: dns and the network mode"},
		{"hosts in another's network", func(c *core.Container) { c.Host.NetworkMode, c.Host.ExtraHosts = "container:x", []string{"a:1.1.1.1"} }, "conflicting options: custom host-to-IP mapping and the network mode"},
		{"ports in another's network", func(c *core.Container) { c.Host.NetworkMode, c.Host.PublishAllPorts = "container:x", true }, "conflicting options: port publishing and the container type network mode"},
		{"a link with too much", func(c *core.Container) { c.Host.Links = []string{"a:b:c"} }, "bad format for links: a:b:c"},
		{"a limit that nobody knows", func(c *core.Container) { c.Host.Ulimits = []core.Ulimit{{Name: "luck"}} }, "invalid ulimit type: luck"},
		{"a soft limit above the hard one", func(c *core.Container) { c.Host.Ulimits = []core.Ulimit{{Name: "nofile", Soft: 2, Hard: 1}} }, "ulimit soft limit must be less than or equal to hard limit: 2 > 1"},
		{"a device that may be sung", func(c *core.Container) {
			c.Host.Devices = []core.Device{{PathOnHost: "/dev/null", CgroupPermissions: "s"}}
		}, "invalid device mode: s"},
		{"a security option that nobody knows", func(c *core.Container) { c.Host.SecurityOpt = []string{"luck=yes"} }, `invalid --security-opt 2: "luck=yes"`},
		{"a security option without a value", func(c *core.Container) { c.Host.SecurityOpt = []string{"luck"} }, `invalid --security-opt 1: "luck"`},
		{"a tmpfs over everything", func(c *core.Container) { c.Host.Tmpfs = map[string]string{"/": ""} }, "invalid specification: destination can't be '/'"},
		{"a tmpfs somewhere", func(c *core.Container) { c.Host.Tmpfs = map[string]string{"run": ""} }, "invalid mount path: 'run' mount path must be absolute"},
		{"a tmpfs with an option that nobody knows", func(c *core.Container) { c.Host.Tmpfs = map[string]string{"/run": "colour=red"} }, `invalid tmpfs option ["colour" "red"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var c core.Container
			test.edit(&c)
			err := define.UserNetwork(&c.Config, &c.Host)
			if err == nil {
				_, err = define.Host(&c, machine())
			}
			if !errdefs.IsInvalidArgument(err) || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestLimitsThatTheKernelLacksAreTakenAwayWithAWarning(t *testing.T) {
	t.Parallel()
	on := true
	c := core.Container{Host: core.HostConfig{Resources: core.Resources{
		Memory: 64 << 20, MemorySwappiness: number(10), OomKillDisable: &on, PidsLimit: number(5), CPUShares: 5, CPUQuota: 5000,
		CpusetCpus: "9", BlkioWeight: 5, BlkioDeviceReadBps: []core.ThrottleDevice{{Path: "/dev/x"}},
	}}}
	warnings, err := define.Host(&c, &core.Info{CPUs: 2})
	if err != nil || len(warnings) != 9 {
		t.Fatalf("%d warnings, %v: %q", len(warnings), err, warnings)
	}
	r := c.Host.Resources
	if r.Memory != 0 || r.MemorySwappiness != nil || r.OomKillDisable != nil || r.PidsLimit != nil || r.CPUShares != 0 || r.CPUQuota != 0 ||
		r.CpusetCpus != "" || r.BlkioWeight != 0 || r.BlkioDeviceReadBps != nil {
		t.Errorf("left: %+v", r)
	}
	for what, edit := range map[string]func(*core.Resources){
		"NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted": func(r *core.Resources) { r.NanoCPUs = 1e9 },
		"kernel does not support CPU real-time scheduler":                                                         func(r *core.Resources) { r.CPURealtimeRuntime = 1000 },
	} {
		var r core.Resources
		edit(&r)
		if _, err := define.Resources(&r, &core.Info{CPUs: 2}, false); err == nil || err.Error() != what {
			t.Errorf("%v, want %s", err, what)
		}
	}
}

func TestPlacesInNetworks(t *testing.T) {
	t.Parallel()
	address := netip.MustParseAddr
	for _, test := range []struct {
		name     string
		network  string
		endpoint core.Endpoint
		want     string // behind the sentence that they share; "": it is taken
	}{
		{"an address in a network of one's own", "back", core.Endpoint{IPv4: address("10.0.0.9"), Aliases: []string{"db"}}, ""},
		{"an address on the default bridge", "bridge", core.Endpoint{IPv4: address("10.0.0.9")}, "user-specified IP address is supported on user-defined networks only"},
		{"an alias on the default bridge", "default", core.Endpoint{Aliases: []string{"db"}}, "network-scoped aliases are only supported for user-defined networks"},
		{"no address", "back", core.Endpoint{IPv4: address("0.0.0.0")}, "invalid IPv4 address: 0.0.0.0"},
		{"an address of the other family", "back", core.Endpoint{IPv6: address("10.0.0.9")}, "invalid IPv6 address: 10.0.0.9"},
		{"an address of a zone", "back", core.Endpoint{IPv6: address("fe80::1%eth0")}, "invalid IPv6 address: fe80::1%eth0"},
		{"no link-local address", "back", core.Endpoint{LinkLocal: []netip.Addr{address("::")}}, "invalid link-local IP address: ::"},
		{"a name of the interface", "back", core.Endpoint{DriverOpts: map[string]string{"com.docker.network.endpoint.ifname": "lan0"}}, ""},
		{"a setting of the interface", "back", core.Endpoint{DriverOpts: map[string]string{"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}}, ""},
		{"a setting of an interface by name", "back", core.Endpoint{DriverOpts: map[string]string{"com.docker.network.endpoint.sysctls": "net.ipv4.conf.eth0.log_martians=1"}}, "unrecognised network interface sysctl 'net.ipv4.conf.eth0.log_martians=1'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"},
		{"a setting that leads elsewhere", "back", core.Endpoint{DriverOpts: map[string]string{"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.../../x=1"}}, "unrecognised network interface sysctl 'net.ipv4.conf.IFNAME.../../x=1'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"},
		{"an option that nobody knows", "back", core.Endpoint{DriverOpts: map[string]string{"luck": "yes"}}, "unknown driver option: luck"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := define.Attachment(test.network, &test.endpoint)
			want := "invalid config for network " + test.network + ": invalid endpoint settings:\n" + test.want
			switch {
			case test.want == "" && err != nil, test.want != "" && (!errdefs.IsInvalidArgument(err) || err.Error() != want):
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestMountsOfTheLongForm(t *testing.T) {
	t.Parallel()
	bind := func(edit func(*core.MountSpec)) core.MountSpec {
		spec := core.MountSpec{Type: core.MountBind, Source: "/a", Target: "/b"}
		edit(&spec)
		return spec
	}
	for _, test := range []struct {
		name string
		spec core.MountSpec
		want string
	}{
		{"no target", core.MountSpec{Type: core.MountVolume}, `invalid mount config for type "volume": field Target must not be empty`},
		{"everything", core.MountSpec{Type: core.MountVolume, Target: "/.."}, `invalid mount config for type "volume": invalid specification: destination can't be '/'`},
		{"somewhere", core.MountSpec{Type: core.MountVolume, Target: "b"}, `invalid mount config for type "volume": invalid mount path: 'b' mount path must be absolute`},
		{"a bind of nothing", core.MountSpec{Type: core.MountBind, Target: "/b"}, `invalid mount config for type "bind": field Source must not be empty`},
		{"a bind of something relative", bind(func(m *core.MountSpec) { m.Source = "a" }), `invalid mount config for type "bind": invalid mount path: 'a' mount path must be absolute`},
		{"a propagation of no meaning", bind(func(m *core.MountSpec) { m.Bind = &core.BindOptions{Propagation: "far"} }), `invalid mount config for type "bind": invalid propagation mode: far`},
		{"read-only in part, but writable", bind(func(m *core.MountSpec) { m.Bind = &core.BindOptions{ReadOnlyNonRecursive: true} }), `invalid mount config for type "bind": mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive`},
		{"read-only by force, but writable", bind(func(m *core.MountSpec) { m.Bind = &core.BindOptions{ReadOnlyForceRecursive: true} }), `invalid mount config for type "bind": mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive`},
		{"a volume's options on a bind", bind(func(m *core.MountSpec) { m.Volume = &core.VolumeOptions{} }), `invalid mount config for type "bind": field VolumeOptions must not be specified`},
		{"a part of a volume without a name", core.MountSpec{Type: core.MountVolume, Target: "/b", Volume: &core.VolumeOptions{Subpath: "x"}}, `invalid mount config for type "volume": must not set Subpath when using anonymous volumes`},
		{"a part outside of the volume", core.MountSpec{Type: core.MountVolume, Source: "v", Target: "/b", Volume: &core.VolumeOptions{Subpath: "x/../../y"}}, `invalid mount config for type "volume": subpath must be a relative path within the volume`},
		{"a tmpfs of something", core.MountSpec{Type: core.MountTmpfs, Source: "v", Target: "/b"}, `invalid mount config for type "tmpfs": field Source must not be specified`},
		{"a tmpfs with an option that nobody knows", core.MountSpec{Type: core.MountTmpfs, Target: "/b", Tmpfs: &core.TmpfsOptions{Options: [][]string{{"uid", "1"}}}}, `invalid mount config for type "tmpfs": invalid option: uid`},
		{"no image", core.MountSpec{Type: core.MountImage, Target: "/b"}, `invalid mount config for type "image": field Source must not be empty`},
		{"a type that nobody knows", core.MountSpec{Type: "cloud", Target: "/b"}, `invalid mount config for type "cloud": mount type unknown`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := define.Mount(test.spec); !errdefs.IsInvalidArgument(err) || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
	m, err := define.Mount(core.MountSpec{Type: core.MountTmpfs, Target: "/b", ReadOnly: true, Tmpfs: &core.TmpfsOptions{SizeBytes: 1 << 20, Mode: 0o1770, Options: [][]string{{"exec"}}}})
	if want := "ro mode=1770 size=1048576 exec"; err != nil || strings.Join(m.Options, " ") != want {
		t.Errorf("%q %v, want %s", m.Options, err, want)
	}
}

func TestUpdatesGoOnTopOfWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		old, set core.Resources
		want     string
	}{
		{"CPUs over a period", core.Resources{CPUPeriod: 1000}, core.Resources{NanoCPUs: 1}, "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"},
		{"CPUs over a quota", core.Resources{CPUQuota: 1000}, core.Resources{NanoCPUs: 1}, "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set"},
		{"a period over CPUs", core.Resources{NanoCPUs: 1}, core.Resources{CPUPeriod: 1000}, "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set"},
		{"a quota over CPUs", core.Resources{NanoCPUs: 1}, core.Resources{CPUQuota: 1000}, "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"},
		{"memory above swap", core.Resources{Memory: 10, MemorySwap: 20}, core.Resources{Memory: 21}, "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"},
		{"memory and swap together", core.Resources{Memory: 10, MemorySwap: 20}, core.Resources{Memory: 21, MemorySwap: 22}, ""},
		{"memory below swap", core.Resources{Memory: 10, MemorySwap: 20}, core.Resources{Memory: 15}, ""},
		{"memory without a limit of swap", core.Resources{MemorySwap: -1}, core.Resources{Memory: 15}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			next, err := define.Update(test.old, test.set)
			if test.want != "" {
				if !errdefs.IsInvalidArgument(err) || err.Error() != test.want {
					t.Errorf("got  %v\nwant %s", err, test.want)
				}
				return
			}
			if err != nil || next.Memory != test.set.Memory {
				t.Errorf("%+v %v", next, err)
			}
		})
	}
	if err := define.NotUpdated(core.Resources{Ulimits: []core.Ulimit{{}}}); err == nil || err.Error() != "Ulimits of a container cannot be updated" {
		t.Errorf("ulimits: %v", err)
	}
}

func FuzzBind(f *testing.F) {
	f.Add("db:/data:ro,nocopy")
	f.Add("/a:/b:rshared")
	f.Fuzz(func(t *testing.T, spec string) {
		m, err := define.Bind(spec)
		if err == nil && (m.Destination == "" || m.Destination[0] != '/' || m.Destination == "/") {
			t.Errorf("%q: mounted at %q", spec, m.Destination)
		}
		if err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v is not the user's mistake", spec, err)
		}
	})
}

func FuzzLists(f *testing.F) {
	f.Add("0-1,3", "db:alias", "web:ro", "8000-8010")
	f.Fuzz(func(t *testing.T, set, link, from, ports string) {
		r := core.Resources{CpusetCpus: set}
		if _, err := define.Resources(&r, machine(), false); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", set, err)
		}
		if name, alias, err := define.Link(link); err == nil && (name == "" || alias == "") {
			t.Errorf("link %q leads nowhere", link)
		}
		if ref, _, err := define.From(from); err == nil && strings.Contains(ref, ":") {
			t.Errorf("volumes from %q: %q", from, ref)
		}
		if first, last, err := define.PortRange(ports); err == nil && first > last {
			t.Errorf("ports %q: %d to %d", ports, first, last)
		}
	})
}
