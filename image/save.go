package image

import (
	"context"
	"io"

	"github.com/containerd/containerd/v2/core/images"
	export "github.com/containerd/containerd/v2/core/images/archive"
	"github.com/distribution/reference"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/names"
)

// Save writes images into one tar: an OCI layout with Docker's manifest.json in it, so that both kinds of tools read
// it. A name without a tag means every tag of the repository.
func (t *Transfers) Save(ctx context.Context, refs []string, platform core.Platform, w io.Writer) error {
	o := t.o
	ctx = o.context(ctx)
	index, err := o.names.Index(ctx)
	if err != nil {
		return err
	}
	leased, done, err := o.lease(ctx) // the images may be removed meanwhile
	if err != nil {
		return err
	}
	defer done()
	options := []export.ExportOpt{export.WithPlatform(o.wantedPlatform(platform)), export.WithSkipMissing(o.content)}
	if platform == (core.Platform{}) {
		options = append(options, export.WithAllPlatforms())
	}
	for _, ref := range refs {
		named, err := t.saved(leased, index, ref)
		if err != nil {
			return err
		}
		for _, image := range named {
			if err := o.protect(leased, image.Target.Digest); err != nil {
				return err
			}
			if _, err := o.load(leased, image.Target, platform); err != nil {
				return err
			}
			if image.Name == "" {
				options = append(options, export.WithManifest(image.Target))
			} else {
				options = append(options, export.WithManifest(image.Target, image.Name))
			}
			o.event(leased, "save", image.Target.Digest.String(), image.Target.Digest.String(), image.Target)
		}
	}
	return export.Export(leased, o.content, w, options...)
}

// saved lists what one reference means; an image that is meant by its ID has no name.
func (t *Transfers) saved(ctx context.Context, index *names.Index, ref string) ([]images.Image, error) {
	if named, err := reference.ParseNormalizedNamed(ref); err == nil && reference.IsNameOnly(named) {
		var all []images.Image
		for _, tagged := range t.tagsToPush(index, named) {
			all = append(all, index.ByName[tagged.String()])
		}
		if len(all) > 0 {
			return all, nil
		}
	}
	found, err := t.o.resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	image := images.Image{Target: found.names[0].Target}
	if named, err := reference.ParseNormalizedNamed(found.name); err == nil {
		if _, tagged := named.(reference.Tagged); tagged {
			image.Name = found.name
		}
	}
	return []images.Image{image}, nil
}
