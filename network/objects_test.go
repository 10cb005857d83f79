package network

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/bridge"
	"github.com/berth-engine/berth/network/driver"
)

func pool(subnet string) core.IPAM {
	return core.IPAM{Pools: []core.IPPool{{Subnet: netip.MustParsePrefix(subnet)}}}
}

func TestCreateAnswersBadInputInDockersWords(t *testing.T) {
	o := organ(t)
	addNetwork(t, o, core.Network{Name: "there", IPAM: pool("10.1.0.0/24"), Options: map[string]string{bridge.OptName: "brtthere"}})
	for _, c := range []struct {
		what    string
		network core.Network
		class   func(error) bool
		want    string
	}{
		{"no name", core.Network{Name: " "}, errdefs.IsInvalidArgument, "invalid name: name is empty"},
		{"a name in use", core.Network{Name: "there"}, errdefs.IsConflict, "network with name there already exists"},
		{"a predefined name", core.Network{Name: "host"}, errdefs.IsPermissionDenied, "operation is not permitted on predefined host network"},
		{"a second host network", core.Network{Name: "x", Driver: "host"}, errdefs.IsPermissionDenied, `only one instance of "host" network is allowed`},
		{"an unknown driver", core.Network{Name: "x", Driver: "foo"}, errdefs.IsNotFound, "could not find plugin foo in v1 plugin registry: plugin not found"},
		{"a driver that Berth lacks", core.Network{Name: "x", EnableIPv4: true, Driver: "overlay"}, errdefs.IsNotImplemented, "overlay"},
		{"an unknown address driver", core.Network{Name: "x", EnableIPv4: true, IPAM: core.IPAM{Driver: "foo"}}, errdefs.IsNotFound, "could not find plugin foo"},
		{"a subnet in use", core.Network{Name: "x", EnableIPv4: true, IPAM: pool("10.1.0.0/16")}, errdefs.IsPermissionDenied, "invalid pool request: Pool overlaps with other one on this address space"},
		{"a subnet with host bits", core.Network{Name: "x", EnableIPv4: true, IPAM: pool("10.2.0.1/16")}, errdefs.IsInvalidArgument, "invalid network config:\ninvalid subnet 10.2.0.1/16: it should be 10.2.0.0/16"},
		{"a gateway outside", core.Network{Name: "x", EnableIPv4: true, IPAM: core.IPAM{Pools: []core.IPPool{{Subnet: netip.MustParsePrefix("10.2.0.0/16"), Gateway: netip.MustParseAddr("10.3.0.1")}}}}, errdefs.IsInvalidArgument, "invalid gateway 10.3.0.1: parent subnet 10.2.0.0/16 doesn't contain this address"},
		{"two subnets", core.Network{Name: "x", EnableIPv4: true, IPAM: core.IPAM{Pools: append(pool("10.2.0.0/16").Pools, pool("10.3.0.0/16").Pools...)}}, errdefs.IsPermissionDenied, "bridge driver doesn't support multiple subnets"},
		{"a bridge in use", core.Network{Name: "x", EnableIPv4: true, Options: map[string]string{bridge.OptName: "brtthere"}}, errdefs.IsPermissionDenied, "networks have same bridge name"},
		{"a bridge name that is too long", core.Network{Name: "x", EnableIPv4: true, Options: map[string]string{bridge.OptName: "abcdefghijklmnopq"}}, errdefs.IsInvalidArgument, "at most 15 characters"},
		{"an interface that is no bridge", core.Network{Name: "x", EnableIPv4: true, Options: map[string]string{bridge.OptName: "lo"}}, errdefs.IsPermissionDenied, "lo"},
		{"an option of garbage", core.Network{Name: "x", EnableIPv4: true, Options: map[string]string{bridge.OptICC: "maybe"}}, errdefs.IsInvalidArgument, "maybe"},
		{"an MTU of garbage", core.Network{Name: "x", EnableIPv4: true, Options: map[string]string{driver.OptMTU: "-1"}}, errdefs.IsInvalidArgument, "-1"},
	} {
		_, err := o.Networks.Create(t.Context(), c.network)
		if err == nil || !c.class(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.want)
		}
	}
	list, err := o.Networks.List(t.Context())
	check(t, err)
	var names []string
	for _, n := range list {
		names = append(names, n.Name)
	}
	expect(t, "networks", strings.Join(names, " "), "bridge host none there")
	expect(t, "interfaces", strings.Join(links(t), " "), "berth0 brtthere")
}

func TestLookupAndRemove(t *testing.T) {
	o := organ(t)
	back, err := o.Networks.Create(t.Context(), core.Network{Name: "back", EnableIPv4: true})
	check(t, err)
	for _, ref := range []string{"back", string(back.ID), string(back.ID[:9])} {
		n, err := o.Networks.Lookup(t.Context(), ref)
		check(t, err)
		expect(t, ref, n.Name, "back")
	}
	if _, err := o.Networks.Lookup(t.Context(), "nowhere"); !errdefs.IsNotFound(err) || err.Error() != "network nowhere not found" {
		t.Error(err)
	}
	b := open(t, o, "b", in("back"))
	if err := o.Networks.Remove(t.Context(), back.ID); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "has active endpoints (name:\"b\"") {
		t.Error(err)
	}
	b.close(t)
	bridge, err := o.Networks.Lookup(t.Context(), "bridge")
	check(t, err)
	if err := o.Networks.Remove(t.Context(), bridge.ID); !errdefs.IsPermissionDenied(err) || err.Error() != "bridge is a pre-defined network and cannot be removed" {
		t.Error(err)
	}
	check(t, o.Networks.Remove(t.Context(), back.ID))
	expect(t, "interfaces", strings.Join(links(t), " "), "berth0")
	again := addNetwork(t, o, core.Network{Name: "again"})
	expect(t, "the subnet", again.IPAM.Pools[0].Subnet.String(), back.IPAM.Pools[0].Subnet.String())
}

func TestOptionsOfABridge(t *testing.T) {
	o := organ(t)
	outside := neighbour(t)
	serve(t, outside, ":80", "outside")
	addNetwork(t, o, core.Network{Name: "apart", Options: map[string]string{
		bridge.OptICC: "false", driver.OptMTU: "1400", driver.OptPrefix: "net", bridge.OptBinding: hostLoopback, bridge.OptMasquerade: "false",
	}})
	a := open(t, o, "a", in("apart"), publish("8080:80/tcp"))
	b := open(t, o, "b", in("apart"))
	serve(t, a.NS, ":80", "a")
	e := a.Endpoints["apart"]
	expect(t, "name of the interface", e.Interface, "net0")
	inside(t, a.NS, func() error {
		l, err := link.Find("net0")
		if err == nil && (l.MTU != 1400 || l.MAC.String() != e.MAC.String()) {
			t.Errorf("interface: %+v", l)
		}
		return err
	})
	expect(t, "another container", get(t, b.NS, "tcp", e.Address.Addr().String()+":80"), "")
	expect(t, "the host", get(t, nil, "tcp", "127.0.0.1:8080"), "a "+e.Gateway.String())
	expect(t, "a neighbour", get(t, outside, "tcp", hostAddr+":8080"), "")
	expect(t, "without masquerade", get(t, a.NS, "tcp", neighbourAddr+":80"), "outside "+e.Address.Addr().String())
}

func TestIPv6(t *testing.T) {
	o := organ(t)
	n := addNetwork(t, o, core.Network{Name: "six", EnableIPv6: true})
	if len(n.IPAM.Pools) != 2 || n.IPAM.Pools[1].Subnet.Bits() != 64 || !n.IPAM.Pools[1].Subnet.Addr().IsPrivate() {
		t.Errorf("pools: %+v", n.IPAM.Pools)
	}
	a := open(t, o, "a", in("six", "bridge"), publish("8080:80/tcp"))
	b := open(t, o, "b", in("six"))
	serve(t, a.NS, "[::]:80", "a")
	ip := a.Endpoints["six"].AddressIPv6.Addr()
	expect(t, "another container", get(t, b.NS, "tcp", "["+ip.String()+"]:80"), "a "+b.Endpoints["six"].AddressIPv6.Addr().String())
	expect(t, "the gateway's address", get(t, nil, "tcp", "["+n.IPAM.Pools[1].Gateway.String()+"]:8080"), "a "+n.IPAM.Pools[1].Gateway.String())
	if got := get(t, nil, "tcp", "[::1]:8080"); got == "" {
		t.Error("::1: no answer")
	}
	expect(t, "over IPv4", get(t, nil, "tcp", "127.0.0.1:8080"), "a 172.17.0.1")
}

func TestADefaultNetworkAsToldKeepsItsID(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	ids := map[core.NetworkID]bool{}
	for _, c := range []struct {
		options       Options
		subnet, first string
	}{
		{Options{}, "172.17.0.0/16", "172.17.0.2/16"},
		{Options{BridgeIP: netip.MustParsePrefix("10.50.0.5/24"), FixedCIDR: netip.MustParsePrefix("10.50.0.128/25"), MTU: 1300}, "10.50.0.0/24", "10.50.0.128/24"},
		{Options{}, "10.50.0.0/24", "10.50.0.128/24"},
		{Options{Bridge: "brtother", NoICC: true}, "10.50.0.0/24", "10.50.0.128/24"},
	} {
		c.options.Dir = dir
		o, err := New(t.Context(), c.options)
		check(t, err)
		check(t, o.Sandboxes.Restore(t.Context(), nil))
		n, err := o.Networks.Lookup(t.Context(), "bridge")
		check(t, err)
		ids[n.ID] = true
		expect(t, "subnet", n.IPAM.Pools[0].Subnet.String(), c.subnet)
		b := open(t, o, "b")
		expect(t, "the first address", b.Endpoints["bridge"].Address.String(), c.first)
		b.close(t)
		check(t, o.Shutdown(context.Background(), true))
	}
	if len(ids) != 1 {
		t.Errorf("%d IDs", len(ids))
	}
	check(t, os.WriteFile(filepath.Join(dir, records), []byte("garbage"), 0o600))
	if o, err := New(t.Context(), Options{Dir: dir}); err == nil {
		t.Error("garbage was read")
		check(t, o.Shutdown(context.Background(), true))
	}
}

func TestDaemonsSideBySide(t *testing.T) {
	one := organ(t)
	two := organ(t, func(o *Options) { o.Instance = "/var/lib/other" })
	a := open(t, one, "a", publish("8080:80/tcp"))
	b := open(t, two, "a", publish("8081:80/tcp"))
	serve(t, a.NS, ":80", "one")
	serve(t, b.NS, ":80", "two")
	if got := get(t, nil, "tcp", "127.0.0.1:8080"); !strings.HasPrefix(got, "one ") {
		t.Errorf("one: %q", got)
	}
	if got := get(t, nil, "tcp", "127.0.0.1:8081"); !strings.HasPrefix(got, "two ") {
		t.Errorf("two: %q", got)
	}
	_, err := tryOpen(t, two, "c", publish("8080:80/tcp"))
	if err == nil || !strings.Contains(err.Error(), "failed to bind host port 0.0.0.0:8080/tcp: address already in use") {
		t.Error(err)
	}
	expect(t, "between daemons", get(t, b.NS, "tcp", a.Endpoints["bridge"].Address.Addr().String()+":80"), "")
}

func TestABridgeOfTheUserStays(t *testing.T) {
	o := organ(t)
	conn, err := link.Dial()
	check(t, err)
	defer conn.Close()
	var b link.Batch
	b.AddBridge(link.Bridge{Name: "brtuser", MTU: 1500, MAC: link.RandomMAC()})
	check(t, conn.Apply(t.Context(), &b))
	n, err := o.Networks.Create(t.Context(), core.Network{Name: "mine", EnableIPv4: true, Options: map[string]string{bridge.OptName: "brtuser"}})
	check(t, err)
	check(t, o.Networks.Remove(t.Context(), n.ID))
	expect(t, "interfaces", strings.Join(links(t), " "), "berth0 brtuser")
	b = link.Batch{}
	b.Delete("brtuser")
	check(t, conn.Apply(t.Context(), &b))
}
