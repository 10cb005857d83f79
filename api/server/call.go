package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// maxBody is how much of a JSON body is read: far more than any request needs, and little enough to hold.
const maxBody = 8 << 20

// call is one request on its way: what was asked, and how far the answer is.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	version wire.Version
	query   url.Values
	name    string // the variable part of the path
	logger  *slog.Logger

	started  bool     // the status line is gone
	hijacked bool     // the connection belongs to someone else
	conn     net.Conn // that connection
}

// context ends when the client goes away.
func (c *call) context() context.Context { return c.r.Context() }

// lasting is the context of work that must not stop half-way because the client went away.
func (c *call) lasting() context.Context { return context.WithoutCancel(c.r.Context()) }

// container is the variable part as the name of a container: clients may put a slash before it.
func (c *call) container() string { return strings.TrimPrefix(c.name, "/") }

// text is one value of the query; empty when it is not given.
func (c *call) text(key string) string { return c.query.Get(key) }

// truth and truthOr read a switch of the query.
func (c *call) truth(key string) bool { return wire.Truth(c.text(key)) }

func (c *call) truthOr(key string, fallback bool) bool {
	if s := c.text(key); s != "" {
		return wire.Truth(s)
	}
	return fallback
}

// filters reads the query parameter of that name.
func (c *call) filters() (core.Filters, error) { return wire.DecodeFilters(c.text("filters")) }

// number reads a whole number of the query; nil when it is not given.
func (c *call) number(key string) (*int, error) {
	s := c.text(key)
	if s == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil, core.Invalid("invalid value for %s: %q", key, s)
	}
	return &n, nil
}

// size reads one side of a terminal.
func (c *call) size(key, side string) (uint, error) {
	s := c.text(key)
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		var number *strconv.NumError
		if errors.As(err, &number) {
			err = number.Err
		}
		return 0, core.Invalid("invalid resize %s %q: %s", side, s, err.Error())
	}
	return uint(n), nil
}

// body reads a JSON body whole, after a look at its announced type. An absent body is empty.
func (c *call) body() ([]byte, error) {
	if err := c.checkJSON(); err != nil {
		return nil, err
	}
	return c.rawBody()
}

func (c *call) rawBody() ([]byte, error) {
	if c.r.Body == nil || c.r.ContentLength == 0 {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, core.Invalid("invalid JSON: the request body is larger than %d bytes", tooLarge.Limit)
		}
		return nil, core.Invalid("can't read the request body: %s", err.Error())
	}
	return body, nil
}

func (c *call) checkJSON() error {
	announced := c.r.Header.Get("Content-Type")
	if announced == "" && (c.r.Body == nil || c.r.ContentLength == 0) {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(announced)
	if err != nil {
		return core.Invalid("malformed Content-Type header (%s): %s", announced, err.Error())
	}
	if mediaType != "application/json" {
		return core.Invalid("unsupported Content-Type header (%s): must be 'application/json'", announced)
	}
	return nil
}

// status sends the status line; once it is gone there is nothing to do.
func (c *call) status(code int) {
	if c.started {
		return
	}
	c.started = true
	c.w.WriteHeader(code)
}

// done is the end of most commands: 204, or the error.
func (c *call) done(err error) error {
	if err == nil {
		c.status(http.StatusNoContent)
	}
	return err
}

// json answers with a value.
func (c *call) json(code int, value any) error {
	c.w.Header().Set("Content-Type", "application/json")
	c.status(code)
	enc := json.NewEncoder(c.w)
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// reply is json with 200, unless there is an error.
func (c *call) reply(value any, err error) error {
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, value)
}

// stream begins an answer whose length is not known, and sends its head at once.
func (c *call) stream(contentType string) {
	c.w.Header().Set("Content-Type", contentType)
	c.status(http.StatusOK)
	c.flush()
}

// flush sends what was written. It fails only where the client is gone, which the next write says too.
func (c *call) flush() {
	if flusher, ok := c.w.(http.Flusher); ok {
		flusher.Flush()
	}
}

// Write writes a part of a streamed answer; the first one sends the head.
func (c *call) Write(p []byte) (int, error) {
	c.started = true
	return c.w.Write(p)
}

// empty is the end of commands that answer 200 without a body.
func (c *call) empty(err error) error {
	if err == nil {
		c.status(http.StatusOK)
	}
	return err
}
