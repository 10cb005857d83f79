package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/miekg/dns"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/linux/netns"
)

// ask resolves a name inside a container, as its programs would.
func ask(t testing.TB, ns *os.File, name string, typ uint16) ([]string, int) {
	t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), typ)
	var reply *dns.Msg
	client := dns.Client{Timeout: 20 * time.Second}
	check(t, netns.Do(ns, func() (err error) { reply, _, err = client.Exchange(q, "127.0.0.11:53"); return err }))
	var list []string
	for _, rr := range reply.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			list = append(list, rr.A.String())
		case *dns.AAAA:
			list = append(list, rr.AAAA.String())
		case *dns.PTR:
			list = append(list, rr.Ptr)
		}
	}
	slices.Sort(list)
	return list, reply.Rcode
}

func TestNamesOnUserDefinedNetworks(t *testing.T) {
	o := organ(t)
	addNetwork(t, o, core.Network{Name: "back"})
	addNetwork(t, o, core.Network{Name: "side", Internal: true})
	a := open(t, o, "a", in("back"))
	b := open(t, o, "b", in("back"), func(s *core.Sandbox) {
		s.Hostname = "bee"
		s.Endpoints["back"].Aliases = []string{"db"}
		s.Endpoints["back"].Links = []string{"a:other"}
	})
	c := open(t, o, "c", in("back"), func(s *core.Sandbox) { s.Endpoints["back"].Aliases = []string{"db"} })
	lone := open(t, o, "lone", in("side"))
	ipOf := func(b *box, network string) string { return b.Endpoints[network].Address.Addr().String() }

	for _, name := range []string{"b", "B", "bee", "b.back", b.spec.Container.Short()} {
		got, _ := ask(t, a.NS, name, dns.TypeA)
		expect(t, name, fmt.Sprint(got), fmt.Sprint([]string{ipOf(b, "back")}))
	}
	got, _ := ask(t, a.NS, "db", dns.TypeA)
	expect(t, "an alias of two", fmt.Sprint(got), fmt.Sprint([]string{ipOf(b, "back"), ipOf(c, "back")}))
	got, _ = ask(t, b.NS, "other", dns.TypeA)
	expect(t, "a link", fmt.Sprint(got), fmt.Sprint([]string{ipOf(a, "back")}))
	got, code := ask(t, a.NS, "b", dns.TypeAAAA)
	expect(t, "no IPv6", fmt.Sprint(got, code), "[] 0")
	reverse, err := dns.ReverseAddr(ipOf(b, "back"))
	check(t, err)
	got, _ = ask(t, a.NS, reverse, dns.TypePTR)
	expect(t, "reverse", fmt.Sprint(got), "[b.back.]")
	_, code = ask(t, lone.NS, "b", dns.TypeA)
	expect(t, "a name of another network", dns.RcodeToString[code], "NXDOMAIN")

	check(t, o.Sandboxes.Rename(t.Context(), b.spec.Container, "renamed"))
	got, _ = ask(t, a.NS, "renamed", dns.TypeA)
	expect(t, "renamed", fmt.Sprint(got), fmt.Sprint([]string{ipOf(b, "back")}))
	b.close(t)
	got, _ = ask(t, a.NS, "db", dns.TypeA)
	expect(t, "an alias after the end of one", fmt.Sprint(got), fmt.Sprint([]string{ipOf(c, "back")}))

	// Port 53 is the container's own.
	serveUDP(t, a.NS, "0.0.0.0:53", "mine")
	got, _ = ask(t, a.NS, "c", dns.TypeA)
	expect(t, "beside the container's own server", fmt.Sprint(got), fmt.Sprint([]string{ipOf(c, "back")}))
	resolv, err := os.ReadFile(filepath.Join(a.spec.Dir, "resolv.conf"))
	check(t, err)
	if !strings.HasPrefix(string(resolv), "nameserver 127.0.0.11\n") || !strings.Contains(string(resolv), "ndots:0") {
		t.Errorf("resolv.conf: %s", resolv)
	}
}

func TestQuestionsGoToTheServersOutside(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	o := organ(t, func(o *Options) { o.ResolvConf = conf })
	outside := neighbour(t)
	addNetwork(t, o, core.Network{Name: "back"})
	serveDNS(t, outside, neighbourAddr+":53", "203.0.113.7")
	a := open(t, o, "a", in("back"))
	_, code := ask(t, a.NS, "example.com", dns.TypeA)
	expect(t, "without a server", dns.RcodeToString[code], "NXDOMAIN")
	check(t, os.WriteFile(conf, []byte("nameserver "+neighbourAddr+"\nsearch example.com\n"), 0o644))
	got, _ := ask(t, a.NS, "example.com", dns.TypeA)
	expect(t, "the host's server", fmt.Sprint(got), "[203.0.113.7]")
	b := open(t, o, "b", in("back"), func(s *core.Sandbox) { s.DNS.DNS = []netip.Addr{netip.MustParseAddr(neighbourAddr)} })
	got, _ = ask(t, b.NS, "example.com", dns.TypeA)
	expect(t, "the container's server", fmt.Sprint(got), "[203.0.113.7]")
}

// serveDNS answers every question about an address with one.
func serveDNS(t testing.TB, ns *os.File, addr, answer string) {
	t.Helper()
	server := &dns.Server{Addr: addr, Net: "udp"}
	ready := make(chan struct{})
	server.NotifyStartedFunc = func() { close(ready) }
	server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		rr, err := dns.NewRR(q.Question[0].Name + " 60 IN A " + answer)
		if err != nil {
			return
		}
		reply := new(dns.Msg).SetReply(q)
		reply.Answer = []dns.RR{rr}
		_ = w.WriteMsg(reply)
	})
	inside(t, ns, func() error {
		pc, err := listenPacket(addr)
		server.PacketConn = pc
		return err
	})
	var done sync.WaitGroup
	done.Go(func() { _ = server.ActivateAndServe() })
	<-ready
	t.Cleanup(func() { server.PacketConn.Close(); done.Wait() })
}

func TestConnectAndDisconnectOfARunningContainer(t *testing.T) {
	o := organ(t)
	addNetwork(t, o, core.Network{Name: "back"})
	addNetwork(t, o, core.Network{Name: "inner", Internal: true})
	peer := open(t, o, "peer", in("back"))
	serve(t, peer.NS, ":80", "peer")
	addr := peer.Endpoints["back"].Address.Addr().String() + ":80"
	b := open(t, o, "b", in("inner"), publish("8080:80/tcp"))
	serve(t, b.NS, ":80", "b")
	expect(t, "before", get(t, b.NS, "tcp", addr), "")
	expect(t, "published before", get(t, nil, "tcp", hostLoopback+":8080"), "")

	e, _, err := o.Sandboxes.Connect(t.Context(), b.spec.Container, "back", core.Endpoint{Aliases: []string{"bee"}})
	check(t, err)
	expect(t, "interface", e.Interface, "eth1")
	expect(t, "connected", get(t, b.NS, "tcp", addr), "peer "+e.Address.Addr().String())
	expect(t, "published through the new gateway", get(t, nil, "tcp", hostLoopback+":8080"), "b "+e.Gateway.String())
	names, _ := ask(t, peer.NS, "bee", dns.TypeA)
	expect(t, "alias", fmt.Sprint(names), fmt.Sprint([]string{e.Address.Addr().String()}))
	hosts, err := os.ReadFile(filepath.Join(b.spec.Dir, "hosts"))
	check(t, err)
	if !strings.Contains(string(hosts), e.Address.Addr().String()+"\tb\n") {
		t.Errorf("hosts: %s", hosts)
	}
	_, _, err = o.Sandboxes.Connect(t.Context(), b.spec.Container, "back", core.Endpoint{})
	if !errdefs.IsPermissionDenied(err) {
		t.Errorf("connected twice: %v", err)
	}
	_, _, err = o.Sandboxes.Connect(t.Context(), b.spec.Container, core.NetworkBridge, core.Endpoint{GwPriority: 1})
	check(t, err)
	expect(t, "published through the preferred gateway", get(t, nil, "tcp", hostLoopback+":8080"), "b 172.17.0.1")
	ports, err := o.Sandboxes.Disconnect(t.Context(), b.spec.Container, core.NetworkBridge)
	check(t, err)
	if len(ports) != 2 {
		t.Errorf("still published: %v", ports)
	}
	expect(t, "published through the first gateway again", get(t, nil, "tcp", hostLoopback+":8080"), "b "+e.Gateway.String())
	ports, err = o.Sandboxes.Disconnect(t.Context(), b.spec.Container, "back")
	check(t, err)
	if len(ports) != 0 {
		t.Errorf("still published without a way in: %v", ports)
	}
	free, err := net.Listen("tcp", hostLoopback+":8080")
	check(t, err)
	check(t, free.Close())
	expect(t, "after", get(t, b.NS, "tcp", addr), "")
	if _, err := o.Sandboxes.Disconnect(t.Context(), b.spec.Container, "back"); !errdefs.IsPermissionDenied(err) {
		t.Errorf("disconnected twice: %v", err)
	}
}

func TestAnotherDaemonTakesOver(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	outside := neighbour(t)
	first, err := New(t.Context(), Options{Dir: dir})
	check(t, err)
	check(t, first.Sandboxes.Restore(t.Context(), nil))
	back, err := first.Networks.Create(t.Context(), core.Network{Name: "back", EnableIPv4: true})
	check(t, err)
	spec := core.Sandbox{
		Container: core.ContainerID(id.New()), Name: "web", Hostname: "web", Dir: t.TempDir(),
		Endpoints: map[string]*core.Endpoint{"back": {Aliases: []string{"www"}}},
	}
	publish("0:80/tcp")(&spec)
	joined, err := first.Sandboxes.Open(t.Context(), spec)
	check(t, err)
	serve(t, joined.NS, ":80", "web")
	process := sleeper(t, joined.NS)
	joined.NS.Close()
	port := fmt.Sprint(joined.Ports[0].HostPort)
	check(t, first.Shutdown(t.Context(), false))
	expect(t, "without a daemon", get(t, outside, "tcp", hostAddr+":"+port), "web "+neighbourAddr)

	failed, err := New(t.Context(), Options{Dir: dir})
	check(t, err)
	check(t, failed.Shutdown(t.Context(), true))
	expect(t, "after a daemon that failed to start", get(t, outside, "tcp", hostAddr+":"+port), "web "+neighbourAddr)
	second, err := New(t.Context(), Options{Dir: dir})
	check(t, err)
	t.Cleanup(func() { check(t, second.Shutdown(context.Background(), true)) })
	expect(t, "while a daemon starts", get(t, outside, "tcp", hostAddr+":"+port), "web "+neighbourAddr)
	spec.PID, spec.Endpoints, spec.Published = process, joined.Endpoints, joined.Ports
	check(t, second.Sandboxes.Restore(t.Context(), []core.Sandbox{spec}))
	expect(t, "after the take-over", get(t, outside, "tcp", hostAddr+":"+port), "web "+neighbourAddr)
	again, err := second.Networks.Lookup(t.Context(), "back")
	check(t, err)
	expect(t, "the network's ID", string(again.ID), string(back.ID))
	list, err := second.Networks.Attachments(t.Context(), back.ID)
	check(t, err)
	if len(list) != 1 || list[0].Name != "web" || list[0].Address != joined.Endpoints["back"].Address {
		t.Errorf("attachments: %+v", list)
	}
	other := open(t, second, "other", in("back"))
	names, _ := ask(t, other.NS, "www", dns.TypeA)
	expect(t, "names", fmt.Sprint(names), fmt.Sprint([]string{joined.Endpoints["back"].Address.Addr().String()}))
	_, err = tryOpen(t, second, "late", publish(port+":80/tcp"))
	if err == nil || !strings.Contains(err.Error(), "port is already allocated") {
		t.Errorf("the port was not taken again: %v", err)
	}
	check(t, second.Sandboxes.Close(t.Context(), spec.Container))
	expect(t, "after the end", get(t, outside, "tcp", hostAddr+":"+port), "")
}

// sleeper runs a process in the namespace until the test ends.
func sleeper(t testing.TB, ns *os.File) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleSleep+"=1")
	stdin, err := cmd.StdinPipe()
	check(t, err)
	check(t, netns.Do(ns, cmd.Start))
	t.Cleanup(func() { stdin.Close(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

func TestFailuresLeaveNothing(t *testing.T) {
	o := organ(t)
	addNetwork(t, o, core.Network{Name: "back", IPAM: core.IPAM{Pools: []core.IPPool{{Subnet: netip.MustParsePrefix("10.9.0.0/30")}}}})
	first := open(t, o, "first", publish("8080:80/tcp"))
	busy, err := listenPacket("0.0.0.0:5000")
	check(t, err)
	defer busy.Close()
	tight := open(t, o, "tight", in("back"))
	for _, c := range []struct {
		what, want string
		change     func(*core.Sandbox)
	}{
		{"a port of another container", "driver failed programming external connectivity on endpoint bad (", publish("8080:80/tcp")},
		{"a port of another container, its sentence", "Bind for 0.0.0.0:8080 failed: port is already allocated", publish("8080:80/tcp")},
		{"a port of another program", "failed to bind host port 0.0.0.0:5000/udp: address already in use", publish("5000:80/udp")},
		{"an address that the host does not have", "cannot assign requested address", publish("203.0.113.9:80:80/tcp")},
		{"a second port that is taken", "port is already allocated", publish("8081:81/tcp", "8080:80/tcp")},
		{"a network that is not there", "network nowhere not found", in("nowhere")},
		{"a network that is full", "no available IPv4 addresses on this network's address pools: back (", in("back")},
		{"an address that is taken", "Address already in use", func(s *core.Sandbox) {
			s.Endpoints = map[string]*core.Endpoint{"back": {IPv4: tight.Endpoints["back"].Address.Addr()}}
		}},
		{"an address on the default network", "user specified IP address is supported on user defined networks only", func(s *core.Sandbox) {
			s.Endpoints["bridge"].IPv4 = netip.MustParseAddr("172.17.0.9")
		}},
		{"an extra host of garbage", "invalid IP address in add-host", func(s *core.Sandbox) { s.DNS.ExtraHosts = []string{"a:b"} }},
		{"a folder that is not there", "write the network files", func(s *core.Sandbox) { s.Dir += "/nowhere" }},
		{"an interface name that is too long", "numerical result out of range", func(s *core.Sandbox) {
			s.Endpoints["bridge"].DriverOpts = map[string]string{optIfname: strings.Repeat("x", 20)}
		}},
	} {
		_, err := tryOpen(t, o, "bad", c.change)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.want)
		}
	}
	if len(o.sandboxes) != 2 {
		t.Errorf("%d sandboxes", len(o.sandboxes))
	}
	state := o.state()
	if len(state.Publications) != 1 {
		t.Errorf("publications: %v", state.Publications)
	}
	next := open(t, o, "next", publish("8081:81/tcp"))
	expect(t, "the next address", next.Endpoints["bridge"].Address.String(), "172.17.0.3/16")
	first.close(t)
	again := open(t, o, "again", publish("8080:80/tcp"))
	expect(t, "the address of the one that ended", again.Endpoints["bridge"].Address.String(), "172.17.0.2/16")
}

func TestShutdownLeavesNothing(t *testing.T) {
	needRoot(t)
	before := links(t)
	o, err := New(t.Context(), Options{Dir: t.TempDir(), Instance: "one"})
	check(t, err)
	check(t, o.Sandboxes.Restore(t.Context(), nil))
	_, err = o.Networks.Create(t.Context(), core.Network{Name: "back", EnableIPv4: true})
	check(t, err)
	j, err := o.Sandboxes.Open(t.Context(), core.Sandbox{Container: "c", Dir: t.TempDir(), Endpoints: map[string]*core.Endpoint{"back": {}, "bridge": {}}})
	check(t, err)
	j.NS.Close()
	check(t, o.Shutdown(t.Context(), true))
	expect(t, "interfaces", fmt.Sprint(links(t)), fmt.Sprint(before))
}

// TestShutdownWhileNamesAreAsked: the last answers of a name server want what its end must not hold.
func TestShutdownWhileNamesAreAsked(t *testing.T) {
	needRoot(t)
	for range 5 {
		o, err := New(t.Context(), Options{Dir: t.TempDir(), Instance: "asked"})
		check(t, err)
		check(t, o.Sandboxes.Restore(t.Context(), nil))
		_, err = o.Networks.Create(t.Context(), core.Network{Name: "back", EnableIPv4: true, Internal: true})
		check(t, err)
		j, err := o.Sandboxes.Open(t.Context(), core.Sandbox{Container: "c", Dir: t.TempDir(), Endpoints: map[string]*core.Endpoint{"back": {}}})
		check(t, err)
		var all, began sync.WaitGroup
		for range 8 {
			began.Add(1)
			all.Go(func() {
				var first sync.Once
				for err := error(nil); err == nil; first.Do(began.Done) {
					err = netns.Do(j.NS, func() error {
						_, err := dns.Exchange(new(dns.Msg).SetQuestion("nobody.", dns.TypeA), "127.0.0.11:53")
						return err // from the end of the server on
					})
				}
			})
		}
		began.Wait()
		check(t, o.Shutdown(t.Context(), true))
		all.Wait()
		j.NS.Close()
	}
}

// links lists the bridges of the host.
func links(t testing.TB) []string {
	t.Helper()
	list, err := link.List()
	check(t, err)
	var names []string
	for _, l := range list {
		if l.Kind == "bridge" {
			names = append(names, l.Name)
		}
	}
	return names
}

func TestManyAtOnce(t *testing.T) {
	o := organ(t)
	const n = 40
	var all sync.WaitGroup
	errs := make([]error, n)
	addrs := make([]string, n)
	dir := t.TempDir()
	for i := range n {
		all.Go(func() {
			spec := core.Sandbox{Container: core.ContainerID(id.New()), Name: fmt.Sprint("c", i), Dir: dir, Endpoints: map[string]*core.Endpoint{"bridge": {}}}
			publish("0:80/tcp")(&spec)
			j, err := o.Sandboxes.Open(t.Context(), spec)
			if err != nil {
				errs[i] = err
				return
			}
			addrs[i] = j.Endpoints["bridge"].Address.String()
			errs[i] = errors.Join(j.NS.Close(), o.Sandboxes.Close(t.Context(), spec.Container), o.Sandboxes.Close(t.Context(), spec.Container))
		})
	}
	all.Wait()
	check(t, errors.Join(errs...))
	if s := o.state(); len(s.Publications) != 0 {
		t.Errorf("left: %v", s.Publications)
	}
}

func TestTheKernelsRulesAreRepaired(t *testing.T) {
	o := organ(t)
	web := open(t, o, "web", publish("8080:80/tcp"))
	serve(t, web.NS, ":80", "web")
	outside := neighbour(t)
	check(t, o.firewall.Set(t.Context(), o.state()))
	check(t, removeTables(t))
	// Whether the watcher was first or not, the next change brings everything back.
	open(t, o, "other", publish("8081:80/tcp"))
	expect(t, "after somebody flushed the rules", get(t, outside, "tcp", hostAddr+":8080"), "web "+neighbourAddr)
}

// A datagram needs no answer: that the host's program sees it is the whole attack (CVE-2020-8558).
func TestHostileLoopbackPackets(t *testing.T) {
	o := organ(t)
	outside := neighbour(t)
	evil := open(t, o, "evil")
	private, err := listenPacket("127.0.0.1:9999")
	check(t, err)
	defer private.Close()
	for _, from := range []struct {
		name, via string
		ns        *os.File
	}{{"a container", "172.17.0.1", evil.NS}, {"a neighbour", hostAddr, outside}} {
		check(t, netns.Do(from.ns, func() error {
			// Make the sender's kernel put packets for 127.0.0.1 on the wire.
			check(t, link.Sysctl("ipv4/conf/all/route_localnet", "1"))
			for _, args := range []string{
				"rule add pref 10 lookup local", "rule add pref 5 to 127.0.0.1 lookup 99", "rule del pref 0",
				"route add 127.0.0.1 via " + from.via + " dev eth0 table 99",
			} {
				if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
					return fmt.Errorf("ip %v: %s", args, out)
				}
			}
			conn, err := net.Dial("udp", "127.0.0.1:9999")
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte(from.name))
			return err
		}))
		own, err := net.Dial("udp", "127.0.0.1:9999")
		check(t, err)
		_, err = own.Write([]byte("the host itself"))
		check(t, err)
		own.Close()
		buf := make([]byte, 100)
		n, _, err := private.ReadFrom(buf)
		check(t, err)
		expect(t, "the first datagram for 127.0.0.1", string(buf[:n]), "the host itself")
	}
}
