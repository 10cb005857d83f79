package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/failpoint"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/linux/netns"
	"github.com/berth-engine/berth/network/firewall"
)

// Connect puts a running container into a further network. It gives the endpoint and the ports that are published then:
// a network may be the first that has a way in.
func (ss *Sandboxes) Connect(ctx context.Context, id core.ContainerID, ref string, asked core.Endpoint) (_ core.Endpoint, _ []core.PublishedPort, err error) {
	sb := ss.sandbox(id)
	if sb == nil {
		return core.Endpoint{}, nil, core.NotRunning(id)
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	if sb.closed {
		return core.Endpoint{}, nil, core.NotRunning(id)
	}
	if sb.ns == nil {
		return core.Endpoint{}, nil, core.Forbidden("container sharing network namespace with another container or host cannot be connected to any other network")
	}
	n, err := ss.find(ref)
	if err != nil {
		return core.Endpoint{}, nil, err
	}
	if slices.ContainsFunc(sb.endpoints, func(e *endpoint) bool { return e.network.ID == n.ID }) {
		return core.Endpoint{}, nil, core.Forbidden("endpoint with name %s already exists in network %s", sb.Name, n.Name)
	}
	e, err := sb.join(ref, asked)
	if err != nil {
		return core.Endpoint{}, nil, err
	}
	defer func() {
		if err != nil {
			ctx, cancel := undoing(ctx)
			defer cancel()
			err = errors.Join(err, sb.leave(ctx, e), sb.publish(ctx))
		}
	}()
	if err := ss.whole(ctx, n); err != nil {
		return core.Endpoint{}, nil, err
	}
	// The first name server takes as long as the interfaces, which it does not need.
	named := make(chan error, 1)
	go func() { named <- sb.names(ctx) }()
	if err := errors.Join(sb.plug(ctx, e), <-named); err != nil {
		return core.Endpoint{}, nil, err
	}
	if err := failpoint.Hit("connect:before-settle"); err != nil {
		return core.Endpoint{}, nil, err
	}
	if err := e.tune(sb.ns); err != nil {
		return core.Endpoint{}, nil, err
	}
	if err := sb.settle(ctx); err != nil {
		return core.Endpoint{}, nil, err
	}
	return *e.Endpoint, sb.published.ports(), nil
}

// plug makes a pair of interfaces for an endpoint of a running container.
func (sb *sandbox) plug(ctx context.Context, e *endpoint) error {
	return netns.Do(sb.ns, func() error {
		inside, err := link.Dial()
		if err != nil {
			return err
		}
		defer inside.Close()
		list, err := link.List()
		if err != nil {
			return err
		}
		taken := func(name string) bool {
			return slices.ContainsFunc(list, func(l link.Interface) bool { return l.Name == name })
		}
		for i := 0; e.Interface == "" || taken(e.Interface); i++ {
			if e.Interface = interfaceName(e, i); i > len(list) {
				return core.Conflict("the container has an interface %s already", e.Interface)
			}
		}
		var outside, up, settle link.Batch
		if err := e.make(&outside, sb.ns); err != nil {
			return err
		}
		if err := sb.shared.conn.Apply(ctx, &outside); err != nil {
			return err
		}
		if err := link.SwitchIPv6(e.Interface, e.AddressIPv6.IsValid()); err != nil {
			return err
		}
		found, err := link.Find(e.Interface)
		if err != nil {
			return err
		}
		e.index = found.Index
		up.Up(e.Interface)
		e.address(&up)
		e.settle(&settle)
		var six []netip.Prefix
		if e.AddressIPv6.IsValid() {
			six = append(six, e.AddressIPv6)
		}
		return errors.Join(link.AwaitIPv6(ctx, six, func() error { return inside.Apply(ctx, &up) }), sb.shared.conn.Apply(ctx, &settle))
	})
}

// settle makes routes, published ports, names and files follow the endpoints that there are now.
func (sb *sandbox) settle(ctx context.Context) error {
	if err := sb.reroute(ctx); err != nil {
		return err
	}
	if err := sb.publish(ctx); err != nil {
		return err
	}
	if err := sb.names(ctx); err != nil {
		return err
	}
	return sb.writeFiles()
}

// Disconnect takes a running container out of a network. It gives the ports that are still published.
func (ss *Sandboxes) Disconnect(ctx context.Context, id core.ContainerID, ref string) ([]core.PublishedPort, error) {
	sb := ss.sandbox(id)
	if sb == nil {
		return nil, core.NotRunning(id)
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	n, err := ss.find(ref)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(sb.endpoints, func(e *endpoint) bool { return e.network.ID == n.ID })
	if i < 0 {
		return nil, core.Forbidden("container %s is not connected to network %s", id, ref)
	}
	err = errors.Join(sb.leave(ctx, sb.endpoints[i]), failpoint.Hit("disconnect:before-settle"), sb.settle(ctx))
	return sb.published.ports(), err
}

// leave takes an endpoint out of the sandbox and the kernel. What is not there is no error.
func (sb *sandbox) leave(ctx context.Context, e *endpoint) error {
	if e.network.zone != nil {
		e.network.zone.Remove(e.EndpointID)
	}
	err := errors.Join(link.Remove(ctx, e.host), sb.removeInside(ctx, []*endpoint{e}))
	e.releaseAddresses()
	sb.shared.mu.Lock()
	sb.endpoints = slices.DeleteFunc(slices.Clone(sb.endpoints), func(o *endpoint) bool { return o == e })
	sb.shared.mu.Unlock()
	if !sb.named() && sb.resolver != nil {
		err = errors.Join(err, sb.resolver.Close())
		sb.resolver, sb.serving = nil, false
	}
	sb.tellResolver()
	return err
}

// Restore takes over the sandboxes of running containers after a restart of the daemon and removes whatever belongs
// to no container any more. A part of a sandbox that can't be taken over is reported and left as it is: the
// container runs.
func (ss *Sandboxes) Restore(ctx context.Context, specs []core.Sandbox) error {
	links, err := link.List()
	if err != nil {
		return err
	}
	for _, spec := range specs {
		sb := &sandbox{Sandbox: spec, shared: ss.shared, published: &published{}}
		if err := ss.enter(sb); err != nil {
			return err
		}
		if spec.Host {
			continue
		}
		if err := sb.restore(ctx, links); err != nil {
			ss.log.Error("take over the network of a container", "container", spec.Container, "error", err)
		}
	}
	if err := ss.firewall.Set(ctx, ss.state()); err != nil {
		return err
	}
	for _, spec := range specs {
		if sb := ss.sandbox(spec.Container); sb != nil && sb.ns != nil {
			v4, v6 := sb.gateways()
			sb.forward(ctx, v4, v6)
		}
	}
	keep := map[string]bool{}
	for _, sb := range ss.sandboxes {
		for _, e := range sb.endpoints {
			keep[e.host] = true
		}
	}
	if err := ss.removeLinks(ctx, keep); err != nil {
		return err
	}
	ss.restored.Store(true)
	ss.ready.refill()
	return nil
}

// state is what the packet filter shall have.
func (s *shared) state() firewall.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	var state firewall.State
	for _, n := range s.networks {
		if n.Index != 0 {
			state.Networks = append(state.Networks, n.rules().Networks...)
		}
	}
	for _, sb := range s.sandboxes {
		state.Publications = append(state.Publications, sb.published.rules...)
	}
	return state
}

// restore takes over one sandbox: the namespace of its process, the addresses and ports that it has.
func (sb *sandbox) restore(ctx context.Context, links []link.Interface) error {
	ns, err := netns.OfProcess(sb.PID)
	if err != nil {
		return fmt.Errorf("open the namespace: %w", err)
	}
	sb.ns = ns
	var inside []link.Interface
	if err := netns.Do(ns, func() (err error) { inside, err = link.List(); return err }); err != nil {
		return err
	}
	var errs []error
	for key, has := range sb.Endpoints {
		if has.EndpointID == "" {
			continue
		}
		e := &endpoint{Endpoint: new(core.Endpoint), key: key}
		*e.Endpoint = *has
		if e.network, err = sb.shared.find(string(has.NetworkID)); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, in := range inside {
			if in.Name != has.Interface {
				continue
			}
			e.index = in.Index
			for _, out := range links {
				if e.network.Pairs && out.Index == in.Peer && out.Kind == "veth" {
					e.host = out.Name
				}
			}
		}
		errs = append(errs, e.retake())
		sb.endpoints = append(sb.endpoints, e)
	}
	errs = append(errs, sb.mend(ctx, links, inside))
	slices.SortFunc(sb.endpoints, func(a, b *endpoint) int { return a.index - b.index })
	errs = append(errs, sb.republish(ctx), sb.names(ctx))
	return errors.Join(errs...)
}

// retake takes the addresses that the endpoint has.
func (e *endpoint) retake() error {
	var errs []error
	if e.Address.IsValid() && e.network.IPv4 != nil {
		_, _, err := e.network.IPv4.Take(e.Address.Addr())
		errs = append(errs, err)
	}
	if e.AddressIPv6.IsValid() && e.network.IPv6 != nil {
		_, _, err := e.network.IPv6.Take(e.AddressIPv6.Addr())
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// republish takes the ports again that the sandbox had. A port that another program took while no daemon was there still
// leads to the container, as it did all the time. The packet filter is told about all sandboxes at once.
func (sb *sandbox) republish(ctx context.Context) error {
	type number struct {
		port core.Port
		host uint16
	}
	var order []number
	wants := map[number]wanted{}
	for _, p := range sb.Published {
		k := number{p.Port, p.HostPort}
		w, ok := wants[k]
		if !ok {
			order = append(order, k)
			w = wanted{port: p.Port, begin: p.HostPort, end: p.HostPort}
		}
		w.addrs = append(w.addrs, p.HostIP)
		wants[k] = w
	}
	var errs []error
	for _, k := range order {
		w := wants[k]
		l, err := sb.shared.book.Keep(ctx, w.port.Protocol, w.addrs, w.begin)
		if l != nil {
			sb.published.leases = append(sb.published.leases, lease{l, w.port})
		}
		errs = append(errs, err)
	}
	v4, v6 := sb.gateways()
	sb.published.rules = sb.rules(sb.published.leases, v4, v6)
	return errors.Join(errs...)
}

// removeLinks removes the ports of our bridges that are not in keep.
func (s *shared) removeLinks(ctx context.Context, keep map[string]bool) error {
	ports, err := s.ports()
	if err != nil {
		return err
	}
	var batch link.Batch
	for _, name := range ports {
		if !keep[name] {
			batch.Delete(name)
		}
	}
	return s.conn.Apply(ctx, &batch)
}

// ports lists the interfaces that are ports of our bridges.
func (s *shared) ports() ([]string, error) {
	links, err := link.List()
	if err != nil {
		return nil, err
	}
	ours := map[int]bool{}
	s.mu.Lock()
	for _, n := range s.networks {
		if n.Index != 0 && !n.Adopted {
			ours[n.Index] = true
		}
	}
	s.mu.Unlock()
	var names []string
	for _, l := range links {
		if l.Kind == "veth" && ours[l.Master] {
			names = append(names, l.Name)
		}
	}
	return names, nil
}
