package ipam

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/berth-engine/berth/core"
)

// Subnet is a subnet of a network with what its containers send through.
type Subnet struct {
	*Pool
	Gateway netip.Addr // invalid: none
}

// Family is what a network gives out of one family of addresses. A nil one has nothing to give.
type Family struct{ subnets []Subnet }

// Wish is what Open shall take.
type Wish struct {
	IPv6 bool
	// Pools are what the user said, both families mixed; the gateways and subnets chosen are written into it.
	Pools []core.IPPool
	// NoGateway leaves subnets without a gateway that have none.
	NoGateway bool
	// Avoid are prefixes that a subnet of our choice must not overlap.
	Avoid []netip.Prefix
}

// Open takes the subnets of one family, one of our choice when none is named, and in them what is not for containers.
// The pools come back completed. An error takes nothing.
func (s *Space) Open(w Wish) (_ *Family, pools []core.IPPool, err error) {
	f, pools := &Family{}, w.Pools
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	found := false
	for i := range pools {
		if !pools[i].Subnet.IsValid() || pools[i].Subnet.Addr().Is6() != w.IPv6 {
			continue
		}
		found = true
		pool, err := s.Take(pools[i].Subnet, pools[i].Range)
		if err != nil {
			return nil, nil, err
		}
		if err := f.add(pool, &pools[i], w.NoGateway); err != nil {
			return nil, nil, err
		}
	}
	if found {
		return f, pools, nil
	}
	pool, err := s.Pick(w.IPv6, w.Avoid)
	if err != nil {
		return nil, nil, err
	}
	pools = append(pools, core.IPPool{Subnet: pool.Subnet()})
	return f, pools, f.add(pool, &pools[len(pools)-1], w.NoGateway)
}

// add puts a subnet into the family, without what is not for containers.
func (f *Family) add(pool *Pool, p *core.IPPool, noGateway bool) error {
	f.subnets = append(f.subnets, Subnet{Pool: pool})
	for name, ip := range p.Aux {
		if err := pool.Take(ip); err != nil {
			return core.Internal("failed to allocate secondary ip address (%s:%s): %w", name, ip, err)
		}
	}
	switch {
	case p.Gateway.IsValid():
		if err := pool.Take(p.Gateway); err != nil {
			return core.Internal("failed to allocate gateway (%s): %w", p.Gateway, err)
		}
	case noGateway:
	default:
		// The first of the subnet, not of the range: containers find it where they expect it.
		ip := pool.Subnet().Addr().Next()
		for pool.Take(ip) != nil {
			if ip = ip.Next(); !pool.Subnet().Contains(ip) {
				return core.Internal("failed to allocate gateway (): no available addresses on this pool")
			}
		}
		p.Gateway = ip
	}
	f.subnets[len(f.subnets)-1].Gateway = p.Gateway
	return nil
}

// Subnet is the first subnet; a family without one gives an invalid prefix.
func (f *Family) Subnet() netip.Prefix {
	if f == nil || len(f.subnets) == 0 {
		return netip.Prefix{}
	}
	return f.subnets[0].Pool.Subnet()
}

// Gateway is that of the first subnet.
func (f *Family) Gateway() netip.Addr {
	if f == nil || len(f.subnets) == 0 {
		return netip.Addr{}
	}
	return f.subnets[0].Gateway
}

// Subnets are all subnets.
func (f *Family) Subnets() []Subnet {
	if f == nil {
		return nil
	}
	return f.subnets
}

// Next takes the first free address, subnet by subnet.
func (f *Family) Next() (netip.Prefix, netip.Addr, error) {
	for _, s := range f.subnets {
		if ip, err := s.Pool.Next(); err == nil {
			return netip.PrefixFrom(ip, s.subnet.Bits()), s.Gateway, nil
		}
	}
	return netip.Prefix{}, netip.Addr{}, errNone
}

// Take takes a chosen address.
func (f *Family) Take(ip netip.Addr) (netip.Prefix, netip.Addr, error) {
	for _, s := range f.subnets {
		if s.subnet.Contains(ip) {
			return netip.PrefixFrom(ip, s.subnet.Bits()), s.Gateway, s.Pool.Take(ip)
		}
	}
	return netip.Prefix{}, netip.Addr{}, errRange
}

// Release gives an address back. Giving back what is free, or of no subnet here, is harmless.
func (f *Family) Release(ip netip.Addr) {
	for _, s := range f.Subnets() {
		if s.subnet.Contains(ip) {
			s.Pool.Release(ip)
		}
	}
}

// Close gives the subnets back.
func (f *Family) Close() {
	for _, s := range f.Subnets() {
		s.Pool.Close()
	}
}

// Use counts the addresses of a pool: those that are taken or reserved, and those that Next could still give. Numbers
// end at the largest one.
func (p *Pool) Use() (taken, free uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := func(prefix netip.Prefix) uint64 {
		bits := prefix.Addr().BitLen() - prefix.Bits()
		if bits >= 64 {
			return math.MaxUint64
		}
		return 1 << bits
	}
	free = size(p.within)
	for ip := range p.taken {
		if p.within.Contains(ip) && free != math.MaxUint64 {
			free--
		}
	}
	return uint64(len(p.taken)), free
}

// Check checks what the user said of subnets, all at once, in Docker's words.
func Check(pools []core.IPPool) error {
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
