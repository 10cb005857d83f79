// Package firewall says which packets may go where: networks are separated from each other and from the outside,
// containers reach the outside with the host's address, and published ports lead to their containers.
//
// What should be is a State; Tables turns it into the two tables of the packet filter that are all there is of a
// daemon in the kernel. The rules are the same for every State: networks and ports are elements of sets and maps.
// Other tables of the host are left alone and keep their say: what the host's own firewall drops stays dropped, unless
// the administrator wants it otherwise (Override).
package firewall

import (
	"context"
	"maps"
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
	priorityForward     = -10 // before the host's own chains, which then see the mark
	priorityFilter      = 0
	prioritySource      = 100
)

// Tables gives the tables for a state, one per family.
func Tables(name string, host Host, s State) []nft.Table {
	return []nft.Table{table(nft.IPv4, name, host, s), table(nft.IPv6, name, host, s)}
}

func table(f nft.Family, name string, host Host, s State) nft.Table {
	return nft.Table{Family: f, Name: name, Sets: sets(f, s), Chains: chains(f, host)}
}

// Firewall keeps the kernel at a State. It owns the tables of its name.
type Firewall struct {
	name string
	host Host
	conn *nft.Conn

	mu       sync.Mutex // guards all below; held while the kernel is told, so that it sees changes in order
	state    holding
	known    bool     // Set said what should be: before that what the kernel has is left alone
	dropping []string // chains of the host's that drop what containers send and get
}

// New speaks for the tables of that name. The kernel is not told anything before Set.
func New(name string, host Host) (*Firewall, error) {
	conn, err := nft.Dial(nil)
	if err != nil {
		return nil, err
	}
	return &Firewall{name: name, host: host, conn: conn, state: hold(State{})}, nil
}

// holding is what the kernel shall have, in a form in which a change costs what it changes, not what there is.
type holding struct {
	networks     map[Network]bool
	publications map[Publication]bool
}

func hold(s State) holding {
	h := holding{map[Network]bool{}, map[Publication]bool{}}
	h.change(State{}, s)
	return h
}

// state is all of it, in no order.
func (h holding) state() State {
	return State{slices.Collect(maps.Keys(h.networks)), slices.Collect(maps.Keys(h.publications))}
}

// change puts one thing in the place of another and gives what that changes.
func (h holding) change(old, next State) (gone, come State) {
	gone.Networks, come.Networks = replace(h.networks, old.Networks, next.Networks)
	gone.Publications, come.Publications = replace(h.publications, old.Publications, next.Publications)
	return gone, come
}

func replace[T comparable](held map[T]bool, old, next []T) (gone, come []T) {
	stays := make(map[T]bool, len(next))
	for _, v := range next {
		if stays[v] = true; !held[v] {
			held[v] = true
			come = append(come, v)
		}
	}
	for _, v := range old {
		if held[v] && !stays[v] {
			delete(held, v)
			gone = append(gone, v)
		}
	}
	return gone, come
}

// Set makes the state what it should be, whatever it was.
func (f *Firewall) Set(ctx context.Context, s State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.known = hold(s), true
	return f.apply(ctx)
}

// apply tells the kernel everything; the caller holds mu.
func (f *Firewall) apply(ctx context.Context) error {
	return f.conn.Apply(ctx, Tables(f.name, f.host, f.state.state())...)
}

// Repair makes the kernel have the tables again when somebody threw them, or parts of them, away, and finds its way with
// the host's own firewall. Before Set nothing is repaired: ports of containers that run are not known yet.
func (f *Firewall) Repair(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range Tables(f.name, f.host, f.state.state()) {
		if !f.known {
			break // a daemon that starts has not looked yet who runs: the tables are those of its predecessor
		}
		intact, err := f.conn.Intact(t)
		if err != nil {
			return err
		}
		if !intact {
			if err := f.apply(ctx); err != nil {
				return err
			}
			break
		}
	}
	return f.meet(ctx)
}

// Add adds networks and publications in one transaction.
func (f *Firewall) Add(ctx context.Context, s State) error { return f.Replace(ctx, State{}, s) }

// Delete takes networks and publications away in one transaction. What is not there is no error.
func (f *Firewall) Delete(ctx context.Context, s State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone, _ := f.state.change(s, State{})
	return f.update(ctx, State{}, gone)
}

// Replace puts networks and publications in the place of others in one transaction. What is in both is not touched.
func (f *Firewall) Replace(ctx context.Context, old, next State) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone, come := f.state.change(old, next)
	if err := f.update(ctx, come, gone); err != nil {
		f.state.change(come, gone)
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
	return f.apply(ctx)
}

func filled(list []nft.Set) []nft.Set {
	return slices.DeleteFunc(list, func(s nft.Set) bool { return len(s.Elements) == 0 })
}

// Remove takes the tables away.
func (f *Firewall) Remove(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.known = hold(State{}), false
	if err := f.withdraw(ctx); err != nil {
		return err
	}
	return f.conn.Remove(ctx, Tables(f.name, f.host, State{})...)
}

// Close lets go of the kernel and leaves the tables as they are.
func (f *Firewall) Close() error { return f.conn.Close() }
