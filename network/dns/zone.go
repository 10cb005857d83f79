// Package dns answers the names of containers inside user-defined networks and passes every other question on.
//
// A Zone holds the names of one network. A Resolver serves one container: its sockets are inside the container's
// namespace, at 127.0.0.11, and it asks the zones of the networks that the container is in, then the servers outside.
// Questions about names of containers are answered from the datagram itself (packet.go), all others as messages
// (resolver.go).
package dns

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Zone is the names of one network. Names are compared without case.
type Zone struct {
	// Suffix is the name of the network: "web.back" is "web" in the network "back".
	Suffix string

	suffix string // a dot and Suffix, in lower case

	mu     sync.RWMutex // guards all below
	owners map[string]entry
	names  map[string]*name      // by lower-case name
	addrs  map[netip.Addr]string // to the first name of the owner
}

type entry struct {
	names []string
	addrs []netip.Addr
}

// name is where the owners of a name are. All but turn is replaced, never changed: a reader may keep it.
type name struct {
	owners []string // in the order of their coming
	v4, v6 []netip.Addr
	turn   *atomic.Uint32 // which of them an answer begins with
}

// NewZone is a zone without names.
func NewZone(suffix string) *Zone {
	return &Zone{
		Suffix: suffix, suffix: "." + strings.ToLower(suffix),
		owners: map[string]entry{}, names: map[string]*name{}, addrs: map[netip.Addr]string{},
	}
}

// Set says what an owner (an endpoint) is called and where it is. The first name is what reverse lookups give.
func (z *Zone) Set(owner string, names []string, addrs ...netip.Addr) {
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !a.IsValid() })
	z.mu.Lock()
	defer z.mu.Unlock()
	z.remove(owner)
	z.owners[owner] = entry{slices.Clone(names), addrs}
	for _, n := range names {
		key, owners := strings.ToLower(n), []string(nil)
		if has := z.names[key]; has != nil {
			owners = has.owners
		}
		if !slices.Contains(owners, owner) {
			z.put(key, append(slices.Clip(owners), owner))
		}
	}
	if len(names) > 0 {
		for _, ip := range addrs {
			z.addrs[ip] = names[0]
		}
	}
}

// put says who owns a name; the caller holds mu.
func (z *Zone) put(key string, owners []string) {
	if len(owners) == 0 {
		delete(z.names, key)
		return
	}
	next := &name{owners: owners, turn: new(atomic.Uint32)}
	if has := z.names[key]; has != nil {
		next.turn = has.turn
	}
	for _, o := range owners {
		for _, ip := range z.owners[o].addrs {
			if ip.Is4() {
				next.v4 = append(next.v4, ip)
			} else {
				next.v6 = append(next.v6, ip)
			}
		}
	}
	z.names[key] = next
}

// Remove forgets an owner. One that is not there is no error.
func (z *Zone) Remove(owner string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.remove(owner)
}

func (z *Zone) remove(owner string) {
	gone := z.owners[owner]
	delete(z.owners, owner)
	for _, n := range gone.names {
		if has := z.names[strings.ToLower(n)]; has != nil {
			z.put(strings.ToLower(n), slices.DeleteFunc(slices.Clone(has.owners), func(o string) bool { return o == owner }))
		}
	}
	for _, ip := range gone.addrs {
		delete(z.addrs, ip)
	}
}

// find finds a name in lower case, with or without the suffix; nil: it is not there. It allocates nothing.
func (z *Zone) find(key []byte) *name {
	z.mu.RLock()
	defer z.mu.RUnlock()
	if n := z.names[string(key)]; n != nil {
		return n
	}
	if rest := len(key) - len(z.suffix); rest > 0 && string(key[rest:]) == z.suffix {
		return z.names[string(key[:rest])]
	}
	return nil
}

// next is the number of the address that the next answer begins with.
func (n *name) next() int { return int(n.turn.Add(1) & 0xffff) }

// Lookup gives the addresses of all owners of a name, IPv4 first, beginning with another one each time. known tells a
// name without addresses from one that is not there.
func (z *Zone) Lookup(text string) (addrs []netip.Addr, known bool) {
	n := z.find([]byte(strings.ToLower(text)))
	if n == nil {
		return nil, false
	}
	turn := n.next()
	for _, list := range [][]netip.Addr{n.v4, n.v6} {
		for i := range list {
			addrs = append(addrs, list[(i+turn)%len(list)])
		}
	}
	return addrs, true
}

// Reverse gives the first name of the owner of an address.
func (z *Zone) Reverse(ip netip.Addr) (string, bool) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	first, ok := z.addrs[ip]
	if !ok {
		return "", false
	}
	return first + "." + z.Suffix, true
}
