// Package dns answers the names of containers inside user-defined networks and passes every other question on.
//
// A Zone holds the names of one network. A Resolver serves one container: its sockets are inside the container's
// namespace, at 127.0.0.11, and it asks the zones of the networks that the container is in, then the servers outside.
package dns

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Zone is the names of one network. Names are compared without case.
type Zone struct {
	// Suffix is the name of the network: "web.back" is "web" in the network "back".
	Suffix string

	mu     sync.RWMutex // guards all below
	owners map[string]entry
	names  map[string][]string // lower-case name to owners, in the order of their coming
	turn   int
}

type entry struct {
	names []string
	addrs []netip.Addr
}

// NewZone is a zone without names.
func NewZone(suffix string) *Zone {
	return &Zone{Suffix: suffix, owners: map[string]entry{}, names: map[string][]string{}}
}

// Set says what an owner (an endpoint) is called and where it is. The first name is what reverse lookups give.
func (z *Zone) Set(owner string, names []string, addrs ...netip.Addr) {
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !a.IsValid() })
	z.mu.Lock()
	defer z.mu.Unlock()
	z.remove(owner)
	z.owners[owner] = entry{slices.Clone(names), addrs}
	for _, name := range names {
		key := strings.ToLower(name)
		if !slices.Contains(z.names[key], owner) {
			z.names[key] = append(z.names[key], owner)
		}
	}
}

// Remove forgets an owner. One that is not there is no error.
func (z *Zone) Remove(owner string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.remove(owner)
}

func (z *Zone) remove(owner string) {
	for _, name := range z.owners[owner].names {
		key := strings.ToLower(name)
		rest := slices.DeleteFunc(z.names[key], func(o string) bool { return o == owner })
		if len(rest) == 0 {
			delete(z.names, key)
		} else {
			z.names[key] = rest
		}
	}
	delete(z.owners, owner)
}

// Lookup gives the addresses of all owners of a name, beginning with another one each time. known tells a name
// without addresses from one that is not there.
func (z *Zone) Lookup(name string) (addrs []netip.Addr, known bool) {
	key := strings.ToLower(name)
	z.mu.Lock()
	defer z.mu.Unlock()
	owners := z.names[key]
	if owners == nil {
		short, ok := strings.CutSuffix(key, "."+strings.ToLower(z.Suffix))
		if owners = z.names[short]; !ok || owners == nil {
			return nil, false
		}
	}
	z.turn++
	for i := range owners {
		addrs = append(addrs, z.owners[owners[(i+z.turn)%len(owners)]].addrs...)
	}
	return addrs, true
}

// Reverse gives the first name of the owner of an address.
func (z *Zone) Reverse(ip netip.Addr) (string, bool) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	for _, e := range z.owners {
		if len(e.names) > 0 && slices.Contains(e.addrs, ip) {
			return e.names[0] + "." + z.Suffix, true
		}
	}
	return "", false
}
