// Package firewall says which packets may go where: networks are separated from each other and from the outside,
// containers reach the outside with the host's address, and published ports lead to their containers.
//
// What should be is a State; Tables turns it into the two tables of the packet filter that are all there is of a
// daemon in the kernel. The rules are the same for every State: networks and ports are elements of sets and maps.
// Other tables of the host are left alone and keep their say: what the host's own firewall drops stays dropped.
package firewall

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/berth-engine/berth/linux/nft"
)

// Network is the bridge of a network.
type Network struct {
	Bridge     string
	Internal   bool         // nothing in or out
	Masquerade bool         // containers appear with the host's address outside
	IPv4, IPv6 netip.Prefix // its subnets; invalid: none
}

// Publication is a port of the host that leads to a container.
type Publication struct {
	Protocol uint8      // nft.TCP, nft.UDP, nft.SCTP
	HostIP   netip.Addr // unspecified (0.0.0.0, ::): every address of the host
	HostPort uint16
	To       netip.AddrPort // of the same family
}

// State is what should be.
type State struct {
	Networks     []Network
	Publications []Publication
}

// Names of the sets and maps.
const (
	setBridges    = "bridges"    // every bridge of ours
	setInside     = "inside"     // each bridge with itself
	setInternal   = "internal"   // bridges of internal networks
	setLocal      = "local"      // subnets with their bridges
	setMasquerade = "masquerade" // bridges whose containers go out with the host's address
	mapPublished  = "published"  // ports of every address of the host
	mapAt         = "published_at"
)

// Priorities of hooks (linux/netfilter_ipv4.h).
const (
	priorityRaw         = -300
	priorityDestination = -100
	priorityFilter      = 0
	prioritySource      = 100
)

// Tables gives the tables for a state, one per family.
func Tables(name string, s State) []nft.Table {
	return []nft.Table{table(nft.IPv4, name, s), table(nft.IPv6, name, s)}
}

func table(f nft.Family, name string, s State) nft.Table {
	return nft.Table{Family: f, Name: name, Sets: sets(f, s), Chains: chains(f)}
}

// sets declares the sets of a family with the elements of the state, in the order of the state.
func sets(f nft.Family, s State) []nft.Set {
	ifname, proto, port, addr := nft.TypeInterface(), nft.TypeProtocol(), nft.TypePort(), nft.TypeAddr(f)
	list := []nft.Set{
		{Name: setBridges, Key: []nft.Type{ifname}},
		{Name: setInside, Key: []nft.Type{ifname, ifname}},
		{Name: setInternal, Key: []nft.Type{ifname}},
		{Name: setMasquerade, Key: []nft.Type{ifname}},
		{Name: setLocal, Key: []nft.Type{addr, ifname}, Interval: true},
		{Name: mapPublished, Key: []nft.Type{proto, port}, Value: []nft.Type{addr, port}},
		{Name: mapAt, Key: []nft.Type{addr, proto, port}, Value: []nft.Type{addr, port}},
	}
	add := func(i int, e nft.Element) { list[i].Elements = append(list[i].Elements, e) }
	for _, n := range s.Networks {
		bridge := nft.Interface(n.Bridge)
		only := nft.Element{Key: []nft.Field{bridge}}
		add(0, only)
		add(1, nft.Element{Key: []nft.Field{bridge, bridge}})
		if n.Internal {
			add(2, only)
		} else if n.Masquerade {
			add(3, only)
		}
		subnet := n.IPv4
		if f == nft.IPv6 {
			subnet = n.IPv6
		}
		if subnet.IsValid() {
			add(4, nft.Element{Key: []nft.Field{nft.Prefix(subnet), bridge}})
		}
	}
	for _, p := range s.Publications {
		// Nothing can be redirected from ::1: the daemon forwards that itself (package ports).
		if p.HostIP.Is6() != (f == nft.IPv6) || p.HostIP == netip.IPv6Loopback() {
			continue
		}
		key := []nft.Field{nft.Protocol(p.Protocol), nft.Port(p.HostPort)}
		value := []nft.Field{nft.Addr(p.To.Addr()), nft.Port(p.To.Port())}
		if p.HostIP.IsUnspecified() {
			add(5, nft.Element{Key: key, Value: value})
		} else {
			add(6, nft.Element{Key: append([]nft.Field{nft.Addr(p.HostIP)}, key...), Value: value})
		}
	}
	return list
}

// chains are the rules of a family.
func chains(f nft.Family) []nft.Chain {
	in, out := nft.InInterface(), nft.OutInterface()
	var raw []nft.Chain
	hairpin := []nft.Rule{
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
		nft.Chain{Name: "forward", Type: "filter", Hook: "forward", Priority: priorityFilter, Rules: []nft.Rule{
			{nft.Known(), nft.Accept()},
			{nft.In(setInside, in, out), nft.Accept()},
			{nft.In(setInternal, in), nft.Drop()},
			{nft.In(setInternal, out), nft.Drop()},
			{nft.Redirected(), nft.Accept()},
			{nft.In(setBridges, out), nft.Drop()},
		}},
		nft.Chain{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: prioritySource, Rules: hairpin},
	)
}

// Firewall keeps the kernel at a State. It owns the tables of its name.
type Firewall struct {
	name string
	conn *nft.Conn

	mu    sync.Mutex // guards state; held while the kernel is told, so that it sees changes in order
	state State
}

// New speaks for the tables of that name. The kernel is not told anything before Set.
func New(name string) (*Firewall, error) {
	conn, err := nft.Dial(nil)
	if err != nil {
		return nil, err
	}
	return &Firewall{name: name, conn: conn}, nil
}

// Set makes the state what it should be, whatever it was.
func (f *Firewall) Set(ctx context.Context, s State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = State{slices.Clone(s.Networks), slices.Clone(s.Publications)}
	return f.conn.Apply(ctx, Tables(f.name, f.state)...)
}

// Repair makes the kernel have the tables again when somebody threw them, or rules of them, away.
func (f *Firewall) Repair(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range Tables(f.name, f.state) {
		intact, err := f.conn.Intact(t)
		if err != nil {
			return err
		}
		if !intact {
			return f.conn.Apply(ctx, Tables(f.name, f.state)...)
		}
	}
	return nil
}

// Add adds networks and publications in one transaction.
func (f *Firewall) Add(ctx context.Context, s State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.state
	f.state = State{slices.Concat(before.Networks, s.Networks), slices.Concat(before.Publications, s.Publications)}
	if err := f.update(ctx, s, State{}); err != nil {
		f.state = before
		return err
	}
	return nil
}

// Delete takes networks and publications away in one transaction. What is not there is no error.
func (f *Firewall) Delete(ctx context.Context, s State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var gone State
	f.state.Networks = slices.DeleteFunc(slices.Clone(f.state.Networks), func(n Network) bool {
		found := slices.Contains(s.Networks, n)
		if found {
			gone.Networks = append(gone.Networks, n)
		}
		return found
	})
	f.state.Publications = slices.DeleteFunc(slices.Clone(f.state.Publications), func(p Publication) bool {
		found := slices.Contains(s.Publications, p)
		if found {
			gone.Publications = append(gone.Publications, p)
		}
		return found
	})
	return f.update(ctx, State{}, gone)
}

// Replace puts publications in the place of others in one transaction. What is in both lists is not touched.
func (f *Firewall) Replace(ctx context.Context, old, next []Publication) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.state
	come := slices.DeleteFunc(slices.Clone(next), func(p Publication) bool { return slices.Contains(old, p) })
	gone := slices.DeleteFunc(slices.Clone(old), func(p Publication) bool { return slices.Contains(next, p) })
	f.state.Publications = slices.Concat(slices.DeleteFunc(slices.Clone(before.Publications), func(p Publication) bool { return slices.Contains(gone, p) }), come)
	if err := f.update(ctx, State{Publications: come}, State{Publications: gone}); err != nil {
		f.state = before
		return err
	}
	return nil
}

// update tells the kernel what comes and goes. When it does not have what we think (another program flushed the
// tables) it is told everything.
func (f *Firewall) update(ctx context.Context, come, gone State) error {
	var changes []nft.Change
	for _, family := range []nft.Family{nft.IPv4, nft.IPv6} {
		add, del := filled(sets(family, come)), filled(sets(family, gone))
		if len(add)+len(del) > 0 {
			changes = append(changes, nft.Change{Table: nft.Table{Family: family, Name: f.name}, Add: add, Delete: del})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if f.conn.Update(ctx, changes...) == nil {
		return nil
	}
	return f.conn.Apply(ctx, Tables(f.name, f.state)...)
}

func filled(list []nft.Set) []nft.Set {
	return slices.DeleteFunc(list, func(s nft.Set) bool { return len(s.Elements) == 0 })
}

// Remove takes the tables away.
func (f *Firewall) Remove(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = State{}
	return f.conn.Remove(ctx, Tables(f.name, State{})...)
}

// Close lets go of the kernel and leaves the tables as they are.
func (f *Firewall) Close() error { return f.conn.Close() }
