package object

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
)

// Images is the noun image as far as containers have a say in it; the rest is the image organ's.
type Images struct {
	port       ImagePort
	containers Containers
	events     Publisher
}

// NewImages makes the noun.
func NewImages(port ImagePort, containers Containers, events Publisher) *Images {
	return &Images{port: port, containers: containers, events: events}
}

// Usage measures every image, and all together.
func (s *Images) Usage(ctx context.Context) ([]core.ImageUsage, int64, error) {
	images, total, err := s.port.Usage(ctx)
	users := s.users()
	for i := range images {
		images[i].Containers = int64(len(users[images[i].ID]))
	}
	return images, total, err
}

// List gives the images that the options select, with the number of containers that stand on each.
func (s *Images) List(ctx context.Context, options core.ImageListOptions) ([]core.ImageUsage, error) {
	images, err := s.port.List(ctx, options)
	if err != nil {
		return nil, err
	}
	users := s.users()
	for i := range images {
		images[i].Containers = int64(len(users[images[i].ID]))
	}
	return images, nil
}

// Inspect finds an image.
func (s *Images) Inspect(ctx context.Context, ref string, platform core.Platform) (core.Image, error) {
	return s.port.Lookup(ctx, ref, platform)
}

// History lists the steps that made an image, newest first.
func (s *Images) History(ctx context.Context, ref string, platform core.Platform) ([]core.ImageHistory, error) {
	return s.port.History(ctx, ref, platform)
}

// Tag gives an image a further name.
func (s *Images) Tag(ctx context.Context, source, target string) error {
	return s.port.Tag(ctx, source, target)
}

// users lists the containers that stand on each image.
func (s *Images) users() map[core.ImageID][]*core.Container {
	users := map[core.ImageID][]*core.Container{}
	for _, c := range s.containers.Views() {
		users[c.ImageID] = append(users[c.ImageID], c)
	}
	return users
}

// Remove takes a name away, and with the last one the image, unless a container stands on it.
func (s *Images) Remove(ctx context.Context, ref string, force, prune bool) ([]core.ImageDelete, error) {
	image, err := s.port.Lookup(ctx, ref, core.Platform{})
	if err != nil {
		return nil, err
	}
	byID := isID(ref, image)
	// A digest is one more name beside the tags.
	last := len(image.RepoTags) == 0 || len(image.RepoTags) == 1 && !strings.Contains(ref, "@")
	if byID || last {
		if err := s.checkUsers(image, ref, byID, force); err != nil {
			return nil, err
		}
	}
	return s.port.Delete(ctx, ref, force, prune)
}

// isID reports whether a reference is an image's ID or the beginning of it, not a name.
func isID(ref string, image core.Image) bool {
	if slices.ContainsFunc(image.RepoTags, func(tag string) bool { return tag == ref || strings.TrimSuffix(tag, ":latest") == ref }) {
		return false
	}
	hex := strings.TrimPrefix(ref, "sha256:")
	return strings.HasPrefix(strings.TrimPrefix(string(image.ID), "sha256:"), hex) ||
		strings.HasPrefix(strings.TrimPrefix(image.ConfigDigest, "sha256:"), hex)
}

// checkUsers refuses the removal of an image that a container needs: always while it runs, without force otherwise.
func (s *Images) checkUsers(image core.Image, ref string, byID, force bool) error {
	var stopped *core.Container
	for _, c := range s.users()[image.ID] {
		if c.State.Running() {
			if byID {
				return core.Conflict("conflict: unable to delete %s (cannot be forced) - image is being used by running container %s", image.ID.Short(), c.ID.Short())
			}
			if !force {
				return core.Conflict("conflict: unable to delete %s (must be forced) - container %s is using its referenced image %s", tagged(ref), c.ID.Short(), image.ID.Short())
			}
			return core.Conflict("conflict: unable to delete %s (cannot be forced) - image is being used by running container %s", ref, c.ID.Short())
		}
		stopped = c
	}
	if stopped == nil || force {
		return nil
	}
	if byID {
		return core.Conflict("conflict: unable to delete %s (must be forced) - image is being used by stopped container %s", image.ID.Short(), stopped.ID.Short())
	}
	return core.Conflict("conflict: unable to delete %s (must be forced) - container %s is using its referenced image %s", tagged(ref), stopped.ID.Short(), image.ID.Short())
}

// tagged is a reference with the tag that it means when it names none.
func tagged(ref string) string {
	if strings.Contains(ref[strings.LastIndex(ref, "/")+1:], ":") {
		return ref
	}
	return ref + ":latest"
}

// Prune removes images that no container stands on: those without a name, or with dangling=false all.
func (s *Images) Prune(ctx context.Context, filters core.Filters) (core.Pruned, error) {
	users := s.users()
	pruned, err := s.port.Prune(ctx, filters, func(id core.ImageID) bool { return len(users[id]) > 0 })
	if err == nil {
		s.events.Publish(pruned.Event("image"))
	}
	return pruned, err
}
