package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
)

// Use counts the addresses of each subnet.
func (ns *Networks) Use(_ context.Context, id core.NetworkID) ([]core.SubnetUse, error) {
	n, err := ns.find(string(id))
	if err != nil {
		return nil, err
	}
	var list []core.SubnetUse
	for _, s := range slices.Concat(n.IPv4.Subnets(), n.IPv6.Subnets()) {
		taken, free := s.Use()
		list = append(list, core.SubnetUse{Subnet: s.Pool.Subnet(), Taken: taken, Free: free})
	}
	return list, nil
}

// Update changes labels, name servers and options of a network while containers are in it. Options that can't change so
// are refused, and then nothing changes.
func (ns *Networks) Update(ctx context.Context, id core.NetworkID, update core.NetworkUpdate) (core.Network, error) {
	ns.updating.Lock()
	defer ns.updating.Unlock()
	old, err := ns.find(string(id))
	if err != nil {
		return core.Network{}, err
	}
	n := &network{Network: old.Network, driver: old.driver, zone: old.zone}
	n.Network.Network = old.copy()
	if err := n.change(update); err != nil {
		return core.Network{}, err
	}
	if !maps.Equal(n.Options, old.Options) {
		if err := ns.reform(ctx, old, n); err != nil {
			return core.Network{}, err
		}
	}
	ns.mu.Lock()
	ns.networks[n.ID] = n
	err = ns.save()
	ns.mu.Unlock()
	return n.copy(), errors.Join(err, ns.renew(ctx, n))
}

// change is what the update means for a network that nobody sees yet.
func (n *network) change(update core.NetworkUpdate) error {
	labels, options := maps.Clone(n.Labels), maps.Clone(n.Options)
	if labels == nil {
		labels = map[string]string{}
	}
	if options == nil {
		options = map[string]string{}
	}
	maps.Copy(labels, update.AddLabels)
	for _, name := range update.RemoveLabels {
		delete(labels, name)
	}
	for name, value := range update.Options {
		if !n.driver.Live(name) {
			return core.Invalid("the option %s of a network can't change while it exists", name)
		}
		if options[name] = value; value == "" {
			delete(options, name)
		}
	}
	n.Labels, n.Options = labels, options
	if update.DNS != nil {
		if n.zone == nil {
			return core.Invalid("network %s does not answer names", n.Name)
		}
		for _, ip := range *update.DNS {
			if !ip.IsValid() || ip.IsUnspecified() {
				return core.Invalid("invalid DNS server %q", ip)
			}
		}
		n.DNS = slices.Clone(*update.DNS)
	}
	return nil
}

// reform makes the kernel follow the new options; an error leaves the old ones.
func (ns *Networks) reform(ctx context.Context, old, n *network) error {
	if err := n.driver.Complete(&n.Network); err != nil {
		return err
	}
	n.Link, n.Adopted, n.Index = old.Link, old.Adopted, old.Index
	n.Rules.IPv4.Subnet, n.Rules.IPv6.Subnet = old.Rules.IPv4.Subnet, old.Rules.IPv6.Subnet
	if err := n.driver.Up(ctx, &n.Network); err != nil {
		return errors.Join(err, old.driver.Up(context.WithoutCancel(ctx), &old.Network))
	}
	if n.Rules == old.Rules {
		return nil
	}
	return ns.firewall.Replace(ctx, old.rules(), n.rules())
}

// renew shows the network to the containers that are in it.
func (ns *Networks) renew(ctx context.Context, n *network) error {
	ns.mu.Lock()
	sandboxes := slices.Collect(maps.Values(ns.sandboxes))
	ns.mu.Unlock()
	var errs []error
	for _, sb := range sandboxes {
		errs = append(errs, sb.renew(ctx, n))
	}
	return errors.Join(errs...)
}

func (sb *sandbox) renew(ctx context.Context, n *network) error {
	sb.op.Lock()
	defer sb.op.Unlock()
	i := slices.IndexFunc(sb.endpoints, func(e *endpoint) bool { return e.network.ID == n.ID })
	if i < 0 || sb.closed || sb.ns == nil {
		return nil
	}
	e := sb.endpoints[i]
	sb.shared.mu.Lock()
	was := e.network
	e.network = n
	sb.shared.mu.Unlock()
	if e.host != "" && was.Port != n.Port {
		var batch link.Batch
		batch.Configure(e.host, n.Port)
		if err := sb.shared.conn.Apply(ctx, &batch); err != nil {
			return fmt.Errorf("network %q: %w", n.Name, err)
		}
	}
	return sb.settle(ctx)
}
