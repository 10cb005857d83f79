package image

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
)

// unpackWatch is told how the unpacking of a manifest's layers goes. Any of its parts may be nil.
type unpackWatch struct {
	ready    func(ctx context.Context, layer int) error // waits until the layer's blob is here
	progress func(layer int, current int64)             // bytes of the blob that were read
	done     func(layer int, existed bool)
}

// unpackTarget unpacks what an image has for a platform.
func (o *Organ) unpackTarget(ctx context.Context, target digest.Digest, platform core.Platform) error {
	index, err := o.names.Index(ctx)
	if err != nil {
		return err
	}
	names := index.ByTarget[target]
	if len(names) == 0 {
		return core.NoSuchImage(target.String())
	}
	p, err := o.read(ctx, names[0].Target, platform)
	if err != nil {
		return err
	}
	leased, done, err := o.lease(ctx)
	if err != nil {
		return err
	}
	defer done()
	return o.unpack(leased, p, unpackWatch{})
}

// unpack makes a snapshot of each layer of a manifest, from the lowest up, and ties the chain to the configuration,
// so that it lives as long as the image. Content is checked against the digests that the configuration names. Layers
// that are unpacked already are skipped. The caller holds a lease.
func (o *Organ) unpack(ctx context.Context, p *parsed, watch unpackWatch) error {
	chains := make([]digest.Digest, len(p.diffIDs))
	copy(chains, p.diffIDs)
	chains = identity.ChainIDs(chains)
	for i := range p.layers {
		if watch.ready != nil {
			if err := watch.ready(ctx, i); err != nil {
				return err
			}
		}
		existed, err := o.unpackLayer(ctx, p, chains, i, watch)
		if err != nil {
			return err
		}
		if watch.done != nil {
			watch.done(i, existed)
		}
	}
	if len(chains) == 0 {
		return nil
	}
	label := "containerd.io/gc.ref.snapshot." + SnapshotterName
	_, err := o.content.Update(ctx, content.Info{
		Digest: p.config.Digest, Labels: map[string]string{label: chains[len(chains)-1].String()},
	}, "labels."+label)
	if err != nil {
		return fmt.Errorf("tie unpacked layers to image %s: %w", p.target.Digest, err)
	}
	return nil
}

// unpackLayer makes the snapshot of one layer and reports whether it was there already.
func (o *Organ) unpackLayer(ctx context.Context, p *parsed, chains []digest.Digest, i int, watch unpackWatch) (existed bool, err error) {
	chain, parent := chains[i].String(), ""
	if i > 0 {
		parent = chains[i-1].String()
	}
	key := "unpack-" + rand.Text() + " " + chain
	described := snapshots.WithLabels(map[string]string{snapshots.LabelSnapshotRef: chain})
	mounts, err := o.snapshotter.Prepare(ctx, key, parent, described)
	if errdefs.IsAlreadyExists(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("prepare layer %s: %w", p.diffIDs[i], err)
	}
	defer func() {
		if err == nil {
			return
		}
		if undo := o.snapshotter.Remove(context.WithoutCancel(ctx), key); undo != nil && !errdefs.IsNotFound(undo) {
			o.log.Warn("a half-unpacked layer stays until the next collection", "layer", p.diffIDs[i], "error", undo)
		}
	}()
	var options []diff.ApplyOpt
	if watch.progress != nil {
		options = append(options, diff.WithProgress(func(_ ocispec.Descriptor, current int64) { watch.progress(i, current) }))
	}
	applied, err := o.applier.Apply(ctx, p.layers[i], mounts, options...)
	if err != nil {
		return false, core.Invalid("failed to register layer: %w", err)
	}
	if applied.Digest != p.diffIDs[i] {
		return false, core.Invalid("failed to register layer: layer %s unpacks to %s, but the image's configuration says %s", p.layers[i].Digest, applied.Digest, p.diffIDs[i])
	}
	if err := o.snapshotter.Commit(ctx, chain, key, described); err != nil {
		if !errdefs.IsAlreadyExists(err) {
			return false, fmt.Errorf("commit layer %s: %w", p.diffIDs[i], err)
		}
		// Another pull was faster. Ours is removed; theirs is as good.
		return true, o.snapshotter.Remove(ctx, key)
	}
	_, err = o.content.Update(ctx, content.Info{
		Digest: p.layers[i].Digest, Labels: map[string]string{labels.LabelUncompressed: p.diffIDs[i].String()},
	}, "labels."+labels.LabelUncompressed)
	if err != nil {
		// The snapshot is committed and stays; only the note on the blob is missing.
		return false, fmt.Errorf("label layer %s: %w", p.layers[i].Digest, err)
	}
	return false, nil
}
