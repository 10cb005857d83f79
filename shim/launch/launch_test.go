//go:build cgo

package launch

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	devices "github.com/opencontainers/cgroups/devices/config"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden files anew")

// config is that of an ordinary container.
func config() *configs.Config {
	score := 0
	careful := unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	return &configs.Config{
		Rootfs: "/run/berth/shim/ID/rootfs", Hostname: "here",
		Namespaces: configs.Namespaces{{Type: configs.NEWNS}, {Type: configs.NEWPID}, {Type: configs.NEWUTS}, {Type: configs.NEWIPC}},
		Mounts: []*configs.Mount{
			{Device: "proc", Source: "proc", Destination: "/proc", Flags: careful},
			{Device: "tmpfs", Source: "tmpfs", Destination: "/dev", Flags: unix.MS_NOSUID | unix.MS_STRICTATIME, Data: "mode=755,size=65536k"},
			{Device: "sysfs", Source: "sysfs", Destination: "/sys", Flags: careful | unix.MS_RDONLY},
			{Device: "bind", Source: "/etc", Destination: "/host", Flags: unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY, PropagationFlags: []int{unix.MS_PRIVATE | unix.MS_REC}},
			{Device: "tmpfs", Source: "tmpfs", Destination: "/memory", Flags: careful | unix.MS_RDONLY},
		},
		Devices: []*devices.Device{
			{Rule: devices.Rule{Type: 'c', Major: 1, Minor: 3}, Path: "/dev/null", FileMode: 0o666},
			{Rule: devices.Rule{Type: 'b', Major: 7, Minor: 0}, Path: "/dev/deep/loop", FileMode: 0o600, Uid: 1, Gid: 6},
		},
		Cgroups: &cgroups.Cgroup{}, OomScoreAdj: &score, Readonlyfs: true,
		MaskPaths: []string{"/proc/kcore", "/proc/kcore", "/sys/firmware"}, ReadonlyPaths: []string{"/proc/sys"},
		Sysctl: map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "8192"},
	}
}

func process(t *testing.T) Process {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	caps := []string{"CAP_CHOWN", "CAP_KILL"}
	return Process{
		Args: []string{"sh", "-c", "true"}, Env: []string{"PATH=/bin"}, Home: "/root", Cwd: "/work", UID: 5, GID: 6, Groups: []int{6, 7},
		Capabilities: &configs.Capabilities{Bounding: caps, Effective: caps, Permitted: caps},
		Rlimits:      []configs.Rlimit{{Type: unix.RLIMIT_NOFILE, Soft: 1, Hard: 2}},
		Filter:       make([]byte, 16), FilterFlags: 4, Stdin: null, Stdout: null, Stderr: null,
	}
}

// TestTheStepsOfAStart compares a plan with its text.
func TestTheStepsOfAStart(t *testing.T) {
	if cgroups.IsCgroup2UnifiedMode() {
		t.Skip("the text is that of a host with cgroups of version 1")
	}
	if err := Fits(config(), process(t)); err != nil {
		t.Fatal(err)
	}
	p, err := Start{ID: "ID", Config: config(), Process: process(t)}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	// Which links there are depends on the kernel.
	got := regexp.MustCompile(`(?m)^link core .*\n`).ReplaceAllString(p.String(), "")
	path := filepath.Join("testdata", "start.txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the plan differs from %s:\n%s", path, got)
	}
}

// TestLabels: what they do is seen where SELinux is on (test/vm); here, that nothing goes without.
func TestLabels(t *testing.T) {
	c, pr := config(), process(t)
	c.MountLabel, pr.SELinux = "u:r:files:s0:c1,c2", "u:r:process:s0:c1,c2"
	c.Mounts = append(c.Mounts, &configs.Mount{Device: "devpts", Source: "devpts", Destination: "/dev/pts"}, &configs.Mount{Device: "mqueue", Source: "mqueue", Destination: "/dev/mqueue"})
	p, err := Start{ID: "ID", Config: c, Process: pr}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	text := p.String()
	for _, path := range []string{"exec", "keycreate"} {
		if !strings.Contains(text, `write "u:r:process:s0:c1,c2" to /proc/self/attr/`+path) {
			t.Errorf("no label is written to %s", path)
		}
	}
	labels := map[string]string{"tmpfs": "  context=u:r:files:s0:c1,c2", "devpts": "  context=u:r:files:s0:c1,c2", "mqueue": "  label u:r:files:s0:c1,c2"}
	seen := map[string]bool{}
	for _, fs := range strings.Split(text, "new ")[1:] {
		kind, steps, _ := strings.Cut(fs, "\n")
		if label := labels[kind]; !strings.Contains(steps, label) {
			t.Errorf("%s without a label:\n%s", kind, steps)
		}
		seen[kind] = true
	}
	if !seen["tmpfs"] || !seen["devpts"] || !seen["mqueue"] {
		t.Errorf("the container has %v only", seen)
	}
}

func TestWhatIsLibcontainers(t *testing.T) {
	for name, change := range map[string]func(c *configs.Config, p *Process){
		"another's processes":     func(c *configs.Config, _ *Process) { c.Namespaces.Add(configs.NEWPID, "/proc/1/ns/pid") },
		"the host's processes":    func(c *configs.Config, _ *Process) { c.Namespaces.Remove(configs.NEWPID) },
		"mapped users":            func(c *configs.Config, _ *Process) { c.Namespaces.Add(configs.NEWUSER, "") },
		"hooks":                   func(c *configs.Config, _ *Process) { c.Hooks = configs.Hooks{configs.Prestart: {configs.FuncHook{}}} },
		"a shared root":           func(c *configs.Config, _ *Process) { c.RootPropagation = unix.MS_SHARED | unix.MS_REC },
		"a mount over the root":   func(c *configs.Config, _ *Process) { c.Mounts[3].Destination = "/x/.." },
		"a mount into /proc":      func(c *configs.Config, _ *Process) { c.Mounts[3].Destination = "/proc/./self" },
		"a bind over /proc":       func(c *configs.Config, _ *Process) { c.Mounts[3].Destination = "/proc" },
		"a mapped mount":          func(c *configs.Config, _ *Process) { c.Mounts[3].IDMapping = &configs.MountIDMapping{} },
		"an unknown file system":  func(c *configs.Config, _ *Process) { c.Mounts[4].Device = "fuse" },
		"a flag of a file system": func(c *configs.Config, _ *Process) { c.Mounts[4].Flags |= unix.MS_SYNCHRONOUS },
		"no command":              func(_ *configs.Config, p *Process) { p.Args = nil },
		"a zero in a variable":    func(_ *configs.Config, p *Process) { p.Env = []string{"A=\x00"} },
		"a relative folder":       func(_ *configs.Config, p *Process) { p.Cwd = "work" },
		"no capabilities":         func(_ *configs.Config, p *Process) { p.Capabilities = nil },
	} {
		t.Run(name, func(t *testing.T) {
			c, p := config(), process(t)
			change(c, &p)
			if Fits(c, p) == nil {
				t.Error("it fits")
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	for _, test := range []struct{ in, want, wrong string }{
		{"A=1 B=2 A=3", "B=2 A=3 HOME=/root", ""},
		{"HOME=/x HOME=/y", "HOME=/y", ""},
		{"HOME=", "HOME=/root", ""},
		{"A", "", "missing '='"},
		{"=1", "", "cannot be empty"},
	} {
		got, err := environment(strings.Fields(test.in), "/root")
		if test.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("%s: %v", test.in, err)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q %v", test.in, got, err)
		}
	}
}
