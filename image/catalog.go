package image

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/names"
)

// Catalog shows images and names them: what the API needs and the engine need not check first.
type Catalog struct{ o *Organ }

// Catalog is the API's view of the organ.
func (o *Organ) Catalog() *Catalog { return &Catalog{o} }

// List lists the images that the filters let through.
func (c *Catalog) List(ctx context.Context, options core.ImageListOptions) ([]core.ImageUsage, error) {
	ctx = c.o.context(ctx)
	all, err := c.o.Images().List(ctx)
	if err != nil {
		return nil, err
	}
	keep, err := c.o.filter(ctx, options.Filters, all)
	if err != nil {
		return nil, err
	}
	list := make([]core.ImageUsage, 0, len(all))
	var selected []core.Image
	for _, image := range all {
		if keep(&image) {
			onlyMatching(&image, options.Filters["reference"])
			list = append(list, core.ImageUsage{Image: image, Containers: -1, SharedSize: -1})
			selected = append(selected, image)
		}
	}
	if options.SharedSize {
		shared, err := c.sharedSizes(ctx, selected)
		if err != nil {
			return nil, err
		}
		for i := range list {
			list[i].SharedSize = shared[i]
		}
	}
	return list, nil
}

// Usage lists all images with their shared sizes and users, and the bytes that all of them take together.
func (c *Catalog) Usage(ctx context.Context) (list []core.ImageUsage, total int64, err error) {
	list, err = c.List(ctx, core.ImageListOptions{All: true, SharedSize: true})
	if err != nil {
		return nil, 0, err
	}
	users := c.o.layers.Users()
	for i := range list {
		list[i].Containers = int64(users[list[i].ID])
	}
	total, err = c.totalSize(c.o.context(ctx))
	return list, total, err
}

// Inspect describes one image.
func (c *Catalog) Inspect(ctx context.Context, ref string, platform core.Platform) (core.Image, error) {
	return c.o.Images().Lookup(ctx, ref, platform)
}

// History lists the steps that made an image, the last one first.
func (c *Catalog) History(ctx context.Context, ref string, platform core.Platform) ([]core.ImageHistory, error) {
	ctx = c.o.context(ctx)
	found, err := c.o.resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	p, err := c.o.load(ctx, found.names[0].Target, platform)
	if err != nil {
		return nil, err
	}
	image := p.named(found.names)
	steps := slices.Clone(image.History)
	chains := identity.ChainIDs(slices.Clone(p.diffIDs))
	for i, layer := 0, 0; i < len(steps) && layer < len(chains); i++ {
		if steps[i].EmptyLayer {
			continue
		}
		// A layer that is not unpacked has no size to show.
		if usage, err := c.o.snapshotter.Usage(ctx, chains[layer].String()); err == nil {
			steps[i].Size = usage.Size
		}
		layer++
	}
	slices.Reverse(steps)
	if len(steps) > 0 {
		steps[0].ID, steps[0].Tags = string(image.ID), image.RepoTags
	}
	return steps, nil
}

// Tag gives an image a further name. An image that had the name and has no other stays as a dangling one.
func (c *Catalog) Tag(ctx context.Context, source, target string) error {
	ctx = c.o.context(ctx)
	named, err := names.Parse(target)
	if err != nil {
		return err
	}
	if _, digested := named.(reference.Digested); digested {
		return core.Invalid("refusing to create a tag with a digest reference")
	}
	named = reference.TagNameOnly(named)
	if reference.FamiliarName(named) == "sha256" {
		return core.Invalid("refusing to create an ambiguous tag using digest algorithm as name")
	}
	found, err := c.o.resolve(ctx, source)
	if err != nil {
		return err
	}
	if _, _, err := c.o.names.Set(ctx, images.Image{Name: named.String(), Target: found.names[0].Target}); err != nil {
		return err
	}
	c.o.event(ctx, "tag", found.target().String(), reference.FamiliarString(named), found.names[0].Target)
	return nil
}

// blobs says how many bytes each blob and each unpacked layer of an image takes, by digest.
func (c *Catalog) blobs(ctx context.Context, p *parsed) map[string]int64 {
	sizes := map[string]int64{p.manifest.Digest.String(): p.manifest.Size, p.config.Digest.String(): p.config.Size}
	for _, layer := range p.layers {
		sizes[layer.Digest.String()] = layer.Size
	}
	for _, chain := range identity.ChainIDs(slices.Clone(p.diffIDs)) {
		if usage, err := c.o.snapshotter.Usage(ctx, chain.String()); err == nil {
			sizes["unpacked:"+chain.String()] = usage.Size
		}
	}
	return sizes
}

// sharedSizes says how many bytes of each image another image has too.
func (c *Catalog) sharedSizes(ctx context.Context, list []core.Image) ([]int64, error) {
	users := map[string]int{}
	each := make([]map[string]int64, len(list))
	for i, image := range list {
		p, err := c.o.load(ctx, descriptorOf(image), core.Platform{})
		if err != nil {
			return nil, err
		}
		each[i] = c.blobs(ctx, p)
		for blob := range each[i] {
			users[blob]++
		}
	}
	shared := make([]int64, len(list))
	for i := range each {
		for blob, size := range each[i] {
			if users[blob] > 1 {
				shared[i] += size
			}
		}
	}
	return shared, nil
}

// totalSize is the bytes that all images take, what they share counted once.
func (c *Catalog) totalSize(ctx context.Context) (total int64, err error) {
	list, err := c.o.Images().List(ctx)
	if err != nil {
		return 0, err
	}
	sizes := map[string]int64{}
	for _, image := range list {
		p, err := c.o.load(ctx, descriptorOf(image), core.Platform{})
		if err != nil {
			return 0, err
		}
		maps.Copy(sizes, c.blobs(ctx, p))
	}
	for _, size := range sizes {
		total += size
	}
	return total, nil
}

func descriptorOf(image core.Image) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: image.MediaType, Digest: digest.Digest(image.ID), Size: image.ContentSize}
}

// matchesReference compares an image's names with a pattern, as `docker images busybox` does.
func matchesReference(image *core.Image, pattern string) (bool, error) {
	for _, names := range [][]string{image.RepoTags, image.RepoDigests} {
		for _, name := range names {
			if matched, err := matchesName(name, pattern); matched || err != nil {
				return matched, err
			}
		}
	}
	return false, nil
}

// matchesName compares the whole name, and the name without its tag.
func matchesName(name, pattern string) (bool, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false, nil
	}
	for _, candidate := range []reference.Named{named, reference.TrimNamed(named)} {
		matched, err := reference.FamiliarMatch(pattern, candidate)
		if err != nil {
			return false, core.Invalid("invalid reference filter %q: %w", pattern, err)
		}
		if matched || candidate.String() == strings.TrimSuffix(pattern, "/") {
			return true, nil
		}
	}
	return false, nil
}

// onlyMatching leaves an image those of its names that one of the patterns fits: who asks for a name does not want to
// see what else the image is called.
func onlyMatching(image *core.Image, patterns []string) {
	if len(patterns) == 0 {
		return
	}
	other := func(name string) bool {
		return !slices.ContainsFunc(patterns, func(pattern string) bool {
			matched, err := matchesName(name, pattern)
			return matched && err == nil // bad patterns were refused before
		})
	}
	image.RepoTags = slices.DeleteFunc(slices.Clone(image.RepoTags), other)
	image.RepoDigests = slices.DeleteFunc(slices.Clone(image.RepoDigests), other)
}
