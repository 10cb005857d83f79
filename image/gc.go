package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/berth-engine/berth/image/layers"
)

const pinPrefix = "berth-layers-on-"

// collector removes content and unpacked layers that nothing refers to: no name, no lease, no container. Before it
// does, every chain of layers that a container stands on gets a lease. That is the only moment at which it needs
// one, so making and removing containers costs no transaction.
type collector struct {
	o    *Organ
	wake chan struct{}
}

func newCollector(o *Organ) *collector {
	return &collector{o: o, wake: make(chan struct{}, 1)}
}

// soon asks for a collection in the background.
func (c *collector) soon() {
	select {
	case c.wake <- struct{}{}:
	default: // one is already asked for, and will see what we left
	}
}

func (c *collector) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		if err := c.collect(ctx); err != nil && ctx.Err() == nil {
			c.o.log.Warn("garbage collection of images failed", "error", err)
		}
	}
}

// collect collects now.
func (c *collector) collect(ctx context.Context) error {
	ctx = c.o.context(ctx)
	return c.o.layers.Collect(func(used []layers.Use) error {
		if err := c.pin(ctx, used); err != nil {
			return fmt.Errorf("protect images in use: %w", err)
		}
		if _, err := c.o.db.GarbageCollect(ctx); err != nil {
			return err
		}
		c.o.forgetParsed()
		return c.sweepLinks()
	})
}

// released asks for a collection when the image that a container left behind has no name any more.
func (c *collector) released(image digest.Digest) {
	index, err := c.o.names.Index(c.o.context(context.Background()))
	if err != nil || len(index.ByTarget[image]) == 0 {
		c.soon()
	}
}

// pin makes the leases on chains in use complete and drops those that are not needed any more.
func (c *collector) pin(ctx context.Context, used []layers.Use) error {
	existing, err := c.o.leases.List(ctx, `id~="^`+pinPrefix+`"`)
	if err != nil {
		return err
	}
	have := map[string]leases.Lease{}
	for _, lease := range existing {
		have[lease.ID] = lease
	}
	for _, use := range used {
		id := pinPrefix + strings.ReplaceAll(use.Image.String()+"-"+use.Chain.String(), ":", ".")
		if _, ok := have[id]; ok {
			delete(have, id)
			continue
		}
		if err := c.pinOne(ctx, id, use); err != nil {
			return err
		}
	}
	for _, lease := range have {
		if err := c.o.leases.Delete(ctx, lease); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func (c *collector) pinOne(ctx context.Context, id string, use layers.Use) error {
	lease, err := c.o.leases.Create(ctx, leases.WithID(id))
	if err != nil {
		return err
	}
	resources := []leases.Resource{{ID: use.Image.String(), Type: "content"}}
	if use.Chain != layers.EmptyChain {
		resources = append(resources, leases.Resource{ID: use.Chain.String(), Type: "snapshots/" + SnapshotterName})
	}
	for _, resource := range resources {
		if err := c.o.leases.AddResource(ctx, lease, resource); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// sweepLinks removes short links whose layer is gone.
func (c *collector) sweepLinks() error {
	dir := filepath.Join(c.o.options.Root, "l")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if _, err := os.Stat(path); os.IsNotExist(err) {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}
