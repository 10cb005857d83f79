package image

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/config"
	"github.com/berth-engine/berth/image/layers"
	"github.com/berth-engine/berth/image/names"
)

// parsed is an image for one platform, read from its manifest and configuration. It is never changed.
type parsed struct {
	target   ocispec.Descriptor // what names point to: the manifest itself, or an index that has it
	manifest ocispec.Descriptor
	config   ocispec.Descriptor
	layers   []ocispec.Descriptor
	diffIDs  []digest.Digest
	image    core.Image // without names
}

func (p *parsed) chain() digest.Digest { return layers.ChainID(p.diffIDs) }

// parsedCache keeps parsed images by target and platform. What a target holds for a platform can change (another
// platform of an index arrives), so the whole cache is dropped when content comes or goes.
type parsedCache struct{ entries sync.Map }

type parsedKey struct {
	target   digest.Digest
	platform core.Platform
}

func (o *Organ) forgetParsed() { o.parsed.Store(&parsedCache{}) }

// load reads an image, from memory when it can. A zero platform means: the best of those that are here.
func (o *Organ) load(ctx context.Context, target ocispec.Descriptor, platform core.Platform) (*parsed, error) {
	cache := o.parsed.Load()
	key := parsedKey{target.Digest, platform}
	if hit, ok := cache.entries.Load(key); ok {
		return hit.(*parsed), nil
	}
	p, err := o.read(ctx, target, platform)
	if err != nil {
		return nil, err
	}
	size, err := o.layers.ChainSize(ctx, p.chain())
	if err != nil {
		if !errdefs.IsNotFound(err) {
			return nil, err
		}
		return p, nil // not unpacked yet: its size is not known, so it is not kept in memory
	}
	p.image.Size += size
	cache.entries.Store(key, p)
	return p, nil
}

func (o *Organ) read(ctx context.Context, target ocispec.Descriptor, platform core.Platform) (*parsed, error) {
	candidates := []ocispec.Descriptor{target}
	if images.IsIndexType(target.MediaType) {
		var err error
		if candidates, err = o.candidates(ctx, target, platform); err != nil {
			return nil, err
		}
	}
	missing := core.NotFound("image %s has no content for platform %s here", target.Digest, o.wanted(platform))
	for _, manifest := range candidates {
		p, err := o.readManifest(ctx, target, manifest)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if platform != (core.Platform{}) && !matcher(platform).Match(config.ToOCI(p.image.Platform)) {
			missing = core.NotFound("image with reference %s was found but its platform (%s) does not match the specified platform (%s)", target.Digest, p.image.Platform, platform)
			continue
		}
		return p, nil
	}
	return nil, missing
}

// candidates lists the manifests of an index that may serve, the best first.
func (o *Organ) candidates(ctx context.Context, index ocispec.Descriptor, platform core.Platform) ([]ocispec.Descriptor, error) {
	all, err := o.manifests(ctx, index)
	if err != nil {
		return nil, err
	}
	best := platforms.Only(o.platform)
	if platform != (core.Platform{}) {
		best = matcher(platform)
		all = slices.DeleteFunc(all, func(d ocispec.Descriptor) bool { return d.Platform != nil && !best.Match(*d.Platform) })
	}
	slices.SortStableFunc(all, func(a, b ocispec.Descriptor) int { return comparePlatforms(best, a.Platform, b.Platform) })
	return all, nil
}

func comparePlatforms(best platforms.MatchComparer, a, b *ocispec.Platform) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	case best.Less(*a, *b):
		return -1
	case best.Less(*b, *a):
		return 1
	}
	return 0
}

// manifests lists the images in an index, those of nested ones too, without attestations.
func (o *Organ) manifests(ctx context.Context, index ocispec.Descriptor) (found []ocispec.Descriptor, err error) {
	err = images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		switch {
		case isAttestation(desc):
		case images.IsManifestType(desc.MediaType):
			found = append(found, desc)
		case images.IsIndexType(desc.MediaType):
			children, err := images.Children(ctx, o.content, desc)
			if errdefs.IsNotFound(err) && desc.Digest != index.Digest {
				return nil, nil
			}
			return children, err
		}
		return nil, nil
	}), index)
	return found, err
}

func isAttestation(desc ocispec.Descriptor) bool {
	return desc.Annotations["vnd.docker.reference.type"] == "attestation-manifest"
}

// manifestLimit bounds manifests and configurations that are read into memory, in bytes.
const manifestLimit = 16 << 20

func (o *Organ) readJSON(ctx context.Context, desc ocispec.Descriptor, into any) ([]byte, error) {
	if desc.Size > manifestLimit {
		return nil, core.Invalid("%s %s is too large: %d bytes", desc.MediaType, desc.Digest, desc.Size)
	}
	raw, err := content.ReadBlob(ctx, o.content, desc)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return nil, core.Invalid("%s %s is not valid: %w", desc.MediaType, desc.Digest, err)
	}
	return raw, nil
}

func (o *Organ) readManifest(ctx context.Context, target, desc ocispec.Descriptor) (*parsed, error) {
	var manifest ocispec.Manifest
	if _, err := o.readJSON(ctx, desc, &manifest); err != nil {
		return nil, err
	}
	if manifest.Config.Digest == "" {
		return nil, core.Invalid("manifest %s names no configuration", desc.Digest)
	}
	var file config.File
	raw, err := o.readJSON(ctx, manifest.Config, &file)
	if err != nil {
		return nil, err
	}
	if len(file.RootFS.DiffIDs) != len(manifest.Layers) {
		return nil, core.Invalid("image %s is not valid: its manifest has %d layers, its configuration %d", desc.Digest, len(manifest.Layers), len(file.RootFS.DiffIDs))
	}
	for _, id := range file.RootFS.DiffIDs {
		if err := id.Validate(); err != nil {
			return nil, core.Invalid("image %s is not valid: layer %q: %w", desc.Digest, id, err)
		}
	}
	p := &parsed{target: target, manifest: desc, config: manifest.Config, layers: manifest.Layers, diffIDs: file.RootFS.DiffIDs}
	p.image = file.Image(target)
	p.image.RawConfig = raw
	p.image.ConfigDigest = manifest.Config.Digest.String()
	p.image.Size = desc.Size + manifest.Config.Size
	for _, layer := range manifest.Layers {
		p.image.Size += layer.Size
	}
	p.image.Manifest, p.image.Stored = desc.Digest.String(), p.image.Size
	p.image.ManifestType, p.image.ManifestSize = desc.MediaType, desc.Size
	return p, nil
}

// matcher accepts exactly the platform that the user named, and its older variants.
func matcher(p core.Platform) platforms.MatchComparer {
	return platforms.Only(platforms.Normalize(config.ToOCI(p)))
}

func (o *Organ) wanted(p core.Platform) string {
	if p == (core.Platform{}) {
		return platforms.Format(o.platform)
	}
	return p.String()
}

// named completes a parsed image with its names. The copy shares nothing that its receiver could change by accident.
func (p *parsed) named(all []images.Image) core.Image {
	image := p.image
	image.RepoTags, image.RepoDigests = names.RepoTags(all), names.RepoDigests(all)
	for _, name := range all {
		if name.UpdatedAt.After(image.LastTagged) && !names.IsDangling(name.Name) {
			image.LastTagged = name.UpdatedAt
		}
	}
	image.Labels = maps.Clone(image.Labels)
	c := &image.Config
	c.Labels, c.Volumes = maps.Clone(c.Labels), maps.Clone(c.Volumes)
	c.Env, c.Cmd, c.Entrypoint = slices.Clip(c.Env), slices.Clip(c.Cmd), slices.Clip(c.Entrypoint)
	c.ExposedPorts, c.OnBuild, c.Shell = slices.Clip(c.ExposedPorts), slices.Clip(c.OnBuild), slices.Clip(c.Shell)
	return image
}

// notHere says that a reference names nothing, in Docker's words.
func notHere(ref string) error {
	if ref == "" {
		return core.Invalid("invalid reference format")
	}
	return core.NoSuchImage(withTag(ref))
}

// withTag adds ":latest" as Docker's sentence does.
func withTag(ref string) string {
	named, err := names.Parse(ref)
	if err != nil {
		return ref
	}
	if strings.HasPrefix(ref, "sha256:") {
		return ref
	}
	return fmt.Sprint(familiarTagged(named))
}
