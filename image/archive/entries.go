package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
)

// Store is where the content of archives goes. Its methods need a context with a lease.
type Store struct {
	Content content.Store
	// Protect takes content that is there already into the lease.
	Protect func(ctx context.Context, content digest.Digest) error
}

// Read takes a tar apart and says which images are in it. The stream is read to its end.
func (o *Store) Read(ctx context.Context, r io.Reader) ([]Entry, error) {
	unpacked, err := Decompress(r)
	if err != nil {
		return nil, err
	}
	defer unpacked.Close()
	found, err := o.readArchive(ctx, unpacked)
	if err != nil {
		return nil, err
	}
	list, err := o.entries(ctx, found)
	if err == nil && len(list) == 0 {
		err = core.Invalid("the archive holds no image")
	}
	return list, err
}

// Entry is an image in an archive with its Names.
type Entry struct {
	Target ocispec.Descriptor
	Names  []string // full, with tags
}

// entries reads the archive's tables: OCI's index when there is one, else Docker's manifest.json.
func (o *Store) entries(ctx context.Context, a *archive) ([]Entry, error) {
	if a.isLayout {
		return o.layoutEntries(a)
	}
	if a.manifests == nil {
		return nil, core.Invalid("unrecognized image format: the archive has neither manifest.json nor index.json")
	}
	var list []Entry
	for _, described := range a.manifests {
		e, err := o.dockerEntry(ctx, a, described)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func (o *Store) layoutEntries(a *archive) (list []Entry, err error) {
	byDigest := map[digest.Digest]int{}
	for _, target := range a.index.Manifests {
		if err := target.Digest.Validate(); err != nil {
			return nil, core.Invalid("index.json Names an invalid digest %q: %w", target.Digest, err)
		}
		if target.Annotations["vnd.docker.reference.type"] == "attestation-manifest" || !images.IsIndexType(target.MediaType) && !images.IsManifestType(target.MediaType) {
			continue
		}
		at, again := byDigest[target.Digest]
		if !again {
			at = len(list)
			byDigest[target.Digest] = at
			list = append(list, Entry{Target: target})
		}
		name, err := layoutName(target.Annotations)
		if err != nil {
			return nil, err
		}
		if name != "" {
			list[at].Names = append(list[at].Names, name)
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
func (o *Store) dockerEntry(ctx context.Context, a *archive, described dockerManifest) (Entry, error) {
	config, err := a.blob(described.Config)
	if err != nil {
		return Entry{}, err
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
			return Entry{}, err
		}
		if layer.MediaType, err = o.layerType(ctx, layer); err != nil {
			return Entry{}, err
		}
		manifest.Layers = append(manifest.Layers, layer)
	}
	target, err := o.WriteJSON(ctx, manifest, manifest.MediaType)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Target: target}
	for _, tag := range described.RepoTags {
		name, err := archiveName(tag)
		if err != nil {
			return Entry{}, err
		}
		e.Names = append(e.Names, name)
	}
	return e, nil
}

// layerType looks at the first bytes of a layer.
func (o *Store) layerType(ctx context.Context, layer ocispec.Descriptor) (string, error) {
	reader, err := o.Content.ReaderAt(ctx, layer)
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

// WriteJSON puts a document into the content store.
func (o *Store) WriteJSON(ctx context.Context, document any, mediaType string) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(document)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if err := content.WriteBlob(ctx, o.Content, "write-"+desc.Digest.String(), bytes.NewReader(raw), desc); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write %s: %w", mediaType, err)
	}
	return desc, nil
}
