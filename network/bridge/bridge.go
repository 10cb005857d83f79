// Package bridge makes networks of a bridge each: containers are its ports, the host is their gateway.
package bridge

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/driver"
)

// linkLocal is the host's own address on each bridge with IPv6: without one the kernel can't ask for the neighbours that
// it forwards packets to.
var linkLocal = netip.MustParsePrefix("fe80::1/64")

// maxName is the longest name of an interface.
const maxName = 15

// Driver is the bridge driver.
type Driver struct {
	conn   *link.Conn
	others func(core.NetworkID) []*driver.Network
}

// New makes the driver. conn is to the host's interfaces; others gives the networks that are there besides one.
func New(conn *link.Conn, others func(core.NetworkID) []*driver.Network) *Driver {
	return &Driver{conn: conn, others: others}
}

// Complete reads the options.
func (d *Driver) Complete(n *driver.Network) error {
	n.Traits = driver.Traits{Joined: true, Subnets: 1, Pairs: true, Publishes: true}
	if err := readOptions(n); err != nil {
		return err
	}
	for _, p := range n.IPAM.Pools {
		if err := checkIPv6(p.Subnet); err != nil {
			return err
		}
	}
	if n.Link == "" {
		n.Link = "br-" + n.ID.Short()
	}
	if len(n.Link) > maxName {
		return core.Invalid("invalid bridge name %q: an interface's name has at most %d characters", n.Link, maxName)
	}
	n.Rules.Bridge = n.Link
	for _, o := range d.others(n.ID) {
		if o.Link == n.Link {
			return core.Forbidden("cannot create network %s (%s): conflicts with network %s (%s): networks have same bridge name", n.ID, n.Link, o.ID, o.Link)
		}
	}
	return nil
}

// checkIPv6 refuses prefixes that the kernel uses for itself.
func checkIPv6(p netip.Prefix) error {
	linkLocal := netip.MustParsePrefix("fe80::/64")
	switch {
	case !p.IsValid() || p.Addr().Is4():
	case p.Addr().IsMulticast():
		return core.Invalid("multicast subnet '%s' is not allowed", p)
	case p.Masked() != linkLocal && linkLocal.Overlaps(p):
		return core.Invalid("'%s' clashes with the Link-Local prefix 'fe80::/64'", p)
	}
	return nil
}

// Up makes the bridge, or takes over one that is there, and gives it its addresses.
func (d *Driver) Up(ctx context.Context, n *driver.Network) (err error) {
	var batch link.Batch
	found, err := link.Find(n.Link)
	switch {
	case errors.Is(err, link.ErrNotFound):
		batch.AddBridge(link.Bridge{Name: n.Link, Index: n.Index, MTU: n.MTU, MAC: macOf(n.ID)})
		batch.Quiet(n.Link)
	case err != nil:
		return err
	case found.Kind != "bridge":
		return core.Forbidden("bridge device with non default name %s must be created manually: %s is an interface of kind %s", n.Link, n.Link, found.Kind)
	}
	if err := d.conn.Apply(ctx, &batch); err != nil {
		return err
	}
	if found, err = link.Find(n.Link); err != nil {
		return err
	}
	if n.Index != found.Index { // one that is made again has the number that it had, which others read meanwhile
		n.Index = found.Index
	}
	if err := d.sysctls(n); err != nil {
		return err
	}
	return d.address(ctx, n)
}

// macOf is the hardware address of a network's bridge. It follows from the network's ID, so that containers find a bridge
// that was made again where they knew it.
func macOf(id core.NetworkID) net.HardwareAddr {
	mac := link.RandomMAC()
	if b, err := hex.DecodeString(string(id)); err == nil && len(b) >= len(mac) {
		copy(mac, b)
		mac[0] = mac[0]&^1 | 2 // of one machine, and locally administered
	}
	return mac
}

// sysctls of a bridge: 127.0.0.1 may lead to containers (the packet filter keeps others from using it), and routing
// of IPv6 is on where a network has it.
func (d *Driver) sysctls(n *driver.Network) error {
	if n.EnableIPv4 {
		if err := link.Sysctl("ipv4/conf/"+n.Link+"/route_localnet", "1"); err != nil {
			return err
		}
	}
	if !n.EnableIPv6 {
		return nil
	}
	if err := link.SwitchIPv6(n.Link, true); err != nil {
		return err
	}
	return link.Sysctl("ipv6/conf/all/forwarding", "1")
}

// address makes the bridge have the gateway's addresses, no others of its own, and be up.
func (d *Driver) address(ctx context.Context, n *driver.Network) error {
	var want []netip.Prefix
	if g := n.IPv4.Gateway(); g.IsValid() && !n.Rules.IPv4.Mode.Isolated() && !noGateway(n) {
		want = append(want, netip.PrefixFrom(g, n.IPv4.Subnet().Bits()))
	}
	if g := n.IPv6.Gateway(); g.IsValid() && !n.Rules.IPv6.Mode.Isolated() {
		want = append(want, netip.PrefixFrom(g, n.IPv6.Subnet().Bits()))
		if !g.IsLinkLocalUnicast() {
			want = append(want, linkLocal)
		}
	}
	have, err := link.Addresses(n.Index)
	if err != nil {
		return err
	}
	var batch link.Batch
	for _, p := range have {
		if !slices.Contains(want, p) && !p.Addr().IsLinkLocalUnicast() && !n.Adopted {
			batch.DeleteAddress(n.Index, p)
		}
	}
	for _, p := range want {
		batch.AddAddress(n.Index, p)
	}
	batch.SetMTU(n.Link, n.MTU)
	batch.Up(n.Link)
	return d.conn.Apply(ctx, &batch)
}

// Down removes the bridge.
func (d *Driver) Down(ctx context.Context, n *driver.Network) error {
	if n.Adopted {
		return nil
	}
	var batch link.Batch
	batch.Delete(n.Link)
	return d.conn.Apply(ctx, &batch)
}

// Join makes a pair whose end on the host is a port of the bridge.
func (d *Driver) Join(batch *link.Batch, n *driver.Network, p driver.Port) error {
	batch.AddVeth(link.Veth{Host: p.Host, Peer: p.Name, PeerMAC: p.MAC, MTU: n.MTU, Master: n.Index, Port: n.Port, NS: p.NS})
	return nil
}

// hairpin reports whether a bridge must be able to send a packet back to where it came from. That is so where
// bridged packets are filtered (br_netfilter): a container's packet to its own published port is then translated
// inside the bridge. The calling thread must be in the daemon's namespace.
func hairpin() bool {
	on, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && strings.TrimSpace(string(on)) == "1"
}
