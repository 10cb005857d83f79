package firewall

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-engine/berth/linux/nft"
)

// filling is the sets of a family while elements are added, by name.
type filling struct {
	sets []nft.Set
}

func (l *filling) declare(s nft.Set) { l.sets = append(l.sets, s) }

func (l *filling) add(set string, value []nft.Field, key ...nft.Field) {
	i := slices.IndexFunc(l.sets, func(s nft.Set) bool { return s.Name == set })
	l.sets[i].Elements = append(l.sets[i].Elements, nft.Element{Key: key, Value: value})
}

// sets declares the sets of a family with the elements of the state, in the order of the state.
func sets(f nft.Family, s State) []nft.Set {
	ifname, proto, port, addr := nft.TypeInterface(), nft.TypeProtocol(), nft.TypePort(), nft.TypeAddr(f)
	var l filling
	l.declare(nft.Set{Name: setBridges, Key: []nft.Type{ifname}})
	l.declare(nft.Set{Name: setInside, Key: []nft.Type{ifname, ifname}})
	l.declare(nft.Set{Name: setInternal, Key: []nft.Type{ifname}})
	l.declare(nft.Set{Name: setMasquerade, Key: []nft.Type{ifname}})
	l.declare(nft.Set{Name: setLocal, Key: []nft.Type{addr, ifname}, Interval: true})
	l.declare(nft.Set{Name: mapPublished, Key: []nft.Type{proto, port}, Value: []nft.Type{addr, port}})
	l.declare(nft.Set{Name: mapAt, Key: []nft.Type{addr, proto, port}, Value: []nft.Type{addr, port}})
	l.declare(nft.Set{Name: setOpen, Key: []nft.Type{ifname}})
	l.declare(nft.Set{Name: setRouted, Key: []nft.Type{ifname}})
	l.declare(nft.Set{Name: setTrusted, Key: []nft.Type{ifname, ifname}})
	l.declare(nft.Set{Name: setDirect, Key: []nft.Type{addr, proto, port}})
	l.declare(nft.Set{Name: mapSource, Key: []nft.Type{ifname}, Value: []nft.Type{addr}})
	for _, n := range s.Networks {
		l.network(n, n.family(f))
	}
	direct := map[netip.AddrPort][]uint8{} // a port that is published twice is one element
	for _, p := range s.Publications {
		if p.To.Addr().Is6() == (f == nft.IPv6) {
			l.publication(p, direct)
		}
	}
	return l.sets
}

func (l *filling) network(n Network, f Family) {
	bridge := nft.Interface(n.Bridge)
	l.add(setBridges, nil, bridge)
	if !n.NoICC {
		l.add(setInside, nil, bridge, bridge)
	}
	if f.Subnet.IsValid() {
		l.add(setLocal, nil, nft.Prefix(f.Subnet), bridge)
	}
	if n.Internal {
		l.add(setInternal, nil, bridge)
		return
	}
	switch {
	case f.Masquerade && f.Source.IsValid():
		l.add(mapSource, []nft.Field{nft.Addr(f.Source)}, bridge)
	case f.Masquerade:
		l.add(setMasquerade, nil, bridge)
	}
	switch f.Mode {
	case Unprotected:
		l.add(setOpen, nil, bridge)
	case Routed:
		l.add(setRouted, nil, bridge)
	}
	for name := range strings.SplitSeq(n.Trusted, ":") {
		if name != "" {
			l.add(setTrusted, nil, nft.Interface(name), bridge)
		}
	}
}

func (l *filling) publication(p Publication, direct map[netip.AddrPort][]uint8) {
	to := []nft.Field{nft.Addr(p.To.Addr()), nft.Port(p.To.Port())}
	if p.Direct && !slices.Contains(direct[p.To], p.Protocol) {
		direct[p.To] = append(direct[p.To], p.Protocol)
		l.add(setDirect, nil, nft.Addr(p.To.Addr()), nft.Protocol(p.Protocol), nft.Port(p.To.Port()))
	}
	switch {
	// Nothing can be redirected from ::1: the daemon forwards that itself (package ports).
	case !p.HostIP.IsValid(), p.HostIP.Is6() != p.To.Addr().Is6(), p.HostIP == netip.IPv6Loopback():
	case p.HostIP.IsUnspecified():
		l.add(mapPublished, to, nft.Protocol(p.Protocol), nft.Port(p.HostPort))
	default:
		l.add(mapAt, to, nft.Addr(p.HostIP), nft.Protocol(p.Protocol), nft.Port(p.HostPort))
	}
}

// chains are the rules of a family.
func chains(f nft.Family, host Host) []nft.Chain {
	in, out := nft.InInterface(), nft.OutInterface()
	var raw []nft.Chain
	hairpin := []nft.Rule{
		{nft.Translate(f, mapSource, in)},
		{nft.In(setMasquerade, in), nft.Masquerade()},
		// A container that reaches a neighbour, or itself, by the host's port must get the answer through the host.
		// Where bridged packets are filtered (br_netfilter) they have no interface of origin here, but an address.
		{nft.Redirected(), nft.In(setLocal, nft.Source(f), out), nft.Masquerade()},
	}
	redirect := []nft.Rule{
		{nft.Redirect(f, mapAt, nft.Destination(f), nft.Transport(), nft.DestinationPort())},
		{nft.ToHost(), nft.Redirect(f, mapPublished, nft.Transport(), nft.DestinationPort())},
	}
	local := redirect
	if f == nft.IPv4 {
		// Bridges route 127.0.0.0/8, so that 127.0.0.1 leads to published ports. Nobody but the host itself may
		// use such addresses (CVE-2020-8558).
		loopback := netip.MustParsePrefix("127.0.0.0/8")
		notLocal := nft.IsNot(in, nft.Interface("lo"))
		raw = []nft.Chain{{Name: "raw", Type: "filter", Hook: "prerouting", Priority: priorityRaw, Rules: []nft.Rule{
			{notLocal, nft.Within(nft.Destination(f), loopback), nft.Drop()},
			{notLocal, nft.Within(nft.Source(f), loopback), nft.Drop()},
		}}}
		hairpin = append(hairpin, nft.Rule{nft.Within(nft.Source(f), loopback), nft.In(setBridges, out), nft.Masquerade()})
	} else {
		notLoopback := nft.IsNot(nft.Destination(f), nft.Addr(netip.IPv6Loopback()))
		local = []nft.Rule{append(nft.Rule{notLoopback}, redirect[0]...), append(nft.Rule{notLoopback}, redirect[1]...)}
	}
	return append(raw,
		nft.Chain{Name: "prerouting", Type: "nat", Hook: "prerouting", Priority: priorityDestination, Rules: redirect},
		nft.Chain{Name: "output", Type: "nat", Hook: "output", Priority: priorityDestination, Rules: local},
		// Who is in an internal network reaches the host by its address there only, whatever routes he gives himself.
		nft.Chain{Name: "input", Type: "filter", Hook: "input", Priority: priorityFilter, Rules: []nft.Rule{
			{nft.In(setInternal, in), nft.ToElsewhere(), nft.Drop()},
		}},
		nft.Chain{Name: "forward", Type: "filter", Hook: "forward", Priority: priorityForward, Rules: host.mark(forward(f))},
		nft.Chain{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: prioritySource, Rules: hairpin},
	)
}

// forward says who gets to containers, and who gets out.
func forward(f nft.Family) []nft.Rule {
	in, out := nft.InInterface(), nft.OutInterface()
	direct := nft.In(setDirect, nft.Destination(f), nft.Transport(), nft.DestinationPort())
	return []nft.Rule{
		{nft.Known(), nft.Accept()},
		{nft.In(setInside, in, out), nft.Accept()},
		{nft.In(setInternal, in), nft.Drop()},
		{nft.In(setInternal, out), nft.Drop()},
		{nft.Redirected(), nft.Accept()},
		{nft.In(setOpen, out), nft.Accept()},
		{nft.In(setRouted, out), nft.Is(nft.Transport(), nft.ICMP(f)), nft.Accept()},
		{nft.In(setRouted, out), direct, nft.Accept()},
		{nft.In(setTrusted, in, out), direct, nft.Accept()},
		{nft.In(setBridges, out), nft.Drop()},
	}
}
