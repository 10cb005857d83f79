package runtime

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
)

func TestMountsOfTheUser(t *testing.T) {
	b := newBench(t, 1)
	source := t.TempDir()
	must(t, os.WriteFile(filepath.Join(source, "file"), []byte("content\n"), 0o644))
	l := b.container("sh", "-c", "exec 2>&1; cat /data/file; echo x > /data/new; echo x > /ro/new; echo y > /run/y && cat /run/y; grep -c ' /run tmpfs.*size=1024k' /proc/mounts")
	l.Mounts = []core.FSMount{
		{Type: "bind", Source: source, Target: "/data", Options: []string{"rbind", "rw", "rprivate"}},
		{Type: "bind", Source: source, Target: "/ro", Options: []string{"rbind", "ro", "rro", "rprivate"}},
		{Type: "tmpfs", Source: "tmpfs", Target: "/run", Options: []string{"size=1m"}},
	}
	out, _ := b.run(l)
	if out != "content\nsh: can't create /ro/new: Read-only file system\ny\n1\n" {
		t.Errorf("%q", out)
	}
	if _, err := os.Stat(filepath.Join(source, "new")); err != nil {
		t.Error(err)
	}
}

func TestASharedMountIsSeenByTheHost(t *testing.T) {
	b := newBench(t, 1)
	source := t.TempDir()
	must(t, syscall.Mount(source, source, "", syscall.MS_BIND, ""))
	t.Cleanup(func() { must(t, syscall.Unmount(source, syscall.MNT_DETACH)) })
	must(t, syscall.Mount("", source, "", syscall.MS_SHARED, ""))
	must(t, os.Mkdir(filepath.Join(source, "sub"), 0o755))
	l := b.container("sh", "-c", "mount -t tmpfs x /data/sub && echo > /data/sub/seen && echo ok; read x; umount /data/sub")
	l.Container.Host.CapAdd = []string{"SYS_ADMIN"}
	l.Container.Config.OpenStdin = true
	l.Mounts = []core.FSMount{{Type: "bind", Source: source, Target: "/data", Options: []string{"rbind", "rshared"}}}
	client := b.attach(l, core.Streams{Stdin: true, Stdout: true, Stderr: true})
	b.start(l)
	expect(t, client, "ok\n")
	if _, err := os.Stat(filepath.Join(source, "sub", "seen")); err != nil {
		t.Error(err)
	}
	_, err := client.Write([]byte("\n"))
	must(t, err)
	b.exit()
	must(t, b.Delete(context.Background(), l.Container.ID))
	mounts, err := os.ReadFile("/proc/mounts")
	must(t, err)
	if strings.Contains(string(mounts), string(l.Container.ID)) {
		t.Error("the root file system is still mounted on the host")
	}
}

func TestNamespacesOfOthers(t *testing.T) {
	b := newBench(t, 1)
	first := b.container("sh", "-c", "echo shared > /dev/shm/x; echo ready; sleep 1000")
	client := b.attach(first, core.Streams{Stdout: true})
	started := b.start(first)
	expect(t, client, "ready\n")

	second := b.container("sh", "-c", "cat /dev/shm/x; readlink /proc/self/ns/ipc; readlink /proc/1/ns/ipc; ps | grep -c '[s]leep 1000'")
	h := &second.Container.Host
	h.IpcMode, h.PidMode = "container:first", "container:first"
	second.JoinIPC, second.JoinPID = started.PID, started.PID
	out, code := b.run(second)
	lines := strings.Split(out, "\n")
	if code != 0 || len(lines) != 5 || lines[0] != "shared" || lines[1] != lines[2] || lines[3] != "1" {
		t.Errorf("exit %d, %q", code, out)
	}

	third := b.container("sh", "-c", "(sleep 0.01 & ) ; test $$ != 1")
	third.Container.Host.PidMode = "host"
	if out, code := b.run(third); code != 0 {
		t.Errorf("exit %d, %q", code, out)
	}
}

func TestANetworkNamespaceIsJoinedByItsFile(t *testing.T) {
	b := newBench(t, 1)
	first := b.container("sleep", "1000")
	first.NetNS = ownNetwork(t)
	b.start(first)
	second := b.container("sh", "-c", "ls /sys/class/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
	second.NetNS = first.NetNS
	if out, _ := b.run(second); !strings.HasSuffix(out, "lo\n0\n") {
		t.Errorf("%q", out)
	}
	stats, err := b.Stats(context.Background(), first.Container.ID)
	if err != nil || stats.Networks == nil {
		t.Errorf("%v %v", stats.Networks, err)
	}
}

// ownNetwork gives a new network namespace, which lives as long as its file.
func ownNetwork(t *testing.T) *os.File {
	files := make(chan *os.File, 1)
	go func() {
		// The thread stays in the namespace, so it must not come back to others: it is never unlocked.
		runtime.LockOSThread()
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			files <- nil
			return
		}
		file, _ := os.Open("/proc/thread-self/ns/net")
		files <- file
	}()
	file := <-files
	if file == nil {
		t.Skip("no network namespaces here")
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func TestAPrivilegedContainerHasDevices(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sh", "-c", "test -e /dev/kmsg && grep Seccomp: /proc/self/status && echo > /proc/sys/kernel/domainname && echo ok")
	l.Container.Host.Privileged = true
	if out, code := b.run(l); code != 0 || out != "Seccomp:\t0\nok\n" {
		t.Errorf("exit %d, %q", code, out)
	}
	l = b.container("sh", "-c", "head -c 3 /dev/zilch | wc -c; test -c /dev/zilch && echo device")
	l.Container.Host.Devices = []core.Device{{PathOnHost: "/dev/zero", PathInContainer: "/dev/zilch", CgroupPermissions: "r"}}
	if out, code := b.run(l); code != 0 || out != "3\ndevice\n" {
		t.Errorf("exit %d, %q", code, out)
	}
}

func TestOutOfMemoryIsTold(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1")
	l.Container.Host.Memory, l.Container.Host.MemorySwap = 8<<20, 8<<20
	b.start(l)
	if e := b.exit(); e.Status.Code != 137 || !e.Status.OOMKilled {
		t.Errorf("%+v", e.Status)
	}
}

func TestAPausedContainerIsDeleted(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sleep", "1000")
	b.start(l)
	must(t, b.Pause(context.Background(), l.Container.ID))
	must(t, b.Delete(context.Background(), l.Container.ID))
	if e := b.exit(); e.Status.Code != 137 {
		t.Errorf("%+v", e.Status)
	}
}

func TestAttachmentsOverTLSArePumped(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sh", "-c", "cat; echo end")
	l.Container.Config.OpenStdin, l.Container.Config.StdinOnce = true, true
	client, server := tlsPair(t)
	done := make(chan error, 1)
	b.box(l.Container.ID, true)
	go func() {
		over, err := b.Attach(context.Background(), l.Container.ID, core.Streams{Stdin: true, Stdout: true, Conn: server})
		if err == nil {
			<-over
		}
		done <- err
	}()
	_, err := client.Write([]byte("over TLS\n"))
	must(t, err)
	b.start(l)
	must(t, client.CloseWrite())
	out, err := io.ReadAll(client)
	// Attached before or after the start: the end of the output comes in both cases.
	if err != nil || !strings.HasSuffix(string(out), "end\n") {
		t.Errorf("%q %v", out, err)
	}
	must(t, <-done)
	b.exit()
}

func tlsPair(t *testing.T) (client, server *tls.Conn) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	t.Cleanup(web.Close)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", web.TLS)
	must(t, err)
	defer listener.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
		}
		if err != nil {
			close(accepted)
			return
		}
		accepted <- conn
	}()
	client, err = tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	must(t, err)
	t.Cleanup(func() { client.Close() })
	return client, (<-accepted).(*tls.Conn)
}

func TestEightContainersAtATime(t *testing.T) {
	b := newBench(t, 2)
	const n = 24
	launches := make(chan core.Launch, n)
	for range n {
		l := b.container("true")
		l.Container.ID = core.ContainerID(id.New())
		launches <- l
	}
	close(launches)
	errs := make(chan error, n)
	for range 6 {
		go func() {
			for l := range launches {
				_, err := b.Start(context.Background(), l)
				errs <- err
			}
		}()
	}
	for range n {
		must(t, <-errs)
	}
	for range n {
		e := b.exit()
		if e.Status.Code != 0 {
			t.Errorf("%+v", e)
		}
		must(t, b.Delete(context.Background(), e.Container))
	}
}

func TestExecsDoNotHoldUpTheEndOfTheirContainer(t *testing.T) {
	b := newBench(t, 1)
	for range 6 {
		l := b.container("sleep", "0.1")
		b.start(l)
		// Some of these meet the container in the middle of its end: libcontainer gives up on them half way.
		var execs sync.WaitGroup
		for worker := range 12 {
			execs.Go(func() {
				for n := 0; ; n++ {
					exec := &core.Exec{ID: core.ExecID(fmt.Sprintf("%s-%d-%d", l.Container.ID, worker, n)), Spec: core.ExecSpec{Cmd: []string{"true"}}}
					if _, err := b.Exec(context.Background(), l.Container, exec, nil); err != nil {
						return
					}
				}
			})
		}
		execs.Wait()
		for b.exit().Exec != "" { // those of the execs come first
		}
		must(t, b.Delete(context.Background(), l.Container.ID))
	}
}
