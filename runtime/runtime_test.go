package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/linux/mount"
	"github.com/berth-engine/berth/shim/wire"
)

// buildShim gives the shim that `make test` has built, or builds it once for all tests.
var buildShim = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("BERTH_SHIM"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "berth-shim-test")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "berth-shim")
	cmd := exec.Command("go", "build", "-tags", "seccomp netgo osusergo", "-ldflags", "-s -w -linkmode external -extldflags -static",
		"-o", path, "github.com/berth-engine/berth/cmd/berth-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// callsVariable makes this program one that tells how the kernel answers to calls, for TestUnknownCalls.
const callsVariable = "BERTH_TEST_CALLS"

func TestMain(m *testing.M) {
	if os.Getenv(callsVariable) != "" {
		_, _, unknown := syscall.Syscall(9999, 0, 0, 0)
		_, _, forbidden := syscall.Syscall(syscall.SYS_ACCT, 0, 0, 0)
		fmt.Printf("new: %v, acct: %v\n", unknown, forbidden)
		os.Exit(0)
	}
	// What Go's runtime raises for itself, in the shim, is not for containers.
	var files syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	if err == nil {
		files.Cur = min(files.Cur, 1000)
		err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if path, err := buildShim(); os.Geteuid() == 0 && err == nil && path != os.Getenv("BERTH_SHIM") {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// bench is a runtime with a root file system to run.
type bench struct {
	testing.TB
	*Runtime
	options Options
	rootfs  string
	exits   chan core.Exit
	started []core.ContainerID
}

func newBench(t testing.TB, warm int) *bench {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("running containers needs root")
	}
	if _, err := os.Stat("/bin/busybox"); err != nil {
		t.Skip("needs Debian's busybox-static at /bin/busybox")
	}
	shim, err := buildShim()
	if err != nil {
		t.Skip("needs a C compiler and libseccomp-dev: ", err)
	}
	b := &bench{TB: t, exits: make(chan core.Exit, 100), rootfs: makeRoot(t)}
	b.options = Options{ExecRoot: t.TempDir(), ShimPath: shim, Warm: warm, OnExit: func(e core.Exit) { b.exits <- e }}
	// What other tests mount meanwhile makes no shim old.
	b.options.look = func() mount.Mark { return 0 }
	b.Runtime, err = New(b.options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.cleanup)
	return b
}

// cleanup leaves no container, no shim and no cgroup behind. The runtime may be another one than at the beginning.
func (b *bench) cleanup() {
	for _, id := range b.started {
		if err := b.Delete(context.Background(), id); err != nil {
			b.Errorf("delete: %v", err)
		}
	}
	b.started = nil
	must(b, b.Close())
	parents, err := filepath.Glob("/sys/fs/cgroup/*" + testCgroups)
	must(b, err)
	for _, dir := range append(parents, "/sys/fs/cgroup"+testCgroups) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			b.Errorf("cgroup: %v", err)
		}
	}
}

// testCgroups is the parent of the tests' cgroups: another one for each process that runs these tests.
var testCgroups = fmt.Sprintf("/berth-runtime-test-%d", os.Getpid())

// makeRoot makes a root file system out of busybox.
func makeRoot(t testing.TB) string {
	root := t.TempDir()
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "root"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(filepath.Join(root, "bin/busybox"), data, 0o755))
	for _, name := range []string{"sh", "true", "false", "cat", "echo", "sleep", "id", "ls", "grep", "stty", "mount", "kill", "seq", "dd", "hostname", "pwd", "env", "umount", "unshare", "test", "tr", "wc", "head", "ps", "readlink"} {
		must(t, os.Symlink("busybox", filepath.Join(root, "bin", name)))
	}
	must(t, os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\nweb:x:34:\naudio:x:29:web\nstaff:x:50:\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "etc/plain"), []byte("no program\n"), 0o644))
	return root
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// container gives one that runs the command, with a layer of its own.
func (b *bench) container(command ...string) core.Launch {
	layer := b.TempDir()
	for _, d := range []string{"upper", "work"} {
		must(b, os.Mkdir(filepath.Join(layer, d), 0o755))
	}
	c := &core.Container{ID: core.ContainerID(id.New()), Path: command[0], Args: command[1:]}
	c.Host.CgroupParent = testCgroups
	c.Host.LogConfig.Type = "none"
	return core.Launch{
		Container: c,
		Root: []core.FSMount{{Type: "overlay", Source: "overlay", Options: []string{
			"lowerdir=" + b.rootfs, "upperdir=" + filepath.Join(layer, "upper"), "workdir=" + filepath.Join(layer, "work"),
		}}},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
}

// logTo has a container's output written to a file.
func logTo(l *core.Launch, path string) {
	l.LogPath = path
	l.Container.Host.LogConfig = core.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "-1"}}
}

func (b *bench) start(l core.Launch) core.Started {
	b.Helper()
	b.started = append(b.started, l.Container.ID)
	started, err := b.Start(context.Background(), l)
	must(b, err)
	return started
}

func (b *bench) exit() core.Exit {
	b.Helper()
	select {
	case e := <-b.exits:
		return e
	case <-time.After(20 * time.Second):
		b.Fatal("no exit came")
		return core.Exit{}
	}
}

// attach gives the client's end of an attachment.
func (b *bench) attach(l core.Launch, streams core.Streams) *net.UnixConn {
	b.Helper()
	client, server := socketPair(b)
	streams.Conn = server
	over, err := b.Attach(context.Background(), l.Container.ID, streams)
	must(b, err)
	b.Cleanup(func() {
		client.Close()
		must(b, b.Delete(context.Background(), l.Container.ID))
		select {
		case <-over:
		case <-time.After(20 * time.Second):
			b.Error("the attachment is not over")
		}
	})
	return client
}

func socketPair(t testing.TB) (a, b *net.UnixConn) {
	fa, fb, err := wire.Pair()
	must(t, err)
	defer fa.Close()
	defer fb.Close()
	ca, err := net.FileConn(fa)
	must(t, err)
	cb, err := net.FileConn(fb)
	must(t, err)
	return ca.(*net.UnixConn), cb.(*net.UnixConn)
}

// run starts a container and gives its output and exit code.
func (b *bench) run(l core.Launch) (string, int) {
	b.Helper()
	client := b.attach(l, core.Streams{Stdout: true, Stderr: true})
	b.start(l)
	out, err := io.ReadAll(client)
	must(b, err)
	return string(out), b.exit().Status.Code
}

func TestContainers(t *testing.T) {
	b := newBench(t, 2)
	yes := true
	umask := uint32(0o027)
	for name, tc := range map[string]struct {
		command []string
		change  func(l *core.Launch)
		out     string
		code    int
	}{
		"output comes and the exit code is told":    {command: []string{"sh", "-c", "echo out; echo err >&2; exit 7"}, out: "out\nerr\n", code: 7},
		"a signal is 128 and its number":            {command: []string{"sh", "-c", "sh -c 'kill -9 $$'; exit $?"}, out: "Killed\n", code: 137},
		"a named user has its groups":               {command: []string{"id"}, change: func(l *core.Launch) { l.Container.Config.User = "web"; l.Container.Host.GroupAdd = []string{"staff"} }, out: "uid=33(web) gid=34(web) groups=29(audio),34(web),50(staff)\n"},
		"a number needs no entry":                   {command: []string{"id", "-u"}, change: func(l *core.Launch) { l.Container.Config.User = "1234:5" }, out: "1234\n"},
		"HOME comes from passwd":                    {command: []string{"sh", "-c", "echo $HOME"}, change: func(l *core.Launch) { l.Container.Config.User = "web" }, out: "/srv\n"},
		"a missing working folder is made":          {command: []string{"pwd"}, change: func(l *core.Launch) { l.Container.Config.WorkingDir = "/a/b" }, out: "/a/b\n"},
		"hostname":                                  {command: []string{"hostname"}, change: func(l *core.Launch) { l.Container.Config.Hostname = "blue" }, out: "blue\n"},
		"a read-only root":                          {command: []string{"sh", "-c", "echo x > /x"}, change: func(l *core.Launch) { l.Container.Host.ReadonlyRootfs = true }, out: "sh: can't create /x: Read-only file system\n", code: 1},
		"the first process has the number 1":        {command: []string{"sh", "-c", "echo $$"}, out: "1\n"},
		"--init is a reaper in front":               {command: []string{"sh", "-c", "test $$ != 1 && readlink /proc/1/exe; exit 5"}, change: func(l *core.Launch) { l.Container.Host.Init = &yes }, out: "/sbin/docker-init\n", code: 5},
		"seccomp is on":                             {command: []string{"grep", "Seccomp:", "/proc/self/status"}, out: "Seccomp:\t2\n"},
		"seccomp is on with no-new-privileges":      {command: []string{"grep", "-E", "Seccomp:|NoNewPrivs:", "/proc/self/status"}, change: func(l *core.Launch) { l.Container.Host.SecurityOpt = []string{"no-new-privileges"} }, out: "NoNewPrivs:\t1\nSeccomp:\t2\n"},
		"seccomp can be off":                        {command: []string{"grep", "Seccomp:", "/proc/self/status"}, change: func(l *core.Launch) { l.Container.Host.SecurityOpt = []string{"seccomp=unconfined"} }, out: "Seccomp:\t0\n"},
		"seccomp keeps a namespace from being made": {command: []string{"sh", "-c", "unshare -U true"}, out: "unshare: unshare(0x10000000): Operation not permitted\n", code: 1},
		"no descriptor but the streams is open":     {command: []string{"sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"}, out: "0 1 2 3 "},
		"capabilities are Docker's":                 {command: []string{"grep", "CapEff", "/proc/self/status"}, out: "CapEff:\t00000000a80425fb\n"},
		"capabilities of a user are cleared":        {command: []string{"grep", "CapEff", "/proc/self/status"}, change: func(l *core.Launch) { l.Container.Config.User = "web" }, out: "CapEff:\t0000000000000000\n"},
		"umask":                                     {command: []string{"sh", "-c", "umask"}, change: func(l *core.Launch) { l.Container.Host.Umask = &umask }, out: "0027\n"},
		"stdin is empty unless it is wanted":        {command: []string{"wc", "-c"}, out: "0\n"},
		"masked paths":                              {command: []string{"sh", "-c", "wc -c < /proc/interrupts"}, out: "0\n"},
		"memory limit":                              {command: []string{"sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"}, change: func(l *core.Launch) { l.Container.Host.Memory = 64 << 20 }, out: "67108864\n"},
		"shm size":                                  {command: []string{"sh", "-c", "grep -o '/dev/shm.*size=[0-9]*k' /proc/mounts | grep -o 'size.*'"}, change: func(l *core.Launch) { l.Container.Host.ShmSize = 1 << 20 }, out: "size=1024k\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{TB: t, Runtime: b.Runtime, rootfs: b.rootfs, exits: b.exits}
			l := b.container(tc.command...)
			if tc.change != nil {
				tc.change(&l)
			}
			out, code := b.run(l)
			must(t, b.Delete(context.Background(), l.Container.ID))
			if name == "memory limit" && out == "" {
				t.Skip("no memory controller")
			}
			if code != tc.code || sorted(out) != sorted(tc.out) {
				t.Errorf("exit %d, output %q; want %d, %q", code, out, tc.code, tc.out)
			}
		})
	}
}

// sorted makes outputs comparable whose stdout and stderr met by chance.
func sorted(s string) string {
	if s == "err\nout\n" {
		return "out\nerr\n"
	}
	return s
}

func TestStartErrorsAreDockers(t *testing.T) {
	b := newBench(t, 1)
	for name, tc := range map[string]struct {
		command []string
		change  func(c *core.Container)
		want    string
	}{
		"unknown command": {command: []string{"foo"}, want: `failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "foo": executable file not found in $PATH: unknown`},
		"unknown path":    {command: []string{"/foo"}, want: `exec: "/foo": stat /foo: no such file or directory: unknown`},
		"not a program":   {command: []string{"/etc/plain"}, want: `exec: "/etc/plain": permission denied: unknown`},
		"a folder":        {command: []string{"/etc"}, want: `exec: "/etc": is a directory: unknown`},
		"unknown user":    {command: []string{"true"}, change: func(c *core.Container) { c.Config.User = "nobody42" }, want: "unable to find user nobody42: no matching entries in passwd file"},
		"unknown runtime": {command: []string{"true"}, change: func(c *core.Container) { c.Host.Runtime = "foo" }, want: "unknown or invalid runtime name: foo"},
	} {
		t.Run(name, func(t *testing.T) {
			l := b.container(tc.command...)
			if tc.change != nil {
				tc.change(l.Container)
			}
			_, err := b.Start(context.Background(), l)
			if err == nil || !strings.HasSuffix(err.Error(), tc.want) || !errdefs.IsInvalidArgument(err) {
				t.Errorf("%v; want %s", err, tc.want)
			}
			if _, err := os.Stat(b.dir(l.Container.ID)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
			must(t, b.Delete(context.Background(), l.Container.ID))
		})
	}
}

func TestInputReachesTheProcess(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sh", "-c", "cat; echo end")
	l.Container.Config.OpenStdin, l.Container.Config.StdinOnce = true, true
	client := b.attach(l, core.Streams{Stdin: true, Stdout: true, Stderr: true, Framed: true, Early: []byte("early ")})
	b.start(l)
	_, err := client.Write([]byte("late\n"))
	must(t, err)
	must(t, client.CloseWrite())
	out, err := io.ReadAll(client)
	must(t, err)
	if got := unframe(t, out); got != "early late\nend\n" {
		t.Errorf("%q", got)
	}
	b.exit()
}

func unframe(t *testing.T, data []byte) string {
	var out bytes.Buffer
	for len(data) > 0 {
		if len(data) < 8 || data[0] != 1 || data[1]|data[2]|data[3] != 0 {
			t.Fatalf("broken frame %q", data)
		}
		n := int(data[4])<<24 | int(data[5])<<16 | int(data[6])<<8 | int(data[7])
		out.Write(data[8 : 8+n])
		data = data[8+n:]
	}
	return out.String()
}

func TestTerminalResizesAndDetaches(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sh", "-c", "stty size; read line; stty size; echo got $line; read line")
	l.Container.Config.Tty, l.Container.Config.OpenStdin = true, true
	l.Container.Host.ConsoleSize = [2]uint{33, 77}
	client := b.attach(l, core.Streams{Stdin: true, Stdout: true, Stderr: true, DetachKeys: []byte{16, 17}})
	b.start(l)
	expect(t, client, "33 77\r\n")
	must(t, b.Resize(context.Background(), l.Container.ID, "", 20, 40))
	_, err := client.Write([]byte("a\x10b\n"))
	must(t, err)
	expect(t, client, "20 40\r\n")
	expect(t, client, "got a\x10b\r\n")
	_, err = client.Write([]byte("\x10\x11"))
	must(t, err)
	if _, err := io.ReadAll(client); err != nil {
		t.Errorf("after detaching: %v", err)
	}
	must(t, b.Signal(context.Background(), l.Container.ID, syscall.SIGKILL))
	if e := b.exit(); e.Status.Code != 137 {
		t.Errorf("exit %d", e.Status.Code)
	}
}

// expect reads until the text came.
func expect(t *testing.T, r io.Reader, text string) {
	t.Helper()
	var seen []byte
	buffer := make([]byte, 1)
	for !bytes.HasSuffix(seen, []byte(text)) {
		if _, err := r.Read(buffer); err != nil {
			t.Fatalf("%v after %q", err, seen)
		}
		seen = append(seen, buffer[0])
	}
}

func TestExec(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sleep", "1000")
	b.start(l)
	ctx := context.Background()
	exec := func(spec core.ExecSpec, in string) (string, core.Exit, error) {
		client, server := socketPair(t)
		defer client.Close()
		e := &core.Exec{ID: core.ExecID(id.New()), ContainerID: l.Container.ID, Spec: spec}
		e.Spec.Env = l.Env
		if _, err := b.Exec(ctx, l.Container, e, &core.Streams{Stdin: true, Stdout: true, Stderr: true, Conn: server}); err != nil {
			return "", core.Exit{}, err
		}
		_, err := client.Write([]byte(in))
		must(t, err)
		if !spec.Tty { // the end of a terminal's input ends the attachment
			must(t, client.CloseWrite())
		}
		out, err := io.ReadAll(client)
		must(t, err)
		exit := b.exit()
		if exit.Exec != e.ID {
			t.Errorf("exit of %q", exit.Exec)
		}
		return string(out), exit, nil
	}
	out, e, err := exec(core.ExecSpec{Cmd: []string{"sh", "-c", "cat; grep Seccomp: /proc/self/status; exit 3"}, AttachStdin: true}, "hello\n")
	if err != nil || out != "hello\nSeccomp:\t2\n" || e.Status.Code != 3 {
		t.Errorf("%q, %v, %v", out, e.Status, err)
	}
	out, _, err = exec(core.ExecSpec{Cmd: []string{"id", "-u"}, User: "web"}, "")
	if err != nil || out != "33\n" {
		t.Errorf("%q, %v", out, err)
	}
	out, _, err = exec(core.ExecSpec{Cmd: []string{"sh", "-c", "test -t 0 && stty size"}, Tty: true, AttachStdin: true, ConsoleSize: [2]uint{10, 20}}, "")
	if err != nil || out != "10 20\r\n" {
		t.Errorf("%q, %v", out, err)
	}
	_, _, err = exec(core.ExecSpec{Cmd: []string{"nothere"}}, "")
	if err == nil || err.Error() != `OCI runtime exec failed: exec failed: unable to start container process: exec: "nothere": executable file not found in $PATH: unknown` {
		t.Errorf("%v", err)
	}
	pids, err := b.PIDs(ctx, l.Container.ID)
	if err != nil || len(pids) != 1 {
		t.Errorf("%v %v", pids, err)
	}
	stats, err := b.Stats(ctx, l.Container.ID)
	if err != nil || stats.CPUTotal == 0 || stats.SystemCPU == 0 || stats.OnlineCPUs == 0 || stats.PidsCurrent != 1 {
		t.Errorf("%+v %v", stats, err)
	}
	must(t, b.Pause(ctx, l.Container.ID))
	must(t, b.Resume(ctx, l.Container.ID))
	must(t, b.Update(ctx, l.Container.ID, core.Resources{Memory: 128 << 20}))
	if stats, err = b.Stats(ctx, l.Container.ID); err != nil || stats.MemoryLimit != 128<<20 {
		t.Errorf("memory limit %d %v", stats.MemoryLimit, err)
	}
	// The container can still be used then.
	if out, _, err := exec(core.ExecSpec{Cmd: []string{"echo", "after"}}, ""); err != nil || out != "after\n" {
		t.Errorf("exec after an update: %q, %v", out, err)
	}
}

func TestContainersSurviveTheDaemon(t *testing.T) {
	b := newBench(t, 1)
	logs := t.TempDir()
	quick, slow := b.container("sh", "-c", "read x; echo bye; exit 9"), b.container("sh", "-c", "while read x; do echo got $x; done; exit 4")
	for i, l := range []*core.Launch{&quick, &slow} {
		l.Container.Config.OpenStdin = true
		l.Container.Config.StdinOnce = true
		logTo(l, filepath.Join(logs, fmt.Sprint(i)))
	}
	one := b.attach(quick, core.Streams{Stdin: true, Stdout: true})
	two := b.attach(slow, core.Streams{Stdin: true, Stdout: true})
	b.start(quick)
	b.start(slow)
	must(t, b.Close()) // the daemon dies; its clients stay connected

	_, err := one.Write([]byte("go\n"))
	must(t, err)
	if out, err := io.ReadAll(one); string(out) != "bye\n" || err != nil {
		t.Errorf("%q %v", out, err)
	}
	_, err = two.Write([]byte("a\n"))
	must(t, err)
	expect(t, two, "got a\n")

	again, err := New(b.options)
	must(t, err)
	b.Runtime = again
	found, err := again.Adopt(context.Background())
	must(t, err)
	if len(found) != 2 {
		t.Fatalf("adopted %+v", found)
	}
	for _, f := range found {
		switch f.Container {
		case quick.Container.ID:
			// Its output ended a moment before its exit: the daemon learns of it now or by a message.
			if f.Exit == nil {
				e := b.exit()
				f.Exit = &e.Status
			}
			if f.Exit.Code != 9 {
				t.Errorf("quick: %+v", f)
			}
		case slow.Container.ID:
			if f.Exit != nil || f.PID == 0 {
				t.Errorf("slow: %+v", f)
			}
		}
	}
	must(t, two.CloseWrite())
	if e := b.exit(); e.Container != slow.Container.ID || e.Status.Code != 4 {
		t.Errorf("%+v", e)
	}
	if log, err := os.ReadFile(slow.LogPath); err != nil || !strings.Contains(string(log), `"log":"got a\n"`) {
		t.Errorf("%s %v", log, err)
	}
}

func TestAContainerWhoseShimIsKilledIsEnded(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sleep", "1000")
	started := b.start(l)
	must(t, syscall.Kill(b.box(l.Container.ID, false).link.shim.pid, syscall.SIGKILL))
	if e := b.exit(); e.Status.Code != 255 {
		t.Errorf("%+v", e)
	}
	// It may wait to be reaped.
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", started.PID)); err == nil && !bytes.Contains(status, []byte("State:\tZ")) {
		t.Errorf("the process is still there: %s", status)
	}
	must(t, b.Delete(context.Background(), l.Container.ID))
}

func TestTheSameContainerStartsAgain(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sh", "-c", "test -e /x && exit 1; echo > /x")
	b.start(l)
	if e := b.exit(); e.Status.Code != 0 {
		t.Errorf("%+v", e)
	}
	must(t, b.Delete(context.Background(), l.Container.ID))
	_, err := b.Start(context.Background(), l)
	must(t, err)
	if e := b.exit(); e.Status.Code != 1 {
		t.Errorf("%+v", e)
	}
}

func TestManyLinesReachLogAndClient(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("seq", "1", "200000")
	logTo(&l, filepath.Join(t.TempDir(), "log"))
	out, code := b.run(l)
	if code != 0 || strings.Count(out, "\n") != 200000 || !strings.HasSuffix(out, "\n200000\n") {
		t.Errorf("exit %d, %d bytes", code, len(out))
	}
	log, err := os.ReadFile(l.LogPath)
	if err != nil || bytes.Count(log, []byte("\n")) != 200000 {
		t.Errorf("%d lines logged, %v", bytes.Count(log, []byte("\n")), err)
	}
}

// BenchmarkRunTrue measures a start, its exit and its deletion apart: as they come, and with Ready called while other
// work of a start is done, as the engine does.
func BenchmarkRunTrue(b *testing.B) {
	for name, ahead := range map[string]time.Duration{"at once": 0, "ready 12 ms before": 12 * time.Millisecond} {
		b.Run(name, func(b *testing.B) { benchmarkRun(b, ahead) })
	}
}

func benchmarkRun(b *testing.B, ahead time.Duration) {
	bb := newBench(b, 2)
	ctx := context.Background()
	var start, exit, remove []time.Duration
	for b.Loop() {
		l := bb.container("true")
		if ahead > 0 {
			bb.Ready()
			<-time.After(ahead)
		}
		t0 := time.Now()
		_, err := bb.Start(ctx, l)
		must(b, err)
		t1 := time.Now()
		bb.exit()
		t2 := time.Now()
		must(b, bb.Delete(ctx, l.Container.ID))
		start, exit, remove = append(start, t1.Sub(t0)), append(exit, t2.Sub(t1)), append(remove, time.Since(t2))
	}
	for name, list := range map[string][]time.Duration{"start": start, "exit": exit, "delete": remove} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2])/1e6, "ms-median/"+name)
	}
}

// BenchmarkExec measures a further process with its output and its exit.
func BenchmarkExec(b *testing.B) {
	bb := newBench(b, 1)
	l := bb.container("sleep", "1000")
	bb.start(l)
	for b.Loop() {
		client, server := socketPair(b)
		e := &core.Exec{ID: core.ExecID(id.New()), Spec: core.ExecSpec{Cmd: []string{"true"}, Env: l.Env}}
		_, err := bb.Exec(context.Background(), l.Container, e, &core.Streams{Stdout: true, Stderr: true, Conn: server})
		must(b, err)
		_, err = io.ReadAll(client)
		must(b, err)
		client.Close()
		bb.exit()
	}
}

func TestAShimServesAFewContainersAndItsDeathCostsOnlyThese(t *testing.T) {
	b := newBench(t, 1)
	shims := map[*shim][]core.ContainerID{}
	var order []*shim
	for range containersPerShim + 1 {
		l := b.container("sleep", "1000")
		b.start(l)
		s := b.box(l.Container.ID, false).link.shim
		if shims[s] == nil {
			order = append(order, s)
		}
		shims[s] = append(shims[s], l.Container.ID)
	}
	if len(order) != 2 || len(shims[order[0]]) != containersPerShim {
		t.Fatalf("%d containers are spread over shims like this: %v", containersPerShim+1, shims)
	}
	must(t, syscall.Kill(order[0].pid, syscall.SIGKILL))
	var ended []core.ContainerID
	for range containersPerShim {
		ended = append(ended, b.exit().Container)
	}
	if slices.Sort(ended); !slices.Equal(ended, slices.Sorted(slices.Values(shims[order[0]]))) {
		t.Errorf("%v ended, want %v", ended, shims[order[0]])
	}
	if _, err := b.box(shims[order[1]][0], false).running(); err != nil {
		t.Errorf("the neighbour of the other shim: %v", err)
	}
	for _, ids := range shims {
		for _, id := range ids {
			must(t, b.Delete(context.Background(), id))
		}
	}
}

func TestAPlaceInAShimIsUsedAgain(t *testing.T) {
	b := newBench(t, 1)
	stays := b.container("sleep", "1000")
	b.start(stays)
	first := b.box(stays.Container.ID, false).link.shim
	for range 2 * containersPerShim {
		l := b.container("true")
		b.start(l)
		if s := b.box(l.Container.ID, false).link.shim; s != first {
			t.Fatal("a container in a row needs another shim")
		}
		b.exit()
		must(t, b.Delete(context.Background(), l.Container.ID))
	}
}

func TestAShimThatHasStartedEnoughGoesInPeace(t *testing.T) {
	b := newBench(t, 1)
	stays := b.container("sleep", "1000")
	b.start(stays)
	first, served := b.box(stays.Container.ID, false).link.shim, 1
	for range startsPerShim + 2 {
		l := b.container("true")
		b.start(l)
		if b.box(l.Container.ID, false).link.shim == first {
			served++
		}
		b.exit()
		must(t, b.Delete(context.Background(), l.Container.ID))
	}
	b.pool.mu.Lock()
	stuck := first.stuck
	b.pool.mu.Unlock()
	if served != startsPerShim || stuck {
		t.Errorf("it started %d containers of %d; it is said to be stuck: %t", served, startsPerShim, stuck)
	}
	must(t, b.Delete(context.Background(), stays.Container.ID))
}

func TestAShimThatDoesNotAnswerKeepsNobodyAlive(t *testing.T) {
	b := newBench(t, 1)
	stuck, neighbour := b.container("sleep", "1000"), b.container("sleep", "1000")
	started := b.start(stuck)
	b.start(neighbour)
	s := b.box(stuck.Container.ID, false).link.shim
	if other := b.box(neighbour.Container.ID, false).link.shim; other != s {
		t.Fatal("they are not in one shim")
	}
	must(t, syscall.Kill(s.pid, syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	must(t, b.Delete(ctx, stuck.Container.ID))
	if err := syscall.Kill(started.PID, 0); err == nil && !isZombie(started.PID) {
		t.Error("the container that was deleted still runs")
	}
	must(t, syscall.Kill(s.pid, syscall.SIGCONT))
	if _, err := b.box(neighbour.Container.ID, false).running(); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	next := b.container("sleep", "1000")
	b.start(next)
	if b.box(next.Container.ID, false).link.shim == s {
		t.Error("a shim that did not answer got another container")
	}
	must(t, b.Delete(context.Background(), neighbour.Container.ID))
	must(t, b.Delete(context.Background(), next.Container.ID))
}

// isZombie reports whether a process is dead and only waits to be reaped.
func isZombie(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err != nil || bytes.Contains(status, []byte("State:\tZ"))
}
