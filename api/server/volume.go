package server

import (
	"cmp"
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

// volumeCopies answers for what Docker does not have: tars, clones and snapshots of volumes. Long works are told as lines
// of JSON, like pulls, and end when the client goes away.
type volumeCopies struct{ port VolumeCopies }

func (h volumeCopies) export(c *call) error {
	format := c.text("compression")
	kind := map[string]string{"gzip": "application/gzip", "zstd": "application/zstd"}[format]
	return h.port.Export(c.context(), c.name, c.text("snapshot"), format, lateWriter{c: c, contentType: cmp.Or(kind, "application/x-tar")})
}

// fill is an import.
func (h volumeCopies) fill(c *call) error {
	volume, err := h.port.Import(c.context(), c.name, c.r.Body, c.truth("replace"))
	return c.reply(wire.VolumeInspect(volume), err)
}

func (h volumeCopies) clone(c *call) error {
	p := newProgress(c)
	made, err := h.port.Clone(c.context(), c.name, c.text("snapshot"), c.text("name"), c.truthOr("pause", true), p.step)
	if err == nil {
		p.step(core.Progress{Aux: wire.VolumeInspect(made)})
	}
	return p.finish(err)
}

func (h volumeCopies) rename(c *call) error {
	return c.done(h.port.Rename(c.lasting(), c.name, c.text("name")))
}

func (h volumeCopies) list(c *call) error {
	found, err := h.port.Snapshots(c.context(), c.name)
	return c.reply(wire.VolumeSnapshots(found), err)
}

func (h volumeCopies) snapshot(c *call) error {
	p := newProgress(c)
	made, err := h.port.Snapshot(c.context(), c.name, c.text("tag"), c.truthOr("pause", true), p.step)
	if err == nil {
		p.step(core.Progress{Aux: wire.VolumeSnapshot(made)})
	}
	return p.finish(err)
}

func (h volumeCopies) rollback(c *call) error {
	p := newProgress(c)
	return p.finish(h.port.Rollback(c.context(), c.name, c.text("tag"), p.step))
}

func (h volumeCopies) remove(c *call) error {
	return c.done(h.port.RemoveSnapshot(c.lasting(), c.name, c.text("tag")))
}
