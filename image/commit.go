package image

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/config"
	"github.com/berth-engine/berth/image/names"
)

// Commit makes an image of a container: its image with what the container changed as one more layer, which is unpacked
// at once, and none when it changed nothing.
func (t *Transfers) Commit(ctx context.Context, request core.Commit) (_ core.ImageID, err error) {
	o := t.o
	ctx = o.context(ctx)
	tags, err := commitTags(request.Ref)
	if err != nil {
		return "", err
	}
	settings := config.Of(request.Settings)
	if err := config.Apply(&settings, request.Changes); err != nil {
		return "", err
	}
	leased, done, err := o.lease(ctx)
	if err != nil {
		return "", err
	}
	defer func() {
		done()
		if err != nil {
			o.gc.soon()
		}
	}()
	base, file, err := o.baseOf(leased, request)
	if err != nil {
		return "", fmt.Errorf("commit container %s: its image: %w", request.ID.Short(), err)
	}
	layer, diffID, err := t.commitLayer(leased, request.ID)
	if err != nil {
		return "", fmt.Errorf("commit container %s: %w", request.ID.Short(), err)
	}
	now := time.Now().UTC()
	layers := slices.Clone(base.layers)
	if layer != nil {
		layers = append(layers, *layer)
		file.RootFS.DiffIDs = append(slices.Clone(file.RootFS.DiffIDs), diffID)
	}
	file.Created, file.Author, file.Comment, file.Config = &now, cmp.Or(request.Author, file.Author), request.Comment, settings
	file.Parent = string(request.Image)
	file.History = append(slices.Clone(file.History), ocispec.History{
		Created: &now, CreatedBy: request.CreatedBy, Author: file.Author, Comment: request.Comment, EmptyLayer: layer == nil,
	})
	target, err := t.writeImage(leased, file, layers...)
	if err != nil {
		return "", err
	}
	p, err := o.read(leased, target, core.Platform{})
	if err != nil {
		return "", err
	}
	if _, err := o.adopt(leased, p, tags, unpackWatch{}); err != nil {
		return "", err
	}
	o.event(leased, "create", target.Digest.String(), target.Digest.String(), target)
	for _, tag := range tags {
		o.event(leased, "tag", target.Digest.String(), names.Familiar(tag), target)
	}
	return core.ImageID(target.Digest), nil
}

// commitTags is the full name that a new image gets, if it gets one.
func commitTags(ref string) ([]string, error) {
	if ref == "" {
		return nil, nil
	}
	named, err := names.Parse(ref)
	if err != nil {
		return nil, err
	}
	if _, digested := named.(reference.Digested); digested {
		return nil, core.Invalid("cannot commit to digest reference")
	}
	return []string{reference.TagNameOnly(named).String()}, nil
}

// baseOf reads the image that a container stands on. It may have lost its names; its content is kept for the container.
func (o *Organ) baseOf(ctx context.Context, request core.Commit) (*parsed, config.File, error) {
	id := digest.Digest(request.Image)
	if err := o.protect(ctx, id); err != nil {
		return nil, config.File{}, err
	}
	target, err := o.describe(ctx, id)
	if err != nil {
		return nil, config.File{}, err
	}
	base, err := o.read(ctx, target, request.Platform)
	if err != nil {
		return nil, config.File{}, err
	}
	var file config.File
	raw, err := content.ReadBlob(ctx, o.content, base.config)
	if err == nil {
		err = json.Unmarshal(raw, &file)
	}
	return base, file, err
}

// describe finds what a digest stands for, by a name that has it or else by what it says itself.
func (o *Organ) describe(ctx context.Context, id digest.Digest) (ocispec.Descriptor, error) {
	index, err := o.names.Index(ctx)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if named := index.ByTarget[id]; len(named) > 0 {
		return named[0].Target, nil
	}
	info, err := o.content.Info(ctx, id)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	raw, err := content.ReadBlob(ctx, o.content, ocispec.Descriptor{Digest: id, Size: info.Size})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var said struct{ MediaType string }
	err = json.Unmarshal(raw, &said)
	return ocispec.Descriptor{MediaType: cmp.Or(said.MediaType, ocispec.MediaTypeImageManifest), Digest: id, Size: info.Size}, err
}

// commitLayer stores what a container changed as a layer; nil: nothing.
func (t *Transfers) commitLayer(ctx context.Context, id core.ContainerID) (*ocispec.Descriptor, digest.Digest, error) {
	r, w := io.Pipe()
	var any bool
	var packed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		any, packed = t.o.layers.Pack(ctx, id, w)
		w.CloseWithError(packed)
	}()
	layer, diffID, err := t.importLayer(ctx, r)
	err = errors.Join(err, r.Close())
	<-done
	if packed != nil && !errors.Is(packed, io.ErrClosedPipe) {
		err = core.Internal("%w", packed) // it is the cause, and not the client's fault
	}
	if err != nil || !any {
		return nil, "", err
	}
	return &layer, diffID, nil
}
