package server

import (
	"net/http"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// volumes answers for volumes.
type volumes struct{ port Volumes }

func (h volumes) list(c *call) error {
	filters, err := c.filters()
	if err != nil {
		return err
	}
	found, err := h.port.List(c.context(), filters)
	return c.reply(wire.VolumeList(found), err)
}

func (h volumes) inspect(c *call) error {
	volume, err := h.port.Inspect(c.context(), c.name)
	return c.reply(wire.VolumeInspect(volume), err)
}

func (h volumes) create(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	request, err := wire.DecodeVolume(body)
	if err != nil {
		return err
	}
	volume, err := h.port.Create(c.lasting(), request)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, wire.VolumeInspect(volume))
}

func (h volumes) remove(c *call) error {
	return c.done(h.port.Remove(c.lasting(), c.name, c.truth("force")))
}

// prune removes anonymous volumes only, unless the filter "all" says otherwise; until 1.41 all was the rule.
func (h volumes) prune(c *call) error {
	filters, err := c.filters()
	if err != nil {
		return err
	}
	if c.version.Before(42) {
		if filters == nil {
			filters = core.Filters{}
		}
		filters["all"] = []string{"true"}
	}
	pruned, err := h.port.Prune(c.lasting(), filters)
	return c.reply(wire.VolumesPruned(pruned), err)
}
