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

// Network is the bridge of a network. The zero one is of a network that the packet filter has nothing to do with.
type Network struct {
	Bridge     string
	Internal   bool   // nothing in or out
	NoICC      bool   // its containers do not reach each other
	Trusted    string // interfaces of the host, separated by colons, from which published ports are reached by routing too
	IPv4, IPv6 Family
}

// Family is a network's addresses of one family, and how they meet the outside.
type Family struct {
	Subnet     netip.Prefix // invalid: none
	Mode       Mode
	Masquerade bool       // containers appear with the host's address outside
	Source     netip.Addr // the address that they appear with; invalid: that of the interface
}

func (n Network) family(f nft.Family) Family {
	if f == nft.IPv6 {
		return n.IPv6
	}
	return n.IPv4
}

// Publication is a port of the host that leads to a container. In a routed network, or one with trusted interfaces, it
// is (also) the container's port that may be reached by routing: Direct.
type Publication struct {
	Protocol uint8      // nft.TCP, nft.UDP, nft.SCTP
	HostIP   netip.Addr // unspecified (0.0.0.0, ::): every address of the host; invalid: Direct alone
	HostPort uint16
	To       netip.AddrPort // of the same family
	Direct   bool
}

// Mode is how a network's containers meet the outside (gateway_mode_ipv4, gateway_mode_ipv6).
type Mode int

// The modes, in the order of how much is let in.
const (
	NAT         Mode = iota // published ports through the host's address
	Unprotected             // as NAT, and every port by routing
	Routed                  // published ports by routing; no address is translated
	isolated                // the host itself has no address in the network
)

// ParseMode reads a mode as users write it.
func ParseMode(s string) (Mode, bool) {
	m := slices.Index([]string{"nat", "nat-unprotected", "routed", "isolated"}, s)
	return Mode(max(m, 0)), m >= 0
}

// Isolated reports whether the host itself has no address in the network.
func (m Mode) Isolated() bool { return m == isolated }

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
	setOpen       = "unprotected" // bridges whose containers can be reached at every port
	setRouted     = "routed"      // bridges whose containers can be reached at their published ports, and by ICMP
	setTrusted    = "trusted"     // interfaces with the bridges that trust them
	setDirect     = "direct"      // ports of containers that may be reached by routing
	mapSource     = "source"      // bridges with the address that their containers go out with
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
