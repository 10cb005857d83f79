package runtime

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
)

// look is what a process can see of how it was made. Numbers that differ from container to container are left out.
const look = `exec 2>&1
id; umask; pwd; env; hostname
grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Umask|Uid|Gid|SigIgn|SigBlk)' /proc/self/status
cat /proc/self/limits /proc/self/oom_score_adj /proc/self/setgroups /proc/self/attr/current
cat /proc/self/mountinfo | while read a b c root at rest; do echo "$root $at $rest"; done
ls -la /dev /dev/pts /proc/self/fd 2>/dev/null | grep -v ptmx
cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax
ls /proc/acpi /sys/firmware; head -n 1 /proc/timer_list
echo > /proc/sys/kernel/msgmax; echo > /sys/kernel/profiling; echo > /ro/x; echo > /rro/x; echo > /x; echo > /memory/x
stat -c '%n %a %u:%g' /dev/* /data /new /memory / /etc /proc /sys
tty; stty size`

// TestBothWaysMakeTheSameContainer starts each container twice: by the shim's own launch, and by libcontainer, which a
// copied-up tmpfs is left to.
func TestBothWaysMakeTheSameContainer(t *testing.T) {
	b := newBench(t, 2)
	source := t.TempDir()
	must(t, os.WriteFile(filepath.Join(source, "file"), []byte("content\n"), 0o644))
	must(t, os.Mkdir(filepath.Join(source, "sub"), 0o755))
	must(t, syscall.Mount("tmpfs", filepath.Join(source, "sub"), "tmpfs", syscall.MS_NOEXEC, ""))
	t.Cleanup(func() { must(t, syscall.Unmount(filepath.Join(source, "sub"), syscall.MNT_DETACH)) })
	must(t, os.Mkdir(filepath.Join(b.rootfs, "data"), 0o1777))
	must(t, os.Chmod(filepath.Join(b.rootfs, "data"), 0o777|os.ModeSticky))
	for _, name := range []string{"umask", "stat", "tty", "find"} {
		must(t, os.Symlink("busybox", filepath.Join(b.rootfs, "bin", name)))
	}
	bind := func(at string, options ...string) core.FSMount {
		return core.FSMount{Type: "bind", Source: source, Target: at, Options: append([]string{"rbind", "rprivate"}, options...)}
	}
	yes := true
	for name, set := range map[string]func(l *core.Launch){
		"as it comes": func(*core.Launch) {},
		"privileged":  func(l *core.Launch) { l.Container.Host.Privileged = true },
		"a user of the image": func(l *core.Launch) {
			l.Container.Config.User = "web"
			l.Container.Host.GroupAdd = []string{"staff", "777"}
		},
		"a number as user":      func(l *core.Launch) { l.Container.Config.User = "1234:5678" },
		"nothing to be written": func(l *core.Launch) { l.Container.Host.ReadonlyRootfs = true },
		"no new privileges":     func(l *core.Launch) { l.Container.Host.SecurityOpt = []string{"no-new-privileges"} },
		"no filter":             func(l *core.Launch) { l.Container.Host.SecurityOpt = []string{"seccomp=unconfined"} },
		"all paths":             func(l *core.Launch) { l.Container.Host.SecurityOpt = []string{"systempaths=unconfined"} },
		"capabilities": func(l *core.Launch) {
			l.Container.Host.CapAdd = []string{"SYS_PTRACE"}
			l.Container.Host.CapDrop = []string{"CHOWN"}
		},
		"none of them":        func(l *core.Launch) { l.Container.Host.CapDrop = []string{"ALL"} },
		"an init":             func(l *core.Launch) { l.Container.Host.Init = &yes },
		"the host's queues":   func(l *core.Launch) { l.Container.Host.IpcMode = "host" },
		"the host's name":     func(l *core.Launch) { l.Container.Host.UTSMode = "host" },
		"a working directory": func(l *core.Launch) { l.Container.Config.WorkingDir = "/made/for/it" },
		"limits": func(l *core.Launch) {
			l.Container.Host.Ulimits = []core.Ulimit{{Name: "nofile", Soft: 123, Hard: 456}, {Name: "core", Soft: 0, Hard: 0}}
			l.Container.Host.OomScoreAdj = 77
		},
		"sysctls": func(l *core.Launch) {
			l.NetNS = ownNetwork(t)
			l.Container.Host.Sysctls = map[string]string{"kernel.msgmax": "4096", "net.ipv4.ip_unprivileged_port_start": "99"}
		},
		"devices": func(l *core.Launch) {
			l.Container.Host.Devices = []core.Device{{PathOnHost: "/dev/null", PathInContainer: "/dev/deep/er/nil", CgroupPermissions: "rwm"}, {PathOnHost: "/dev/zero", PathInContainer: "/outside", CgroupPermissions: "r"}}
		},
		"a variable twice": func(l *core.Launch) { l.Env = append(l.Env, "A=1", "B=2", "A=3", "HOME=") },
		"mounts": func(l *core.Launch) {
			l.Mounts = append(l.Mounts, bind("/data", "rw"), bind("/new"), bind("/ro", "ro"), bind("/rro", "ro", "rro"), bind("/odd", "nosuid", "noexec", "noatime"),
				core.FSMount{Type: "bind", Source: filepath.Join(source, "file"), Target: "/etc/deep/file", Options: []string{"bind", "rslave"}},
				core.FSMount{Type: "tmpfs", Source: "tmpfs", Target: "/memory", Options: []string{"size=1m", "mode=0711", "ro"}},
				core.FSMount{Type: "tmpfs", Source: "tmpfs", Target: "/tmp", Options: []string{"exec", "dev", "suid", "uid=3"}})
		},
		"a terminal": func(l *core.Launch) {
			l.Container.Config.Tty, l.Container.Config.User = true, "web"
			l.Container.Host.ConsoleSize = [2]uint{33, 99}
		},
		"a command that is nowhere": func(l *core.Launch) { l.Container.Path, l.Container.Args = "nowhere", nil },
		"a folder as command":       func(l *core.Launch) { l.Container.Path, l.Container.Args = "/etc", nil },
		"a file that is no program": func(l *core.Launch) { l.Container.Path, l.Container.Args = "/etc/plain", nil },
		"labels":                    labels,
	} {
		t.Run(name, func(t *testing.T) {
			quick, slow := b.seen(t, set, "ro"), b.seen(t, set, "tmpcopyup")
			if quick != slow {
				t.Errorf("made by the launch:\n%s\nmade by libcontainer:\n%s", differing(quick, slow), differing(slow, quick))
			}
		})
	}
}

// labels are those of SELinux, where that is on (test/vm has such a machine).
func labels(l *core.Launch) {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err == nil {
		l.Container.ProcessLabel, l.Container.MountLabel = "system_u:system_r:container_t:s0:c5,c6", "system_u:object_r:container_file_t:s0:c5,c6"
	}
}

// seen is what a container sees that has a tmpfs with one more option.
func (b *bench) seen(t *testing.T, set func(l *core.Launch), option string) string {
	t.Helper()
	l := b.container("sh", "-c", look)
	l.Container.Config.Hostname = "here"
	set(&l)
	l.Mounts = append(l.Mounts, core.FSMount{Type: "tmpfs", Source: "tmpfs", Target: "/way", Options: []string{option}})
	if l.NetNS != nil {
		defer l.NetNS.Close()
	}
	client := b.attach(l, core.Streams{Stdout: true, Stderr: true})
	b.started = append(b.started, l.Container.ID)
	if _, err := b.Start(t.Context(), l); err != nil {
		return err.Error()
	}
	out, err := io.ReadAll(client)
	must(t, err)
	b.exit()
	// libcontainer keeps a state.
	_, err = os.Stat(filepath.Join(b.dir(l.Container.ID), "runc"))
	if libcontainers := err == nil; libcontainers != (option != "ro") {
		t.Errorf("with %s: made by libcontainer: %t", option, libcontainers)
	}
	if !strings.Contains(string(out), "CapBnd") {
		t.Errorf("with %s: it saw nothing: %s", option, out)
	}
	return withoutNoise(string(out), l.Container.ID)
}

// withoutNoise takes out of what a process saw what no other one would see.
func withoutNoise(text string, container core.ContainerID) string {
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(text, string(container), "ID")) {
		if !strings.Contains(line, " /way ") {
			lines = append(lines, volatile.ReplaceAllString(line, "*"))
		}
	}
	return strings.Join(lines, "")
}

// volatile is what differs from one process to the next: times, pipes, the numbers of peer groups.
var volatile = regexp.MustCompile(`[A-Z][a-z]{2} +\d+ +\d\d:\d\d|pipe:\[\d+\]|master:\d+|/proc/\d+/fd|(upper|work)dir=[^, ]*|total \d+`)

// differing is where a text parts from another one.
func differing(text, other string) string {
	lines, others := strings.SplitAfter(text, "\n"), strings.SplitAfter(other, "\n")
	i := 0
	for i < len(lines) && i < len(others) && lines[i] == others[i] {
		i++
	}
	return strings.Join(lines[max(i-1, 0):min(i+4, len(lines))], "")
}

// TestBothWaysMakeTheSameExec is the same for further processes.
func TestBothWaysMakeTheSameExec(t *testing.T) {
	b := newBench(t, 2)
	for _, name := range []string{"umask", "stat", "tty"} {
		must(t, os.Symlink("busybox", filepath.Join(b.rootfs, "bin", name)))
	}
	umask := uint32(0o027)
	for name, test := range map[string]struct {
		container func(l *core.Launch)
		spec      core.ExecSpec
	}{
		"as it comes":          {spec: core.ExecSpec{}},
		"another user":         {spec: core.ExecSpec{User: "web:staff", Env: []string{"PATH=/bin", "A=1", "A=2"}, WorkingDir: "/etc"}},
		"privileged":           {spec: core.ExecSpec{Privileged: true}},
		"a terminal":           {spec: core.ExecSpec{Tty: true, ConsoleSize: [2]uint{5, 6}, User: "web"}},
		"a folder that is not": {spec: core.ExecSpec{WorkingDir: "/nowhere"}},
		"no such command":      {spec: core.ExecSpec{Cmd: []string{"nowhere"}}},
		"no such file":         {spec: core.ExecSpec{Cmd: []string{"/no/where"}}},
		"a folder":             {spec: core.ExecSpec{Cmd: []string{"/etc"}}},
		"no program":           {spec: core.ExecSpec{Cmd: []string{"/etc/plain"}}},
		"may not be run":       {spec: core.ExecSpec{Cmd: []string{"/etc/passwd"}}},
		"of a careful container": {func(l *core.Launch) {
			h := &l.Container.Host
			h.SecurityOpt, h.CapDrop, h.ReadonlyRootfs, h.OomScoreAdj, h.Umask = []string{"no-new-privileges"}, []string{"ALL"}, true, 55, &umask
			h.Ulimits = []core.Ulimit{{Name: "nofile", Soft: 123, Hard: 456}}
		}, core.ExecSpec{}},
		"of a container with labels": {labels, core.ExecSpec{}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := func(option string) string {
				l := b.container("sleep", "1000")
				if test.container != nil {
					test.container(&l)
				}
				l.Mounts = append(l.Mounts, core.FSMount{Type: "tmpfs", Source: "tmpfs", Target: "/way", Options: []string{option}})
				b.start(l)
				spec := test.spec
				if spec.Cmd == nil {
					spec.Cmd = []string{"sh", "-c", look}
				}
				if spec.Env == nil {
					spec.Env = l.Env
				}
				client, server := socketPair(t)
				defer client.Close()
				e := &core.Exec{ID: core.ExecID(id.New()), ContainerID: l.Container.ID, Spec: spec}
				if _, err := b.Exec(t.Context(), l.Container, e, &core.Streams{Stdout: true, Stderr: true, Conn: server}); err != nil {
					return err.Error()
				}
				out, err := io.ReadAll(client)
				must(t, err)
				b.exit()
				if !strings.Contains(string(out), "CapBnd") {
					t.Errorf("with %s: it saw nothing: %s", option, out)
				}
				return withoutNoise(string(out), l.Container.ID)
			}
			quick, slow := seen("ro"), seen("tmpcopyup")
			if quick != slow {
				t.Errorf("made by the launch:\n%s\nmade by libcontainer:\n%s", differing(quick, slow), differing(slow, quick))
			}
		})
	}
}

// TestHostileImages starts containers whose image wants the launch to touch what is outside of it.
func TestHostileImages(t *testing.T) {
	b := newBench(t, 2)
	outside, source := t.TempDir(), t.TempDir()
	marker := filepath.Join(outside, "marker")
	must(t, os.WriteFile(marker, []byte("host\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(source, "file"), []byte("content\n"), 0o644))
	at := func(target string) core.FSMount {
		return core.FSMount{Type: "bind", Source: source, Target: target, Options: []string{"rbind", "rprivate"}}
	}
	for name, test := range map[string]struct {
		links  map[string]string
		mounts []core.FSMount
		out    string // of cat /seen/file; empty: the start fails
	}{
		"a mount through a link that leads outside":  {map[string]string{"seen": strings.Repeat("../", 20) + outside[1:]}, []core.FSMount{at("/seen")}, "content\n"},
		"a mount below such a link":                  {map[string]string{"far": outside}, []core.FSMount{at("/far/made/here"), at("/seen")}, "content\n"},
		"a mount through a link into /proc":          {map[string]string{"seen": "/proc/self"}, []core.FSMount{at("/seen")}, ""},
		"a mount through a link below /proc":         {map[string]string{"far": "/proc/sys"}, []core.FSMount{at("/far/kernel"), at("/seen")}, ""},
		"/proc is a link":                            {map[string]string{"proc": outside}, []core.FSMount{at("/seen")}, ""},
		"/sys is a link":                             {map[string]string{"sys": outside}, []core.FSMount{at("/seen")}, ""},
		"/dev is a link, which leads into the image": {map[string]string{"dev": outside}, []core.FSMount{at("/seen")}, "content\n"},
		"a tmpfs through a link that leads nowhere":  {map[string]string{"far": "/no/where"}, []core.FSMount{{Type: "tmpfs", Source: "tmpfs", Target: "/far"}, at("/seen")}, "content\n"},
		"links in a circle":                          {map[string]string{"seen": "round", "round": "seen"}, []core.FSMount{at("/seen")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			// The layer is the image's: links are in it before the start.
			l := b.container("cat", "/seen/file")
			upper := strings.TrimPrefix(l.Root[0].Options[1], "upperdir=")
			for link, to := range test.links {
				must(t, os.Symlink(to, filepath.Join(upper, link)))
			}
			l.Mounts = test.mounts
			client := b.attach(l, core.Streams{Stdout: true})
			b.started = append(b.started, l.Container.ID)
			_, err := b.Start(t.Context(), l)
			if (err == nil) != (test.out != "") {
				t.Fatal(err)
			}
			if err == nil {
				out, err := io.ReadAll(client)
				must(t, err)
				b.exit()
				if string(out) != test.out {
					t.Errorf("%q", out)
				}
			}
			entries, err := os.ReadDir(outside)
			must(t, err)
			if len(entries) != 1 {
				t.Errorf("outside of the image there is now %v", entries)
			}
		})
	}
	// The working directory is an open descriptor of whoever makes the process (CVE-2024-21626).
	l := b.container("sleep", "1000")
	b.start(l)
	for fd := range 40 {
		folder := "/proc/self/fd/" + strconv.Itoa(fd)
		way := strings.Repeat("../", 20) + marker[1:]
		l2 := b.container("cat", way)
		l2.Container.Config.WorkingDir = folder
		client := b.attach(l2, core.Streams{Stdout: true})
		b.started = append(b.started, l2.Container.ID)
		if _, err := b.Start(t.Context(), l2); err == nil {
			out, err := io.ReadAll(client)
			must(t, err)
			b.exit()
			if len(out) > 0 {
				t.Errorf("working in %s a container saw %q", folder, out)
			}
		}
		client, server := socketPair(t)
		e := &core.Exec{ID: core.ExecID(id.New()), ContainerID: l.Container.ID, Spec: core.ExecSpec{Cmd: []string{"cat", way}, WorkingDir: folder, Env: l.Env}}
		if _, err := b.Exec(t.Context(), l.Container, e, &core.Streams{Stdout: true, Conn: server}); err == nil {
			out, err := io.ReadAll(client)
			must(t, err)
			b.exit()
			if len(out) > 0 {
				t.Errorf("working in %s an exec saw %q", folder, out)
			}
		}
		client.Close()
	}
}

// TestUnknownCalls runs this test's program in containers of both kinds: a system call that no profile knows is told to be
// unknown, one that is forbidden to be forbidden.
func TestUnknownCalls(t *testing.T) {
	b := newBench(t, 2)
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(b.rootfs, "calls"), self, 0o755))
	for _, option := range []string{"ro", "tmpcopyup"} {
		l := b.container("/calls")
		l.Env = append(l.Env, callsVariable+"=1")
		l.Mounts = append(l.Mounts, core.FSMount{Type: "tmpfs", Source: "tmpfs", Target: "/way", Options: []string{option}})
		if out, _ := b.run(l); out != "new: function not implemented, acct: operation not permitted\n" {
			t.Errorf("with %s: %q", option, out)
		}
	}
}
