package network

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/netns"
)

func TestPublishedPortsOfBothFamilies(t *testing.T) {
	o := organ(t)
	outside := neighbour6(t)
	addNetwork(t, o, core.Network{Name: "both", EnableIPv6: true, IPAM: core.IPAM{Pools: []core.IPPool{
		{Subnet: netip.MustParsePrefix("10.78.0.0/24")}, {Subnet: netip.MustParsePrefix("fd78::/64")},
	}}})
	addNetwork(t, o, core.Network{Name: "plain"})
	web := open(t, o, "web", in("both"), publish("8080:80/tcp", "[::1]:8081:80/tcp", "[2001:db8::1]:8082:80/tcp", "192.0.2.1:8083:80/tcp", "5353:53/udp"))
	peer, far := open(t, o, "peer", in("both")), open(t, o, "far", in("plain"))
	serve(t, web.NS, ":80", "web")
	serveUDP(t, web.NS, ":53", "datagram")
	e := web.Endpoints["both"]
	for _, test := range []struct {
		what string
		from *os.File
		addr string
		want string // the client that the container sees
	}{
		{"127.0.0.1", nil, hostLoopback + ":8080", e.Gateway.String()},
		{"::1 is passed on by the daemon", nil, "[::1]:8080", e.Gateway.String()},
		{"the host's address", nil, hostAddr + ":8080", hostAddr},
		{"the host's address of IPv6", nil, "[" + hostAddr6 + "]:8080", hostAddr6},
		{"a neighbour", outside, hostAddr + ":8080", neighbourAddr},
		{"a neighbour over IPv6", outside, "[" + hostAddr6 + "]:8080", neighbourAddr6},
		{"the same network", peer.NS, hostAddr + ":8080", e.Gateway.String()},
		{"the same network over IPv6", peer.NS, "[" + hostAddr6 + "]:8080", e.GatewayIPv6.String()},
		{"the same network by the bridge", peer.NS, e.Gateway.String() + ":8080", e.Gateway.String()},
		{"another network", far.NS, hostAddr + ":8080", e.Gateway.String()},
		{"itself", web.NS, hostAddr + ":8080", e.Gateway.String()},
		{"itself over IPv6", web.NS, "[" + hostAddr6 + "]:8080", e.GatewayIPv6.String()},
		{"::1 alone, from ::1", nil, "[::1]:8081", e.Gateway.String()},
		{"::1 alone, from 127.0.0.1", nil, hostLoopback + ":8081", ""},
		{"::1 alone, from a neighbour", outside, "[" + hostAddr6 + "]:8081", ""},
		{"one address, from there", outside, "[" + hostAddr6 + "]:8082", neighbourAddr6},
		{"one address, from 127.0.0.1", nil, hostLoopback + ":8082", ""},
		{"one address of IPv4", outside, hostAddr + ":8083", neighbourAddr},
		{"one address of IPv4, over IPv6", outside, "[" + hostAddr6 + "]:8083", ""},
	} {
		want := ""
		if test.want != "" {
			want = "web " + test.want
		}
		expect(t, test.what, get(t, test.from, "tcp", test.addr), want)
	}
	for what, from := range map[string]*os.File{"the host": nil, "a neighbour": outside, "the same network": peer.NS} {
		expect(t, "udp from "+what, get(t, from, "udp", hostAddr+":5353"), "datagram")
		expect(t, "udp over IPv6 from "+what, get(t, from, "udp", "["+hostAddr6+"]:5353"), "datagram")
	}
	expect(t, "udp to ::1", get(t, nil, "udp", "[::1]:5353"), "datagram")
}

func TestRangesAndPortsOfTheHostsChoice(t *testing.T) {
	o := organ(t)
	taken, err := net.Listen("tcp", "0.0.0.0:8001")
	check(t, err)
	defer taken.Close()
	// As `-p 8000-8002:80`: the first that is free. A second container gets the next.
	a, b := open(t, o, "a", publish("8000-8002:80/tcp")), open(t, o, "b", publish("8000-8002:80/tcp"))
	serve(t, a.NS, ":80", "a")
	serve(t, b.NS, ":80", "b")
	expect(t, "the first of the range", get(t, nil, "tcp", hostLoopback+":8000"), "a 172.17.0.1")
	expect(t, "the next that is free", get(t, nil, "tcp", hostLoopback+":8002"), "b 172.17.0.1")
	if _, err := tryOpen(t, o, "c", publish("8000-8002:80/tcp")); err == nil {
		t.Error("a fourth port in a range of three")
	}
	// -P: each port that is exposed and has no binding.
	all := open(t, o, "all", publish(":80/tcp"), func(s *core.Sandbox) {
		s.PublishAll = true
		s.Exposed = []core.Port{{Number: 80, Protocol: core.TCP}, {Number: 81, Protocol: core.TCP}, {Number: 81, Protocol: core.UDP}}
	})
	serve(t, all.NS, ":81", "all")
	seen := map[string]int{}
	low, high := ephemeral(t)
	for _, p := range all.Ports {
		seen[p.Port.String()]++
		if p.HostPort < low || p.HostPort > high {
			t.Errorf("the host's choice is %d, not of %d to %d", p.HostPort, low, high)
		}
		if p.Port.Number == 81 && p.Port.Protocol == core.TCP && p.HostIP.Is4() {
			expect(t, "a port of the host's choice", get(t, nil, "tcp", hostLoopback+":"+strconv.Itoa(int(p.HostPort))), "all 172.17.0.1")
		}
	}
	if seen["80/tcp"] == 0 || seen["81/tcp"] == 0 || seen["81/udp"] == 0 || len(seen) != 3 {
		t.Errorf("published: %v", seen)
	}
}

func ephemeral(t *testing.T) (low, high uint16) {
	t.Helper()
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	check(t, err)
	_, err = fmt.Sscan(string(data), &low, &high)
	check(t, err)
	return low, high
}

func TestDatagramsFindTheContainerThatIsThereNow(t *testing.T) {
	o := organ(t)
	outside := neighbour(t)
	client := func(ns *os.File, addr string) *net.UDPConn {
		t.Helper()
		var conn net.Conn
		inside(t, ns, func() (err error) { conn, err = net.Dial("udp", addr); return err })
		t.Cleanup(func() { conn.Close() })
		return conn.(*net.UDPConn)
	}
	clients := map[string]*net.UDPConn{"a neighbour": client(outside, hostAddr+":5353"), "127.0.0.1": client(nil, hostLoopback+":5353")}
	buf := make([]byte, 100)
	// The same sockets, so the same flows, before and after.
	for _, name := range []string{"first", "second", "third"} {
		c := open(t, o, name, publish("5353:53/udp"))
		serveUDP(t, c.NS, ":53", name)
		for from, conn := range clients {
			check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
			_, err := conn.Write([]byte("?"))
			check(t, err)
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%s, asked from %s: %v", name, from, err)
			}
			expect(t, "asked from "+from, string(buf[:n]), name)
		}
		c.close(t)
	}
}

// TestSCTPIsTranslated sends the first packet of an association: the kernel here need not have the protocol itself.
func TestSCTPIsTranslated(t *testing.T) {
	o := organ(t)
	outside := neighbour(t)
	web := open(t, o, "web", publish("3868:38/sctp"))
	var listener *net.IPConn
	inside(t, web.NS, func() (err error) { listener, err = net.ListenIP("ip4:132", nil); return err })
	defer listener.Close()
	packet := make([]byte, 12+20)
	binary.BigEndian.PutUint16(packet[0:], 40000)
	binary.BigEndian.PutUint16(packet[2:], 3868)
	packet[12], packet[15] = 1, 20 // INIT, with its length
	binary.BigEndian.PutUint32(packet[16:], 4711)
	binary.BigEndian.PutUint32(packet[20:], 65536)
	packet[25], packet[27] = 1, 1 // streams
	binary.LittleEndian.PutUint32(packet[8:], crc32.Checksum(packet, crc32.MakeTable(crc32.Castagnoli)))
	check(t, netns.Do(outside, func() error {
		conn, err := net.Dial("ip4:132", hostAddr)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write(packet)
		return err
	}))
	check(t, listener.SetDeadline(time.Now().Add(20*time.Second)))
	got := make([]byte, 1500)
	n, from, err := listener.ReadFromIP(got)
	check(t, err)
	if n != len(packet) || binary.BigEndian.Uint16(got[2:]) != 38 || from.String() != neighbourAddr {
		t.Errorf("% x from %s", got[:n], from)
	}
}
