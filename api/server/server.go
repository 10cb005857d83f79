// Package server is the Docker Engine API over HTTP: it decodes a request, makes one call through the ports of
// ports.go, and encodes the answer.
//
// One file per noun holds its handlers; routes.go is the table of endpoints, status.go the table from classes of
// errors to status codes, and api/wire knows the shapes. Nothing here decides what happens to things.
package server

import (
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// Options are what the API stands on. Every port is needed.
type Options struct {
	Containers   Containers
	Lifecycle    Lifecycle
	Consoles     Consoles
	Execs        Execs
	Files        Files
	Images       Images
	Transfers    Transfers
	Networks     Networks
	Volumes      Volumes
	VolumeCopies VolumeCopies
	Builds       Builds
	System       System

	// Build says which program this is.
	Build wire.Build
	// Logger receives faults of ours and, at level debug, every request. nil: slog's default.
	Logger *slog.Logger
}

// Server answers requests. It keeps no state of its own beyond its routes, so it needs no shutdown: the listener's
// http.Server ends the requests, and what was hijacked belongs to the runtime.
type Server struct {
	router router
	logger *slog.Logger
	banner string // of the header "Server"
	flags  string // of the header "Docker-Experimental"
}

// New makes the handler of a listener.
func New(options Options) *Server {
	s := &Server{
		logger: options.Logger,
		banner: "Berth/" + options.Build.Version + " (" + runtime.GOOS + ")",
		flags:  "false",
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	if options.Build.Experimental {
		s.flags = "true"
	}
	s.router = newRouter(routes(options, time.Second))
	return s
}

// ServeHTTP finds the endpoint, checks the version, and answers errors and panics with a status.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Api-Version", wire.MaxVersion.String())
	header.Set("Docker-Experimental", s.flags)
	header.Set("Ostype", runtime.GOOS)
	header.Set("Server", s.banner)

	c := &call{w: w, r: r, version: wire.MaxVersion, logger: s.logger}
	defer s.recover(c)
	path, err := c.takeVersion(r.URL.Path)
	if err == nil {
		err = s.dispatch(c, path)
	}
	if err != nil {
		s.fail(c, err)
	}
}

// takeVersion cuts "/v1.44" off a path and keeps the version.
func (c *call) takeVersion(path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "/v")
	if !ok {
		return path, nil
	}
	prefix, rest, _ := strings.Cut(rest, "/")
	version, ok := wire.ParseVersion(prefix)
	if !ok {
		return path, nil // "/volumes", or nothing that we know
	}
	c.version = version
	return "/" + rest, version.Check()
}

func (s *Server) dispatch(c *call, path string) error {
	if c.r.Method == http.MethodOptions {
		c.status(http.StatusOK)
		return nil
	}
	handle := s.router.find(c, path)
	if handle == nil {
		return core.NotFound("page not found")
	}
	var err error
	if c.query, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
		return core.Invalid("%s", err.Error())
	}
	if s.logger.Enabled(c.r.Context(), slog.LevelDebug) {
		s.logger.DebugContext(c.r.Context(), "request", "method", c.r.Method, "path", c.r.URL.Path)
	}
	return handle(c)
}

// fail answers an error, where an answer is still possible.
func (s *Server) fail(c *call, err error) {
	status := statusOf(err)
	attrs := []any{"method", c.r.Method, "path", c.r.URL.Path, "error", err}
	switch {
	case c.r.Context().Err() != nil:
		s.logger.Debug("the client went away", attrs...)
	case c.started || status < http.StatusInternalServerError:
		s.logger.Debug("request failed", attrs...)
	case status == http.StatusInternalServerError:
		s.logger.Error("request failed", attrs...)
	default:
		s.logger.Debug("request failed", attrs...)
	}
	switch {
	case c.hijacked:
	case c.started:
		// The status is gone and so is the end of the answer: cut the connection, so that the client sees it.
		panic(http.ErrAbortHandler)
	case status == http.StatusNotModified:
		c.status(status)
	default:
		if err := c.json(status, errorBody{Message: err.Error()}); err != nil {
			s.logger.Debug("can't answer", "error", err)
		}
	}
}

// errorBody is the shape of every error.
type errorBody struct {
	Message string `json:"message"`
}

// recover turns a panic of a handler into a 500 and keeps the daemon alive.
func (s *Server) recover(c *call) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler {
		panic(cause) // net/http's own way to cut a connection; it is not logged
	}
	s.logger.Error("a request made the daemon panic", "method", c.r.Method, "path", c.r.URL.Path, "panic", cause, "stack", string(debug.Stack()))
	if c.hijacked {
		return
	}
	if c.started {
		panic(http.ErrAbortHandler)
	}
	if err := c.json(http.StatusInternalServerError, errorBody{Message: "the daemon failed in an unexpected way; its log says where"}); err != nil {
		s.logger.Debug("can't answer", "error", err)
	}
}
