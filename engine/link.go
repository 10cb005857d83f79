package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

// resolveLinks looks up the containers that a new one is linked to on the default network, and keeps each link as
// name:alias. On other networks a link is a further name, looked up when it is asked for.
func (cs *Containers) resolveLinks(c *core.Container) error {
	if !define.DefaultBridge(c.Host.NetworkMode) {
		return nil
	}
	links := make([]string, 0, len(c.Host.Links))
	for _, l := range c.Host.Links {
		name, alias, err := define.Link(l)
		if err != nil {
			return err
		}
		other, err := cs.table.view(name)
		if err != nil {
			// Not a 404: clients would take it for a missing image.
			return core.Invalid("could not get container for %s: %s", name, err.Error())
		}
		if other.Host.NetworkMode == core.NetworkHost {
			return core.Invalid("conflicting options: host type networking can't be used with links. This would result in undefined behavior")
		}
		links = append(links, other.Name+":"+alias)
	}
	if len(links) > 0 {
		c.Host.Links = links
	}
	return nil
}

// checkLinks refuses the start of a container whose links lead to containers that do not run.
func (l *Lifecycle) checkLinks(c *core.Container) error {
	if !define.DefaultBridge(c.Host.NetworkMode) {
		return nil
	}
	for _, link := range c.Host.Links {
		name, alias, err := define.Link(link)
		if err != nil {
			return err
		}
		other, err := l.table.view(name)
		if err != nil || !other.State.Running() {
			return core.Conflict("Cannot link to a non running container: /%s AS /%s/%s", name, c.Name, alias)
		}
	}
	return nil
}

// unlink takes away a link, named as the linked container's name in the other: /parent/alias.
func (cs *Containers) unlink(ctx context.Context, ref string) error {
	parent, alias, ok := strings.Cut(strings.Trim(ref, "/"), "/")
	if !ok {
		return core.Conflict("Conflict, cannot remove the default link name of the container")
	}
	b, err := cs.table.find(parent)
	if err != nil {
		return core.NotFound("Cannot get parent /%s for link name /%s/%s", parent, parent, alias)
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	defer b.op.release()
	c := b.View()
	links := slices.DeleteFunc(slices.Clone(c.Host.Links), func(l string) bool {
		_, as, err := define.Link(l)
		return err == nil && as == alias
	})
	if len(links) == len(c.Host.Links) {
		return core.NoSuchContainer(ref)
	}
	c = b.Change(func(c *core.Container) { c.Host.Links = links })
	cs.save(ctx, c, true)
	if !c.State.Running() {
		return nil
	}
	return cs.ports.Sandboxes.Relink(ctx, c.ID, links)
}
