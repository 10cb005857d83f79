package runtime

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-engine/berth/core"
)

var update = flag.Bool("update", false, "write the golden files anew")

// everything is a bounding set without gaps.
const everything = 1<<41 - 1

func launchOf(change func(l *core.Launch)) core.Launch {
	c := &core.Container{ID: core.ContainerID(strings.Repeat("ab", 32)), Path: "/bin/sh", Args: []string{"-c", "true"}}
	c.Config.Hostname = "blue"
	l := core.Launch{Container: c, NetNS: os.Stdin, Env: []string{"PATH=/bin"}}
	if change != nil {
		change(&l)
	}
	return l
}

func TestSpecsAreAsExpected(t *testing.T) {
	t.Parallel()
	yes := true
	for name, tc := range map[string]struct {
		change func(l *core.Launch)
		host   host
	}{
		"default": {nil, host{}},
		"unified": {nil, host{unified: true}},
		"privileged": {func(l *core.Launch) { l.Container.Host.Privileged = true }, host{
			devices: []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}},
		}},
		"limited": {func(l *core.Launch) {
			h := &l.Container.Host
			h.Memory, h.NanoCPUs, h.CPUShares, h.CpusetCpus = 64<<20, 1_500_000_000, 512, "0-1"
			h.PidsLimit = new(int64)
			*h.PidsLimit = 50
			h.Ulimits = []core.Ulimit{{Name: "nofile", Soft: 10, Hard: 20}, {Name: "core", Soft: -1, Hard: -1}}
			h.DeviceCgroupRules = []string{"c 1:* rw"}
			h.CgroupParent = "mine"
		}, host{}},
		"shared": {func(l *core.Launch) {
			h := &l.Container.Host
			h.PidMode, h.IpcMode, h.UTSMode, h.CgroupnsMode, h.NetworkMode = "container:x", "host", "host", "private", "host"
			l.NetNS, l.JoinPID = nil, 77
			h.Init = &yes
			h.ReadonlyRootfs = true
			l.Mounts = []core.FSMount{
				{Type: "bind", Source: "/srv", Target: "/data", Options: []string{"rbind", "ro", "rslave"}},
				{Type: "tmpfs", Source: "tmpfs", Target: "/run", Options: []string{"size=1m"}},
			}
		}, host{shim: "/usr/libexec/berth-shim"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.host.bounding = everything
			l := launchOf(tc.change)
			for _, rule := range l.Container.Host.DeviceCgroupRules {
				parsed, err := deviceRule(rule)
				must(t, err)
				tc.host.rules = append(tc.host.rules, parsed)
			}
			s, err := specOf(l, tc.host)
			must(t, err)
			if (s.Linux.Seccomp == nil) != (name == "privileged") {
				t.Error("seccomp is the wrong way round")
			}
			s.Linux.Seccomp = nil // the profile is the library's, and long
			got, err := json.MarshalIndent(s, "", "\t")
			must(t, err)
			file := filepath.Join("testdata", name+".json")
			if *update {
				must(t, os.WriteFile(file, append(got, '\n'), 0o644))
			}
			want, err := os.ReadFile(file)
			must(t, err)
			if string(got)+"\n" != string(want) {
				t.Errorf("differs from %s:\n%s", file, got)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		add, drop  []string
		privileged bool
		bounding   uint64
		count      int
		has, not   string
		err        string
	}{
		"the default set":                    {bounding: everything, count: 14, has: "CAP_CHOWN", not: "CAP_SYS_ADMIN"},
		"one more, without its prefix":       {add: []string{"net_admin"}, bounding: everything, count: 15, has: "CAP_NET_ADMIN"},
		"one less":                           {drop: []string{"CAP_CHOWN"}, bounding: everything, count: 13, not: "CAP_CHOWN"},
		"all":                                {add: []string{"ALL"}, bounding: everything, count: 41, has: "CAP_SYS_ADMIN"},
		"all but one":                        {add: []string{"all"}, drop: []string{"SYS_ADMIN"}, bounding: everything, count: 40, not: "CAP_SYS_ADMIN"},
		"none but one":                       {add: []string{"CHOWN"}, drop: []string{"ALL"}, bounding: everything, count: 1, has: "CAP_CHOWN"},
		"privileged has what the daemon has": {privileged: true, bounding: everything &^ (1 << 24), count: 40, not: "CAP_SYS_RESOURCE"},
		"an unknown name":                    {add: []string{"FLY"}, err: `invalid CapAdd: unknown capability: "CAP_FLY"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := capabilities(tc.add, tc.drop, tc.privileged, tc.bounding)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("%v", err)
				}
				return
			}
			must(t, err)
			if len(got) != tc.count || tc.has != "" && !slices.Contains(got, tc.has) || slices.Contains(got, tc.not) {
				t.Errorf("%d: %v", len(got), got)
			}
		})
	}
}

func TestBadInputIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(h *core.HostConfig)
		want   string
	}{
		"security option without a value": {func(h *core.HostConfig) { h.SecurityOpt = []string{"what"} }, `invalid --security-opt 1: "what"`},
		"unknown security option":         {func(h *core.HostConfig) { h.SecurityOpt = []string{"what=x"} }, `invalid --security-opt 2: "what=x"`},
		"broken seccomp profile":          {func(h *core.HostConfig) { h.SecurityOpt = []string{"seccomp={"} }, "Decoding seccomp profile failed: unexpected end of JSON input"},
		"user namespaces":                 {func(h *core.HostConfig) { h.UsernsMode = "private" }, "invalid USER mode: private"},
		"soft limit above hard":           {func(h *core.HostConfig) { h.Ulimits = []core.Ulimit{{Name: "nofile", Soft: 5, Hard: 4}} }, "ulimit soft limit must be less than or equal to hard limit: 5 > 4"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := specOf(launchOf(func(l *core.Launch) { tc.change(&l.Container.Host) }), host{bounding: everything})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want %s", err, tc.want)
			}
		})
	}
}

func TestDeviceRules(t *testing.T) {
	t.Parallel()
	for rule, ok := range map[string]bool{
		"c 1:3 rwm": true, "a *:* rwm": true, "b 8:* r": true,
		"c 1:3": false, "x 1:3 r": false, "c 1 r": false, "c 1:3 x": false, "c -1:3 r": false, "": false,
	} {
		if _, err := deviceRule(rule); (err == nil) != ok {
			t.Errorf("%q: %v", rule, err)
		}
	}
	var h host
	err := h.lookAt(&core.Container{Host: core.HostConfig{Resources: core.Resources{Devices: []core.Device{{PathOnHost: "/dev/nothere"}}}}})
	if err == nil || err.Error() != `error gathering device information while adding custom device "/dev/nothere": no such file or directory` {
		t.Errorf("%v", err)
	}
	must(t, h.lookAt(&core.Container{Host: core.HostConfig{Resources: core.Resources{Devices: []core.Device{{PathOnHost: "/dev/null", PathInContainer: "/dev/zilch"}}}}}))
	if len(h.devices) != 1 || h.devices[0].Path != "/dev/zilch" || h.devices[0].Minor != 3 || len(h.rules) != 1 {
		t.Errorf("%+v", h)
	}
}
