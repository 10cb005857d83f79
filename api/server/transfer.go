package server

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// transfers answers for moving images.
type transfers struct{ port Transfers }

// create is a pull (fromImage) or an import (fromSrc).
func (h transfers) create(c *call) error {
	platform, err := wire.ParsePlatform(c.text("platform"))
	if err != nil {
		return err
	}
	image := strings.TrimSuffix(c.text("fromImage"), ":") // `pull -a` of old clients leaves a colon
	if image == "" {
		return h.load(c, platform)
	}
	if image == "scratch" {
		return core.Forbidden("'scratch' is a reserved name")
	}
	tag := c.text("tag")
	ref := image
	if tag != "" {
		ref = withTag(untagged(image), tag)
	}
	p := newProgress(c)
	all := tag == "" && !tagged(image)
	return p.finish(h.port.Pull(c.context(), ref, platform, all, wire.DecodeAuth(c.r.Header.Get("X-Registry-Auth")), p.step))
}

// untagged cuts a tag off, since one that is given apart wins.
func untagged(ref string) string {
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') && !strings.Contains(ref, "@") {
		return ref[:i]
	}
	return ref
}

// load of a root file system: an import.
func (h transfers) load(c *call, platform core.Platform) (err error) {
	source := c.text("fromSrc")
	if source == "" {
		return core.Invalid("one of fromImage and fromSrc must be given")
	}
	request := core.ImportRequest{
		Ref:      withTag(c.text("repo"), c.text("tag")),
		Message:  c.text("message"),
		Changes:  c.query["changes"],
		Platform: platform,
	}
	if request.Message == "" {
		request.Message = "Imported from " + source
	}
	p := newProgress(c)
	content := io.Reader(c.r.Body)
	if source != "-" {
		remote, err := download(c, source)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remote.Close()) }()
		p.step(core.Progress{Status: "Downloading from " + source})
		content = remote
	}
	id, err := h.port.Import(c.context(), content, request)
	if err == nil {
		p.step(core.Progress{Status: string(id)})
	}
	return p.finish(err)
}

// download fetches the source of an import.
func download(c *call, source string) (io.ReadCloser, error) {
	if !strings.Contains(source, "://") {
		source = "http://" + source
	}
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, core.Invalid("invalid import source %q: only http and https are fetched", source)
	}
	request, err := http.NewRequestWithContext(c.context(), http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, core.Invalid("invalid import source %q: %s", source, err.Error())
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, core.Unavailable("can't fetch %s: %w", source, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		err := core.Invalid("failed to GET %s with status %s", source, response.Status)
		return nil, errors.Join(err, response.Body.Close())
	}
	return response.Body, nil
}

func (h transfers) push(c *call) error {
	platform, err := c.platform(46)
	if err != nil {
		return err
	}
	p := newProgress(c)
	ref := withTag(c.name, c.text("tag"))
	return p.finish(h.port.Push(c.context(), ref, platform, wire.DecodeAuth(c.r.Header.Get("X-Registry-Auth")), p.step))
}

// unpack is `load`: images out of a tar.
func (h transfers) unpack(c *call) error {
	platform, err := c.platform(48)
	if err != nil {
		return err
	}
	p := newProgress(c)
	return p.finish(h.port.Load(c.context(), c.r.Body, platform, c.truthOr("quiet", true), p.step))
}

// save writes images into a tar: one of the path, or several of the query.
func (h transfers) save(c *call) error {
	platform, err := c.platform(48)
	if err != nil {
		return err
	}
	names := c.query["names"]
	if c.name != "" {
		names = []string{c.name}
	}
	if len(names) == 0 {
		return core.Invalid("image name cannot be blank")
	}
	return h.port.Save(c.context(), names, platform, lateWriter{c: c, contentType: "application/x-tar"})
}

// login checks credentials.
func (h transfers) login(c *call) error {
	body, err := c.rawBody()
	if err != nil {
		return err
	}
	auth, err := wire.DecodeLogin(body)
	if err != nil {
		return err
	}
	status, token, err := h.port.Login(c.context(), auth)
	return c.reply(wire.LoginResponse(status, token), err)
}
