package server

import (
	"encoding/binary"
	"net/http"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// execs answers for further processes in running containers.
type execs struct{ port Execs }

func (h execs) create(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	spec, err := wire.DecodeExec(body, c.version)
	if err != nil {
		return err
	}
	id, err := h.port.Create(c.lasting(), c.container(), spec)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, wire.ExecCreated(id))
}

func (h execs) start(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	options, err := wire.DecodeExecStart(body, c.version)
	if err != nil {
		return err
	}
	var framed bool
	err = h.port.Start(c.lasting(), c.name, options, func(f bool) (core.Streams, error) {
		framed = f
		return c.hijack(f)
	})
	switch {
	case err == nil && !c.hijacked:
		c.status(http.StatusOK)
	case err != nil && c.hijacked:
		// There is no status any more: the user reads the reason where the output would have been.
		sayInBand(c, err, framed)
		c.dropHijacked()
	}
	return err
}

// sayInBand writes an error to a connection that was taken over, as output of the process that did not start.
func sayInBand(c *call, err error, framed bool) {
	text := []byte(err.Error() + "\r\n")
	if framed {
		header := [8]byte{0: 1}
		binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
		text = append(header[:], text...)
	}
	if _, err := c.conn.Write(text); err != nil {
		c.logger.Debug("can't tell the client why an exec failed", "error", err)
	}
}

func (h execs) inspect(c *call) error {
	exec, err := h.port.Inspect(c.context(), c.name)
	return c.reply(wire.ExecInspect(exec), err)
}

func (h execs) resize(c *call) error {
	height, width, err := terminalSize(c)
	if err != nil {
		return err
	}
	return c.empty(h.port.Resize(c.lasting(), c.name, height, width))
}
