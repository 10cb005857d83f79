package events

import (
	"maps"
	"slices"
	"strconv"

	"github.com/berth-engine/berth/core"
)

// Container publishes an event of a container: its labels, image and name go along, as in Docker.
func (e *Hub) Container(c *core.Container, action string, attributes map[string]string) {
	all := make(map[string]string, len(c.Config.Labels)+len(attributes)+2)
	maps.Copy(all, c.Config.Labels)
	if c.Config.Image != "" {
		all["image"] = c.Config.Image
	}
	all["name"] = c.Name
	maps.Copy(all, attributes)
	e.Publish(core.Event{Type: "container", Action: action, ID: string(c.ID), Attributes: all})
}

// Networks publishes that a container came into its networks ("connect"), or left them ("disconnect"); lookup finds a
// network by name or ID. "none" and "host" are networks too.
func (e *Hub) Networks(c *core.Container, action string, lookup func(ref string) (core.Network, error)) {
	for _, name := range slices.Sorted(maps.Keys(c.Endpoints)) {
		ref := name
		if id := c.Endpoints[name].NetworkID; id != "" {
			ref = string(id)
		}
		attributes := map[string]string{"container": string(c.ID)}
		if n, err := lookup(ref); err == nil {
			ref, attributes["name"], attributes["type"] = string(n.ID), n.Name, n.Driver
		}
		e.Publish(core.Event{Type: "network", Action: action, ID: ref, Attributes: attributes})
	}
}

// Volumes publishes that a container uses its volumes ("mount"), or does not any more ("unmount").
func (e *Hub) Volumes(c *core.Container, action string) {
	for _, m := range c.Mounts {
		if m.Type != core.MountVolume {
			continue
		}
		attributes := map[string]string{"container": string(c.ID), "driver": m.Driver}
		if action == "mount" {
			attributes["destination"], attributes["propagation"] = m.Destination, m.Propagation
			attributes["read/write"] = strconv.FormatBool(m.RW)
		}
		e.Publish(core.Event{Type: "volume", Action: action, ID: m.Name, Attributes: attributes})
	}
}
