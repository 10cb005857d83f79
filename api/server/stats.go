package server

import (
	"encoding/json"
	"time"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// measurements answers for GET /containers/{id}/stats.
type measurements struct {
	port   Consoles
	period time.Duration // between two samples of a stream
}

func (h measurements) stats(c *call) error {
	stream := c.truthOr("stream", true)
	oneShot := c.truth("one-shot") && !c.version.Before(41)
	first, err := h.port.Stats(c.context(), c.container())
	if err != nil {
		return err
	}
	switch {
	case stream:
		return h.stream(c, first)
	case !running(first):
		return c.reply(wire.NoStats(first, c.version), nil)
	case oneShot:
		return c.reply(wire.ContainerStats(first, core.StatsSample{}, c.version), nil)
	}
	// A load is a difference: measure again after a period.
	ticker := time.NewTicker(h.period)
	defer ticker.Stop()
	select {
	case <-ticker.C:
	case <-c.context().Done():
		return c.context().Err()
	}
	second, err := h.port.Stats(c.context(), c.container())
	if err != nil {
		return err
	}
	return c.reply(show(second, first, c.version), nil)
}

// stream sends a measurement each period until the client or the container is gone.
func (h measurements) stream(c *call, sample core.StatsSample) error {
	c.stream("application/json")
	enc := json.NewEncoder(c)
	ticker := time.NewTicker(h.period)
	defer ticker.Stop()
	before := core.StatsSample{}
	for {
		if err := enc.Encode(show(sample, before, c.version)); err != nil {
			return err
		}
		c.flush()
		before = sample
		select {
		case <-ticker.C:
		case <-c.context().Done():
			return nil
		}
		var err error
		if sample, err = h.port.Stats(c.context(), c.container()); err != nil {
			c.logger.Debug("end of a stream of measurements", "container", c.container(), "error", err)
			return nil // it was removed: the end of the stream says so
		}
	}
}

func running(sample core.StatsSample) bool { return !sample.Stats.Read.IsZero() }

func show(sample, before core.StatsSample, version wire.Version) any {
	if !running(sample) {
		return wire.NoStats(sample, version)
	}
	return wire.ContainerStats(sample, before, version)
}
