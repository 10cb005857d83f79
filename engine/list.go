package engine

import (
	"context"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/filter"
)

// List gives the containers that the options select, newest first.
func (cs *Containers) List(ctx context.Context, options core.ContainerListOptions) ([]core.ContainerView, error) {
	match, err := filter.Containers(ctx, options, cs.created, cs.ports.Images)
	if err != nil {
		return nil, err
	}
	var views []core.ContainerView
	for _, c := range cs.table.views() {
		if options.Limit > 0 && len(views) == options.Limit {
			break
		}
		if !match(c) {
			continue
		}
		view := core.ContainerView{Container: c, SizeRw: -1, SizeRoot: -1}
		view.ImageName, view.Image = cs.image(ctx, c)
		if options.Size {
			if view.SizeRw, view.SizeRoot, err = cs.ports.Layers.Usage(ctx, c.ID); err != nil {
				return nil, err
			}
		}
		views = append(views, view)
	}
	return views, nil
}

// image is what a container was made from. name is the reference as given as long as it names that, else the ID.
func (cs *Containers) image(ctx context.Context, c *core.Container) (name string, image core.Image) {
	image, err := cs.ports.Images.Lookup(ctx, c.Config.Image, core.Platform{})
	if err == nil && image.ID == c.ImageID {
		return c.Config.Image, image
	}
	if image, err = cs.ports.Images.Lookup(ctx, string(c.ImageID), core.Platform{}); err != nil {
		image = core.Image{} // its content is gone; the container stands on unpacked layers
	}
	return string(c.ImageID), image
}

// created is when the container that a reference names was made.
func (cs *Containers) created(ref string) (time.Time, error) {
	b, err := cs.table.find(ref)
	if err != nil {
		return time.Time{}, err
	}
	return b.View().Created, nil
}
