package network

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/berth-engine/berth/core"
)

func TestPublishedPortIsReachableFromEverywhere(t *testing.T) {
	o := organ(t)
	outside := neighbour(t)
	web := open(t, o, "web", publish("8080:80/tcp", "5353:53/udp"))
	other := open(t, o, "other")
	addNetwork(t, o, core.Network{Name: "back"})
	far := open(t, o, "far", in("back"))
	serve(t, web.NS, ":80", "hello")
	serve(t, web.NS, ":81", "secret")
	serveUDP(t, web.NS, ":53", "datagram")
	ip := web.Endpoints["bridge"].Address.Addr().String()
	gateway := web.Endpoints["bridge"].Gateway.String()

	expect(t, "127.0.0.1", get(t, nil, "tcp", "127.0.0.1:8080"), "hello "+gateway)
	expect(t, "the host's address", get(t, nil, "tcp", hostAddr+":8080"), "hello "+hostAddr)
	expect(t, "the bridge's address", get(t, nil, "tcp", gateway+":8080"), "hello "+gateway)
	expect(t, "the container's address", get(t, nil, "tcp", ip+":80"), "hello "+gateway)
	expect(t, "::1", get(t, nil, "tcp", "[::1]:8080"), "hello "+gateway)
	expect(t, "from a neighbour", get(t, outside, "tcp", hostAddr+":8080"), "hello "+neighbourAddr)
	expect(t, "from another container", get(t, other.NS, "tcp", hostAddr+":8080"), "hello "+gateway)
	expect(t, "from itself", get(t, web.NS, "tcp", hostAddr+":8080"), "hello "+gateway)
	if got := get(t, far.NS, "tcp", hostAddr+":8080"); got == "" {
		t.Error("from another network: no answer")
	}
	for _, addr := range []string{"127.0.0.1", hostAddr, gateway, "[::1]"} {
		expect(t, "udp "+addr, get(t, nil, "udp", addr+":5353"), "datagram")
	}
	expect(t, "udp from a neighbour", get(t, outside, "udp", hostAddr+":5353"), "datagram")
	expect(t, "udp from another container", get(t, other.NS, "udp", hostAddr+":5353"), "datagram")

	expect(t, "unpublished port by routing from a neighbour", get(t, outside, "tcp", ip+":81"), "")
	expect(t, "published port by routing from a neighbour", get(t, outside, "tcp", ip+":80"), "")
	expect(t, "unpublished port from another network", get(t, far.NS, "tcp", ip+":81"), "")
	expect(t, "unpublished port from the same network", get(t, other.NS, "tcp", ip+":81"), "secret "+other.Endpoints["bridge"].Address.Addr().String())

	web.close(t)
	expect(t, "after the end", get(t, nil, "tcp", "127.0.0.1:8080"), "")
}

func TestContainersReachTheOutside(t *testing.T) {
	o := organ(t)
	outside := neighbour(t)
	serve(t, outside, ":80", "outside")
	addNetwork(t, o, core.Network{Name: "inner", Internal: true})
	expect(t, "default bridge", get(t, open(t, o, "a").NS, "tcp", neighbourAddr+":80"), "outside "+hostAddr)
	inner := open(t, o, "b", in("inner"), publish("8081:80/tcp"))
	expect(t, "internal", get(t, inner.NS, "tcp", neighbourAddr+":80"), "")
	serve(t, inner.NS, ":80", "inner")
	expect(t, "internal from the host's port", get(t, nil, "tcp", "127.0.0.1:8081"), "")
	if len(inner.Ports) != 0 {
		t.Errorf("an internal network published %v", inner.Ports)
	}
	none := open(t, o, "c", in())
	expect(t, "none", get(t, none.NS, "tcp", neighbourAddr+":80"), "")
	serve(t, none.NS, "127.0.0.1:80", "self")
	expect(t, "loopback of none", get(t, none.NS, "tcp", "127.0.0.1:80"), "self 127.0.0.1")
}

func BenchmarkOpenClose(b *testing.B) {
	for name, change := range map[string]func(*core.Sandbox){
		"none":                in(),
		"bridge":              in(core.NetworkBridge),
		"bridge with a port":  publish("8080:80/tcp"),
		"user-defined":        in("back"),
		"bridge and a second": in(core.NetworkBridge, "back"),
	} {
		b.Run(name, func(b *testing.B) {
			o := organ(b)
			addNetwork(b, o, core.Network{Name: "back"})
			spec := core.Sandbox{Name: "x", Hostname: "x", Dir: b.TempDir(), Endpoints: map[string]*core.Endpoint{core.NetworkBridge: {}}}
			change(&spec)
			b.ResetTimer()
			for i := range b.N {
				b.StopTimer()
				for len(o.ready.places[attached]) == 0 || len(o.ready.places[loose]) == 0 || len(o.ready.places[bare]) == 0 {
					o.ready.refill()
					runtime.Gosched()
				}
				b.StartTimer()
				spec.Container = core.ContainerID(fmt.Sprintf("%064x", i))
				j, err := o.Sandboxes.Open(b.Context(), spec)
				check(b, err)
				j.NS.Close()
				check(b, o.Sandboxes.Close(b.Context(), spec.Container))
			}
		})
	}
}
