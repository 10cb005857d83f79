package server

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// files answers for the files of containers.
type files struct{ port Files }

// pathStatHeader is where clients find what is at a path.
const pathStatHeader = "X-Docker-Container-Path-Stat"

// path is the path of the query.
func (files) path(c *call) (string, error) {
	path := c.text("path")
	if path == "" {
		return "", core.Invalid("bad parameter: path cannot be empty")
	}
	return path, nil
}

// cut breaks the connection off, whatever it waits for.
func (c *call) cut() {
	controller, now := http.NewResponseController(c.w), time.Now()
	if err := errors.Join(controller.SetReadDeadline(now), controller.SetWriteDeadline(now)); err != nil {
		c.logger.Debug("break a connection off", "error", err)
	}
}

func setPathStat(c *call, stat core.PathStat) error {
	value, err := wire.PathStat(stat)
	if err == nil {
		c.w.Header().Set(pathStatHeader, value)
	}
	return err
}

func (h files) stat(c *call) error {
	path, err := h.path(c)
	if err != nil {
		return err
	}
	stat, err := h.port.Stat(c.context(), c.container(), path)
	if err != nil {
		return err
	}
	return c.empty(setPathStat(c, stat))
}

func (h files) archive(c *call) error {
	path, err := h.path(c)
	if err != nil {
		return err
	}
	return h.port.Archive(c.context(), c.container(), path, func(stat core.PathStat) (io.Writer, error) {
		return lateWriter{c: c, contentType: "application/x-tar"}, setPathStat(c, stat)
	}, c.cut)
}

func (h files) extract(c *call) error {
	path, err := h.path(c)
	if err != nil {
		return err
	}
	options := core.ExtractOptions{KeepKinds: c.truth("noOverwriteDirNonDir")}
	return c.empty(h.port.Extract(c.context(), c.container(), path, options, c.truth("copyUIDGID"), c.r.Body, c.cut))
}

func (h files) changes(c *call) error {
	changes, err := h.port.Changes(c.context(), c.container())
	return c.reply(wire.Changes(changes), err)
}

func (h files) export(c *call) error {
	return h.port.Export(c.context(), c.container(), lateWriter{c: c, contentType: "application/octet-stream"}, c.cut)
}

func (h files) commit(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	config, err := wire.DecodeCommit(body)
	if err != nil {
		return err
	}
	id, err := h.port.Commit(c.lasting(), core.CommitRequest{
		Container: c.text("container"),
		Ref:       withTag(c.text("repo"), c.text("tag")),
		Author:    c.text("author"),
		Comment:   c.text("comment"),
		Changes:   c.query["changes"],
		Config:    config,
		NoPause:   !c.truthOr("pause", true),
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, wire.CommitResponse(id))
}
