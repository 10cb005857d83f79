package filter

import (
	"context"
	"slices"

	"github.com/berth-engine/berth/core"
)

// Images finds images: a container also has the images as ancestors that its own was built on.
type Images interface {
	Lookup(ctx context.Context, ref string, platform core.Platform) (core.Image, error)
}

// descends reports whether an image was built on another: it has the other's layers, and has more of them or more steps.
func descends(image, ancestor core.Image) bool {
	n := len(ancestor.DiffIDs)
	if image.ID == ancestor.ID {
		return true
	}
	if n == 0 || len(image.DiffIDs) < n || !slices.Equal(image.DiffIDs[:n], ancestor.DiffIDs) {
		return false
	}
	return len(image.DiffIDs) > n || len(image.History) > len(ancestor.History)
}

// ancestors makes the condition of the filter ancestor. An image that is not there is nobody's.
func ancestors(ctx context.Context, refs []string, images Images) func(*core.Container) bool {
	var wanted []core.Image
	for _, ref := range refs {
		if image, err := images.Lookup(ctx, ref, core.Platform{}); err == nil {
			wanted = append(wanted, image)
		}
	}
	return func(c *core.Container) bool {
		own, err := images.Lookup(ctx, string(c.ImageID), core.Platform{})
		return err == nil && slices.ContainsFunc(wanted, func(ancestor core.Image) bool { return descends(own, ancestor) })
	}
}
