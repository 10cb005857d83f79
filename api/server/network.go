package server

import (
	"net/http"

	"github.com/berth-engine/berth/api/wire"
)

// networks answers for networks.
type networks struct{ port Networks }

func (h networks) list(c *call) error {
	filters, err := c.filters()
	if err != nil {
		return err
	}
	views, err := h.port.List(c.context(), filters)
	return c.reply(wire.NetworkList(views, c.version), err)
}

func (h networks) inspect(c *call) error {
	view, err := h.port.Inspect(c.context(), c.name)
	return c.reply(wire.NetworkInspect(view, c.version), err)
}

func (h networks) create(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	network, err := wire.DecodeNetwork(body, c.version)
	if err != nil {
		return err
	}
	id, err := h.port.Create(c.lasting(), network)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, wire.NetworkCreated(id))
}

func (h networks) update(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	update, err := wire.DecodeNetworkUpdate(body)
	if err != nil {
		return err
	}
	return c.empty(h.port.Update(c.lasting(), c.name, update))
}

func (h networks) remove(c *call) error { return c.done(h.port.Remove(c.lasting(), c.name)) }

func (h networks) connect(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	container, endpoint, err := wire.DecodeConnect(body, c.version)
	if err != nil {
		return err
	}
	return c.empty(h.port.Connect(c.lasting(), c.name, container, endpoint))
}

func (h networks) disconnect(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	container, force, err := wire.DecodeDisconnect(body)
	if err != nil {
		return err
	}
	return c.empty(h.port.Disconnect(c.lasting(), c.name, container, force))
}

func (h networks) prune(c *call) error {
	filters, err := c.filters()
	if err != nil {
		return err
	}
	pruned, err := h.port.Prune(c.lasting(), filters)
	return c.reply(wire.NetworksPruned(pruned), err)
}
