package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/linux/netns"
	"github.com/berth-engine/berth/network/dns"
	"github.com/berth-engine/berth/network/driver"
	"github.com/berth-engine/berth/network/ipam"
)

// undoTimeout bounds work that must be done although the caller went away or failed.
const undoTimeout = 30 * time.Second

func undoing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
}

// Sandboxes is the containers in their networks. It is the engine's Sandboxes.
type Sandboxes struct{ *shared }

// sandbox is a container that is connected. Its operations exclude each other by op, taken before shared.mu; fields
// that others read (core.Sandbox.Name, endpoints) change under both.
type sandbox struct {
	core.Sandbox
	shared *shared

	op        sync.Mutex
	closed    bool
	ns        *os.File // nil for the host's
	endpoints []*endpoint
	published *published
	resolver  *dns.Resolver // nil: no network with names
	serving   bool          // resolver answers
}

// endpoint is a container's place in a network.
type endpoint struct {
	*core.Endpoint
	network *network
	key     string // the name under which the engine asked for it
	host    string // the host's end of the pair
	index   int    // of the other end, inside
}

// Open makes the namespace, joins the networks, publishes the ports and writes the files. An error leaves nothing
// behind.
func (ss *Sandboxes) Open(ctx context.Context, spec core.Sandbox) (core.Joined, error) {
	joined, err := ss.open(ctx, spec)
	if err == nil {
		ss.tellLinked(spec.Name)
	}
	return joined, err
}

func (ss *Sandboxes) open(ctx context.Context, spec core.Sandbox) (_ core.Joined, err error) {
	sb := &sandbox{Sandbox: spec, shared: ss.shared, published: &published{}}
	sb.op.Lock()
	defer sb.op.Unlock()
	if err := ss.enter(sb); err != nil {
		return core.Joined{}, err
	}
	defer func() {
		if err != nil {
			ctx, cancel := undoing(ctx)
			defer cancel()
			err = errors.Join(err, sb.close(ctx))
		}
	}()
	if spec.Host {
		return core.Joined{}, sb.writeFiles()
	}
	if err := sb.plan(); err != nil {
		return core.Joined{}, err
	}
	// The disk and the kernel's network have nothing to do with each other: files are written meanwhile.
	written := make(chan error, 1)
	go func() { written <- sb.writeFiles() }()
	err = sb.connect(ctx)
	if err == nil {
		err = sb.publish(ctx)
	}
	if err == nil {
		err = sb.names(ctx)
	}
	if err = errors.Join(err, <-written); err != nil {
		return core.Joined{}, err
	}
	joined := core.Joined{Endpoints: map[string]*core.Endpoint{}, Ports: sb.published.ports()}
	for _, e := range sb.endpoints {
		c := *e.Endpoint
		joined.Endpoints[e.key] = &c
	}
	joined.NS, err = netns.Duplicate(sb.ns)
	return joined, err
}

// enter puts a sandbox into the table. A container has one.
func (s *shared) enter(sb *sandbox) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sandboxes[sb.Container] != nil {
		return core.Conflict("container %s is already connected to its networks", sb.Container)
	}
	s.sandboxes[sb.Container] = sb
	return nil
}

// plan finds the networks and takes addresses. The network that the container is named after (its NetworkMode)
// comes first, then the others by name: that is the order of eth0, eth1, …
func (sb *sandbox) plan() error {
	keys := make([]string, 0, len(sb.Endpoints))
	for key := range sb.Endpoints {
		keys = append(keys, key)
	}
	mode := sb.DNS.NetworkMode
	slices.SortFunc(keys, func(a, b string) int {
		if (a == mode) != (b == mode) {
			if a == mode {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, key := range keys {
		if _, err := sb.join(key, *sb.Endpoints[key]); err != nil {
			return err
		}
	}
	return nil
}

// join finds a network, takes addresses in it and puts the endpoint into the sandbox. The kernel does not know yet.
func (sb *sandbox) join(ref string, asked core.Endpoint) (*endpoint, error) {
	n, err := sb.shared.find(ref)
	if err != nil {
		return nil, err
	}
	if !n.Joined {
		return nil, core.Forbidden("container sharing network namespace with another container or host cannot be connected to any other network")
	}
	if n.Index == 0 {
		return nil, core.Unavailable("network %s can't be used: it could not be made when the daemon started", n.Name)
	}
	if n.zone == nil && (asked.IPv4.IsValid() || asked.IPv6.IsValid()) {
		return nil, core.Invalid("user specified IP address is supported on user defined networks only")
	}
	if n.SharedMAC && len(asked.WantMAC) > 0 {
		return nil, core.Invalid("%s interfaces do not support custom mac address assignment", n.Driver)
	}
	e := &endpoint{Endpoint: &asked, network: n, key: ref, host: newVeth()}
	e.NetworkID, e.EndpointID = n.ID, id.New()
	e.Gateway, e.GatewayIPv6, e.Address, e.AddressIPv6 = netip.Addr{}, netip.Addr{}, netip.Prefix{}, netip.Prefix{}
	e.DNSNames, e.Interface = nil, ""
	if n.zone != nil {
		e.DNSNames = sb.dnsNames(e)
	}
	if err := e.takeAddresses(); err != nil {
		return nil, err
	}
	switch e.MAC = e.WantMAC; {
	case n.SharedMAC:
		e.MAC = nil
	case len(e.MAC) == 0:
		e.MAC = macOf(e.Address.Addr())
	}
	sb.shared.mu.Lock()
	sb.endpoints = append(sb.endpoints, e)
	sb.shared.mu.Unlock()
	return e, nil
}

// macOf makes a hardware address from an IPv4 one, so that who gets an address anew is found at once: neighbours
// that remember the last owner remember the right thing. Without IPv4 it is random.
func macOf(ip netip.Addr) net.HardwareAddr {
	if !ip.Is4() {
		return link.RandomMAC()
	}
	b := ip.As4()
	return net.HardwareAddr{0x02, 0x42, b[0], b[1], b[2], b[3]}
}

// takeAddresses takes an address per family of the network, or none.
func (e *endpoint) takeAddresses() (err error) {
	n := e.network
	if n.IPv4 == nil && e.IPv4.IsValid() || n.IPv6 == nil && e.IPv6.IsValid() {
		return core.Invalid("invalid address: network %s does not have this family of addresses", n.Name)
	}
	if e.Address, e.Gateway, err = e.takeAddress(n.IPv4, e.IPv4, 4); err != nil {
		return err
	}
	if e.AddressIPv6, e.GatewayIPv6, err = e.takeAddress(n.IPv6, e.IPv6, 6); err != nil {
		e.releaseAddresses()
		return err
	}
	if n.Internal || n.OnLink {
		e.Gateway, e.GatewayIPv6 = netip.Addr{}, netip.Addr{}
	}
	return nil
}

// takeAddress takes the address that was asked for, or any; the network may not have the family.
func (e *endpoint) takeAddress(f *ipam.Family, asked netip.Addr, version int) (address netip.Prefix, gateway netip.Addr, err error) {
	switch {
	case f == nil:
	case asked.IsValid():
		address, gateway, err = f.Take(asked)
	default:
		if address, gateway, err = f.Next(); err != nil {
			err = core.Unavailable("no available IPv%d addresses on this network's address pools: %s (%s)", version, e.network.Name, e.network.ID)
		}
	}
	if err != nil {
		address = netip.Prefix{} // it is not ours to release
	}
	return address, gateway, err
}

func (e *endpoint) releaseAddresses() {
	e.network.IPv4.Release(e.Address.Addr())
	e.network.IPv6.Release(e.AddressIPv6.Addr())
}

// connect takes a namespace and gives it the interfaces of all endpoints. For the default network alone that is one
// batch inside; everything else was made in advance.
func (sb *sandbox) connect(ctx context.Context) error {
	s := sb.shared
	for _, e := range sb.endpoints {
		if err := s.whole(ctx, e.network); err != nil {
			return err
		}
	}
	k := attached
	switch {
	case len(sb.endpoints) == 0 || !sb.endpoints[0].network.Pairs:
		k = bare
	case sb.named():
		k = loose
	}
	p, err := s.ready.take(ctx, k)
	if err != nil {
		return err
	}
	defer p.conn.Close()
	sb.ns, sb.resolver = p.ns, p.resolver
	var inside link.Batch
	if k != bare {
		sb.endpoints[0].adopt(p, &inside)
	}
	if err := sb.furnish(ctx, p, &inside); err != nil {
		return err
	}
	for _, e := range sb.endpoints {
		e.address(&inside)
	}
	sb.route(&inside)
	if err := sb.giveAddresses(ctx, p, &inside); err != nil {
		return err
	}
	for _, e := range sb.endpoints {
		if err := e.tune(sb.ns); err != nil {
			return err
		}
	}
	return nil
}

// giveAddresses does the work that gives the interfaces their addresses, and waits until they have those of IPv6.
func (sb *sandbox) giveAddresses(ctx context.Context, p *place, inside *link.Batch) error {
	var six []netip.Prefix
	for _, e := range sb.endpoints {
		if e.AddressIPv6.IsValid() {
			six = append(six, e.AddressIPv6)
		}
	}
	if len(six) == 0 {
		return p.conn.Apply(ctx, inside)
	}
	return netns.Do(sb.ns, func() error {
		return link.AwaitIPv6(ctx, six, func() error { return p.conn.Apply(ctx, inside) })
	})
}

// tune sets the kernel's settings of one interface that were asked for: net.ipv4.conf.IFNAME.log_martians=1. The
// engine has checked how they are written.
func (e *endpoint) tune(ns *os.File) error {
	list := e.DriverOpts[optSysctls]
	if list == "" {
		return nil
	}
	return netns.Do(ns, func() error {
		for sysctl := range strings.SplitSeq(list, ",") {
			name, value, _ := strings.Cut(sysctl, "=")
			parts := strings.SplitN(name, ".", 5)
			if len(parts) != 5 {
				return core.Invalid("unrecognised network interface sysctl '%s'", sysctl)
			}
			parts[3] = e.Interface // whose name may have dots
			if err := link.Sysctl(strings.Join(parts[1:], "/"), value); err != nil {
				return core.Invalid("failed to set sysctl '%s': %w", sysctl, err)
			}
		}
		return nil
	})
}

// adopt makes the pair that was made in advance the endpoint's.
func (e *endpoint) adopt(p *place, inside *link.Batch) {
	e.host, e.index = p.host, p.index
	if e.Interface = interfaceName(e, 0); e.Interface != "eth0" {
		inside.Down("eth0")
		inside.Rename(e.index, e.Interface)
		inside.Up(e.Interface)
	}
	inside.SetMAC(e.Interface, e.MAC)
	if p.mtu != e.network.MTU {
		inside.SetMTU(e.Interface, e.network.MTU)
	}
}

// furnish makes what was not made in advance: the bridge of the first pair, further pairs, IPv6. inside is the work
// that waits to be done inside; where names or numbers matter it is done here.
func (sb *sandbox) furnish(ctx context.Context, p *place, inside *link.Batch) error {
	var outside, settle link.Batch
	six := false
	for i, e := range sb.endpoints {
		n := e.network
		six = six || e.AddressIPv6.IsValid()
		switch {
		case i > 0 || p.kind == bare:
			e.Interface = interfaceName(e, i)
			if err := e.make(&outside, sb.ns); err != nil {
				return err
			}
			inside.Up(e.Interface)
			e.settle(&settle)
		case p.master != n:
			if p.mtu != n.MTU {
				outside.SetMTU(e.host, n.MTU)
			}
			outside.Enslave(e.host, n.Index, n.Port)
			e.settle(&outside)
		}
	}
	if err := sb.shared.conn.Apply(ctx, &outside); err != nil {
		return err
	}
	if !six && len(sb.endpoints) < 2 && (p.kind != bare || len(sb.endpoints) == 0) {
		return nil
	}
	if err := p.conn.Apply(ctx, inside); err != nil {
		return err
	}
	*inside = link.Batch{}
	if err := sb.inspect(); err != nil {
		return err
	}
	return sb.shared.conn.Apply(ctx, &settle)
}

// make asks for the endpoint's interface inside.
func (e *endpoint) make(outside *link.Batch, ns *os.File) error {
	if !e.network.Pairs {
		e.host = ""
	}
	return e.network.driver.Join(outside, &e.network.Network, driver.Port{Host: e.host, Name: e.Interface, MAC: e.MAC, NS: int(ns.Fd())})
}

// settle makes the bridge carry packets of the endpoint at once.
func (e *endpoint) settle(batch *link.Batch) {
	if e.host != "" {
		batch.Settle(e.host)
		batch.Settle(e.network.Link)
	}
}

// inspect learns the numbers of the interfaces inside, and turns IPv6 on where an endpoint has such an address and
// off where not.
func (sb *sandbox) inspect() error {
	return netns.Do(sb.ns, func() error {
		for _, e := range sb.endpoints {
			found, err := link.Find(e.Interface)
			if err != nil {
				return err
			}
			e.index = found.Index
			if err := link.SwitchIPv6(e.Interface, e.AddressIPv6.IsValid()); err != nil {
				return err
			}
		}
		return nil
	})
}

// address gives the inner interface its addresses.
func (e *endpoint) address(inside *link.Batch) {
	if e.AddressIPv6.IsValid() {
		inside.Settle(e.Interface) // IPv6 begins when the kernel has acted on the carrier
	}
	for _, p := range []netip.Prefix{e.Address, e.AddressIPv6} {
		if p.IsValid() {
			inside.AddAddress(e.index, p)
		}
	}
	for _, ip := range e.LinkLocal {
		inside.AddAddress(e.index, netip.PrefixFrom(ip, map[bool]int{true: 16, false: 64}[ip.Is4()]))
	}
}

// gateways are the endpoints through which the container reaches the outside: those with the highest priority, of
// equal ones the first by name of the network. nil: none.
func (sb *sandbox) gateways() (v4, v6 *endpoint) {
	better := func(e, than *endpoint) bool {
		if than == nil || e.GwPriority != than.GwPriority {
			return than == nil || e.GwPriority > than.GwPriority
		}
		return e.network.Name < than.network.Name
	}
	for _, e := range sb.endpoints {
		onLink := e.network.OnLink && !e.network.Internal
		if (e.Gateway.IsValid() || onLink && e.Address.IsValid()) && better(e, v4) {
			v4 = e
		}
		if (e.GatewayIPv6.IsValid() || onLink && e.AddressIPv6.IsValid()) && better(e, v6) {
			v6 = e
		}
	}
	return v4, v6
}

// route sets the default routes.
func (sb *sandbox) route(inside *link.Batch) {
	v4, v6 := sb.gateways()
	if v4 != nil {
		inside.SetDefaultRoute(v4.index, false, v4.Gateway)
	}
	if v6 != nil {
		inside.SetDefaultRoute(v6.index, true, v6.GatewayIPv6)
	}
}

// interfaceName is what the interface is called inside.
func interfaceName(e *endpoint, i int) string {
	if name := e.DriverOpts[optIfname]; name != "" {
		return name
	}
	prefix := "eth"
	if p := e.network.Options[driver.OptPrefix]; p != "" {
		prefix = p
	}
	return fmt.Sprintf("%s%d", prefix, i)
}

// Close undoes Open: addresses, published ports, names. Closing twice is harmless.
func (ss *Sandboxes) Close(ctx context.Context, id core.ContainerID) error {
	sb := ss.sandbox(id)
	if sb == nil {
		return nil
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	err := sb.close(ctx)
	ss.ready.refill()
	return err
}

// sandbox finds the sandbox of a container; nil: it has none.
func (s *shared) sandbox(id core.ContainerID) *sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sandboxes[id]
}

// close takes everything back; the caller holds op. It goes on behind an error.
func (sb *sandbox) close(ctx context.Context) error {
	if sb.closed {
		return nil
	}
	sb.closed = true
	s := sb.shared
	errs := []error{sb.withdraw(ctx)}
	var ports link.Batch
	for _, e := range sb.endpoints {
		if e.network.zone != nil {
			e.network.zone.Remove(e.EndpointID)
		}
		if port, err := link.Find(e.host); err == nil { // else it is gone already, or there never was one
			ports.Retire(port.Index)
		}
	}
	// The interfaces go with the namespace, but not at once, and removing them here would wait for the kernel some
	// 30 ms: the ports of the bridges are shut, so that the addresses can be given to others.
	errs = append(errs, s.conn.Apply(ctx, &ports), sb.removeInside(ctx, sb.endpoints), sb.release())
	for _, e := range sb.endpoints {
		e.releaseAddresses()
	}
	s.mu.Lock()
	sb.endpoints = nil
	delete(s.sandboxes, sb.Container)
	s.mu.Unlock()
	return errors.Join(errs...)
}

// removeInside removes the interfaces of endpoints that have no other end on the host. That does not wait for the end of
// the namespace: until they are gone their hardware addresses, or their parent, are taken.
func (sb *sandbox) removeInside(ctx context.Context, endpoints []*endpoint) error {
	if sb.ns == nil || !slices.ContainsFunc(endpoints, func(e *endpoint) bool { return e.host == "" }) {
		return nil
	}
	return netns.Do(sb.ns, func() error {
		inside, err := link.Dial()
		if err != nil {
			return err
		}
		defer inside.Close()
		var batch link.Batch
		for _, e := range endpoints {
			if e.host == "" && e.Interface != "" {
				batch.Delete(e.Interface)
			}
		}
		return inside.Apply(ctx, &batch)
	})
}

// release lets go of what is held open for the sandbox: name server, published ports' sockets, namespace.
func (sb *sandbox) release() error {
	var err error
	if sb.resolver != nil {
		err = sb.resolver.Close()
		sb.resolver, sb.serving = nil, false
	}
	sb.published.close()
	if sb.ns != nil {
		err = errors.Join(err, sb.ns.Close())
		sb.ns = nil
	}
	return err
}
