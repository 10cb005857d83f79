package server

import (
	"net/http"
	"strings"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// images answers for looking at images and changing their names.
type images struct{ port Images }

func (h images) list(c *call) error {
	filters, err := c.filters()
	if err != nil {
		return err
	}
	if c.truth("identity") && !c.truth("manifests") && !c.version.Before(54) {
		return core.Invalid("conflicting options: identity requires manifests=1")
	}
	found, err := h.port.List(c.context(), core.ImageListOptions{
		All:        c.truth("all"),
		SharedSize: c.truth("shared-size") && !c.version.Before(42),
		Filters:    filters,
	})
	return c.reply(wire.ImageList(found, c.version, c.truth("manifests")), err)
}

func (h images) inspect(c *call) error {
	platform, err := c.platform(49)
	if err != nil {
		return err
	}
	if c.truth("manifests") && platform != (core.Platform{}) {
		return core.Invalid("conflicting options: manifests and platform options cannot both be set")
	}
	img, err := h.port.Inspect(c.context(), c.name, platform)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, wire.ImageInspect(img, c.version, c.truth("manifests")))
}

func (h images) history(c *call) error {
	platform, err := c.platform(48)
	if err != nil {
		return err
	}
	steps, err := h.port.History(c.context(), c.name, platform)
	return c.reply(wire.ImageHistory(steps), err)
}

func (h images) tag(c *call) error {
	target := withTag(c.text("repo"), c.text("tag"))
	if target == "" {
		return core.Invalid("invalid reference format")
	}
	if err := h.port.Tag(c.lasting(), c.name, target); err != nil {
		return err
	}
	c.status(http.StatusCreated)
	return nil
}

func (h images) remove(c *call) error {
	if strings.TrimSpace(c.name) == "" {
		return core.Invalid("image name cannot be blank")
	}
	if c.text("platforms") != "" && !c.version.Before(50) {
		return core.NotImplemented("Berth does not have the removal of single platforms of an image yet")
	}
	deleted, err := h.port.Remove(c.lasting(), c.name, c.truth("force"), !c.truth("noprune"))
	return c.reply(wire.ImagesDeleted(deleted), err)
}

func (h images) prune(c *call) error {
	filters, err := c.filters()
	if err != nil {
		return err
	}
	pruned, err := h.port.Prune(c.lasting(), filters)
	return c.reply(wire.ImagesPruned(pruned), err)
}

// platform reads the platform of a query as JSON, where the version of the API has it. More than one is refused.
func (c *call) platform(since int) (core.Platform, error) {
	if c.version.Before(since) {
		return core.Platform{}, nil
	}
	switch given := c.query["platform"]; len(given) {
	case 0:
		return core.Platform{}, nil
	case 1:
		return wire.DecodePlatform(given[0])
	}
	if c.version.Before(52) {
		return core.Platform{}, core.Invalid("multiple platform parameters are not supported in this API version; use API version 1.52 or later")
	}
	return core.Platform{}, core.NotImplemented("Berth does not have several platforms in one request yet")
}

// withTag joins what the API gives apart: a repository, and a tag or digest.
func withTag(repository, tag string) string {
	switch {
	case tag == "" || repository == "":
		return repository
	case strings.Contains(tag, ":"):
		return repository + "@" + tag
	}
	return repository + ":" + tag
}

// tagged reports whether a reference names a tag or a digest.
func tagged(ref string) bool {
	return strings.Contains(ref, "@") || strings.Contains(ref[strings.LastIndexByte(ref, '/')+1:], ":")
}
