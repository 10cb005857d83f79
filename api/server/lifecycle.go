package server

import (
	"fmt"
	"net/http"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// lifecycle answers for starting and ending containers.
type lifecycle struct{ port Lifecycle }

func (h lifecycle) start(c *call) error {
	if c.r.ContentLength > 7 || c.r.ContentLength == -1 {
		return core.Invalid("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
	}
	if c.text("checkpoint") != "" {
		return core.NotImplemented("Berth does not have checkpoints yet")
	}
	return c.done(h.port.Start(c.lasting(), c.container()))
}

func (h lifecycle) stop(c *call) error {
	options, err := stopOptions(c)
	if err != nil {
		return err
	}
	return c.done(h.port.Stop(c.lasting(), c.container(), options))
}

func (h lifecycle) restart(c *call) error {
	options, err := stopOptions(c)
	if err != nil {
		return err
	}
	return c.done(h.port.Restart(c.lasting(), c.container(), options))
}

func stopOptions(c *call) (options core.StopOptions, err error) {
	if !c.version.Before(42) {
		options.Signal = c.text("signal")
	}
	options.Timeout, err = c.number("t")
	return options, err
}

func (h lifecycle) kill(c *call) error {
	err := h.port.Kill(c.lasting(), c.container(), c.text("signal"))
	if err != nil {
		return fmt.Errorf("cannot kill container: %s: %w", c.container(), err)
	}
	return c.done(nil)
}

func (h lifecycle) pause(c *call) error { return c.done(h.port.Pause(c.lasting(), c.container())) }

func (h lifecycle) unpause(c *call) error { return c.done(h.port.Unpause(c.lasting(), c.container())) }

// wait sends its head as soon as the waiter is registered: that is how a client knows that a start that follows
// can't be missed.
func (h lifecycle) wait(c *call) error {
	condition := c.text("condition")
	switch condition {
	case "":
		condition = "not-running"
	case "not-running", "next-exit", "removed":
	default:
		return core.Invalid("invalid condition: %q", condition)
	}
	results, err := h.port.Wait(c.context(), c.container(), condition)
	if err != nil {
		return err
	}
	c.stream("application/json")
	select {
	case result, ok := <-results:
		if !ok {
			return core.Internal("the wait for container %s ended without a status", c.container())
		}
		return c.json(http.StatusOK, wire.WaitResponse(result))
	case <-c.context().Done():
		return c.context().Err()
	}
}
