package network

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/linux/netns"
)

// remove deletes an interface of the host, as somebody might.
func remove(t *testing.T, name string) {
	t.Helper()
	conn, err := link.Dial()
	check(t, err)
	defer conn.Close()
	var b link.Batch
	b.Delete(name)
	check(t, conn.Apply(t.Context(), &b))
}

func TestABridgeThatSomebodyDeletedIsMadeAgain(t *testing.T) {
	o := organ(t)
	outside := neighbour(t)
	addNetwork(t, o, core.Network{Name: "back", Options: map[string]string{"com.docker.network.bridge.name": "br-back"}})
	for network, bridge := range map[string]string{core.NetworkBridge: "berth0", "back": "br-back"} {
		before := open(t, o, "before-"+network, in(network), publish("8080:80/tcp"))
		serve(t, before.NS, ":80", "before")
		expect(t, network+": before", get(t, outside, "tcp", hostAddr+":8080"), "before "+neighbourAddr)
		remove(t, bridge)
		expect(t, network+": without a bridge", get(t, outside, "tcp", hostAddr+":8080"), "")
		after := open(t, o, "after-"+network, in(network))
		expect(t, network+": once another came", get(t, outside, "tcp", hostAddr+":8080"), "before "+neighbourAddr)
		expect(t, network+": from the other", get(t, after.NS, "tcp", before.Endpoints[network].Address.Addr().String()+":80"), "before "+after.Endpoints[network].Address.Addr().String())
		remove(t, bridge)
		joiner := open(t, o, "joiner-"+network, in())
		_, _, err := o.Sandboxes.Connect(t.Context(), joiner.spec.Container, network, core.Endpoint{})
		check(t, err)
		expect(t, network+": once another was connected", get(t, joiner.NS, "tcp", hostAddr+":8080"), "before "+before.Endpoints[network].Gateway.String())
		before.close(t)
	}
}

// adopted is a container that the next daemon takes over.
type adopted struct {
	spec   core.Sandbox
	joined core.Joined
	ns     *os.File
}

// adopt lets the daemon die and its successor take the container over, after something has happened to it. Endpoints of
// the record may be changed.
func succession(t *testing.T, networks []string, happens func(first *Organ, a *adopted)) (*Organ, *adopted) {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	first, err := New(t.Context(), Options{Dir: dir})
	check(t, err)
	check(t, first.Sandboxes.Restore(t.Context(), nil))
	for _, n := range []string{"one", "two"} {
		_, err := first.Networks.Create(t.Context(), core.Network{Name: n, EnableIPv4: true})
		check(t, err)
	}
	a := &adopted{spec: core.Sandbox{Container: core.ContainerID(id.New()), Name: "web", Hostname: "web", Dir: t.TempDir()}}
	in(networks...)(&a.spec)
	publish("127.0.0.1:8080:80/tcp")(&a.spec)
	a.joined, err = first.Sandboxes.Open(t.Context(), a.spec)
	check(t, err)
	a.ns, err = netns.Duplicate(a.joined.NS)
	check(t, err)
	t.Cleanup(func() { a.ns.Close() })
	serve(t, a.ns, ":80", "web")
	a.spec.PID = sleeper(t, a.joined.NS)
	a.joined.NS.Close()
	happens(first, a)
	check(t, first.Shutdown(t.Context(), false))
	second, err := New(t.Context(), Options{Dir: dir})
	check(t, err)
	t.Cleanup(func() { check(t, second.Shutdown(context.Background(), true)) })
	a.spec.Endpoints, a.spec.Published = a.joined.Endpoints, a.joined.Ports
	check(t, second.Sandboxes.Restore(t.Context(), []core.Sandbox{a.spec}))
	return second, a
}

// interfaces are those inside, but for the loopback.
func (a *adopted) interfaces(t *testing.T) string {
	t.Helper()
	var names []string
	inside(t, a.ns, func() error {
		list, err := link.List()
		for _, l := range list {
			if l.Name != "lo" {
				names = append(names, l.Name)
			}
		}
		return err
	})
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestADaemonThatDiedInBetweenIsRepaired(t *testing.T) {
	for name, test := range map[string]struct {
		networks []string
		happens  func(t *testing.T, first *Organ, a *adopted)
		want     string
	}{
		"it died while it connected: the interface goes, and the route with it": {[]string{"one"}, func(t *testing.T, first *Organ, a *adopted) {
			_, _, err := first.Sandboxes.Connect(t.Context(), a.spec.Container, "two", core.Endpoint{GwPriority: 7})
			check(t, err)
		}, "eth0"},
		"it died while it disconnected: the interface comes back": {[]string{"one", "two"}, func(t *testing.T, first *Organ, a *adopted) {
			_, err := first.Sandboxes.Disconnect(t.Context(), a.spec.Container, "one")
			check(t, err)
		}, "eth0 eth1"},
		"somebody deleted the interface": {[]string{"one"}, func(t *testing.T, first *Organ, _ *adopted) {
			for _, sb := range first.sandboxes {
				remove(t, sb.endpoints[0].host)
			}
		}, "eth0"},
		"somebody deleted the bridge": {[]string{"one"}, func(t *testing.T, first *Organ, _ *adopted) {
			remove(t, first.byName("one").Link)
		}, "eth0"},
		"nothing happened": {[]string{"one", "two"}, func(*testing.T, *Organ, *adopted) {}, "eth0 eth1"},
	} {
		t.Run(name, func(t *testing.T) {
			outside := neighbour(t)
			serve(t, outside, ":80", "outside")
			o, a := succession(t, test.networks, func(first *Organ, a *adopted) { test.happens(t, first, a) })
			expect(t, "interfaces", a.interfaces(t), test.want)
			expect(t, "the published port", get(t, nil, "tcp", hostLoopback+":8080"), "web "+a.joined.Endpoints["one"].Gateway.String())
			expect(t, "the way out", get(t, a.ns, "tcp", neighbourAddr+":80"), "outside "+hostAddr)
			peer := open(t, o, "peer", in("one"))
			expect(t, "a neighbour", get(t, peer.NS, "tcp", a.joined.Endpoints["one"].Address.Addr().String()+":80"), "web "+peer.Endpoints["one"].Address.Addr().String())
			// Each port of a bridge belongs to the container, or to what is kept ready.
			ports, err := o.ports()
			check(t, err)
			sb := o.sandbox(a.spec.Container)
			for _, e := range sb.endpoints {
				if !slices.Contains(ports, e.host) {
					t.Errorf("%s is no port of a bridge: %v", e.host, ports)
				}
			}
			check(t, o.Sandboxes.Close(t.Context(), a.spec.Container))
		})
	}
}

func TestANetworkThatWasHalfMadeGoes(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	first, err := New(t.Context(), Options{Dir: dir})
	check(t, err)
	check(t, first.Sandboxes.Restore(t.Context(), nil))
	// It dies with the bridge made and the network not written down.
	n := &network{}
	n.Network.Network = core.Network{ID: core.NetworkID(id.New()), Name: "half", Driver: driverBridge, EnableIPv4: true, Options: map[string]string{}}
	n.driver, err = first.driverFor(driverBridge)
	check(t, err)
	check(t, first.complete(n))
	check(t, first.intend(n))
	check(t, first.up(t.Context(), n))
	if !link.Exists(n.Link) {
		t.Fatal("no bridge was made")
	}
	check(t, first.Shutdown(t.Context(), false))
	conn, err := link.Dial()
	check(t, err)
	defer conn.Close()
	var b link.Batch
	b.AddBridge(link.Bridge{Name: n.Link, MTU: 1500, MAC: link.RandomMAC()})
	check(t, conn.Apply(t.Context(), &b))

	second, err := New(t.Context(), Options{Dir: dir})
	check(t, err)
	t.Cleanup(func() { check(t, second.Shutdown(context.Background(), true)) })
	check(t, second.Sandboxes.Restore(t.Context(), nil))
	if link.Exists(n.Link) {
		t.Errorf("the bridge %s is left", n.Link)
	}
	if _, err := second.Networks.Lookup(t.Context(), "half"); err == nil {
		t.Error("the network is there")
	}
	again, err := second.Networks.Create(t.Context(), core.Network{Name: "half", EnableIPv4: true})
	check(t, err)
	expect(t, "its subnet is free", fmt.Sprint(again.IPAM.Pools[0].Subnet), fmt.Sprint(n.IPv4.Subnet()))
	check(t, second.Networks.Remove(t.Context(), again.ID))
}
