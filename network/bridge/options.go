package bridge

import (
	"net/netip"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/driver"
	"github.com/berth-engine/berth/network/firewall"
)

// Options of the driver, in Docker's words.
const (
	OptName       = "com.docker.network.bridge.name"
	OptDefault    = "com.docker.network.bridge.default_bridge"
	OptICC        = "com.docker.network.bridge.enable_icc"
	OptMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	OptMode4      = "com.docker.network.bridge.gateway_mode_ipv4"
	OptMode6      = "com.docker.network.bridge.gateway_mode_ipv6"
	OptBinding    = "com.docker.network.bridge.host_binding_ipv4"
	OptInhibit    = "com.docker.network.bridge.inhibit_ipv4"
	OptTrusted    = "com.docker.network.bridge.trusted_host_interfaces"
	OptSource4    = "com.docker.network.host_ipv4"
	OptSource6    = "com.docker.network.host_ipv6"
)

func readOptions(n *driver.Network) error {
	o := driver.Read(n)
	o.Text(driver.OptPrefix)
	o.Flag(OptDefault, false)
	o.Flag(OptInhibit, false)
	n.MTU = o.MTU()
	if name, ok := o.Text(OptName); ok {
		n.Link = name
	}
	icc, masquerade := o.Flag(OptICC, true), o.Flag(OptMasquerade, true)
	n.Port = link.Port{Isolated: !icc, Hairpin: hairpin()}
	n.HostIP = netip.Addr{}
	if text, ok := o.Text(OptBinding); ok {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			o.Bad(OptBinding, "it is not an address")
		}
		if !ip.IsUnspecified() {
			n.HostIP = ip.Unmap()
		}
	}
	n.Rules = firewall.Network{Bridge: n.Link, Internal: n.Internal, NoICC: !icc}
	n.Rules.Trusted, _ = o.Text(OptTrusted)
	n.Rules.IPv4 = firewall.Family{Mode: mode(o, OptMode4), Source: o.Addr(OptSource4, false)}
	n.Rules.IPv6 = firewall.Family{Mode: mode(o, OptMode6), Source: o.Addr(OptSource6, true)}
	for _, f := range []*firewall.Family{&n.Rules.IPv4, &n.Rules.IPv6} {
		f.Masquerade = masquerade && f.Mode != firewall.Routed
		if f.Mode.Isolated() && !n.Internal {
			return core.Invalid("gateway mode 'isolated' can only be used for an internal network")
		}
	}
	return o.Err(n.Driver)
}

func mode(o *driver.Options, name string) firewall.Mode {
	text, ok := o.Text(name)
	if !ok {
		return firewall.NAT
	}
	m, ok := firewall.ParseMode(text)
	if !ok {
		o.Bad(name, "unknown gateway mode "+text)
	}
	return m
}

// noGateway reports whether the bridge shall have no IPv4 address.
func noGateway(n *driver.Network) bool { return driver.Read(n).Flag(OptInhibit, false) }
