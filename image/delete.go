package image

import (
	"context"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/names"
)

// Delete takes a reference away or, for an ID, all of them, and with the last one the image. Whether containers stand
// in the way is the engine's business; what one stands on stays on disk until it goes, though it has no name.
func (i *Images) Delete(ctx context.Context, ref string, force, _ bool) ([]core.ImageDelete, error) {
	o := i.o
	ctx = o.context(ctx)
	found, err := o.resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	removed, err := toRemove(found, force)
	if err != nil {
		return nil, err
	}
	gone := make([]string, len(removed))
	for n, image := range removed {
		gone[n] = image.Name
	}
	if err := o.names.Remove(ctx, gone, false); err != nil {
		return nil, err
	}
	id := found.target().String()
	var result []core.ImageDelete
	for _, image := range removed {
		if names.IsDangling(image.Name) {
			continue
		}
		result = append(result, core.ImageDelete{Untagged: names.Familiar(image.Name)})
		o.event(ctx, "untag", id, names.Familiar(image.Name), ocispec.Descriptor{})
	}
	if len(removed) == len(found.names) {
		result = append(result, core.ImageDelete{Deleted: id})
		o.event(ctx, "delete", id, id, ocispec.Descriptor{})
		o.gc.soon()
	}
	return result, nil
}

// toRemove decides which names a removal takes away. A name with a tag goes alone; what pins the same image by
// digest in the same repository goes with the repository's last tag. An ID takes all names, if they are of one
// repository or force is given.
func toRemove(found resolved, force bool) ([]images.Image, error) {
	if found.name == "" {
		if len(repositories(found.names)) > 1 && !force {
			return nil, core.Conflict("conflict: unable to delete %s (must be forced) - image is referenced in multiple repositories", core.ImageID(found.target()).Short())
		}
		return found.names, nil
	}
	named, err := reference.ParseNormalizedNamed(found.name)
	if err != nil {
		return nil, core.Invalid("%w", err)
	}
	same := slices.DeleteFunc(slices.Clone(found.names), func(image images.Image) bool {
		other, err := reference.ParseNormalizedNamed(image.Name)
		return err != nil || other.Name() != named.Name()
	})
	if _, digested := named.(reference.Digested); digested {
		return same, nil
	}
	tags := names.RepoTags(same)
	if len(tags) == 1 {
		return same, nil
	}
	return slices.DeleteFunc(same, func(image images.Image) bool { return image.Name != found.name }), nil
}

func repositories(all []images.Image) (list []string) {
	for _, image := range all {
		named, err := reference.ParseNormalizedNamed(image.Name)
		if err != nil || names.IsDangling(image.Name) {
			continue
		}
		if !slices.Contains(list, named.Name()) {
			list = append(list, named.Name())
		}
	}
	return list
}

// Prune deletes images that are not in use: the dangling ones or, with the filter dangling=false, all. Other filters
// are until, label and label!.
func (i *Images) Prune(ctx context.Context, filters core.Filters, used func(core.ImageID) bool) (core.Pruned, error) {
	o := i.o
	ctx = o.context(ctx)
	before, err := o.Catalog().totalSize(ctx)
	if err != nil {
		return core.Pruned{}, err
	}
	candidates, err := i.prunable(ctx, filters)
	if err != nil {
		return core.Pruned{}, err
	}
	var pruned core.Pruned
	for _, image := range candidates {
		if used(image.ID) {
			continue
		}
		deleted, err := i.Delete(ctx, string(image.ID), true, true)
		if err != nil {
			return pruned, err
		}
		pruned.Images = append(pruned.Images, deleted...)
	}
	after, err := o.Catalog().totalSize(ctx)
	if err != nil {
		return pruned, err
	}
	pruned.Reclaimed = uint64(max(0, before-after))
	return pruned, nil
}

func (i *Images) prunable(ctx context.Context, filters core.Filters) ([]core.Image, error) {
	for key := range filters {
		if !slices.Contains([]string{"dangling", "label", "label!", "until"}, key) {
			return nil, core.Invalid("invalid filter '%s'", key)
		}
	}
	dangling := true
	conditions := core.Filters{}
	for key, values := range filters {
		if key != "dangling" {
			conditions[key] = values
			continue
		}
		var err error
		if dangling, err = parseBool(key, values); err != nil {
			return nil, err
		}
	}
	if dangling {
		conditions["dangling"] = []string{"true"}
	}
	all, err := i.List(ctx)
	if err != nil {
		return nil, err
	}
	keep, err := i.o.filter(ctx, conditions, all)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(image core.Image) bool { return !keep(&image) }), nil
}
