package network

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/linux/nft"
	"github.com/berth-engine/berth/network/firewall"
	"github.com/berth-engine/berth/network/ports"
)

// published is the ports of the host that lead to a sandbox.
type published struct {
	leases []lease
	rules  []firewall.Publication
}

// lease is a taken port and the container's port behind it.
type lease struct {
	*ports.Lease
	port core.Port
}

// ports lists what is taken, by the container's port, then the host's, IPv4 first.
func (p *published) ports() []core.PublishedPort {
	var list []core.PublishedPort
	for _, l := range p.leases {
		for _, ip := range l.Addrs {
			list = append(list, core.PublishedPort{Port: l.port, HostIP: ip, HostPort: l.Lease.Port})
		}
	}
	slices.SortStableFunc(list, func(a, b core.PublishedPort) int {
		return cmp.Or(cmp.Compare(a.Port.Number, b.Port.Number), cmp.Compare(a.Port.Protocol, b.Port.Protocol), cmp.Compare(a.HostPort, b.HostPort), a.HostIP.Compare(b.HostIP))
	})
	return list
}

// close lets go of the sockets.
func (p *published) close() {
	for _, l := range p.leases {
		l.Close()
	}
	p.leases = nil
}

// wanted is a port to be published.
type wanted struct {
	port       core.Port
	addrs      []netip.Addr
	begin, end uint16
}

// wanted reads the bindings, in the order of the container's ports.
func (sb *sandbox) wanted(hostIP netip.Addr) ([]wanted, error) {
	bindings := map[core.Port][]core.PortBinding{}
	for port, list := range sb.Ports {
		bindings[port] = list
	}
	for _, port := range sb.Exposed {
		if sb.PublishAll && len(bindings[port]) == 0 {
			bindings[port] = []core.PortBinding{{}}
		}
	}
	var list []wanted
	for port, binds := range bindings {
		for _, b := range binds {
			begin, end, err := ports.ParseRange(b.HostPort)
			if err != nil {
				return nil, err
			}
			if !b.HostIP.IsValid() {
				b.HostIP = hostIP
			}
			if addrs := sb.translated(sb.shared.hostAddrs(b.HostIP)); len(addrs) > 0 {
				list = append(list, wanted{port, addrs, begin, end})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b wanted) int {
		return cmp.Or(cmp.Compare(a.port.Number, b.port.Number), cmp.Compare(a.port.Protocol, b.port.Protocol), cmp.Compare(a.begin, b.begin))
	})
	return list, nil
}

// hostAddrs is where to take a port: an invalid address means everywhere, of both families where the host has both.
func (s *shared) hostAddrs(ip netip.Addr) []netip.Addr {
	if ip.IsValid() {
		return []netip.Addr{ip.Unmap()}
	}
	if s.hostV6 {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return []netip.Addr{netip.IPv4Unspecified()}
}

// publish takes the ports and leads them to the container, through its gateways. Without a gateway there is no way
// in either.
func (sb *sandbox) publish(ctx context.Context) error {
	v4, v6 := sb.gateways()
	gateway := cmp.Or(v4, v6)
	if gateway == nil || !gateway.network.Publishes {
		return nil
	}
	list, err := sb.wanted(gateway.network.HostIP)
	if err == nil {
		err = sb.take(ctx, list)
	}
	if err != nil {
		return sb.publishError(gateway, err)
	}
	if err := sb.redirect(ctx, v4, v6); err != nil {
		return sb.publishError(gateway, err)
	}
	return nil
}

func (sb *sandbox) publishError(e *endpoint, err error) error {
	return fmt.Errorf("driver failed programming external connectivity on endpoint %s (%s): %w", sb.Name, e.EndpointID, err)
}

// take takes ports of the host.
func (sb *sandbox) take(ctx context.Context, list []wanted) error {
	for _, w := range list {
		l, err := sb.shared.book.Take(ctx, w.port.Protocol, w.addrs, w.begin, w.end)
		if err != nil {
			return err
		}
		sb.published.leases = append(sb.published.leases, lease{l, w.port})
	}
	return nil
}

// redirect tells the packet filter where the taken ports lead, and forwards what it can't redirect.
func (sb *sandbox) redirect(ctx context.Context, v4, v6 *endpoint) error {
	rules := sb.rules(v4, v6)
	if len(rules) == 0 && len(sb.published.leases) == 0 {
		return nil
	}
	if err := sb.shared.firewall.Add(ctx, firewall.State{Publications: rules}); err != nil {
		return err
	}
	sb.published.rules = rules
	sb.forward(ctx, v4, v6)
	sb.forgetFlows()
	return nil
}

// rules is what the packet filter shall do for the taken ports.
func (sb *sandbox) rules(v4, v6 *endpoint) []firewall.Publication {
	rules := sb.direct(v4, v6)
	for _, l := range sb.published.leases {
		for _, ip := range l.Addrs {
			to, trusting := netip.Addr{}, false
			switch {
			case ip.Is4() && v4 != nil && v4.network.Publishes:
				to, trusting = v4.Address.Addr(), v4.trusting()
			case ip.Is6() && v6 != nil && v6.network.Publishes:
				to, trusting = v6.AddressIPv6.Addr(), v6.trusting()
			}
			if to.IsValid() {
				rules = append(rules, firewall.Publication{
					Protocol: number(l.port.Protocol), HostIP: ip, HostPort: l.Lease.Port, To: netip.AddrPortFrom(to, l.port.Number), Direct: trusting,
				})
			}
		}
	}
	return rules
}

// forward passes on what reaches the sockets.
func (sb *sandbox) forward(ctx context.Context, v4, v6 *endpoint) {
	to := netip.Addr{}
	if v4 != nil {
		to = v4.Address.Addr()
	} else if v6 != nil {
		to = v6.AddressIPv6.Addr()
	}
	if !to.IsValid() {
		return
	}
	for _, l := range sb.published.leases {
		l.Forward(ctx, netip.AddrPortFrom(to, l.port.Number))
	}
}

// forgetFlows makes UDP packets that are on their way to a port's last owner find the new one.
func (sb *sandbox) forgetFlows() {
	for _, l := range sb.published.leases {
		if l.port.Protocol != core.UDP {
			continue
		}
		// A flow that was gone by itself meanwhile ends the sweep early; what is left then ages out.
		if err := link.ForgetFlows(l.Lease.Port); err != nil {
			sb.shared.log.Debug("a published port may see packets of its last owner", "error", err)
		}
	}
}

// withdraw undoes publish.
func (sb *sandbox) withdraw(ctx context.Context) error {
	var err error
	if len(sb.published.rules) > 0 {
		err = sb.shared.firewall.Delete(ctx, firewall.State{Publications: sb.published.rules})
		sb.published.rules = nil
		sb.forgetFlows()
	}
	sb.published.close()
	return err
}

func number(p core.Protocol) uint8 {
	switch p {
	case core.UDP:
		return nft.UDP
	case core.SCTP:
		return nft.SCTP
	}
	return nft.TCP
}
