package image

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
)

// Import makes an image of one layer out of a root file system (tar, compressed or not) and tags it. The layer is
// kept as it came when it is gzip or zstd, which registries take; else it is packed with gzip.
func (t *Transfers) Import(ctx context.Context, r io.Reader, request core.ImportRequest) (_ core.ImageID, err error) {
	o := t.o
	ctx = o.context(ctx)
	var names []string
	if request.Ref != "" {
		named, err := parse(request.Ref)
		if err != nil {
			return "", err
		}
		if _, digested := named.(reference.Digested); digested {
			return "", core.Invalid("cannot import digest reference")
		}
		names = []string{reference.TagNameOnly(named).String()}
	}
	now := time.Now().UTC()
	config := configFile{Created: &now, Comment: firstNonEmpty(request.Message, "Imported from -"), Platform: o.platform}
	if request.Platform != (core.Platform{}) {
		config.Platform = toOCI(request.Platform)
	}
	if err := applyChanges(&config.Config, request.Changes); err != nil {
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
	layer, diffID, err := o.importLayer(leased, r)
	if err != nil {
		return "", archiveError(err)
	}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}}
	config.History = []ocispec.History{{Created: &now, Comment: config.Comment}}
	target, err := o.writeImage(leased, config, layer)
	if err != nil {
		return "", err
	}
	p, err := o.read(leased, target, core.Platform{})
	if err != nil {
		return "", err
	}
	if _, err := o.adopt(leased, p, names, unpackWatch{}); err != nil {
		return "", archiveError(err)
	}
	o.event("import", target.Digest.String(), firstNonEmpty(request.Ref, target.Digest.String()))
	return core.ImageID(target.Digest), nil
}

// writeImage writes configuration and manifest.
func (o *Organ) writeImage(ctx context.Context, config configFile, layers ...ocispec.Descriptor) (ocispec.Descriptor, error) {
	described, err := o.writeJSON(ctx, config, ocispec.MediaTypeImageConfig)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return o.writeJSON(ctx, ocispec.Manifest{
		Versioned: ocispecs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: described, Layers: layers,
	}, ocispec.MediaTypeImageManifest)
}

// importLayer stores a stream as a layer and gives the digest of what is in it.
func (o *Organ) importLayer(ctx context.Context, r io.Reader) (layer ocispec.Descriptor, diffID digest.Digest, err error) {
	ref := "import-" + randomID()
	writer, err := content.OpenWriter(ctx, o.content, content.WithRef(ref))
	if err != nil {
		return layer, "", err
	}
	defer writer.Close()
	layer.MediaType, diffID, err = packLayer(writer, r)
	if err != nil {
		if abort := o.content.Abort(context.WithoutCancel(ctx), ref); abort != nil && !errdefs.IsNotFound(abort) {
			o.log.Warn("a half-imported layer stays until the next collection", "error", abort)
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

// packLayer copies a layer in a form that registries take.
func packLayer(w io.Writer, r io.Reader) (mediaType string, diffID digest.Digest, err error) {
	buffered, format, err := sniff(r)
	if err != nil {
		return "", "", err
	}
	digester := digest.Canonical.Digester()
	switch format {
	case gzipped:
		mediaType, err = ocispec.MediaTypeImageLayerGzip, keep(w, digester.Hash(), buffered, format)
	case zstandard:
		mediaType, err = ocispec.MediaTypeImageLayerZstd, keep(w, digester.Hash(), buffered, format)
	default:
		mediaType, err = ocispec.MediaTypeImageLayerGzip, repack(w, digester.Hash(), buffered, format)
	}
	if err != nil {
		return "", "", core.Invalid("the root file system can't be read: %w", err)
	}
	return mediaType, digester.Digest(), nil
}

// keep copies compressed data as it is, and what is in it into the hash.
func keep(w, hash io.Writer, r io.Reader, format compression) error {
	raw := io.TeeReader(r, w)
	unpacked, err := open(raw, format)
	if err != nil {
		return err
	}
	defer unpacked.Close()
	if _, err := io.Copy(hash, unpacked); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, raw) // what is behind the end of the compressed data belongs to the blob, too
	return err
}

// repack copies data packed with gzip, and what is in it into the hash.
func repack(w, hash io.Writer, r io.Reader, format compression) error {
	unpacked, err := open(r, format)
	if err != nil {
		return err
	}
	defer unpacked.Close()
	return compress(w, io.TeeReader(unpacked, hash))
}

func compress(w io.Writer, r io.Reader) error {
	packer, err := pgzip.NewWriterLevel(w, pgzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := packer.SetConcurrency(1<<20, max(2, runtime.GOMAXPROCS(0))); err != nil {
		return err
	}
	if _, err := io.Copy(packer, r); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return packer.Close()
}
