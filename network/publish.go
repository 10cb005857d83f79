package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// publish makes what is taken on the host agree with the bindings and the gateways: a port that is already held stays so,
// with the connections through it. Without a gateway there is no way in either. It is all or nothing: an error leaves
// what was published before.
func (sb *sandbox) publish(ctx context.Context) error {
	v4, v6 := sb.gateways()
	gateway := cmp.Or(v4, v6)
	var list []wanted
	if gateway != nil && gateway.network.Publishes {
		var err error
		if list, err = sb.wanted(gateway.network.HostIP); err != nil {
			return publishError(sb, gateway, err)
		}
	}
	if len(list)+len(sb.published.leases)+len(sb.published.rules)+len(sb.direct(v4, v6)) == 0 {
		return nil
	}
	x := exchange{book: sb.shared.book}
	missing := x.keep(list, sb.published.leases)
	err := x.take(ctx, missing)
	if err == nil {
		next := &published{leases: slices.Concat(x.kept, x.taken)}
		next.rules = sb.rules(next.leases, v4, v6)
		if err = sb.shared.firewall.Replace(ctx, firewall.State{Publications: sb.published.rules}, firewall.State{Publications: next.rules}); err == nil {
			before := sb.published
			sb.published = next
			sb.forward(ctx, v4, v6)
			x.finish()
			forgetFlows(sb.shared.log, moved(before.rules, next.rules))
			return nil
		}
	}
	// What is left of what was published before is what the packet filter was told.
	if lost := x.undo(ctx); lost != nil {
		err = errors.Join(err, lost)
	}
	sb.published.leases = slices.Concat(x.before, x.again)
	return publishError(sb, gateway, err)
}

func publishError(sb *sandbox, e *endpoint, err error) error {
	if e == nil {
		return fmt.Errorf("withdraw the published ports of %s: %w", sb.Name, err)
	}
	return fmt.Errorf("driver failed programming external connectivity on endpoint %s (%s): %w", sb.Name, e.EndpointID, err)
}

// Publish makes the published ports of an open sandbox those of the specification and gives what is held then. An error
// leaves those that were.
func (ss *Sandboxes) Publish(ctx context.Context, spec core.Sandbox) ([]core.PublishedPort, error) {
	sb := ss.sandbox(spec.Container)
	if sb == nil {
		return nil, core.NotRunning(spec.Container)
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	if sb.closed {
		return nil, core.NotRunning(spec.Container)
	}
	before := sb.Sandbox
	sb.Ports, sb.Exposed, sb.PublishAll = spec.Ports, spec.Exposed, spec.PublishAll
	if err := sb.publish(ctx); err != nil {
		sb.Ports, sb.Exposed, sb.PublishAll = before.Ports, before.Exposed, before.PublishAll
		return nil, err
	}
	return sb.published.ports(), nil
}

// exchange is the way from the ports that a sandbox holds to those that it shall hold.
type exchange struct {
	book   *ports.Book
	before []lease // what it held, but for what is in way
	kept   []lease // of these, what stays; the container's port may be another one
	gone   []lease // of these, what goes
	way    []lease // what goes too, and had to be given back first, because what is to be taken overlaps it
	again  []lease // what of way was taken again, after a failure
	taken  []lease
}

// keep finds what can stay and gives what is missing then.
func (x *exchange) keep(list []wanted, held []lease) (missing []wanted) {
	x.before, x.gone = held, slices.Clone(held)
	// Who asks for little choice chooses first; who leaves it to us takes what is left of its own.
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b wanted) int { return cmp.Compare(a.end-a.begin, b.end-b.begin) })
	for _, fits := range []func(w wanted, l lease) bool{
		func(w wanted, l lease) bool { return w.begin != 0 && l.port == w.port },
		func(w wanted, l lease) bool { return w.begin != 0 && l.port.Protocol == w.port.Protocol },
		func(w wanted, l lease) bool { return w.begin == 0 && l.port == w.port },
	} {
		missing = nil
		for _, w := range list {
			i := slices.IndexFunc(x.gone, func(l lease) bool {
				return fits(w, l) && slices.Equal(l.Addrs, w.addrs) && (w.begin == 0 || w.begin <= l.Lease.Port && l.Lease.Port <= w.end)
			})
			if i < 0 {
				missing = append(missing, w)
				continue
			}
			x.kept = append(x.kept, lease{x.gone[i].Lease, w.port})
			x.gone = slices.Delete(x.gone, i, i+1)
		}
		list = missing
	}
	return missing
}

// take takes ports of the host, or none. What is in the way of them and goes anyhow is given back before.
func (x *exchange) take(ctx context.Context, list []wanted) error {
	inWay := func(l lease) bool {
		return slices.ContainsFunc(list, func(w wanted) bool {
			return l.port.Protocol == w.port.Protocol && w.begin <= l.Lease.Port && l.Lease.Port <= w.end
		})
	}
	for _, l := range x.gone {
		if inWay(l) {
			x.way = append(x.way, lease{&ports.Lease{Port: l.Lease.Port, Addrs: slices.Clone(l.Addrs)}, l.port})
			x.before = slices.DeleteFunc(slices.Clone(x.before), func(o lease) bool { return o.Lease == l.Lease })
			l.Close()
		}
	}
	for _, w := range list {
		l, err := x.book.Take(ctx, w.port.Protocol, w.addrs, w.begin, w.end)
		if err != nil {
			return err
		}
		x.taken = append(x.taken, lease{l, w.port})
	}
	return nil
}

// finish gives back what is not held any more.
func (x *exchange) finish() {
	for _, l := range x.gone {
		l.Close()
	}
}

// undo gives back what was taken, and takes again what was in the way. The error says what another program took in
// that moment.
func (x *exchange) undo(ctx context.Context) error {
	for _, l := range x.taken {
		l.Close()
	}
	ctx, cancel := undoing(ctx)
	defer cancel()
	var errs []error
	for _, l := range x.way {
		again, err := x.book.Keep(ctx, l.port.Protocol, l.Addrs, l.Lease.Port)
		if again != nil {
			x.again = append(x.again, lease{again, l.port})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// rules is what the packet filter shall do for taken ports, and for those that are reached by routing.
func (sb *sandbox) rules(leases []lease, v4, v6 *endpoint) []firewall.Publication {
	rules := sb.direct(v4, v6)
	for _, l := range leases {
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

// moved are the publications that are in one list alone.
func moved(before, after []firewall.Publication) []firewall.Publication {
	count := make(map[firewall.Publication]int, len(before)+len(after))
	for _, p := range slices.Concat(before, after) {
		count[p]++
	}
	var once []firewall.Publication
	for p, n := range count {
		if n == 1 {
			once = append(once, p)
		}
	}
	return once
}

// forgetFlows makes UDP packets that are on their way to a port's last owner find the new one.
func forgetFlows(log *slog.Logger, list []firewall.Publication) {
	var numbers []uint16
	for _, p := range list {
		if p.Protocol == nft.UDP && !slices.Contains(numbers, p.HostPort) {
			numbers = append(numbers, p.HostPort)
		}
	}
	if len(numbers) == 0 {
		return
	}
	// A flow that was gone by itself meanwhile ends the sweep early; what is left then ages out.
	if err := link.ForgetFlows(numbers...); err != nil {
		log.Debug("a published port may see packets of its last owner", "error", err)
	}
}

// withdraw undoes publish.
func (sb *sandbox) withdraw(ctx context.Context) error {
	var err error
	if len(sb.published.rules) > 0 {
		err = sb.shared.firewall.Delete(ctx, firewall.State{Publications: sb.published.rules})
		forgetFlows(sb.shared.log, sb.published.rules)
		sb.published.rules = nil
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
