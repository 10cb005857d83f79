package network

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/network/firewall"
)

// mode is how the endpoint's network meets the outside in one family.
func (e *endpoint) mode(v6 bool) firewall.Mode {
	if v6 {
		return e.network.Rules.IPv6.Mode
	}
	return e.network.Rules.IPv4.Mode
}

// routed reports whether ports of the endpoint are reached by routing alone, and not through the host's.
func (e *endpoint) routed(v6 bool) bool { return e != nil && e.mode(v6) == firewall.Routed }

// trusting reports whether ports that are published are reached by routing too, from interfaces of the host.
func (e *endpoint) trusting() bool { return e != nil && e.network.Rules.Trusted != "" }

// translated leaves the addresses of the host whose ports lead to the container: none of a family that is routed.
func (sb *sandbox) translated(addrs []netip.Addr) []netip.Addr {
	v4, v6 := sb.gateways()
	var list []netip.Addr
	for _, ip := range addrs {
		// A port of the host's IPv6 leads to a container without IPv6 as well, unless its IPv4 is routed.
		if ip.Is4() && !v4.routed(false) || ip.Is6() && !v6.routed(true) && (v6 != nil || !v4.routed(false)) {
			list = append(list, ip)
		}
	}
	return list
}

// direct is what the packet filter shall let through to published ports of routed families.
func (sb *sandbox) direct(v4, v6 *endpoint) []firewall.Publication {
	var list []firewall.Publication
	add := func(port core.Port, ip netip.Addr) {
		p := firewall.Publication{Protocol: number(port.Protocol), To: netip.AddrPortFrom(ip, port.Number), Direct: true}
		list = append(list, p)
	}
	for _, port := range sb.publishedPorts() {
		if v4.routed(false) && sb.asks(port, false) {
			add(port, v4.Address.Addr())
		}
		if v6.routed(true) && sb.asks(port, true) {
			add(port, v6.AddressIPv6.Addr())
		}
	}
	return list
}

// publishedPorts are the container's ports that are published, in order.
func (sb *sandbox) publishedPorts() []core.Port {
	var list []core.Port
	for port := range sb.Ports {
		list = append(list, port)
	}
	if sb.PublishAll {
		for _, port := range sb.Exposed {
			if _, there := sb.Ports[port]; !there {
				list = append(list, port)
			}
		}
	}
	slices.SortFunc(list, func(a, b core.Port) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol))
	})
	return list
}

// asks reports whether a port is published in a family: bindings that name an address of the other one are not for it.
func (sb *sandbox) asks(port core.Port, v6 bool) bool {
	bindings := sb.Ports[port]
	for _, b := range bindings {
		if !b.HostIP.IsValid() || b.HostIP.Unmap().Is6() == v6 {
			return true
		}
	}
	return len(bindings) == 0
}
