package server

import (
	"strings"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// consoles answers for looking into running containers.
type consoles struct{ port Consoles }

func (h consoles) attach(c *call) error {
	options := core.AttachOptions{
		Stdin:      c.truth("stdin"),
		Stdout:     c.truth("stdout"),
		Stderr:     c.truth("stderr"),
		Logs:       c.truth("logs"),
		Stream:     c.truth("stream"),
		DetachKeys: c.text("detachKeys"),
	}
	err := h.port.Attach(c.lasting(), c.container(), options, c.hijack)
	if err != nil {
		c.dropHijacked()
	}
	return err
}

// attachWebsocket is attach for browsers. Output is never framed: a websocket has messages of its own.
func (h consoles) attachWebsocket(c *call) error {
	options := core.AttachOptions{
		Stdin: true, Stdout: true, Stderr: true,
		Logs:       c.truth("logs"),
		Stream:     c.truth("stream"),
		DetachKeys: c.text("detachKeys"),
	}
	if !c.version.Before(42) {
		options.Stdin, options.Stdout, options.Stderr = c.truth("stdin"), c.truth("stdout"), c.truth("stderr")
	}
	return c.websocket(func(hijack core.Hijack) error {
		return h.port.Attach(c.lasting(), c.container(), options, hijack)
	})
}

func (h consoles) resize(c *call) error {
	height, width, err := terminalSize(c)
	if err != nil {
		return err
	}
	return c.empty(h.port.Resize(c.lasting(), c.container(), height, width))
}

func terminalSize(c *call) (height, width uint, err error) {
	if height, err = c.size("h", "height"); err != nil {
		return 0, 0, err
	}
	width, err = c.size("w", "width")
	return height, width, err
}

func (h consoles) top(c *call) error {
	titles, rows, err := h.port.Top(c.context(), c.container(), strings.TrimSpace(c.text("ps_args")))
	return c.reply(wire.TopResponse(titles, rows), err)
}
