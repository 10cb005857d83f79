package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/bridge"
)

// The tests below send what an attacker would, from a neighbour on the host's wire or from another container, and listen
// where it must not arrive. Each has a counterpart that shows that the same packet arrives where it may.

// The addresses of the host and its neighbour on their wire.
const hostAddr6, neighbourAddr6 = "2001:db8::1", "2001:db8::2"

// neighbour6 is a neighbour that has IPv6, too.
func neighbour6(t testing.TB) *os.File {
	t.Helper()
	ns := neighbour(t)
	command(t, nil, "ip", "addr", "add", hostAddr6+"/64", "dev", wire(t), "nodad")
	command(t, ns, "ip", "addr", "add", neighbourAddr6+"/64", "dev", "eth0", "nodad")
	command(t, ns, "ip", "-6", "route", "replace", "default", "via", hostAddr6)
	return ns
}

// wire is the host's interface towards its neighbour.
func wire(t testing.TB) string {
	t.Helper()
	list, err := link.List()
	check(t, err)
	for _, l := range list {
		addrs, err := link.Addresses(l.Index)
		check(t, err)
		for _, p := range addrs {
			if p.Addr() == netip.MustParseAddr(hostAddr) {
				return l.Name
			}
		}
	}
	t.Fatal("the host has no neighbour")
	return ""
}

// command runs a program in a namespace (nil: the host).
func command(t testing.TB, ns *os.File, args ...string) {
	t.Helper()
	inside(t, ns, func() error {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	})
}

// ear hears the datagrams to a port.
type ear struct {
	conn net.PacketConn
	ns   *os.File
	addr string
}

// listen makes an ear in a namespace (nil: the host).
func listen(t testing.TB, ns *os.File, network, addr string) *ear {
	t.Helper()
	e := &ear{ns: ns}
	inside(t, ns, func() (err error) { e.conn, err = net.ListenPacket(network, addr); return err })
	e.addr = e.conn.LocalAddr().String()
	t.Cleanup(func() { e.conn.Close() })
	return e
}

// expect compares what came since the last time: it waits for as many datagrams as are wanted, and then for one of ours
// over loopback, which what is not wanted is seldom behind.
func (e *ear) expect(t testing.TB, what, want string) {
	t.Helper()
	_, port, err := net.SplitHostPort(e.addr)
	check(t, err)
	host := "127.0.0.1"
	if strings.HasPrefix(e.addr, "[") {
		host = "::1"
	}
	var all []string
	ended := false
	buf := make([]byte, 100)
	check(t, e.conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	for !ended || len(all) < len(strings.Fields(want)) {
		if !ended && len(all) >= len(strings.Fields(want)) {
			ended = true
			sendFrom(t, e.ns, "", net.JoinHostPort(host, port), "end")
		}
		n, _, err := e.conn.ReadFrom(buf)
		if err != nil || string(buf[:n]) == "end" {
			break
		}
		all = append(all, string(buf[:n]))
	}
	expect(t, what, strings.Join(all, " "), want)
}

// sendFrom sends a datagram, from a chosen source address when there is one.
func sendFrom(t testing.TB, ns *os.File, source, to, text string) {
	t.Helper()
	inside(t, ns, func() error {
		var dialer net.Dialer
		if source != "" {
			dialer.LocalAddr = &net.UDPAddr{IP: net.ParseIP(source)}
		}
		conn, err := dialer.DialContext(context.Background(), "udp", to)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte(text))
		return err
	})
}

// routeTo makes a namespace send packets for an address through a gateway, though nobody asked it to.
func routeTo(t testing.TB, ns *os.File, address, gateway, dev string) {
	t.Helper()
	args := []string{"ip", "route", "replace", address, "via", gateway, "dev", dev, "onlink"}
	if strings.Contains(address, ":") {
		args = []string{"ip", "-6", "route", "replace", address, "via", gateway, "dev", dev, "onlink"}
	}
	command(t, ns, args...)
}

// hostile is a neighbour who has routes to the host's loopback and does not drop strange packets himself.
func hostile(t testing.TB) *os.File {
	t.Helper()
	ns := neighbour6(t)
	lawless(t, ns, hostAddr)
	return ns
}

// lawless makes a namespace send what a decent host would not: loopback addresses leave by the wire, to the gateway.
func lawless(t testing.TB, ns *os.File, gateway string) {
	t.Helper()
	inside(t, ns, func() error {
		for _, s := range []string{"ipv4/conf/eth0/route_localnet", "ipv4/conf/all/accept_local"} {
			if err := link.Sysctl(s, "1"); err != nil {
				return err
			}
		}
		return link.Sysctl("ipv4/conf/all/rp_filter", "0")
	})
	command(t, ns, "ip", "rule", "add", "pref", "0", "to", "127.0.0.0/8", "lookup", "7")
	command(t, ns, "ip", "route", "add", "127.0.0.0/8", "via", gateway, "dev", "eth0", "table", "7")
}

func TestAPortOnLoopbackIsTheHostsAlone(t *testing.T) {
	o := organ(t)
	addNetwork(t, o, core.Network{Name: "back", EnableIPv6: true})
	attacker := hostile(t)
	a := open(t, o, "a", in("back"), publish("127.0.0.1:5300:53/udp", "[::1]:5301:54/udp", "5302:55/udp"))
	four, six, public := listen(t, a.NS, "udp4", ":53"), listen(t, a.NS, "udp6", ":54"), listen(t, a.NS, "udp4", ":55")
	e := a.Endpoints["back"]
	ip, ip6 := e.Address.Addr().String(), e.AddressIPv6.Addr().String()

	sendFrom(t, nil, "", "127.0.0.1:5300", "host")
	sendFrom(t, attacker, neighbourAddr, hostAddr+":5302", "public")
	four.expect(t, "the host itself", "host")
	public.expect(t, "a port that is published everywhere", "public")

	// The attacker's own kernel must not deliver to its own loopback: lo is off.
	command(t, attacker, "ip", "link", "set", "lo", "down")
	for _, to := range []string{"127.0.0.1:5300", hostAddr + ":5300", ip + ":53", e.Gateway.String() + ":5300"} {
		sendFrom(t, attacker, neighbourAddr, to, "attack")
	}
	for _, to := range []string{"[" + hostAddr6 + "]:5301", "[" + ip6 + "]:54", "[" + e.GatewayIPv6.String() + "]:5301"} {
		sendFrom(t, attacker, neighbourAddr6, to, "attack")
	}
	four.expect(t, "packets to 127.0.0.1, the host and the container", "")
	six.expect(t, "packets over IPv6", "")

	// A container, whose bridge does route such addresses.
	b := open(t, o, "b", in("back"))
	lawless(t, b.NS, e.Gateway.String())
	for _, to := range []string{"127.0.0.1:5300", e.Gateway.String() + ":5300", hostAddr + ":5300"} {
		sendFrom(t, b.NS, b.Endpoints["back"].Address.Addr().String(), to, "attack")
	}
	command(t, b.NS, "ip", "addr", "add", "127.0.0.7/32", "dev", "eth0")
	sendFrom(t, b.NS, "127.0.0.7", e.Gateway.String()+":5302", "spoofed")
	four.expect(t, "packets of a neighbour container", "")
	public.expect(t, "packets of a neighbour container from 127.0.0.7", "")

	// With the address of loopback for a source.
	command(t, attacker, "ip", "addr", "add", "127.0.0.7/32", "dev", "eth0")
	for _, to := range []string{hostAddr + ":5302", ip + ":55", "127.0.0.1:5300"} {
		sendFrom(t, attacker, "127.0.0.7", to, "spoofed")
	}
	public.expect(t, "packets from 127.0.0.7", "")
	four.expect(t, "packets from 127.0.0.7 to 127.0.0.1", "")
}

func TestNoPortIsReachedByRoutingThatIsNotPublishedSo(t *testing.T) {
	o := organ(t)
	attacker := hostile(t)
	for _, c := range []struct {
		mode                     string
		options                  map[string]string
		published, other, byHost string
	}{
		{"nat", nil, "", "", "y y"},
		{"nat-unprotected", map[string]string{bridge.OptMode4: "nat-unprotected", bridge.OptMode6: "nat-unprotected"}, "y y", "y y", "y y"},
		{"routed", map[string]string{bridge.OptMode4: "routed", bridge.OptMode6: "routed"}, "y y", "", ""},
		{"trusted", map[string]string{bridge.OptTrusted: "nothing:" + wire(t)}, "y y", "", "y y"},
		{"trusted elsewhere", map[string]string{bridge.OptTrusted: "nothing"}, "", "", "y y"},
		{"icc off", map[string]string{bridge.OptICC: "false"}, "", "", "y y"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			addNetwork(t, o, core.Network{Name: "back", EnableIPv6: true, Options: c.options})
			a := open(t, o, "a", in("back"), publish("5300:53/udp"))
			e := a.Endpoints["back"]
			published, other := listen(t, a.NS, "udp", ":53"), listen(t, a.NS, "udp", ":54")
			all := func(ports ...string) {
				for _, host := range ports {
					sendFrom(t, attacker, "", host, "y")
				}
			}
			ip, ip6 := e.Address.Addr().String(), "["+e.AddressIPv6.Addr().String()+"]"
			all(ip+":53", ip6+":53")
			published.expect(t, "the published port", c.published)
			all(ip+":54", ip6+":54")
			other.expect(t, "another port", c.other)
			all(hostAddr+":5300", "["+hostAddr6+"]:5300")
			published.expect(t, "the host's port", c.byHost)
		})
	}
}

func TestNetworksAreApart(t *testing.T) {
	o := organ(t)
	for _, n := range []core.Network{{Name: "one", EnableIPv6: true}, {Name: "two", EnableIPv6: true}, {Name: "inner", EnableIPv6: true, Internal: true}} {
		addNetwork(t, o, n)
	}
	one, two, inner := open(t, o, "one", in("one")), open(t, o, "two", in("two")), open(t, o, "inner", in("inner"))
	neighbourOf := open(t, o, "beside", in("one"))
	ear := listen(t, one.NS, "udp", ":53")
	e := one.Endpoints["one"]
	targets := []string{e.Address.Addr().String() + ":53", "[" + e.AddressIPv6.Addr().String() + "]:53"}
	try := func(what string, from *box, want string) {
		t.Helper()
		for _, to := range targets {
			sendFrom(t, from.NS, "", to, "y")
		}
		ear.expect(t, what, want)
	}
	try("from the same network", neighbourOf, "y y")
	try("from another network", two, "")
	// An internal network has no way out; the container makes itself one.
	i := inner.Endpoints["inner"]
	gateway4, gateway6 := gateways(t, o, "inner")
	routeTo(t, inner.NS, "default", gateway4, i.Interface)
	command(t, inner.NS, "ip", "-6", "route", "replace", "default", "via", gateway6, "dev", i.Interface)
	try("from an internal network", inner, "")
	// And nobody gets in.
	ear = listen(t, inner.NS, "udp", ":53")
	targets = []string{i.Address.Addr().String() + ":53", "[" + i.AddressIPv6.Addr().String() + "]:53"}
	try("into an internal network", one, "")
}

// gateways are the addresses of a network's bridge.
func gateways(t testing.TB, o *Organ, name string) (v4, v6 string) {
	t.Helper()
	n, err := o.Networks.Lookup(t.Context(), name)
	check(t, err)
	for _, p := range n.IPAM.Pools {
		if p.Gateway.Is4() {
			v4 = p.Gateway.String()
		} else {
			v6 = p.Gateway.String()
		}
	}
	return v4, v6
}

func TestAnInternalNetworkReachesNothingOutside(t *testing.T) {
	o := organ(t)
	outside := hostile(t)
	addNetwork(t, o, core.Network{Name: "inner", EnableIPv6: true, Internal: true})
	addNetwork(t, o, core.Network{Name: "open", EnableIPv6: true})
	wild, host := listen(t, outside, "udp", ":53"), listen(t, nil, "udp", ":53")
	for _, c := range []struct{ network, wild, host string }{{"open", "y y", "y y y y"}, {"inner", "", "y y"}} {
		b := open(t, o, "in-"+c.network, in(c.network))
		e := b.Endpoints[c.network]
		gateway4, gateway6 := gateways(t, o, c.network)
		routeTo(t, b.NS, "default", gateway4, e.Interface)
		command(t, b.NS, "ip", "-6", "route", "replace", "default", "via", gateway6, "dev", e.Interface)
		for _, to := range []string{neighbourAddr + ":53", "[" + neighbourAddr6 + "]:53"} {
			sendFrom(t, b.NS, "", to, "y")
		}
		wild.expect(t, c.network+": the outside", c.wild)
		for _, to := range []string{gateway4 + ":53", "[" + gateway6 + "]:53", hostAddr + ":53", "[" + hostAddr6 + "]:53"} {
			sendFrom(t, b.NS, "", to, "y")
		}
		host.expect(t, c.network+": the host", c.host)
		// Nor does the outside reach it, knowing its address.
		ear := listen(t, b.NS, "udp", ":54")
		sendFrom(t, outside, "", e.Address.Addr().String()+":54", "y")
		sendFrom(t, outside, "", "["+e.AddressIPv6.Addr().String()+"]:54", "y")
		ear.expect(t, c.network+": from outside", "")
	}
}

func TestInAnIsolatedNetworkTheHostIsNotThere(t *testing.T) {
	o := organ(t)
	addNetwork(t, o, core.Network{Name: "alone", EnableIPv6: true, Internal: true, Options: map[string]string{bridge.OptMode4: "isolated", bridge.OptMode6: "isolated"}})
	a, b := open(t, o, "a", in("alone")), open(t, o, "b", in("alone"))
	serve(t, b.NS, ":80", "b")
	own := a.Endpoints["alone"].Address.Addr().String()
	expect(t, "a neighbour", get(t, a.NS, "tcp", b.Endpoints["alone"].Address.Addr().String()+":80"), "b "+own)
	list, err := link.List()
	check(t, err)
	for _, l := range list {
		if !strings.HasPrefix(l.Name, "br-") {
			continue
		}
		addrs, err := link.Addresses(l.Index)
		check(t, err)
		if len(addrs) > 0 {
			t.Errorf("the host has %v there", addrs)
		}
	}
	expect(t, "from the host", get(t, nil, "tcp", b.Endpoints["alone"].Address.Addr().String()+":80"), "")
}

func TestWithoutICCNeighboursDoNotMeetEvenThroughTheHost(t *testing.T) {
	o := organ(t)
	addNetwork(t, o, core.Network{Name: "apart", EnableIPv6: true, Options: map[string]string{bridge.OptICC: "false"}})
	a, b := open(t, o, "a", in("apart"), publish("5300:53/udp")), open(t, o, "b", in("apart"))
	ear := listen(t, a.NS, "udp", ":53")
	e := a.Endpoints["apart"]
	ip, ip6 := e.Address.Addr().String(), e.AddressIPv6.Addr().String()
	sendFrom(t, b.NS, "", ip+":53", "direct")
	sendFrom(t, b.NS, "", "["+ip6+"]:53", "direct")
	routeTo(t, b.NS, ip+"/32", e.Gateway.String(), "eth0")
	routeTo(t, b.NS, ip6+"/128", e.GatewayIPv6.String(), "eth0")
	sendFrom(t, b.NS, "", ip+":53", "by-the-host")
	sendFrom(t, b.NS, "", "["+ip6+"]:53", "by-the-host")
	ear.expect(t, "what is not published", "")
	// Where bridged packets are filtered, one to a published port never leaves the bridge, and the ports are apart.
	if on, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables"); err == nil {
		check(t, link.Sysctl("bridge/bridge-nf-call-iptables", "0"))
		t.Cleanup(func() { check(t, link.Sysctl("bridge/bridge-nf-call-iptables", strings.TrimSpace(string(on)))) })
	}
	sendFrom(t, b.NS, "", e.Gateway.String()+":5300", "published")
	ear.expect(t, "what is published", "published")
}
