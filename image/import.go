package image

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/archive"
	"github.com/berth-engine/berth/image/config"
	"github.com/berth-engine/berth/image/names"
)

// Import makes an image of one layer out of a root file system (tar, compressed or not) and tags it. The layer is
// kept as it came when it is gzip or zstd, which registries take; else it is packed with gzip.
func (t *Transfers) Import(ctx context.Context, r io.Reader, request core.ImportRequest) (_ core.ImageID, err error) {
	o := t.o
	ctx = o.context(ctx)
	var tags []string
	if request.Ref != "" {
		named, err := names.Parse(request.Ref)
		if err != nil {
			return "", err
		}
		if _, digested := named.(reference.Digested); digested {
			return "", core.Invalid("cannot import digest reference")
		}
		tags = []string{reference.TagNameOnly(named).String()}
	}
	now := time.Now().UTC()
	file := config.File{Created: &now, Comment: cmp.Or(request.Message, "Imported from -"), Platform: o.platform}
	if request.Platform != (core.Platform{}) {
		file.Platform = config.ToOCI(request.Platform)
	}
	if err := config.Apply(&file.Config, request.Changes); err != nil {
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
	layer, diffID, err := t.importLayer(leased, r)
	if err != nil {
		return "", archiveError(err)
	}
	file.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}}
	file.History = []ocispec.History{{Created: &now, Comment: file.Comment}}
	target, err := t.writeImage(leased, file, layer)
	if err != nil {
		return "", err
	}
	p, err := o.read(leased, target, core.Platform{})
	if err != nil {
		return "", err
	}
	if _, err := o.adopt(leased, p, tags, unpackWatch{}); err != nil {
		return "", archiveError(err)
	}
	id := target.Digest.String()
	for _, tag := range tags {
		o.event(leased, "tag", id, names.Familiar(tag), target)
	}
	o.event(leased, "import", id, id, target)
	return core.ImageID(target.Digest), nil
}

// writeImage writes configuration and manifest.
func (t *Transfers) writeImage(ctx context.Context, file config.File, layers ...ocispec.Descriptor) (ocispec.Descriptor, error) {
	described, err := t.o.archives.WriteJSON(ctx, file, ocispec.MediaTypeImageConfig)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return t.o.archives.WriteJSON(ctx, ocispec.Manifest{
		Versioned: ocispecs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: described, Layers: layers,
	}, ocispec.MediaTypeImageManifest)
}

// importLayer stores a stream as a layer and gives the digest of what is in it.
func (t *Transfers) importLayer(ctx context.Context, r io.Reader) (layer ocispec.Descriptor, diffID digest.Digest, err error) {
	ref := "import-" + rand.Text()
	writer, err := content.OpenWriter(ctx, t.o.content, content.WithRef(ref))
	if err != nil {
		return layer, "", err
	}
	defer writer.Close()
	layer.MediaType, diffID, err = archive.PackLayer(writer, r)
	if err != nil {
		if abort := t.o.content.Abort(context.WithoutCancel(ctx), ref); abort != nil && !errdefs.IsNotFound(abort) {
			t.o.log.Warn("a half-imported layer stays until the next collection", "error", abort)
		}
		return layer, "", err
	}
	status, err := writer.Status()
	if err != nil {
		return layer, "", err
	}
	layer.Digest, layer.Size = writer.Digest(), status.Offset
	if err := writer.Commit(ctx, layer.Size, layer.Digest); err != nil && !errdefs.IsAlreadyExists(err) {
		return layer, "", err
	}
	return layer, diffID, nil
}
