package object

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/filter"
)

// Networks is the noun network: the objects are the organ's, who may change them is decided here.
type Networks struct {
	port       NetworkPort
	containers Containers
	events     Publisher
	log        *slog.Logger
}

// NewNetworks makes the noun.
func NewNetworks(port NetworkPort, containers Containers, events Publisher, log *slog.Logger) *Networks {
	return &Networks{port: port, containers: containers, events: events, log: log}
}

func (t *Networks) publish(n core.Network, action string, attributes map[string]string) {
	all := map[string]string{"name": n.Name, "type": n.Driver}
	for k, v := range attributes {
		all[k] = v
	}
	t.events.Publish(core.Event{Type: "network", Action: action, ID: string(n.ID), Attributes: all})
}

// List gives the networks that the filters select.
func (t *Networks) List(ctx context.Context, filters core.Filters) ([]core.NetworkView, error) {
	if err := filter.Keys(filters, []string{"dangling", "driver", "id", "label", "name", "scope", "type"}); err != nil {
		return nil, err
	}
	for _, value := range filters["type"] {
		if value != "builtin" && value != "custom" {
			return nil, core.Invalid("invalid filter: 'type'='%s'", value)
		}
	}
	if _, err := filter.Flag(filters, "dangling", false); err != nil {
		return nil, core.Invalid(`invalid value for filter 'dangling', must be "true" (or "1"), or "false" (or "0")`)
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
		return !slices.ContainsFunc(values, func(v string) bool { return !filter.Label(n.Labels, v) })
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
func (t *Networks) used() map[core.NetworkID]bool {
	used := map[core.NetworkID]bool{}
	for _, c := range t.containers.Views() {
		for name, e := range c.Endpoints {
			used[e.NetworkID] = true
			used[core.NetworkID(name)] = true
		}
	}
	return used
}

// Inspect finds a network and who is in it.
func (t *Networks) Inspect(ctx context.Context, ref string) (core.NetworkView, error) {
	n, err := t.port.Lookup(ctx, ref)
	if err != nil {
		return core.NetworkView{}, err
	}
	attached, err := t.port.Attachments(ctx, n.ID)
	if err != nil {
		return core.NetworkView{}, err
	}
	use, err := t.port.Use(ctx, n.ID)
	return core.NetworkView{Network: n, Attached: attached, Use: use}, err
}

// Update changes labels, name servers and options of a network while containers are in it.
func (t *Networks) Update(ctx context.Context, ref string, update core.NetworkUpdate) error {
	n, err := t.port.Lookup(ctx, ref)
	if err != nil {
		return err
	}
	if n.Predefined() {
		return core.Forbidden("%s is a pre-defined network and cannot be changed", n.Name)
	}
	if n, err = t.port.Update(ctx, n.ID, update); err != nil {
		return err
	}
	t.publish(n, "update", nil)
	return nil
}

// Warnings say what of the host stands in the way of networks.
func (t *Networks) Warnings() []string { return t.port.Warnings() }

// Create makes a network.
func (t *Networks) Create(ctx context.Context, network core.Network) (core.NetworkID, error) {
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
func (t *Networks) Remove(ctx context.Context, ref string) error {
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
func (t *Networks) Prune(ctx context.Context, filters core.Filters) (core.Pruned, error) {
	if err := filter.Keys(filters, []string{"label", "label!", "until"}); err != nil {
		return core.Pruned{}, err
	}
	match, err := filter.Prune(filters)
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
			t.log.Warn("prune a network", "network", n.Name, "error", err)
			continue
		}
		pruned.Deleted = append(pruned.Deleted, n.Name)
	}
	t.events.Publish(pruned.Event("network"))
	return pruned, nil
}

// Connect attaches a container to a further network: at once when it runs, else at its next start.
func (t *Networks) Connect(ctx context.Context, ref, container string, endpoint core.Endpoint) error {
	n, err := t.port.Lookup(ctx, ref)
	if err != nil {
		return err
	}
	id, err := t.containers.Connect(ctx, container, n, endpoint)
	if err == nil && t.running(id) {
		t.publish(n, "connect", map[string]string{"container": string(id)})
	}
	return err
}

// running reports whether a container runs: one that does not is told to be in its networks when it starts.
func (t *Networks) running(id core.ContainerID) bool {
	return slices.ContainsFunc(t.containers.Views(), func(c *core.Container) bool { return c.ID == id && c.State.Running() })
}

// Disconnect takes a container out of a network.
func (t *Networks) Disconnect(ctx context.Context, ref, container string, force bool) error {
	n, err := t.port.Lookup(ctx, ref)
	if err != nil {
		return err
	}
	id, err := t.containers.Disconnect(ctx, container, n, force)
	if err == nil && t.running(id) {
		t.publish(n, "disconnect", map[string]string{"container": string(id)})
	}
	return err
}
