package server

import (
	"net/http"
	"strconv"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// builds answers for building images.
type builds struct{ port Builds }

func (h builds) build(c *call) error {
	options, err := wire.DecodeBuild(c.query)
	if err != nil {
		return err
	}
	options.Auth = wire.DecodeAuths(c.r.Header.Get("X-Registry-Config"))
	// Output begins while the context is still being read.
	if err := http.NewResponseController(c.w).EnableFullDuplex(); err != nil {
		c.logger.Debug("output waits for the whole context", "error", err)
	}
	p := newProgress(c)
	id, err := h.port.Build(c.context(), c.r.Body, options, p.step)
	if err == nil && options.Quiet {
		p.step(core.Progress{Stream: string(id) + "\n"})
	}
	return p.finish(err)
}

func (h builds) cancel(c *call) error {
	id := c.text("id")
	if id == "" {
		return core.Invalid("build ID not provided")
	}
	return c.empty(h.port.Cancel(c.lasting(), id))
}

func (h builds) prune(c *call) error {
	filters, err := c.filters()
	if err != nil {
		return err
	}
	keys := []string{"reserved-space", "keep-storage"}
	if c.version.Before(48) {
		keys = keys[1:]
	}
	var keep int64
	for _, key := range keys {
		if s := c.text(key); s != "" && keep == 0 {
			if keep, err = strconv.ParseInt(s, 10, 64); err != nil {
				return core.Invalid("%s is in bytes and expects an integer, got %s", key, s)
			}
		}
	}
	pruned, err := h.port.Prune(c.lasting(), c.truth("all"), keep, filters)
	return c.reply(wire.BuildPruned(pruned), err)
}

func (h builds) grpc(c *call) error { return c.lend(h.port.ServeGRPC) }

func (h builds) session(c *call) error { return c.lend(h.port.ServeSession) }

// lend gives the whole request away; whoever takes it answers errors too.
func (c *call) lend(serve http.HandlerFunc) error {
	c.started, c.hijacked = true, true
	serve(c.w, c.r)
	return nil
}
