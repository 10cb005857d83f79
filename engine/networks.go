package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
)

// NetworkTable is the noun network: the objects are the organ's, who may change them is decided here.
type NetworkTable struct {
	port       Networks
	sandboxes  Sandboxes
	containers *Containers
	events     *events
}

func (t *NetworkTable) publish(n core.Network, action string, attributes map[string]string) {
	all := map[string]string{"name": n.Name, "type": n.Driver}
	for k, v := range attributes {
		all[k] = v
	}
	t.events.Publish(core.Event{Type: "network", Action: action, ID: string(n.ID), Attributes: all})
}

// List gives the networks that the filters select.
func (t *NetworkTable) List(ctx context.Context, filters core.Filters) ([]core.NetworkView, error) {
	if err := checkFilterKeys(filters, []string{"dangling", "driver", "id", "label", "name", "scope", "type"}); err != nil {
		return nil, err
	}
	networks, err := t.port.List(ctx)
	if err != nil {
		return nil, err
	}
	used := t.used()
	var views []core.NetworkView
	for _, n := range networks {
		holds := true
		for key, values := range filters {
			holds = holds && networkHolds(n, key, values, used[n.ID] || used[core.NetworkID(n.Name)])
		}
		if holds {
			views = append(views, core.NetworkView{Network: n})
		}
	}
	return views, nil
}

func networkHolds(n core.Network, key string, values []string, used bool) bool {
	if key == "label" {
		return !slices.ContainsFunc(values, func(v string) bool { return !labelHolds(n.Labels, v) })
	}
	return slices.ContainsFunc(values, func(v string) bool {
		switch key {
		case "name":
			return strings.Contains(n.Name, v)
		case "id":
			return strings.HasPrefix(string(n.ID), v)
		case "driver":
			return n.Driver == v
		case "scope":
			return v == "local"
		case "type":
			return (v == "builtin") == n.Predefined()
		case "dangling":
			free := !used && !n.Predefined()
			return free == (v == "true" || v == "1")
		}
		return true
	})
}

// used marks the networks, by ID and by name, that a container is or will be attached to.
func (t *NetworkTable) used() map[core.NetworkID]bool {
	used := map[core.NetworkID]bool{}
	for _, c := range t.containers.table.views() {
		for name, e := range c.Endpoints {
			used[e.NetworkID] = true
			used[core.NetworkID(name)] = true
		}
	}
	return used
}

// Inspect finds a network and who is in it.
func (t *NetworkTable) Inspect(ctx context.Context, ref string) (core.NetworkView, error) {
	n, err := t.port.Lookup(ctx, ref)
	if err != nil {
		return core.NetworkView{}, err
	}
	attached, err := t.port.Attachments(ctx, n.ID)
	return core.NetworkView{Network: n, Attached: attached}, err
}

// Create makes a network.
func (t *NetworkTable) Create(ctx context.Context, network core.Network) (core.NetworkID, error) {
	if network.Name == "" {
		return "", core.Invalid("network name cannot be empty")
	}
	n, err := t.port.Create(ctx, network)
	if err != nil {
		return "", err
	}
	t.publish(n, "create", nil)
	return n.ID, nil
}

// Remove deletes a network that nobody is in.
func (t *NetworkTable) Remove(ctx context.Context, ref string) error {
	n, err := t.port.Lookup(ctx, ref)
	if err != nil {
		return err
	}
	if n.Predefined() {
		return core.Forbidden("%s is a pre-defined network and cannot be removed", n.Name)
	}
	attached, err := t.port.Attachments(ctx, n.ID)
	if err != nil {
		return err
	}
	if len(attached) > 0 {
		var users []string
		for _, a := range attached {
			users = append(users, "name:\""+a.Name+"\" id:\""+a.Container.Short()+"\"")
		}
		return core.Forbidden("error while removing network: network %s has active endpoints (%s)", n.Name, strings.Join(users, ", "))
	}
	if err := t.port.Remove(ctx, n.ID); err != nil {
		return err
	}
	t.publish(n, "destroy", nil)
	return nil
}

// Prune removes the networks that no container is or will be attached to.
func (t *NetworkTable) Prune(ctx context.Context, filters core.Filters) (core.Pruned, error) {
	if err := checkFilterKeys(filters, []string{"label", "label!", "until"}); err != nil {
		return core.Pruned{}, err
	}
	match, err := pruneFilter(filters)
	if err != nil {
		return core.Pruned{}, err
	}
	networks, err := t.port.List(ctx)
	if err != nil {
		return core.Pruned{}, err
	}
	used := t.used()
	var pruned core.Pruned
	for _, n := range networks {
		if n.Predefined() || used[n.ID] || used[core.NetworkID(n.Name)] || !match(n.Created, n.Labels) {
			continue
		}
		if err := t.Remove(ctx, string(n.ID)); err != nil {
			t.containers.log.Warn("prune a network", "network", n.Name, "error", err)
			continue
		}
		pruned.Deleted = append(pruned.Deleted, n.Name)
	}
	return pruned, nil
}

// Connect attaches a container to a further network: at once when it runs, else at its next start.
func (t *NetworkTable) Connect(ctx context.Context, ref, container string, endpoint core.Endpoint) error {
	n, err := t.port.Lookup(ctx, ref)
	if err != nil {
		return err
	}
	b, err := t.containers.table.find(container)
	if err != nil {
		return err
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	defer b.op.release()
	c := b.view()
	if err := connectable(c, n); err != nil {
		return err
	}
	endpoint.NetworkID = n.ID
	if c.State.Running() {
		if endpoint, err = t.sandboxes.Connect(ctx, c.ID, n.Name, endpoint); err != nil {
			return err
		}
	}
	c = b.change(func(c *core.Container) {
		c.Endpoints = mergeEndpoints(c.Endpoints, map[string]*core.Endpoint{n.Name: &endpoint})
		delete(c.Endpoints, core.NetworkNone)
	})
	t.containers.save(ctx, c, true)
	t.publish(n, "connect", map[string]string{"container": string(c.ID)})
	return nil
}

func connectable(c *core.Container, n core.Network) error {
	switch {
	case c.State.Status == core.StatusRemoving || c.State.Status == core.StatusDead:
		return core.Conflict("container %s is marked for removal and cannot be connected or disconnected to the network", c.ID)
	case c.Host.NetworkMode == core.NetworkHost:
		return core.Invalid("cannot connect container to host network - container must be created in host network mode")
	case strings.HasPrefix(c.Host.NetworkMode, "container:"):
		return core.Invalid("container sharing network namespace with another container or host cannot be connected to any other network")
	case n.Name == core.NetworkHost:
		return core.Invalid("cannot connect container to host network - container must be created in host network mode")
	}
	if _, there := endpointOf(c, n); there {
		return core.Forbidden("endpoint with name %s already exists in network %s", c.Name, n.Name)
	}
	return nil
}

// endpointOf finds a container's endpoint in a network, which may be noted under the network's name or ID.
func endpointOf(c *core.Container, n core.Network) (string, bool) {
	for name, e := range c.Endpoints {
		if name == n.Name || name == string(n.ID) || e.NetworkID != "" && e.NetworkID == n.ID {
			return name, true
		}
	}
	return "", false
}

// Disconnect takes a container out of a network.
func (t *NetworkTable) Disconnect(ctx context.Context, ref, container string, force bool) error {
	n, err := t.port.Lookup(ctx, ref)
	if err != nil {
		return err
	}
	b, err := t.containers.table.find(container)
	if err != nil {
		return err
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	defer b.op.release()
	c := b.view()
	if n.Name == core.NetworkHost {
		return core.Invalid("cannot disconnect container from host network - container must be created in host network mode")
	}
	name, there := endpointOf(c, n)
	if !there {
		return core.Forbidden("container %s is not connected to network %s", c.ID, n.Name)
	}
	if c.State.Running() {
		if err := t.sandboxes.Disconnect(ctx, c.ID, n.Name); err != nil && !force {
			return err
		}
	}
	c = b.change(func(c *core.Container) {
		c.Endpoints = mergeEndpoints(c.Endpoints, nil)
		delete(c.Endpoints, name)
	})
	t.containers.save(ctx, c, true)
	t.publish(n, "disconnect", map[string]string{"container": string(c.ID)})
	return nil
}
