package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/image/names"
)

// hookedStore is the table of names for BuildKit: containerd's interface, our bookkeeping.
type hookedStore struct{ o *Organ }

// Get finds an image by its full name.
func (h hookedStore) Get(ctx context.Context, name string) (images.Image, error) {
	return h.o.names.Containerd().Get(namespaces.WithNamespace(ctx, Namespace), name)
}

// List lists images by containerd's filters.
func (h hookedStore) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	return h.o.names.Containerd().List(namespaces.WithNamespace(ctx, Namespace), filters...)
}

// Create names a new image.
func (h hookedStore) Create(ctx context.Context, image images.Image) (images.Image, error) {
	ctx = h.o.context(ctx)
	index, err := h.o.names.Index(ctx)
	if err != nil {
		return images.Image{}, err
	}
	if _, exists := index.ByName[image.Name]; exists {
		return images.Image{}, fmt.Errorf("image %q: %w", image.Name, errdefs.ErrAlreadyExists)
	}
	return h.set(ctx, image)
}

// Update points a name elsewhere.
func (h hookedStore) Update(ctx context.Context, image images.Image, fields ...string) (images.Image, error) {
	ctx = h.o.context(ctx)
	index, err := h.o.names.Index(ctx)
	if err != nil {
		return images.Image{}, err
	}
	old, exists := index.ByName[image.Name]
	if !exists {
		return images.Image{}, fmt.Errorf("image %q: %w", image.Name, errdefs.ErrNotFound)
	}
	if len(fields) > 0 && !slices.ContainsFunc(fields, func(field string) bool { return strings.HasPrefix(field, "target") }) {
		image.Target = old.Target
	}
	return h.set(ctx, image)
}

func (h hookedStore) set(ctx context.Context, image images.Image) (images.Image, error) {
	stored, _, err := h.o.names.Set(ctx, image)
	if err != nil {
		return images.Image{}, err
	}
	h.o.forgetParsed()
	id := string(image.Target.Digest)
	h.o.event(ctx, "create", id, id, image.Target)
	if !names.IsDangling(image.Name) {
		h.o.event(ctx, "tag", id, names.Familiar(image.Name), image.Target)
	}
	return stored, nil
}

// Delete takes a name away; without other names the image is garbage.
func (h hookedStore) Delete(ctx context.Context, name string, _ ...images.DeleteOpt) error {
	return h.o.names.Remove(h.o.context(ctx), []string{name}, false)
}
