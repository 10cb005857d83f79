package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/berth-engine/berth/linux/link"
)

// watchRoutes looks for networks that collide with routes of the host whenever these change (a VPN comes up): new networks
// avoid them anyway, but one that is there keeps its addresses, since containers use them.
func (s *shared) watchRoutes(ctx context.Context) {
	s.watching.Go(func() {
		err := link.WatchRoutes(ctx, func() {
			if err := s.collide(); err != nil {
				s.log.Error("look for networks that collide with routes of the host", "error", err)
			}
		})
		if err != nil && ctx.Err() == nil {
			s.log.Warn("the routes of the host are not watched: a network that collides with one is not reported", "error", err)
		}
	})
}

// collide compares the networks with the routes, and tells what is new.
func (s *shared) collide() error {
	routes, err := link.AllRoutes()
	if err != nil {
		return err
	}
	var now []string
	s.mu.Lock()
	for _, n := range s.networks {
		for _, subnet := range slices.Concat(n.IPv4.Subnets(), n.IPv6.Subnets()) {
			if route, collides := collision(routes, subnet.Pool.Subnet(), n.Index); collides {
				now = append(now, fmt.Sprintf("WARNING: network %s (%s) overlaps with the host's route to %s: what lies there is not reached from the other side; give the network another subnet",
					n.Name, subnet.Pool.Subnet(), route))
			}
		}
	}
	slices.Sort(now)
	told := s.collisions
	s.collisions = now
	s.mu.Unlock()
	for _, warning := range now {
		if !slices.Contains(told, warning) {
			s.log.Warn(warning[len("WARNING: "):])
		}
	}
	return nil
}

// collision finds a route into a subnet that does not lead to the network's own interface. Link-local addresses are
// everybody's.
func collision(routes []link.Route, subnet netip.Prefix, index int) (netip.Prefix, bool) {
	for _, r := range routes {
		if r.Interface != index && r.To.Bits() > 0 && r.To.Overlaps(subnet) && !r.To.Addr().IsLinkLocalUnicast() {
			return r.To, true
		}
	}
	return netip.Prefix{}, false
}

// Warnings are what `info` shall say of the host's firewall and of networks that collide with its routes.
func (ns *Networks) Warnings() []string {
	ns.mu.Lock()
	collisions := slices.Clone(ns.collisions)
	ns.mu.Unlock()
	return append(ns.firewall.Warnings(), collisions...)
}
