// Package ipam gives out subnets to networks and addresses to endpoints. It is arithmetic only: it asks neither the
// kernel nor the disk, so what is taken must be told again after a restart.
package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/berth-engine/berth/core"
)

// Errors in Docker's words.
var (
	errOverlap   = core.Forbidden("invalid pool request: Pool overlaps with other one on this address space")
	errInUse     = core.Forbidden("Address already in use")
	errRange     = core.Invalid("requested address is out of range")
	errExhausted = core.Invalid("all predefined address pools have been fully subnetted")
	errNone      = core.Unavailable("no available addresses on this pool")
)

// Base is a prefix that subnets of one size are cut from.
type Base struct {
	Prefix netip.Prefix
	Size   int // bits of each subnet
}

// Defaults are the bases that Docker cuts from when nobody says otherwise.
func Defaults() []Base {
	var list []Base
	for _, b := range []struct {
		prefix string
		size   int
	}{
		{"172.17.0.0/16", 16}, {"172.18.0.0/16", 16}, {"172.19.0.0/16", 16}, {"172.20.0.0/14", 16},
		{"172.24.0.0/14", 16}, {"172.28.0.0/14", 16}, {"192.168.0.0/16", 20},
	} {
		list = append(list, Base{netip.MustParsePrefix(b.prefix), b.size})
	}
	return list
}

// Space is all subnets of one daemon.
type Space struct {
	bases []Base

	mu    sync.Mutex // guards pools
	pools []netip.Prefix
}

// NewSpace cuts from the bases, in their order.
func NewSpace(bases []Base) (*Space, error) {
	for _, b := range bases {
		if b.Prefix != b.Prefix.Masked() || b.Size < b.Prefix.Bits() || b.Size > b.Prefix.Addr().BitLen() || b.Size-b.Prefix.Bits() > 32 {
			return nil, core.Invalid("invalid default address pool: subnets of /%d can't be cut from %s", b.Size, b.Prefix)
		}
	}
	return &Space{bases: bases}, nil
}

// Take reserves a subnet that somebody chose. Addresses are given out from within (the whole subnet when invalid).
func (s *Space) Take(subnet, within netip.Prefix) (*Pool, error) {
	if !subnet.IsValid() || subnet != subnet.Masked() {
		return nil, core.Invalid("invalid subnet %s: it should be %s", subnet, subnet.Masked())
	}
	if within.IsValid() && (!subnet.Contains(within.Addr()) || within.Bits() < subnet.Bits()) {
		return nil, core.Invalid("invalid address subpool")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if overlaps(subnet, s.pools) {
		return nil, errOverlap
	}
	s.pools = append(s.pools, subnet)
	return newPool(s, subnet, within), nil
}

// Pick reserves the first subnet of the bases that overlaps neither a reserved one nor what is to be avoided.
func (s *Space) Pick(v6 bool, avoid []netip.Prefix) (*Pool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	blocked := slices.Concat(s.pools, avoid)
	for _, b := range s.bases {
		if b.Prefix.Addr().Is6() != v6 {
			continue
		}
		if subnet, ok := pick(b, blocked); ok {
			s.pools = append(s.pools, subnet)
			return newPool(s, subnet, netip.Prefix{}), nil
		}
	}
	return nil, errExhausted
}

// pick goes through a base in steps of one subnet, or past a blocker that is larger than one.
func pick(b Base, blocked []netip.Prefix) (netip.Prefix, bool) {
	for subnet := netip.PrefixFrom(b.Prefix.Addr(), b.Size); b.Prefix.Contains(subnet.Addr()); {
		i := slices.IndexFunc(blocked, subnet.Overlaps)
		if i < 0 {
			return subnet, true
		}
		past := last(subnet)
		if end := last(blocked[i].Masked()); past.Less(end) {
			past = end
		}
		next := past.Next()
		if !next.IsValid() {
			break
		}
		// A blocker may end in the middle of a subnet: go on at the next boundary.
		subnet = netip.PrefixFrom(next, b.Size)
		if m := subnet.Masked(); m != subnet {
			if next = last(m).Next(); !next.IsValid() {
				break
			}
			subnet = netip.PrefixFrom(next, b.Size)
		}
	}
	return netip.Prefix{}, false
}

func overlaps(p netip.Prefix, list []netip.Prefix) bool { return slices.ContainsFunc(list, p.Overlaps) }

// Pool is the addresses of one subnet.
type Pool struct {
	space  *Space
	subnet netip.Prefix
	within netip.Prefix

	mu    sync.Mutex // guards taken and hint
	taken map[netip.Addr]bool
	hint  netip.Addr // no address below it is free
}

func newPool(s *Space, subnet, within netip.Prefix) *Pool {
	if !within.IsValid() {
		within = subnet
	}
	p := &Pool{space: s, subnet: subnet, within: within.Masked(), taken: map[netip.Addr]bool{}, hint: within.Masked().Addr()}
	if host := subnet.Addr().BitLen() - subnet.Bits(); host > 1 {
		p.taken[subnet.Addr()] = true // the network itself; for IPv6 the anycast address of its routers
		if subnet.Addr().Is4() {
			p.taken[last(subnet)] = true
		}
	}
	return p
}

// Subnet is the prefix of the pool.
func (p *Pool) Subnet() netip.Prefix { return p.subnet }

// Next takes the lowest free address.
func (p *Pool) Next() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ip := p.hint; p.within.Contains(ip); ip = ip.Next() {
		if !p.taken[ip] {
			p.taken[ip], p.hint = true, ip
			return ip, nil
		}
	}
	return netip.Addr{}, errNone
}

// Take takes a chosen address.
func (p *Pool) Take(ip netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.subnet.Contains(ip) {
		return errRange
	}
	if p.taken[ip] {
		return errInUse
	}
	p.taken[ip] = true
	return nil
}

// Release gives an address back. Giving back what is free is harmless.
func (p *Pool) Release(ip netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[ip] {
		delete(p.taken, ip)
		if p.within.Contains(ip) && ip.Less(p.hint) {
			p.hint = ip
		}
	}
}

// Close gives the subnet back.
func (p *Pool) Close() {
	p.space.mu.Lock()
	defer p.space.mu.Unlock()
	p.space.pools = slices.DeleteFunc(p.space.pools, func(o netip.Prefix) bool { return o == p.subnet })
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	ip := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(ip)*8; bit++ {
		ip[bit/8] |= 1 << (7 - bit%8)
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		panic(fmt.Sprintf("ipam: %s has no last address", p))
	}
	return addr
}
