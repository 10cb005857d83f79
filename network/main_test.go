package network

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/linux/netns"
	"github.com/berth-engine/berth/linux/nft"
	"github.com/berth-engine/berth/network/driver"
)

// What the test program is started for again: as a host of its own, and as a container's process.
const (
	roleHost  = "BERTH_TEST_HOST"
	roleSleep = "BERTH_TEST_SLEEP"
)

// TestMain runs the tests in a network namespace of their own, so that neither the machine nor tests of others see
// bridges and rules, and nothing can stay behind.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(roleSleep) != "":
		// A container's process: it lives until its standard input ends.
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	case os.Geteuid() != 0:
		os.Exit(m.Run())
	case os.Getenv(roleHost) != "":
		var b link.Batch
		b.Up("lo")
		conn, err := link.Dial()
		if err == nil {
			err = conn.Apply(context.Background(), &b)
		}
		if err != nil {
			panic(err)
		}
		conn.Close()
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), roleHost+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
}

// hostAddr is the host's address towards its neighbour.
var hostAddr, neighbourAddr = "192.0.2.1", "192.0.2.2"

// neighbour is a machine beside the host, on the same wire.
func neighbour(t testing.TB) *os.File {
	t.Helper()
	conn, err := link.Dial()
	check(t, err)
	ns, err := netns.New(nil)
	check(t, err)
	name := newVeth()
	var b link.Batch
	b.Up("lo")
	b.AddVeth(link.Veth{Host: name, Peer: "eth0", MTU: driver.DefaultMTU, NS: int(ns.Fd())})
	check(t, conn.Apply(t.Context(), &b))
	l, err := link.Find(name)
	check(t, err)
	b = link.Batch{}
	b.AddAddress(l.Index, netip.MustParsePrefix(hostAddr+"/24"))
	check(t, conn.Apply(t.Context(), &b))
	defer conn.Close()
	check(t, netns.Do(ns, func() error {
		inside, err := link.Dial()
		if err != nil {
			return err
		}
		defer inside.Close()
		var b link.Batch
		b.Up("lo")
		b.Up("eth0")
		b.AddAddress(2, netip.MustParsePrefix(neighbourAddr+"/24"))
		b.SetDefaultRoute(2, false, netip.MustParseAddr(hostAddr))
		return inside.Apply(t.Context(), &b)
	}))
	b = link.Batch{}
	b.Settle(name)
	check(t, conn.Apply(t.Context(), &b))
	t.Cleanup(func() {
		var b link.Batch
		b.Delete(name)
		conn, err := link.Dial()
		check(t, err)
		check(t, conn.Apply(context.Background(), &b))
		conn.Close()
		ns.Close()
	})
	return ns
}

// organ is a fresh one; options may be changed before.
func organ(t testing.TB, change ...func(*Options)) *Organ {
	t.Helper()
	needRoot(t)
	o := Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range change {
		f(&o)
	}
	n, err := New(t.Context(), o)
	check(t, err)
	t.Cleanup(func() { check(t, n.Shutdown(context.Background(), true)) })
	check(t, n.Sandboxes.Restore(t.Context(), nil))
	return n
}

// box is an open sandbox.
type box struct {
	core.Joined
	spec  core.Sandbox
	organ *Organ
}

// open opens a sandbox in the networks given (the default one when none is named).
func open(t testing.TB, o *Organ, name string, change ...func(*core.Sandbox)) *box {
	t.Helper()
	b, err := tryOpen(t, o, name, change...)
	check(t, err)
	return b
}

func tryOpen(t testing.TB, o *Organ, name string, change ...func(*core.Sandbox)) (*box, error) {
	t.Helper()
	b := &box{organ: o, spec: core.Sandbox{
		Container: core.ContainerID(id.New()), Name: name, Hostname: name, Dir: t.TempDir(),
		Endpoints: map[string]*core.Endpoint{core.NetworkBridge: {}},
	}}
	for _, f := range change {
		f(&b.spec)
	}
	var err error
	if b.Joined, err = o.Sandboxes.Open(t.Context(), b.spec); err != nil {
		return nil, err
	}
	t.Cleanup(func() { b.close(t) })
	return b, nil
}

func (b *box) close(t testing.TB) {
	t.Helper()
	check(t, b.organ.Sandboxes.Close(context.Background(), b.spec.Container))
	if b.NS != nil {
		b.NS.Close()
	}
}

func in(networks ...string) func(*core.Sandbox) {
	return func(s *core.Sandbox) {
		s.Endpoints = map[string]*core.Endpoint{}
		for _, n := range networks {
			s.Endpoints[n] = &core.Endpoint{}
		}
	}
}

// publish publishes a port: "8080:80/tcp", "127.0.0.1:8080:80/tcp", ":80/udp".
func publish(specs ...string) func(*core.Sandbox) {
	return func(s *core.Sandbox) {
		s.Ports = map[core.Port][]core.PortBinding{}
		for _, spec := range specs {
			i := strings.LastIndexByte(spec, ':')
			port, err := core.ParsePort(spec[i+1:])
			if err != nil {
				panic(err)
			}
			b := core.PortBinding{HostPort: spec[:i]}
			if j := strings.LastIndexByte(spec[:i], ':'); j >= 0 {
				b.HostIP, b.HostPort = netip.MustParseAddr(strings.Trim(spec[:j], "[]")), spec[j+1:i]
			}
			s.Ports[port] = append(s.Ports[port], b)
		}
	}
}

func addNetwork(t testing.TB, o *Organ, n core.Network) core.Network {
	t.Helper()
	n.EnableIPv4 = true
	n, err := o.Networks.Create(t.Context(), n)
	check(t, err)
	t.Cleanup(func() { check(t, o.Networks.Remove(context.Background(), n.ID)) })
	return n
}

// serve answers every TCP connection to the port of the namespace (nil: the host) with its greeting and the address
// of the client, until the test ends.
func serve(t testing.TB, ns *os.File, addr, greeting string) {
	t.Helper()
	var l net.Listener
	inside(t, ns, func() (err error) { l, err = net.Listen("tcp", addr); return err })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%s %s", greeting, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// serveUDP answers every datagram.
func serveUDP(t testing.TB, ns *os.File, addr, greeting string) {
	t.Helper()
	var c net.PacketConn
	inside(t, ns, func() (err error) { c, err = net.ListenPacket("udp", addr); return err })
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 100)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(greeting), from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
}

func inside(t testing.TB, ns *os.File, f func() error) {
	t.Helper()
	if ns == nil {
		check(t, f())
		return
	}
	check(t, netns.Do(ns, f))
}

// get connects from the namespace (nil: the host) and gives the answer, or "" when there is none within a moment.
func get(t testing.TB, ns *os.File, network, addr string) string {
	t.Helper()
	var conn net.Conn
	dial := func() (err error) {
		conn, err = net.DialTimeout(network, addr, 700*time.Millisecond)
		return err
	}
	var err error
	if ns == nil {
		err = dial()
	} else {
		err = netns.Do(ns, dial)
	}
	if err != nil {
		return ""
	}
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(2*time.Second)))
	if network == "udp" {
		_, _ = conn.Write([]byte("?"))
		buf := make([]byte, 100)
		n, _ := conn.Read(buf)
		return string(buf[:n])
	}
	data, _ := io.ReadAll(conn)
	return string(data)
}

func expect(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const hostLoopback = "127.0.0.1"

var netipLoopback = netip.MustParseAddr(hostLoopback)

func listenPacket(addr string) (net.PacketConn, error) { return net.ListenPacket("udp4", addr) }

// removeTables does what `nft flush ruleset` does.
func removeTables(t testing.TB) error {
	conn, err := nft.Dial(nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Remove(t.Context(), nft.Table{Family: nft.IPv4, Name: "berth"}, nft.Table{Family: nft.IPv6, Name: "berth"})
}
