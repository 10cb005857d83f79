package image

import (
	"context"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/containerd/containerd/v2/core/images"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/names"
)

// Images finds, lists and deletes images: what the engine needs to know of them.
type Images struct{ o *Organ }

// Images is the engine's view of the organ.
func (o *Organ) Images() *Images { return &Images{o} }

// Lookup finds a local image by reference, digest, ID or unambiguous prefix of an ID. A zero platform means the best
// one for this host.
func (i *Images) Lookup(ctx context.Context, ref string, platform core.Platform) (core.Image, error) {
	ctx = i.o.context(ctx)
	found, err := i.o.resolve(ctx, ref)
	if err != nil {
		return core.Image{}, err
	}
	p, err := i.o.load(ctx, found.names[0].Target, platform)
	if err != nil {
		return core.Image{}, err
	}
	return p.named(found.names), nil
}

// resolved is what a reference names.
type resolved struct {
	names []images.Image // all names of the target; at least one, maybe the private one
	// name is the full name that was asked for; empty when the reference was an ID.
	name string
}

func (r resolved) target() digest.Digest { return r.names[0].Target.Digest }

// resolve finds what a reference means: a name with tag or digest, a repository and the digest of a local image, or
// an ID, whole or in part. An ID may also be the digest of the configuration.
func (o *Organ) resolve(ctx context.Context, ref string) (resolved, error) {
	index, err := o.names.Index(ctx)
	if err != nil {
		return resolved{}, err
	}
	if found, ok := byReference(index, ref); ok {
		return found, nil
	}
	matches := o.byID(ctx, index, ref)
	switch len(matches) {
	case 0:
		return resolved{}, notHere(ref)
	case 1:
		return resolved{names: index.ByTarget[matches[0]]}, nil
	}
	return resolved{}, core.Invalid("ambiguous reference: %s matches several images", ref)
}

// byReference finds a name. A name of twelve to sixty-four hexadecimal digits is a name only when it is in the table.
func byReference(i *names.Index, ref string) (resolved, bool) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return resolved{}, false
	}
	digested, isDigested := named.(reference.Digested)
	if !isDigested {
		named = reference.TagNameOnly(named)
	} else if _, tagged := named.(reference.Tagged); tagged { // name:tag@digest: the digest decides
		named, err = reference.WithDigest(reference.TrimNamed(named), digested.Digest())
		if err != nil {
			return resolved{}, false
		}
	}
	if image, ok := i.ByName[named.String()]; ok {
		return resolved{names: i.ByTarget[image.Target.Digest], name: image.Name}, true
	}
	if !isDigested {
		return resolved{}, false
	}
	all := i.ByTarget[digested.Digest()]
	for _, image := range all {
		if other, err := reference.ParseNormalizedNamed(image.Name); err == nil && other.Name() == named.Name() {
			return resolved{names: all, name: named.String()}, true
		}
	}
	return resolved{}, false
}

// byID finds targets by their digest, or by that of their configuration, or by a prefix of either.
func (o *Organ) byID(ctx context.Context, index *names.Index, ref string) (matches []digest.Digest) {
	prefix, hasAlgorithm := strings.CutPrefix(ref, "sha256:")
	if prefix == "" || len(prefix) > 64 || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil
	}
	if hasAlgorithm {
		if _, ok := index.ByTarget[digest.Digest(ref)]; ok {
			return []digest.Digest{digest.Digest(ref)}
		}
	}
	for _, target := range index.Targets {
		if strings.HasPrefix(target.Encoded(), prefix) {
			matches = append(matches, target)
		}
	}
	if len(matches) > 0 {
		return matches
	}
	for _, target := range index.Targets {
		p, err := o.load(ctx, index.ByTarget[target][0].Target, core.Platform{})
		if err != nil {
			continue // an image that can't be read is not the one that is meant
		}
		if strings.HasPrefix(p.config.Digest.Encoded(), prefix) || strings.HasPrefix(p.manifest.Digest.Encoded(), prefix) {
			matches = append(matches, target)
		}
	}
	return matches
}

// List lists all images, the newest first. One that can't be read is left out and told to the log.
func (i *Images) List(ctx context.Context) ([]core.Image, error) {
	ctx = i.o.context(ctx)
	index, err := i.o.names.Index(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]core.Image, 0, len(index.Targets))
	for _, target := range index.Targets {
		all := index.ByTarget[target]
		p, err := i.o.load(ctx, all[0].Target, core.Platform{})
		if err != nil {
			if !errdefs.IsNotFound(err) {
				i.o.log.Warn("an image can't be read", "image", all[0].Name, "error", err)
			}
			continue
		}
		list = append(list, p.named(all))
	}
	slices.SortStableFunc(list, func(a, b core.Image) int { return b.Created.Compare(a.Created) })
	return list, nil
}

func familiarTagged(named reference.Named) string {
	return reference.FamiliarString(reference.TagNameOnly(named))
}
