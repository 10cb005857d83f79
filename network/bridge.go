package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/dns"
	"github.com/berth-engine/berth/network/firewall"
	"github.com/berth-engine/berth/network/ipam"
)

// maxName is the longest name of an interface.
const maxName = 15

// bridgeDriver makes networks of a bridge each.
type bridgeDriver struct{ *shared }

// complete takes a subnet per family and reads the options.
func (d bridgeDriver) complete(n *network) (err error) {
	if err := d.readOptions(n); err != nil {
		return err
	}
	if n.IPAM.Driver == "" {
		n.IPAM.Driver = "default"
	}
	if n.IPAM.Driver != "default" {
		return noPlugin(n.IPAM.Driver)
	}
	if !n.EnableIPv4 && !n.EnableIPv6 {
		n.EnableIPv4 = true
	}
	if err := checkPools(n.IPAM.Pools); err != nil {
		return err
	}
	if n.EnableIPv4 {
		if n.v4, n.gateway4, err = d.addresses(n, false); err != nil {
			return err
		}
	}
	if n.EnableIPv6 {
		if n.v6, n.gateway6, err = d.addresses(n, true); err != nil {
			return err
		}
	}
	if n.Name != defaultName {
		n.zone = dns.NewZone(n.Name)
	}
	return nil
}

func (d bridgeDriver) readOptions(n *network) error {
	icc, err := n.flag(optICC, true)
	n.isolated = !icc
	if err != nil {
		return err
	}
	if n.masquerade, err = n.flag(optMasquerade, true); err != nil {
		return err
	}
	n.mtu = defaultMTU
	if text := n.Options[optMTU]; text != "" {
		if n.mtu, err = strconv.Atoi(text); err != nil || n.mtu < 68 || n.mtu > 65535 {
			return core.Invalid("invalid value for option %s: %q is not a size of packets", optMTU, text)
		}
	}
	if text := n.Options[optHostIPv4]; text != "" {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return core.Invalid("invalid value for option %s: %q is not an address", optHostIPv4, text)
		}
		if !ip.IsUnspecified() {
			n.hostIP = ip
		}
	}
	if name := n.Options[optBridgeName]; name != "" {
		n.bridge = name
	}
	if n.bridge == "" {
		n.bridge = "br-" + n.ID.Short()
	}
	if len(n.bridge) > maxName {
		return core.Invalid("invalid bridge name %q: an interface's name has at most %d characters", n.bridge, maxName)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.networks {
		if o.bridge == n.bridge && o.ID != n.ID {
			return core.Forbidden("cannot create network %s (%s): conflicts with network %s (%s): networks have same bridge name", n.ID, n.bridge, o.ID, o.bridge)
		}
	}
	return nil
}

// checkPools checks what the user said of subnets, all at once, in Docker's words.
func checkPools(pools []core.IPPool) error {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, p := range pools {
		if !p.Subnet.IsValid() {
			continue
		}
		family := 4
		if p.Subnet.Addr().Is6() {
			family = 6
		}
		if p.Subnet != p.Subnet.Masked() {
			say("invalid subnet %s: it should be %s", p.Subnet, p.Subnet.Masked())
		}
		if r := p.Range; r.IsValid() {
			switch {
			case r.Addr().Is4() != p.Subnet.Addr().Is4():
				say("invalid ip-range %s: parent subnet is an IPv%d block", r, family)
			case r.Bits() < p.Subnet.Bits():
				say("invalid ip-range %s: CIDR block is bigger than its parent subnet %s", r, p.Subnet)
			case r != r.Masked():
				say("invalid ip-range %s: it should be %s", r, r.Masked())
			case !p.Subnet.Overlaps(r):
				say("invalid ip-range %s: parent subnet %s doesn't contain ip-range", r, p.Subnet)
			}
		}
		check := func(what string, ip netip.Addr) {
			switch {
			case ip.Is4() != p.Subnet.Addr().Is4():
				say("%s: parent subnet is an IPv%d block", what, family)
			case !p.Subnet.Contains(ip):
				say("%s: parent subnet %s doesn't contain this address", what, p.Subnet)
			}
		}
		if p.Gateway.IsValid() {
			check(fmt.Sprintf("invalid gateway %s", p.Gateway), p.Gateway)
		}
		for name, ip := range p.Aux {
			check("invalid auxiliary address "+name, ip)
		}
	}
	if len(errs) > 0 {
		return core.Invalid("invalid network config:\n%w", errors.Join(errs...))
	}
	return nil
}

// addresses takes the subnet of one family, and in it what is not for containers.
func (d bridgeDriver) addresses(n *network, v6 bool) (pool *ipam.Pool, gateway netip.Addr, err error) {
	at := -1
	for i, p := range n.IPAM.Pools {
		if p.Subnet.IsValid() && p.Subnet.Addr().Is6() == v6 {
			if at >= 0 {
				return nil, gateway, core.Forbidden("bridge driver doesn't support multiple subnets")
			}
			at = i
		}
	}
	defer func() {
		if err != nil && pool != nil {
			pool.Close()
			pool = nil
		}
	}()
	if at < 0 {
		// A pool without a subnet may carry a gateway or a range only by mistake: both need one.
		n.IPAM.Pools = slices.DeleteFunc(n.IPAM.Pools, func(p core.IPPool) bool { return !p.Subnet.IsValid() })
		routes, err := link.Routes(nil)
		if err != nil {
			return nil, gateway, err
		}
		if pool, err = d.space.Pick(v6, routes); err != nil {
			return nil, gateway, err
		}
		at = len(n.IPAM.Pools)
		n.IPAM.Pools = append(n.IPAM.Pools, core.IPPool{Subnet: pool.Subnet()})
	} else if pool, err = d.space.Take(n.IPAM.Pools[at].Subnet, n.IPAM.Pools[at].Range); err != nil {
		return pool, gateway, err
	}
	p := &n.IPAM.Pools[at]
	for name, ip := range p.Aux {
		if err := pool.Take(ip); err != nil {
			return pool, gateway, core.Internal("failed to allocate secondary ip address (%s:%s): %w", name, ip, err)
		}
	}
	if !p.Gateway.IsValid() {
		for ip := p.Subnet.Masked().Addr().Next(); ; ip = ip.Next() {
			if !p.Subnet.Contains(ip) {
				return pool, gateway, core.Internal("failed to allocate gateway (): no available addresses on this pool")
			}
			if pool.Take(ip) == nil {
				p.Gateway = ip
				return pool, ip, nil
			}
		}
	}
	if err := pool.Take(p.Gateway); err != nil {
		return pool, gateway, core.Internal("failed to allocate gateway (%s): %w", p.Gateway, err)
	}
	return pool, p.Gateway, nil
}

// up makes the bridge, or takes over one that is there, gives it its addresses and tells the packet filter.
func (d bridgeDriver) up(ctx context.Context, n *network) (err error) {
	var batch link.Batch
	found, err := link.Find(n.bridge)
	switch {
	case errors.Is(err, link.ErrNotFound):
		batch.AddBridge(link.Bridge{Name: n.bridge, MTU: n.mtu, MAC: link.RandomMAC()})
		batch.Quiet(n.bridge)
	case err != nil:
		return err
	case found.Kind != "bridge":
		return core.Forbidden("bridge device with non default name %s must be created manually: %s is an interface of kind %s", n.bridge, n.bridge, found.Kind)
	default:
		n.adopted = n.adopted || n.Options[optBridgeName] == n.bridge && n.Name != defaultName && !d.recorded(n)
	}
	if err := d.conn.Apply(ctx, &batch); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = joinDown(ctx, n, err)
		}
	}()
	if found, err = link.Find(n.bridge); err != nil {
		return err
	}
	n.index = found.Index
	if err := d.sysctls(n); err != nil {
		return err
	}
	if err := d.address(ctx, n); err != nil {
		return err
	}
	return d.firewall.Add(ctx, firewall.State{Networks: []firewall.Network{n.rules()}})
}

// recorded reports whether the network comes from a record: its bridge is ours then, left by the last daemon.
func (d bridgeDriver) recorded(n *network) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.networks[n.ID] == nil
}

// sysctls of a bridge: 127.0.0.1 may lead to containers (the packet filter keeps others from using it), and routing
// of IPv6 is on where a network has it.
func (d bridgeDriver) sysctls(n *network) error {
	if n.EnableIPv4 {
		if err := link.Sysctl("ipv4/conf/"+n.bridge+"/route_localnet", "1"); err != nil {
			return err
		}
	}
	if !n.EnableIPv6 {
		return nil
	}
	if err := switchIPv6(n.bridge, true); err != nil {
		return err
	}
	return link.Sysctl("ipv6/conf/all/forwarding", "1")
}

// address makes the bridge have the gateway's addresses, no others of its own, and be up.
func (d bridgeDriver) address(ctx context.Context, n *network) error {
	inhibit, err := n.flag(optNoGateway, false)
	if err != nil {
		return err
	}
	var want []netip.Prefix
	if n.gateway4.IsValid() && !inhibit {
		want = append(want, netip.PrefixFrom(n.gateway4, n.v4.Subnet().Bits()))
	}
	if n.gateway6.IsValid() {
		want = append(want, netip.PrefixFrom(n.gateway6, n.v6.Subnet().Bits()))
	}
	have, err := link.Addresses(n.index)
	if err != nil {
		return err
	}
	var batch link.Batch
	for _, p := range have {
		if !slices.Contains(want, p) && !p.Addr().IsLinkLocalUnicast() && !n.adopted {
			batch.DeleteAddress(n.index, p)
		}
	}
	for _, p := range want {
		batch.AddAddress(n.index, p)
	}
	batch.SetMTU(n.bridge, n.mtu)
	batch.Up(n.bridge)
	return d.conn.Apply(ctx, &batch)
}

// down removes the bridge and its rules.
func (d bridgeDriver) down(ctx context.Context, n *network) error {
	err := d.firewall.Delete(ctx, firewall.State{Networks: []firewall.Network{n.rules()}})
	if n.adopted {
		return err
	}
	var batch link.Batch
	batch.Delete(n.bridge)
	return errors.Join(err, d.conn.Apply(ctx, &batch))
}

// joinDown unmakes a network after an error.
func joinDown(ctx context.Context, n *network, err error) error {
	ctx, cancel := undoing(ctx)
	defer cancel()
	return errors.Join(err, n.driver.down(ctx, n))
}

// rules is what the packet filter shall know of the network.
func (n *network) rules() firewall.Network {
	f := firewall.Network{Bridge: n.bridge, Internal: n.Internal, Masquerade: n.masquerade}
	if n.v4 != nil {
		f.IPv4 = n.v4.Subnet()
	}
	if n.v6 != nil {
		f.IPv6 = n.v6.Subnet()
	}
	return f
}

// port is how the bridge treats containers.
func (n *network) port() link.Port { return link.Port{Isolated: n.isolated, Hairpin: hairpin()} }

// hairpin reports whether a bridge must be able to send a packet back to where it came from. That is so where
// bridged packets are filtered (br_netfilter): a container's packet to its own published port is then translated
// inside the bridge. The calling thread must be in the daemon's namespace.
func hairpin() bool {
	on, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && strings.TrimSpace(string(on)) == "1"
}
