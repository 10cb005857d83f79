package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/names"
)

// Transfers moves images in and out: pull, push, load, save, import.
type Transfers struct{ o *Organ }

// Transfers is the API's view of the organ.
func (o *Organ) Transfers() *Transfers { return &Transfers{o} }

var errNoSeek = errors.New("cannot seek in this stream")

// wantedPlatform is the matcher for what the user asked for, or for this host.
func (o *Organ) wantedPlatform(platform core.Platform) platforms.MatchComparer {
	if platform == (core.Platform{}) {
		return platforms.Only(o.platform)
	}
	return matcher(platform)
}

// label ties content to what it refers to, so that the collector keeps it while a name points at the target. Children
// that are not here are named, too: they may come later.
func (o *Organ) label(ctx context.Context, target ocispec.Descriptor) error {
	children := images.SetChildrenMappedLabels(o.content, images.ChildrenHandler(o.content), nil)
	return images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if !images.IsIndexType(desc.MediaType) && !images.IsManifestType(desc.MediaType) {
			return nil, nil
		}
		found, err := children(ctx, desc)
		if errdefs.IsNotFound(err) && desc.Digest != target.Digest {
			return nil, nil
		}
		return found, err
	}), target)
}

// missing finds the first blob of an image that is not here.
func (o *Organ) missing(ctx context.Context, p *parsed) (digest.Digest, error) {
	for _, blob := range append([]ocispec.Descriptor{p.config}, p.layers...) {
		exists, err := content.Exists(ctx, o.content, blob)
		if err != nil {
			return "", err
		}
		if !exists {
			return blob.Digest, nil
		}
	}
	return "", nil
}

// adopt unpacks an image whose content is here and names it. tags, full names, may be empty: then it gets its private name,
// unless it has another one already.
func (o *Organ) adopt(ctx context.Context, p *parsed, tags []string, watch unpackWatch) (replaced map[string]digest.Digest, err error) {
	if err := o.label(ctx, p.target); err != nil {
		return nil, fmt.Errorf("label image %s: %w", p.target.Digest, err)
	}
	if err := o.unpack(ctx, p, watch); err != nil {
		return nil, err
	}
	if len(tags) == 0 {
		index, err := o.names.Index(ctx)
		if err != nil {
			return nil, err
		}
		if len(index.ByTarget[p.target.Digest]) > 0 {
			return nil, nil
		}
		tags = []string{names.DanglingName(p.target.Digest)}
	}
	replaced = map[string]digest.Digest{}
	target := p.target
	target.Annotations, target.Platform = nil, nil
	for _, name := range tags {
		_, before, err := o.names.Set(ctx, images.Image{Name: name, Target: target})
		if err != nil {
			return nil, err
		}
		if before != nil {
			replaced[name] = before.Digest
		}
	}
	o.forgetParsed()
	return replaced, nil
}

// Login checks credentials against a registry.
func (t *Transfers) Login(ctx context.Context, auth core.RegistryAuth) (status, identityToken string, err error) {
	return t.o.options.Registries.Login(t.o.context(ctx), auth)
}
