package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// whole answers for the daemon itself.
type whole struct {
	port  System
	build wire.Build
}

func (h whole) ping(c *call) error {
	header := c.w.Header()
	header.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	header.Set("Pragma", "no-cache")
	header.Set("Builder-Version", "2")
	header.Set("Swarm", "inactive")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	if c.r.Method == http.MethodHead {
		header.Set("Content-Length", "0")
		c.status(http.StatusOK)
		return nil
	}
	_, err := io.WriteString(c, "OK")
	return err
}

func (h whole) version(c *call) error { return c.json(http.StatusOK, wire.Versions(h.build)) }

func (h whole) info(c *call) error {
	info, err := h.port.Info(c.context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, wire.Info(info, h.build, c.version, time.Now()))
}

func (h whole) diskUsage(c *call) error {
	all := []string{wire.UsageContainers, wire.UsageImages, wire.UsageVolumes, wire.UsageBuildCache}
	kinds := c.query["type"]
	if len(kinds) == 0 || c.version.Before(42) {
		kinds = all
	}
	for _, kind := range kinds {
		if !slices.Contains(all, kind) {
			return core.Invalid("unknown object type: %s", kind)
		}
	}
	verbose, legacy := false, true
	if s := c.text("verbose"); s != "" && !c.version.Before(52) {
		legacy = false
		var err error
		if verbose, err = strconv.ParseBool(s); err != nil {
			return core.Invalid("invalid value for verbose: %s", s)
		}
	}
	usage, err := h.port.DiskUsage(c.context(), kinds)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, wire.DiskUsage(usage, kinds, verbose, legacy, c.version, time.Now()))
}

func (h whole) events(c *call) error {
	since, err := wire.DecodeTime(c.text("since"))
	if err != nil {
		return err
	}
	until, err := wire.DecodeTime(c.text("until"))
	if err != nil {
		return err
	}
	if !until.IsZero() && until.Before(since) {
		return core.Invalid("`since` time (%s) cannot be after `until` time (%s)", c.text("since"), c.text("until"))
	}
	filters, err := c.filters()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.context()) // ends the source when the client can't be reached
	defer cancel()
	events, err := h.port.Events(ctx, since, until, filters)
	if err != nil {
		return err
	}
	contentType := eventsType(c)
	c.stream(contentType)
	enc := json.NewEncoder(c)
	enc.SetEscapeHTML(false)
	for event := range events {
		line, ok := wire.Event(event, c.version)
		if !ok {
			continue
		}
		if contentType == jsonSequence {
			if _, err := c.Write([]byte{0x1e}); err != nil {
				return err
			}
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
		if len(events) == 0 {
			c.flush()
		}
	}
	return nil
}

// jsonSequence is RFC 7464: a record separator before each value.
const jsonSequence = "application/json-seq"

// eventsType is the content type of events that the client likes best, of those that its version has.
func eventsType(c *call) string {
	if !c.version.Before(52) {
		for _, accepted := range strings.Split(c.r.Header.Get("Accept"), ",") {
			mediaType, _, _ := strings.Cut(accepted, ";")
			switch mediaType = strings.TrimSpace(mediaType); mediaType {
			case "application/x-ndjson", "application/jsonl", jsonSequence:
				return mediaType
			}
		}
	}
	return "application/json"
}
