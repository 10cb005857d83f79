package network

import (
	"context"
	"errors"
	"slices"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/linux/netns"
	"github.com/berth-engine/berth/network/driver"
)

// whole makes a network's bridge again that somebody deleted, before a container joins it. The bridge gets the number that
// it had, so that nobody who knows the network notices; those who were in it are put back.
func (s *shared) whole(ctx context.Context, n *network) error {
	if !n.Pairs || link.Exists(n.Link) {
		return nil
	}
	s.mending.Lock()
	defer s.mending.Unlock()
	if link.Exists(n.Link) {
		return nil
	}
	s.log.Warn("the bridge of a network is gone and is made again", "network", n.Name, "bridge", n.Link)
	if err := n.driver.Up(ctx, &n.Network); err != nil {
		return core.Unavailable("network %s can't be used: its bridge is gone: %w", n.Name, err)
	}
	s.ready.renew()
	var ports []string
	s.mu.Lock()
	for _, sb := range s.sandboxes {
		for _, e := range sb.endpoints {
			if e.network == n && e.host != "" {
				ports = append(ports, e.host)
			}
		}
	}
	s.mu.Unlock()
	for _, port := range ports {
		var batch link.Batch
		batch.Enslave(port, n.Index, n.Port)
		batch.Settle(port)
		batch.Settle(n.Link)
		// One that is just being made, or unmade, is not there: it is put there by those who make it.
		if err := s.conn.Apply(ctx, &batch); err != nil {
			s.log.Debug("put a container back on its bridge", "port", port, "error", err)
		}
	}
	return nil
}

// mend makes an adopted sandbox have the interfaces of its endpoints, and no others of ours: some are missing when the
// last daemon died while it took them away, or when somebody deleted them; some are too many when it died while it made
// them. outside and inside are the interfaces that there are.
func (sb *sandbox) mend(ctx context.Context, outside, inside []link.Interface) error {
	var errs []error
	var batch link.Batch
	changed := false
	for _, l := range inside {
		if port := stranger(sb, l, outside); port != "" {
			batch.Delete(port)
			changed = true
		}
	}
	for _, l := range outside {
		for _, e := range sb.endpoints {
			if e.host == l.Name && e.index != 0 && l.Master != e.network.Index {
				batch.Enslave(e.host, e.network.Index, e.network.Port)
				e.settle(&batch)
			}
		}
	}
	errs = append(errs, sb.shared.conn.Apply(ctx, &batch))
	for _, e := range sb.endpoints {
		if e.index == 0 && e.network.Index != 0 {
			e.host = newVeth()
			errs = append(errs, sb.plug(ctx, e), e.tune(sb.ns))
			changed = true
		}
	}
	if changed {
		errs = append(errs, sb.reroute(ctx))
	}
	return errors.Join(errs...)
}

// stranger gives the host's end of an interface of the container that leads to a bridge of ours without being that of an
// endpoint; empty: it is none.
func stranger(sb *sandbox, inside link.Interface, outside []link.Interface) string {
	if inside.Kind != "veth" || slices.ContainsFunc(sb.endpoints, func(e *endpoint) bool { return e.index == inside.Index }) {
		return ""
	}
	for _, l := range outside {
		if l.Index == inside.Peer && l.Kind == "veth" && l.Master != 0 &&
			slices.ContainsFunc(sb.shared.others(""), func(n *driver.Network) bool { return n.Index == l.Master }) {
			return l.Name
		}
	}
	return ""
}

// reroute sets the default routes of a container that runs.
func (sb *sandbox) reroute(ctx context.Context) error {
	return netns.Do(sb.ns, func() error {
		inside, err := link.Dial()
		if err != nil {
			return err
		}
		defer inside.Close()
		var batch link.Batch
		sb.route(&batch)
		return inside.Apply(ctx, &batch)
	})
}
