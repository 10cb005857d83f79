package network

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/bridge"
	"github.com/berth-engine/berth/network/driver"
	"github.com/berth-engine/berth/network/vlan"
)

func pools(subnet, gateway string) core.IPAM {
	p := core.IPPool{Subnet: netip.MustParsePrefix(subnet)}
	if gateway != "" {
		p.Gateway = netip.MustParseAddr(gateway)
	}
	return core.IPAM{Pools: []core.IPPool{p}}
}

// can skips a test where the kernel can't make interfaces of a kind.
func can(t *testing.T, o *Organ, kind string) {
	t.Helper()
	n, err := o.Networks.Create(t.Context(), core.Network{Name: "can", Driver: kind, EnableIPv4: true})
	if errdefs.IsNotImplemented(err) {
		if !strings.Contains(err.Error(), "this kernel does not have the interfaces that the network driver \""+kind+"\" needs") {
			t.Error(err)
		}
		t.Skip(err)
	}
	check(t, err)
	check(t, o.Networks.Remove(t.Context(), n.ID))
}

func TestContainersOnTheHostsWire(t *testing.T) {
	for _, c := range []struct {
		kind  string
		modes []map[string]string
	}{
		{"macvlan", []map[string]string{{}, {vlan.OptMacvlan: "private"}, {vlan.OptMacvlan: "vepa"}, {vlan.OptMacvlan: "passthru"}}},
		{"ipvlan", []map[string]string{{}, {vlan.OptIPvlan: "l2", vlan.OptFlag: "private"}, {vlan.OptIPvlan: "l3"}, {vlan.OptIPvlan: "l3s"}}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			o := organ(t)
			can(t, o, c.kind)
			outside := neighbour6(t)
			serve(t, outside, ":80", "outside")
			for _, options := range c.modes {
				name := options[vlan.OptMacvlan] + options[vlan.OptIPvlan] + options[vlan.OptFlag]
				t.Run(name, func(t *testing.T) {
					options[vlan.OptParent], options[driver.OptMTU] = wire(t), "1400"
					addNetwork(t, o, core.Network{Name: "lan", Driver: c.kind, Options: options, EnableIPv6: true, IPAM: core.IPAM{Pools: []core.IPPool{
						{Subnet: netip.MustParsePrefix("192.0.2.0/24"), Range: netip.MustParsePrefix("192.0.2.64/26"), Gateway: netip.MustParseAddr(neighbourAddr)},
						{Subnet: netip.MustParsePrefix("198.51.100.0/24")},
						{Subnet: netip.MustParsePrefix("2001:db8::/64"), Range: netip.MustParsePrefix("2001:db8::40/122")},
					}}})
					// Twice, since what the first one had must be free for the second one.
					for range 2 {
						a := open(t, o, "a", in("lan"), publish("8080:80/tcp"))
						e := a.Endpoints["lan"]
						expect(t, "address", e.Address.String()+" "+e.AddressIPv6.String(), "192.0.2.64/24 2001:db8::40/64")
						if len(a.Ports) > 0 {
							t.Errorf("published: %v", a.Ports)
						}
						// In the modes of layer 3 nobody asks for neighbours: the outside needs a route.
						if mode := options[vlan.OptIPvlan]; !strings.HasPrefix(mode, "l3") {
							expect(t, "outside", get(t, a.NS, "tcp", neighbourAddr+":80"), "outside 192.0.2.64")
							serve(t, a.NS, ":80", "a")
							expect(t, "from outside", get(t, outside, "tcp", "192.0.2.64:80"), "a "+neighbourAddr)
						}
						inside(t, a.NS, func() error {
							l, err := link.Find(e.Interface)
							if err == nil && (l.MTU != 1400 || len(e.MAC) > 0 && l.MAC.String() != e.MAC.String()) {
								t.Errorf("interface: %+v, endpoint: %v", l, e.MAC)
							}
							return err
						})
						got, _ := ask(t, a.NS, "a", 1)
						expect(t, "its name", strings.Join(got, " "), "192.0.2.64")
						a.close(t)
					}
				})
			}
		})
	}
}

func TestAMacvlanWithoutAParentIsInternal(t *testing.T) {
	o := organ(t)
	can(t, o, "macvlan")
	before := strings.Join(links(t), " ")
	n, err := o.Networks.Create(t.Context(), core.Network{Name: "lone", Driver: "macvlan", EnableIPv4: true})
	check(t, err)
	if !n.Internal || n.IPAM.Pools[0].Gateway.IsValid() {
		t.Errorf("made: %+v", n)
	}
	a, b := open(t, o, "a", in("lone")), open(t, o, "b", in("lone"))
	serve(t, b.NS, ":80", "b")
	other := b.Endpoints["lone"].Address.Addr().String() + ":80"
	expect(t, "a neighbour", get(t, a.NS, "tcp", other), "b "+a.Endpoints["lone"].Address.Addr().String())

	// One that runs joins a further network, and leaves.
	back := addNetwork(t, o, core.Network{Name: "back"})
	c := open(t, o, "c", in("back"), publish("8080:80/tcp"))
	serve(t, c.NS, ":80", "c")
	e, _, err := o.Sandboxes.Connect(t.Context(), c.spec.Container, "lone", core.Endpoint{})
	check(t, err)
	expect(t, "after connect", get(t, c.NS, "tcp", other), "b "+e.Address.Addr().String())
	if got := get(t, nil, "tcp", "127.0.0.1:8080"); !strings.HasPrefix(got, "c ") {
		t.Errorf("published: %q", got)
	}
	_, err = o.Sandboxes.Disconnect(t.Context(), c.spec.Container, "lone")
	check(t, err)
	inside(t, c.NS, func() error {
		if link.Exists(e.Interface) {
			t.Errorf("%s is still there", e.Interface)
		}
		return nil
	})
	for _, box := range []*box{a, b, c} {
		box.close(t)
	}
	check(t, o.Networks.Remove(t.Context(), n.ID))
	expect(t, "interfaces", strings.Join(links(t), " "), before+" "+"br-"+back.ID.Short())
}

func TestWhatDriversRefuse(t *testing.T) {
	o := organ(t)
	can(t, o, "macvlan")
	neighbour(t)
	parent := wire(t)
	addNetwork(t, o, core.Network{Name: "there", Driver: "macvlan", Options: map[string]string{vlan.OptParent: parent}, IPAM: pool("198.51.100.0/24")})
	for what, c := range map[string]struct {
		driver string
		option map[string]string
		want   string
	}{
		"a mode that is none":               {"macvlan", map[string]string{vlan.OptMacvlan: "tunnel"}, "requested macvlan mode 'tunnel' is not valid, 'bridge' mode is the macvlan driver default"},
		"an ipvlan mode that is none":       {"ipvlan", map[string]string{vlan.OptIPvlan: "l4"}, "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan driver default"},
		"an ipvlan flag that is none":       {"ipvlan", map[string]string{vlan.OptFlag: "x"}, "requested ipvlan flag 'x' is not valid"},
		"loopback":                          {"macvlan", map[string]string{vlan.OptParent: "lo"}, "loopback interface is not a valid macvlan parent link"},
		"a parent that is not there":        {"macvlan", map[string]string{vlan.OptParent: "nowhere0"}, "invalid subinterface vlan name nowhere0, example formatting is eth0.10"},
		"a VLAN of nothing":                 {"macvlan", map[string]string{vlan.OptParent: "nowhere0.5"}, "-o parent interface was not found on the host: nowhere0"},
		"a VLAN number that is too large":   {"macvlan", map[string]string{vlan.OptParent: parent + ".4095"}, "vlan id must be between 1-4094, received: 4095"},
		"a VLAN number of garbage":          {"macvlan", map[string]string{vlan.OptParent: parent + ".x"}, "unable to parse a valid vlan id from: x"},
		"two dots":                          {"macvlan", map[string]string{vlan.OptParent: parent + ".1.2"}, "required interface name format is: name.vlan_id"},
		"passthru of a parent in use":       {"macvlan", map[string]string{vlan.OptParent: parent, vlan.OptMacvlan: "passthru"}, "cannot use mode passthru, macvlan network"},
		"ipvlan on a parent in use":         {"ipvlan", map[string]string{vlan.OptParent: parent}, "is already using parent interface"},
		"an option of the bridge":           {"macvlan", map[string]string{bridge.OptICC: "true"}, `the network driver "macvlan" does not have the option com.docker.network.bridge.enable_icc`},
		"an option that nobody has":         {"bridge", map[string]string{"com.example.x": "y"}, `the network driver "bridge" does not have the option com.example.x`},
		"a gateway mode that is none":       {"bridge", map[string]string{bridge.OptMode4: "open"}, "failed to parse com.docker.network.bridge.gateway_mode_ipv4 value: open (unknown gateway mode open)"},
		"isolated without internal":         {"bridge", map[string]string{bridge.OptMode6: "isolated"}, "gateway mode 'isolated' can only be used for an internal network"},
		"an IPv6 address where IPv4 is due": {"bridge", map[string]string{bridge.OptSource4: "::1"}, "failed to parse com.docker.network.host_ipv4 value: ::1"},
	} {
		_, err := o.Networks.Create(t.Context(), core.Network{Name: "x", Driver: c.driver, EnableIPv4: true, Options: c.option})
		if err == nil || !strings.Contains(err.Error(), c.want) || errdefs.IsInternal(err) || errdefs.IsUnknown(err) {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
	for what, subnet := range map[string]string{"multicast subnet 'ff00::/64' is not allowed": "ff00::/64", "'fe80::/80' clashes with the Link-Local prefix 'fe80::/64'": "fe80::/80"} {
		_, err := o.Networks.Create(t.Context(), core.Network{Name: "x", EnableIPv6: true, IPAM: pool(subnet)})
		if err == nil || err.Error() != what {
			t.Errorf("%s: %v", subnet, err)
		}
	}
	for _, name := range links(t) {
		if strings.HasPrefix(name, "try-") || strings.HasPrefix(name, "dm-") || strings.HasPrefix(name, "br-") {
			t.Errorf("left: %s", name)
		}
	}
}

func TestANetworkOfIPv6Alone(t *testing.T) {
	o := organ(t)
	outside := neighbour6(t)
	serve(t, outside, ":80", "outside")
	n, err := o.Networks.Create(t.Context(), core.Network{Name: "six", EnableIPv6: true})
	check(t, err)
	t.Cleanup(func() { check(t, o.Networks.Remove(context.Background(), n.ID)) })
	a, b := open(t, o, "a", in("six"), publish("8080:80/tcp")), open(t, o, "b", in("six"))
	t.Cleanup(func() { a.close(t); b.close(t) })
	serve(t, a.NS, ":80", "a")
	e := a.Endpoints["six"]
	if e.Address.IsValid() || !e.AddressIPv6.IsValid() {
		t.Errorf("addresses: %v %v", e.Address, e.AddressIPv6)
	}
	got, _ := ask(t, b.NS, "a", 28)
	expect(t, "the name", strings.Join(got, " "), e.AddressIPv6.Addr().String())
	expect(t, "a neighbour", get(t, b.NS, "tcp", "["+e.AddressIPv6.Addr().String()+"]:80"), "a "+b.Endpoints["six"].AddressIPv6.Addr().String())
	expect(t, "the outside", get(t, a.NS, "tcp", "["+neighbourAddr6+"]:80"), "outside "+hostAddr6)
	expect(t, "published, from outside", get(t, outside, "tcp", "["+hostAddr6+"]:8080"), "a "+neighbourAddr6)
	if got := get(t, nil, "tcp", "[::1]:8080"); !strings.HasPrefix(got, "a ") {
		t.Errorf("published, on ::1: %q", got)
	}
}

func TestNetworksWithoutAddresses(t *testing.T) {
	o := organ(t)
	for _, n := range []core.Network{{Name: "bare"}, {Name: "null", EnableIPv4: true, IPAM: core.IPAM{Driver: "null"}}} {
		n, err := o.Networks.Create(t.Context(), n)
		check(t, err)
		a := open(t, o, "a", in(n.Name))
		if e := a.Endpoints[n.Name]; e.Interface != "eth0" || e.Address.IsValid() || len(e.MAC) != 6 {
			t.Errorf("endpoint: %+v", e)
		}
		a.close(t)
		check(t, o.Networks.Remove(t.Context(), n.ID))
	}
	_, err := o.Networks.Create(t.Context(), core.Network{Name: "null", EnableIPv4: true, IPAM: core.IPAM{Driver: "null", Pools: pool("10.9.0.0/16").Pools}})
	if err == nil || err.Error() != "null ipam driver does not handle specific address pool requests" {
		t.Error(err)
	}
}

func TestANetworkChangesWhileContainersAreInIt(t *testing.T) {
	o := organ(t)
	outside := neighbour(t)
	serve(t, outside, ":80", "outside")
	n := addNetwork(t, o, core.Network{Name: "back", Labels: map[string]string{"old": "1", "gone": "2"}})
	a, b := open(t, o, "a", in("back"), publish("8080:80/tcp")), open(t, o, "b", in("back"))
	serve(t, a.NS, ":80", "a")
	ip := a.Endpoints["back"].Address.Addr().String()
	own := b.Endpoints["back"].Address.Addr().String()
	update := func(u core.NetworkUpdate) core.Network {
		t.Helper()
		n, err := o.Networks.Update(t.Context(), n.ID, u)
		check(t, err)
		return n
	}
	changed := update(core.NetworkUpdate{AddLabels: map[string]string{"new": "3"}, RemoveLabels: []string{"gone"}})
	if len(changed.Labels) != 2 || changed.Labels["new"] != "3" || changed.Labels["old"] != "1" {
		t.Errorf("labels: %v", changed.Labels)
	}
	expect(t, "ICC", get(t, b.NS, "tcp", ip+":80"), "a "+own)
	update(core.NetworkUpdate{Options: map[string]string{bridge.OptICC: "false", bridge.OptMasquerade: "false"}})
	expect(t, "without ICC", get(t, b.NS, "tcp", ip+":80"), "")
	expect(t, "without masquerade", get(t, a.NS, "tcp", neighbourAddr+":80"), "outside "+ip)
	if got := get(t, nil, "tcp", "127.0.0.1:8080"); !strings.HasPrefix(got, "a ") {
		t.Errorf("published: %q", got)
	}
	expect(t, "by routing", get(t, outside, "tcp", ip+":80"), "")
	update(core.NetworkUpdate{Options: map[string]string{bridge.OptTrusted: wire(t)}})
	expect(t, "by routing from a trusted interface", get(t, outside, "tcp", ip+":80"), "a "+neighbourAddr)
	back := update(core.NetworkUpdate{Options: map[string]string{bridge.OptICC: "", bridge.OptMasquerade: "", bridge.OptTrusted: ""}})
	if len(back.Options) > 0 {
		t.Errorf("options: %v", back.Options)
	}
	expect(t, "with ICC again", get(t, b.NS, "tcp", ip+":80"), "a "+own)
	expect(t, "with masquerade again", get(t, a.NS, "tcp", neighbourAddr+":80"), "outside "+hostAddr)
	expect(t, "by routing again", get(t, outside, "tcp", ip+":80"), "")

	serveDNS(t, outside, neighbourAddr+":53", "203.0.113.9")
	servers := []netip.Addr{netip.MustParseAddr(neighbourAddr)}
	update(core.NetworkUpdate{DNS: &servers})
	got, _ := ask(t, a.NS, "example.com", 1)
	expect(t, "the network's name server", strings.Join(got, " "), "203.0.113.9")

	for name, value := range map[string]string{bridge.OptMode4: "routed", bridge.OptName: "x", bridge.OptICC: "maybe", "com.example.x": "y"} {
		if _, err := o.Networks.Update(t.Context(), n.ID, core.NetworkUpdate{Options: map[string]string{name: value}}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	use, err := o.Networks.Use(t.Context(), n.ID)
	check(t, err)
	// The network, its broadcast, the gateway and two containers of 65,536.
	if len(use) != 1 || use[0].Taken != 5 || use[0].Free != 65531 {
		t.Errorf("use: %+v", use)
	}
	found, err := o.Networks.Lookup(t.Context(), "back")
	check(t, err)
	if found.Labels["new"] != "3" || len(found.DNS) != 1 {
		t.Errorf("kept: %+v", found)
	}
}

func TestRoutesOfTheHostThatComeLater(t *testing.T) {
	o := organ(t)
	neighbour(t)
	n := addNetwork(t, o, core.Network{Name: "back", IPAM: pool("10.77.0.0/16")})
	if w := o.Networks.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %q", w)
	}
	until := func(what string, holds func([]string) bool) {
		t.Helper()
		// The watch has its own time: it is asked again when it must have seen the change.
		for deadline := time.Now().Add(10 * time.Second); !holds(o.Networks.Warnings()); {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %q", what, o.Networks.Warnings())
			}
			check(t, o.collide())
		}
	}
	command(t, nil, "ip", "route", "add", "10.77.5.0/24", "via", neighbourAddr)
	until("a route into a network", func(w []string) bool {
		return len(w) == 1 && strings.Contains(w[0], "network back (10.77.0.0/16) overlaps with the host's route to 10.77.5.0/24")
	})
	// A container keeps its address, and a new network avoids the route.
	a := open(t, o, "a", in("back"))
	if !n.IPAM.Pools[0].Subnet.Contains(a.Endpoints["back"].Address.Addr()) {
		t.Errorf("address: %v", a.Endpoints["back"].Address)
	}
	command(t, nil, "ip", "route", "add", "172.16.0.0/12", "via", neighbourAddr)
	late := addNetwork(t, o, core.Network{Name: "late"})
	if netip.MustParsePrefix("172.16.0.0/12").Overlaps(late.IPAM.Pools[0].Subnet) {
		t.Errorf("subnet: %v", late.IPAM.Pools[0].Subnet)
	}
	command(t, nil, "ip", "route", "del", "10.77.5.0/24")
	command(t, nil, "ip", "route", "del", "172.16.0.0/12")
	until("the routes are gone", func(w []string) bool { return len(w) == 0 })
}
