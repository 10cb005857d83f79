package engine

import (
	"context"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/lib/failpoint"
)

// Connect attaches a container to a further network: at once when it runs, else at its next start.
func (cs *Containers) Connect(ctx context.Context, ref string, n core.Network, endpoint core.Endpoint) (core.ContainerID, error) {
	b, err := cs.table.find(ref)
	if err != nil {
		return "", err
	}
	if err := b.op.take(ctx); err != nil {
		return "", err
	}
	defer b.op.release()
	c := b.View()
	if err := connectable(c, n); err != nil {
		return "", err
	}
	if err := define.Attachment(n.Name, &endpoint); err != nil {
		return "", err
	}
	endpoint.NetworkID = n.ID
	published := c.Published
	if c.State.Running() {
		if endpoint, published, err = cs.ports.Sandboxes.Connect(ctx, c.ID, n.Name, endpoint); err != nil {
			return "", err
		}
	}
	if err := failpoint.Hit("connect:before-record"); err != nil {
		return "", err
	}
	c = b.Change(func(c *core.Container) {
		c.Endpoints = define.JoinEndpoints(c.Endpoints, map[string]*core.Endpoint{n.Name: &endpoint})
		delete(c.Endpoints, core.NetworkNone)
		c.Published = published
	})
	cs.save(ctx, c, true)
	return c.ID, nil
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
func (cs *Containers) Disconnect(ctx context.Context, ref string, n core.Network, force bool) (core.ContainerID, error) {
	b, err := cs.table.find(ref)
	if err != nil {
		return "", err
	}
	if err := b.op.take(ctx); err != nil {
		return "", err
	}
	defer b.op.release()
	c := b.View()
	if n.Name == core.NetworkHost {
		return "", core.Invalid("cannot disconnect container from host network - container must be created in host network mode")
	}
	name, there := endpointOf(c, n)
	if !there {
		return "", core.Forbidden("container %s is not connected to network %s", c.ID, n.Name)
	}
	published := c.Published
	if c.State.Running() {
		if published, err = cs.ports.Sandboxes.Disconnect(ctx, c.ID, n.Name); err != nil && !force {
			return "", err
		}
	}
	if err := failpoint.Hit("disconnect:before-record"); err != nil {
		return "", err
	}
	c = b.Change(func(c *core.Container) {
		c.Endpoints = define.JoinEndpoints(c.Endpoints, nil)
		delete(c.Endpoints, name)
		c.Published = published
	})
	cs.save(ctx, c, true)
	return c.ID, nil
}
