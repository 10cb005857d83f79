package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
)

// ImageStore is the noun image as far as containers have a say in it; the rest is the image organ's.
type ImageStore struct {
	port       Images
	containers *Containers
}

// List gives the images that the options select, with the number of containers that stand on each.
func (s *ImageStore) List(ctx context.Context, options core.ImageListOptions) ([]core.ImageUsage, error) {
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
func (s *ImageStore) Inspect(ctx context.Context, ref string, platform core.Platform) (core.Image, error) {
	return s.port.Lookup(ctx, ref, platform)
}

// History lists the steps that made an image, newest first.
func (s *ImageStore) History(ctx context.Context, ref string, platform core.Platform) ([]core.ImageHistory, error) {
	return s.port.History(ctx, ref, platform)
}

// Tag gives an image a further name.
func (s *ImageStore) Tag(ctx context.Context, source, target string) error {
	return s.port.Tag(ctx, source, target)
}

// users lists the containers that stand on each image.
func (s *ImageStore) users() map[core.ImageID][]*core.Container {
	users := map[core.ImageID][]*core.Container{}
	for _, c := range s.containers.table.views() {
		users[c.ImageID] = append(users[c.ImageID], c)
	}
	return users
}

// Remove takes a name away, and with the last one the image, unless a container stands on it.
func (s *ImageStore) Remove(ctx context.Context, ref string, force, prune bool) ([]core.ImageDelete, error) {
	image, err := s.port.Lookup(ctx, ref, core.Platform{})
	if err != nil {
		return nil, err
	}
	byID := isID(ref, image)
	if byID || len(image.RepoTags) <= 1 {
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
func (s *ImageStore) checkUsers(image core.Image, ref string, byID, force bool) error {
	var stopped *core.Container
	for _, c := range s.users()[image.ID] {
		if c.State.Running() {
			if byID {
				return core.Conflict("conflict: unable to delete %s (cannot be forced) - image is being used by running container %s", image.ID.Short(), c.ID.Short())
			}
			if !force {
				return core.Conflict("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", ref, c.ID.Short(), image.ID.Short())
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
	return core.Conflict("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", ref, stopped.ID.Short(), image.ID.Short())
}

// Prune removes images that nobody needs: those without a name, or with dangling=false all without a container.
func (s *ImageStore) Prune(ctx context.Context, filters core.Filters) (core.Pruned, error) {
	if err := checkFilterKeys(filters, []string{"dangling", "label", "label!", "until"}); err != nil {
		return core.Pruned{}, err
	}
	dangling, err := flag(filters, "dangling", true)
	if err != nil {
		return core.Pruned{}, err
	}
	match, err := pruneFilter(filters)
	if err != nil {
		return core.Pruned{}, err
	}
	before, err := s.port.Size(ctx)
	if err != nil {
		return core.Pruned{}, err
	}
	images, err := s.port.List(ctx, core.ImageListOptions{All: true})
	if err != nil {
		return core.Pruned{}, err
	}
	users := s.users()
	var pruned core.Pruned
	for _, image := range images {
		named := len(image.RepoTags) > 0
		if dangling && named || len(users[image.ID]) > 0 || !match(image.Created, image.Config.Labels) {
			continue
		}
		refs := image.RepoTags
		if !named {
			refs = []string{string(image.ID)}
		}
		for _, ref := range refs {
			deleted, err := s.port.Delete(ctx, ref, false, true)
			if err != nil {
				s.containers.log.Warn("prune an image", "image", ref, "error", err)
				continue
			}
			pruned.Images = append(pruned.Images, deleted...)
		}
	}
	after, err := s.port.Size(ctx)
	if err != nil {
		return pruned, err
	}
	pruned.Reclaimed = uint64(max(0, before-after))
	return pruned, nil
}

// flag reads a filter that is true or false.
func flag(filters core.Filters, key string, otherwise bool) (bool, error) {
	for _, value := range filters[key] {
		switch strings.ToLower(value) {
		case "1", "true":
			return true, nil
		case "0", "false":
			return false, nil
		}
		return false, core.Invalid("invalid filter '%s=%s'", key, value)
	}
	return otherwise, nil
}

// pruneFilter makes one condition of the filters that every prune knows: label, label!, until.
func pruneFilter(filters core.Filters) (func(created time.Time, labels map[string]string) bool, error) {
	var until time.Time
	if values := filters["until"]; len(values) > 0 {
		if len(values) > 1 {
			return nil, core.Invalid("more than one until filter specified")
		}
		var err error
		if until, err = parseMoment(values[0]); err != nil {
			return nil, err
		}
	}
	return func(created time.Time, labels map[string]string) bool {
		if !until.IsZero() && !created.Before(until) {
			return false
		}
		for _, condition := range filters["label"] {
			if !labelHolds(labels, condition) {
				return false
			}
		}
		for _, condition := range filters["label!"] {
			if labelHolds(labels, condition) {
				return false
			}
		}
		return true
	}, nil
}

// parseMoment reads what `--filter until=` takes: a duration back from now, a date, or seconds since 1970.
func parseMoment(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	if seconds, fraction, _ := strings.Cut(s, "."); seconds != "" && strings.Trim(seconds+fraction, "0123456789") == "" {
		d, err := time.ParseDuration(s + "s")
		if err == nil {
			return time.Unix(0, d.Nanoseconds()), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15Z07:00", "2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, core.Invalid("failed to parse value as time or duration: %q", s)
}
