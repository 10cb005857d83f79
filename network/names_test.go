package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/netns"
	resolver "github.com/berth-engine/berth/network/dns"
)

func TestNamesOverTCPAndOfBothFamilies(t *testing.T) {
	o := organ(t)
	addNetwork(t, o, core.Network{Name: "sea", EnableIPv6: true, IPAM: core.IPAM{Pools: []core.IPPool{
		{Subnet: netip.MustParsePrefix("10.77.0.0/24")}, {Subnet: netip.MustParsePrefix("fd77::/64")},
	}}})
	a, b := open(t, o, "a", in("sea")), open(t, o, "b", in("sea"))
	e := b.Endpoints["sea"]
	for kind, want := range map[uint16]string{dns.TypeA: e.Address.Addr().String(), dns.TypeAAAA: e.AddressIPv6.Addr().String()} {
		got, _ := ask(t, a.NS, "b", kind)
		expect(t, dns.TypeToString[kind], fmt.Sprint(got), "["+want+"]")
		reverse, err := dns.ReverseAddr(want)
		check(t, err)
		got, _ = ask(t, a.NS, reverse, dns.TypePTR)
		expect(t, "reverse of "+want, fmt.Sprint(got), "[b.sea.]")
	}
	inside(t, a.NS, func() error {
		client := dns.Client{Net: "tcp", Timeout: 20 * time.Second}
		reply, _, err := client.Exchange(new(dns.Msg).SetQuestion("b.", dns.TypeA), "127.0.0.11:53")
		if err == nil && len(reply.Answer) != 1 {
			err = fmt.Errorf("the answer is %s", reply)
		}
		return err
	})
}

func TestAQuestionOutlivesItsNameServer(t *testing.T) {
	o := organ(t)
	addNetwork(t, o, core.Network{Name: "back"})
	a := open(t, o, "a", in("back"))
	sb := o.sandbox(a.spec.Container)
	var conn net.Conn
	inside(t, a.NS, func() (err error) { conn, err = net.Dial("udp", "127.0.0.11:53"); return err })
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	query, err := new(dns.Msg).SetQuestion("a.", dns.TypeA).Pack()
	check(t, err)
	buf := make([]byte, 512)
	_, err = conn.Write(query)
	check(t, err)
	_, err = conn.Read(buf)
	check(t, err)

	// The daemon dies: its sockets go, the packet filter stays.
	sb.op.Lock()
	defer sb.op.Unlock()
	check(t, sb.resolver.Close())
	sb.resolver, sb.serving = nil, false
	_, err = conn.Write(query)
	check(t, err)
	check(t, conn.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
	if _, err = conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who asks a dead name server must wait and ask again, but is told: %v", err)
	}
	inside(t, a.NS, func() error {
		_, err := net.DialTimeout("tcp", "127.0.0.11:53", 200*time.Millisecond)
		if slow, ok := err.(net.Error); !ok || !slow.Timeout() {
			return fmt.Errorf("who connects to a dead name server is told: %v", err)
		}
		return nil
	})
	// The next daemon takes the container over.
	sb.PID = os.Getpid()
	check(t, sb.names(t.Context()))
	check(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = conn.Write(query) // the library's retry, from the same socket
	check(t, err)
	n, err := conn.Read(buf)
	check(t, err)
	var reply dns.Msg
	check(t, reply.Unpack(buf[:n]))
	if len(reply.Answer) != 1 {
		t.Errorf("the answer is %s", &reply)
	}
}

func TestABrokenServerOutsideIsAskedLast(t *testing.T) {
	dead, err := listenPacket("127.0.0.1:53") // it never answers
	check(t, err)
	defer dead.Close()
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	check(t, os.WriteFile(conf, []byte("nameserver 127.0.0.1\nnameserver "+neighbourAddr+"\n"), 0o644))
	o := organ(t, func(o *Options) { o.ResolvConf = conf })
	outside := neighbour(t)
	addNetwork(t, o, core.Network{Name: "back"})
	serveDNS(t, outside, neighbourAddr+":53", "203.0.113.7")
	a := open(t, o, "a", in("back"))
	for range 4 { // each of them would wait for the dead one
		got, _ := ask(t, a.NS, "example.com", dns.TypeA)
		expect(t, "the second server", fmt.Sprint(got), "[203.0.113.7]")
	}
	asked := 0
	check(t, dead.SetReadDeadline(time.Now().Add(time.Millisecond)))
	for buf := make([]byte, 512); ; asked++ {
		if _, _, err := dead.ReadFrom(buf); err != nil {
			break
		}
	}
	if asked != 1 {
		t.Errorf("the broken server was asked %d times", asked)
	}
}

// BenchmarkNames asks a container's name server from inside, by several clients with several questions on their way.
func BenchmarkNames(b *testing.B) {
	o := organ(b)
	addNetwork(b, o, core.Network{Name: "back"})
	a := open(b, o, "a", in("back"))
	query, err := new(dns.Msg).SetQuestion("a.", dns.TypeA).Pack()
	check(b, err)
	const clients, window = 4, 8
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	b.ResetTimer()
	for range clients {
		var conn net.Conn
		check(b, netns.Do(a.NS, func() (err error) { conn, err = net.Dial("udp", resolver.Address().String()+":53"); return err }))
		all.Go(func() {
			defer conn.Close()
			buf := make([]byte, 512)
			for range window {
				_, _ = conn.Write(query)
			}
			for left.Add(-1) > 0 {
				if _, err := conn.Read(buf); err != nil {
					b.Error(err)
					return
				}
				_, _ = conn.Write(query)
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}
