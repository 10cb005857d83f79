package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
)

// Load reads images from a tar: what docker save writes, old or new, or an OCI layout; compressed or not. The stream
// is read once: what may be a blob goes into the content store as it comes, and at the end the archive's own tables
// say what it was. Names are given last, so that a bad archive leaves nothing.
func (t *Transfers) Load(ctx context.Context, r io.Reader, platform core.Platform, quiet bool, progress core.ProgressFunc) (err error) {
	o := t.o
	ctx = o.context(ctx)
	report := newReporter(progress)
	leased, done, err := o.lease(ctx)
	if err != nil {
		return err
	}
	defer func() {
		done()
		if err != nil {
			o.gc.soon()
		}
	}()
	plainTar, err := decompress(r)
	if err != nil {
		return err
	}
	defer plainTar.Close()
	archive, err := o.readArchive(leased, plainTar)
	if err != nil {
		return archiveError(err)
	}
	entries, err := o.entries(leased, archive)
	if err != nil {
		return archiveError(err)
	}
	if len(entries) == 0 {
		return core.Invalid("the archive holds no image")
	}
	for _, entry := range entries {
		if err := o.loadEntry(leased, entry, platform, quiet, report); err != nil {
			return archiveError(err)
		}
	}
	return nil
}

// archiveError gives a class to what is wrong with an archive.
func archiveError(err error) error {
	if errors.Is(err, context.Canceled) || isOurs(err) {
		return err
	}
	if errdefs.IsNotFound(err) || errors.Is(err, io.ErrUnexpectedEOF) {
		return core.Invalid("the archive is damaged or incomplete: %w", err)
	}
	return err
}

// entry is an image in an archive with its names.
type entry struct {
	target ocispec.Descriptor
	names  []string
}

// entries reads the archive's tables: OCI's index when there is one, else Docker's manifest.json.
func (o *Organ) entries(ctx context.Context, a *archive) ([]entry, error) {
	if a.isLayout {
		return o.layoutEntries(a)
	}
	if a.manifests == nil {
		return nil, core.Invalid("unrecognized image format: the archive has neither manifest.json nor index.json")
	}
	var list []entry
	for _, described := range a.manifests {
		e, err := o.dockerEntry(ctx, a, described)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func (o *Organ) layoutEntries(a *archive) (list []entry, err error) {
	byDigest := map[digest.Digest]int{}
	for _, target := range a.index.Manifests {
		if err := target.Digest.Validate(); err != nil {
			return nil, core.Invalid("index.json names an invalid digest %q: %w", target.Digest, err)
		}
		if isAttestation(target) || !images.IsIndexType(target.MediaType) && !images.IsManifestType(target.MediaType) {
			continue
		}
		at, again := byDigest[target.Digest]
		if !again {
			at = len(list)
			byDigest[target.Digest] = at
			list = append(list, entry{target: target})
		}
		name, err := layoutName(target.Annotations)
		if err != nil {
			return nil, err
		}
		if name != "" {
			list[at].names = append(list[at].names, name)
		}
	}
	return list, nil
}

// layoutName is the name that an OCI layout gives an image. A bare tag, as some tools write it, is no name.
func layoutName(annotations map[string]string) (string, error) {
	if name := annotations[images.AnnotationImageName]; name != "" {
		return archiveName(name)
	}
	if name := annotations[ocispec.AnnotationRefName]; strings.ContainsAny(name, ":/") {
		return archiveName(name)
	}
	return "", nil
}

func archiveName(name string) (string, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", core.Invalid("the archive has an image with an invalid name %q: %w", name, err)
	}
	return reference.TagNameOnly(named).String(), nil
}

// dockerEntry makes a manifest of what manifest.json says of an image.
func (o *Organ) dockerEntry(ctx context.Context, a *archive, described dockerManifest) (entry, error) {
	config, err := a.blob(described.Config)
	if err != nil {
		return entry{}, err
	}
	config.MediaType = images.MediaTypeDockerSchema2Config
	manifest := struct {
		ocispecs.Versioned
		MediaType string               `json:"mediaType"`
		Config    ocispec.Descriptor   `json:"config"`
		Layers    []ocispec.Descriptor `json:"layers"`
	}{Versioned: ocispecs.Versioned{SchemaVersion: 2}, MediaType: images.MediaTypeDockerSchema2Manifest, Config: config, Layers: []ocispec.Descriptor{}}
	for _, name := range described.Layers {
		layer, err := a.blob(name)
		if err != nil {
			return entry{}, err
		}
		if layer.MediaType, err = o.layerType(ctx, layer); err != nil {
			return entry{}, err
		}
		manifest.Layers = append(manifest.Layers, layer)
	}
	target, err := o.writeJSON(ctx, manifest, manifest.MediaType)
	if err != nil {
		return entry{}, err
	}
	e := entry{target: target}
	for _, tag := range described.RepoTags {
		name, err := archiveName(tag)
		if err != nil {
			return entry{}, err
		}
		e.names = append(e.names, name)
	}
	return e, nil
}

// layerType looks at the first bytes of a layer.
func (o *Organ) layerType(ctx context.Context, layer ocispec.Descriptor) (string, error) {
	reader, err := o.content.ReaderAt(ctx, layer)
	if err != nil {
		return "", err
	}
	defer reader.Close()
	head := make([]byte, 6)
	n, err := reader.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	switch formatOf(head[:n]) {
	case gzipped:
		return images.MediaTypeDockerSchema2LayerGzip, nil
	case zstandard:
		return ocispec.MediaTypeImageLayerZstd, nil
	case xzed, bzipped:
		return "", core.Invalid("layer %s is compressed in a way that images do not use", layer.Digest)
	}
	return images.MediaTypeDockerSchema2Layer, nil
}

// writeJSON puts a document into the content store.
func (o *Organ) writeJSON(ctx context.Context, document any, mediaType string) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(document)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := content.WriteBlob(ctx, o.content, "write-"+desc.Digest.String(), bytes.NewReader(raw), desc); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write %s: %w", mediaType, err)
	}
	return desc, nil
}

// loadEntry checks, unpacks and names one image.
func (o *Organ) loadEntry(ctx context.Context, e entry, platform core.Platform, quiet bool, report *reporter) error {
	p, err := o.read(ctx, e.target, platform)
	if err != nil {
		return err
	}
	gone, err := o.missing(ctx, p)
	if err != nil {
		return err
	}
	if gone != "" {
		return core.Invalid("the archive is incomplete: content %s of image %s is missing, or does not have that digest", gone, e.target.Digest)
	}
	watch := unpackWatch{}
	if !quiet {
		watch.progress = func(layer int, current int64) {
			report.count(short(p.diffIDs[layer]), "Loading layer", current, p.layers[layer].Size)
		}
	}
	replaced, err := o.adopt(ctx, p, e.names, watch)
	if err != nil {
		return err
	}
	for _, name := range e.names {
		if before, existed := replaced[name]; existed && before != e.target.Digest {
			report.emit(core.Progress{Stream: fmt.Sprintf("The image %s already exists, renaming the old one with ID %s to empty string\n", familiar(name), before)})
		}
		report.emit(core.Progress{Stream: "Loaded image: " + familiar(name) + "\n"})
		o.event("load", e.target.Digest.String(), familiar(name))
	}
	if len(e.names) == 0 {
		report.emit(core.Progress{Stream: "Loaded image ID: " + e.target.Digest.String() + "\n"})
		o.event("load", e.target.Digest.String(), e.target.Digest.String())
	}
	return nil
}
