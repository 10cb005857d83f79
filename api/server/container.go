package server

import (
	"net/http"
	"time"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// containers answers for making, finding and removing containers.
type containers struct{ port Containers }

func (h containers) create(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	request, warnings, err := wire.DecodeCreate(body, c.version)
	if err != nil {
		return err
	}
	request.Name = c.text("name")
	if !c.version.Before(41) {
		if request.Platform, err = wire.ParsePlatform(c.text("platform")); err != nil {
			return err
		}
	}
	id, more, err := h.port.Create(c.lasting(), request)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, wire.CreateResponse(id, append(more, warnings...)))
}

func (h containers) list(c *call) error {
	filters, err := c.filters()
	if err != nil {
		return err
	}
	options := core.ContainerListOptions{All: c.truth("all"), Size: c.truth("size"), Filters: filters}
	limit, err := c.number("limit")
	if err != nil {
		return err
	}
	if limit != nil {
		options.Limit = max(*limit, 0)
	}
	for _, key := range []string{"since", "before"} { // parameters before they were filters
		if ref := c.text(key); ref != "" {
			if options.Filters == nil {
				options.Filters = core.Filters{}
			}
			options.Filters[key] = append(options.Filters[key], ref)
		}
	}
	views, err := h.port.List(c.context(), options)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, wire.ContainerList(views, c.version, time.Now()))
}

func (h containers) inspect(c *call) error {
	view, err := h.port.Inspect(c.context(), c.container(), c.truth("size"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, wire.ContainerInspect(view, c.version))
}

func (h containers) rename(c *call) error {
	return c.done(h.port.Rename(c.lasting(), c.container(), c.text("name")))
}

func (h containers) remove(c *call) error {
	return c.done(h.port.Remove(c.lasting(), c.container(), core.RemoveOptions{
		Force:   c.truth("force"),
		Volumes: c.truth("v"),
		Link:    c.truth("link"),
	}))
}

func (h containers) prune(c *call) error {
	filters, err := c.filters()
	if err != nil {
		return err
	}
	pruned, err := h.port.Prune(c.lasting(), filters)
	return c.reply(wire.ContainersPruned(pruned), err)
}

func (h containers) update(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	request, err := wire.DecodeUpdate(body, c.version)
	if err != nil {
		return err
	}
	result, err := h.port.Update(c.lasting(), c.container(), request)
	return c.reply(wire.UpdateResponse(request, result), err)
}
