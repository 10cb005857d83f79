package image

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/names"
	"github.com/berth-engine/berth/image/registries"
)

// PushResult says what a tag points to in the registry now.
type PushResult struct {
	Tag    string
	Digest string
	Size   int64
}

// PushedPart says that of an image of several platforms only the one that is here was pushed.
type PushedPart struct {
	ManifestPushedInsteadOfIndex bool
	OriginalIndex                ocispec.Descriptor
	SelectedManifest             ocispec.Descriptor
}

// Push sends an image to the registry that its name says, manifests unchanged. Without a tag every tag of the
// repository is pushed.
func (t *Transfers) Push(ctx context.Context, ref string, platform core.Platform, auth *core.RegistryAuth, progress core.ProgressFunc) error {
	ctx = t.o.context(ctx)
	named, err := names.Parse(ref)
	if err != nil {
		return err
	}
	if _, digested := named.(reference.Digested); digested {
		return core.Invalid("cannot push a digest reference")
	}
	index, err := t.o.names.Index(ctx)
	if err != nil {
		return err
	}
	tags := t.tagsToPush(index, named)
	if len(tags) == 0 {
		return core.NotFound("An image does not exist locally with the tag: %s", reference.FamiliarName(named))
	}
	report := newReporter(progress)
	report.say("", fmt.Sprintf("The push refers to repository [%s]", named.Name()))
	for _, tag := range tags {
		if err := t.pushOne(ctx, index.ByName[tag.String()].Target, tag, platform, auth, report); err != nil {
			return err
		}
	}
	return nil
}

func (t *Transfers) tagsToPush(index *names.Index, named reference.Named) (tags []reference.NamedTagged) {
	if tagged, ok := named.(reference.NamedTagged); ok {
		if _, exists := index.ByName[tagged.String()]; exists {
			tags = append(tags, tagged)
		}
		return tags
	}
	for name := range index.ByName {
		other, err := reference.ParseNormalizedNamed(name)
		if err != nil || other.Name() != named.Name() {
			continue
		}
		if tagged, ok := other.(reference.NamedTagged); ok {
			tags = append(tags, tagged)
		}
	}
	slices.SortFunc(tags, func(a, b reference.NamedTagged) int { return strings.Compare(a.Tag(), b.Tag()) })
	return tags
}

// pusher is one push of one tag.
type pusher struct {
	o       *Organ
	remote  remotes.Pusher
	tracker docker.StatusTracker
	report  *reporter
	source  images.HandlerFunc // notes on blobs which repository has them
}

func (t *Transfers) pushOne(ctx context.Context, stored ocispec.Descriptor, tag reference.NamedTagged, platform core.Platform, auth *core.RegistryAuth, report *reporter) error {
	leased, done, err := t.o.lease(ctx) // the image may be removed meanwhile
	if err != nil {
		return err
	}
	defer done()
	if err := t.o.protect(leased, stored.Digest); err != nil {
		return err
	}
	target, err := t.pushable(leased, stored, platform)
	if err != nil {
		return err
	}
	tracker := docker.NewInMemoryTracker()
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: t.o.options.Registries.Hosts(auth), Tracker: tracker})
	// The digest behind the tag makes containerd's client put the last manifest under the tag, and all others under
	// their digests.
	remote, err := resolver.Pusher(leased, tag.String()+"@"+target.Digest.String())
	if err != nil {
		return registries.PushError(tag, err)
	}
	source, err := docker.AppendDistributionSourceLabel(t.o.content, tag.String())
	if err != nil {
		return core.Invalid("%w", err)
	}
	p := &pusher{o: t.o, remote: remote, tracker: tracker, report: report, source: source}
	if err := p.push(leased, target); err != nil {
		return registries.PushError(tag, err)
	}
	report.say("", fmt.Sprintf("%s: digest: %s size: %d", tag.Tag(), target.Digest, target.Size))
	report.emit(core.Progress{Aux: PushResult{Tag: tag.Tag(), Digest: target.Digest.String(), Size: target.Size}})
	if target.Digest != stored.Digest {
		report.emit(core.Progress{Aux: PushedPart{ManifestPushedInsteadOfIndex: true, OriginalIndex: stored, SelectedManifest: target}})
	}
	t.o.event(leased, "push", reference.FamiliarString(tag), reference.FamiliarName(tag), stored)
	return nil
}

// pushable is what of an image can be pushed: all of it when all is here, else the one manifest that is.
func (t *Transfers) pushable(ctx context.Context, target ocispec.Descriptor, platform core.Platform) (ocispec.Descriptor, error) {
	if images.IsIndexType(target.MediaType) && platform == (core.Platform{}) {
		complete, err := t.complete(ctx, target)
		if err != nil {
			return target, err
		}
		if complete {
			return target, nil
		}
	}
	p, err := t.o.load(ctx, target, platform)
	if err != nil {
		return target, err
	}
	gone, err := t.o.missing(ctx, p)
	if err != nil {
		return target, err
	}
	if gone != "" {
		return target, core.NotFound("image %s is incomplete: content %s is not here; pull it again", p.manifest.Digest, gone)
	}
	return p.manifest, nil
}

// complete reports whether everything that a descriptor leads to is here.
func (t *Transfers) complete(ctx context.Context, target ocispec.Descriptor) (bool, error) {
	err := images.Walk(ctx, images.HandlerFunc(func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if _, err := t.o.content.Info(ctx, desc.Digest); err != nil {
			return nil, err
		}
		return images.Children(ctx, t.o.content, desc)
	}), target)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// push sends a manifest or index after everything that it refers to.
func (p *pusher) push(ctx context.Context, target ocispec.Descriptor) error {
	children, err := images.Children(ctx, p.o.content, target)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(p.o.options.MaxUploads)
	seen := map[digest.Digest]bool{}
	for _, child := range children {
		if seen[child.Digest] || images.IsNonDistributable(child.MediaType) {
			continue
		}
		seen[child.Digest] = true
		if images.IsIndexType(child.MediaType) || images.IsManifestType(child.MediaType) {
			if err := p.push(ctx, child); err != nil { // in order: its layers are sent side by side already
				return err
			}
			continue
		}
		layer := images.IsLayerType(child.MediaType)
		if layer {
			p.report.say(short(child.Digest), "Preparing")
		}
		group.Go(func() error {
			if err := p.blob(groupCtx, p.withSources(groupCtx, child), layer); err != nil || !layer {
				return err
			}
			_, err := p.source(groupCtx, child) // so that a push to another repository can mount it from this one
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return p.blob(ctx, target, false)
}

// withSources notes on a blob in which other repositories of the registry it may be, so that it is mounted from there
// instead of sent.
func (p *pusher) withSources(ctx context.Context, desc ocispec.Descriptor) ocispec.Descriptor {
	info, err := p.o.content.Info(ctx, desc.Digest)
	if err != nil {
		return desc // then the blob is sent
	}
	annotations := map[string]string{}
	for key, value := range info.Labels {
		if strings.HasPrefix(key, labels.LabelDistributionSource+".") {
			annotations[key] = value
		}
	}
	desc.Annotations = annotations
	return desc
}

// blob sends one blob, and tells of it when it is a layer.
func (p *pusher) blob(ctx context.Context, desc ocispec.Descriptor, tell bool) error {
	id := short(desc.Digest)
	writer, err := p.remote.Push(ctx, desc)
	if errdefs.IsAlreadyExists(err) {
		if tell {
			p.report.say(id, p.whyExists(ctx, desc))
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer writer.Close()
	reader, err := p.o.content.ReaderAt(ctx, desc)
	if err != nil {
		return err
	}
	defer reader.Close()
	counted := &countingReader{Reader: io.NewSectionReader(reader, 0, desc.Size), report: func(current int64) {
		if tell {
			p.report.count(id, "Pushing", current, desc.Size)
		}
	}}
	if err := content.Copy(ctx, writer, counted, desc.Size, desc.Digest); err != nil {
		return err
	}
	if tell {
		p.report.say(id, "Pushed")
	}
	return nil
}

func (p *pusher) whyExists(ctx context.Context, desc ocispec.Descriptor) string {
	status, err := p.tracker.GetStatus(remotes.MakeRefKey(ctx, desc))
	if err == nil && status.MountedFrom != "" {
		_, repository, _ := strings.Cut(status.MountedFrom, "/")
		return "Mounted from " + repository
	}
	return "Layer already exists"
}
