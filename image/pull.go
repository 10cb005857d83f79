package image

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/config"
	"github.com/berth-engine/berth/image/names"
	"github.com/berth-engine/berth/image/registries"
)

// Pull fetches an image from its registry and unpacks it. Layers are fetched side by side and unpacked in their order
// while others still travel. What an interrupted pull has fetched is taken up by the next one. With all, every tag of
// the repository is pulled.
func (t *Transfers) Pull(ctx context.Context, ref string, platform core.Platform, all bool, auth *core.RegistryAuth, progress core.ProgressFunc) error {
	ctx = t.o.context(ctx)
	named, err := names.Parse(ref)
	if err != nil {
		return err
	}
	report := newReporter(progress)
	hosts := t.o.options.Registries.Hosts(auth)
	if !all {
		return t.pullOne(ctx, reference.TagNameOnly(named), platform, hosts, report)
	}
	if !reference.IsNameOnly(named) {
		return core.Invalid("tag can't be used with --all-tags/-a")
	}
	tags, err := registries.ListTags(ctx, named, hosts)
	if err != nil {
		return registries.PullError(named, err)
	}
	for _, tag := range tags {
		tagged, err := reference.WithTag(named, tag)
		if err != nil {
			return core.Invalid("the registry lists an invalid tag %q: %w", tag, err)
		}
		if err := t.pullOne(ctx, tagged, platform, hosts, report); err != nil {
			return err
		}
	}
	return nil
}

// puller is one pull of one reference.
type puller struct {
	o        *Organ
	fetcher  remotes.Fetcher
	report   *reporter
	source   images.HandlerFunc // notes on blobs which repository they are from
	fetched  bool
	platform core.Platform
}

func (t *Transfers) pullOne(ctx context.Context, named reference.Named, platform core.Platform, hosts docker.RegistryHosts, report *reporter) error {
	label := "latest"
	if tagged, ok := named.(reference.Tagged); ok {
		label = tagged.Tag()
	}
	pinned, isDigest := named.(reference.Digested)
	if isDigest {
		label = pinned.Digest().String()
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: hosts})
	_, target, err := resolver.Resolve(ctx, named.String())
	if err != nil {
		return registries.PullError(named, err)
	}
	report.emit(core.Progress{ID: label, Status: "Pulling from " + reference.Path(reference.TrimNamed(named))})
	fetcher, err := resolver.Fetcher(ctx, named.String())
	if err != nil {
		return registries.PullError(named, err)
	}
	source, err := docker.AppendDistributionSourceLabel(t.o.content, named.String())
	if err != nil {
		return core.Invalid("%w", err)
	}
	p := &puller{o: t.o, fetcher: fetcher, report: report, source: source, platform: platform}
	return p.pull(ctx, named, target)
}

func (p *puller) pull(ctx context.Context, named reference.Named, target ocispec.Descriptor) error {
	leased, done, err := p.o.lease(ctx)
	if err != nil {
		return err
	}
	defer done()
	image, err := p.describe(leased, target)
	if err != nil {
		return registries.PullError(named, err)
	}
	replaced, err := p.layers(leased, image, named.String())
	if err != nil {
		return registries.PullError(named, err)
	}
	p.report.say("", "Digest: "+target.Digest.String())
	name := reference.FamiliarString(named)
	if before, existed := replaced[named.String()]; existed && before == target.Digest && !p.fetched {
		p.report.say("", "Status: Image is up to date for "+name)
	} else {
		p.report.say("", "Status: Downloaded newer image for "+name)
	}
	p.o.event(leased, "pull", name, reference.FamiliarName(named), target)
	return nil
}

// describe fetches manifests and the configuration, down to the one manifest that is wanted.
func (p *puller) describe(ctx context.Context, target ocispec.Descriptor) (*parsed, error) {
	manifest := target
	if err := p.fetch(ctx, manifest); err != nil {
		return nil, err
	}
	for depth := 0; images.IsIndexType(manifest.MediaType); depth++ {
		if depth > 4 {
			return nil, core.Invalid("manifest lists are nested too deeply")
		}
		var err error
		if manifest, err = p.choose(ctx, manifest); err != nil {
			return nil, err
		}
		if err := p.fetch(ctx, manifest); err != nil {
			return nil, err
		}
	}
	if !images.IsManifestType(manifest.MediaType) {
		return nil, core.Invalid("unsupported media type %s", manifest.MediaType)
	}
	var content ocispec.Manifest
	if _, err := p.o.readJSON(ctx, manifest, &content); err != nil {
		return nil, err
	}
	if !images.IsConfigType(content.Config.MediaType) {
		return nil, core.Invalid("unsupported media type %s: this is not an image of containers", content.Config.MediaType)
	}
	if err := p.fetch(ctx, content.Config); err != nil {
		return nil, err
	}
	image, err := p.o.readManifest(ctx, target, manifest)
	if err != nil {
		return nil, err
	}
	if has := image.image.Platform; p.platform != (core.Platform{}) && !matcher(p.platform).Match(config.ToOCI(has)) {
		return nil, core.NotFound("image with reference %s was found but its platform (%s) does not match the specified platform (%s)", target.Digest, has, p.platform)
	}
	return image, nil
}

// choose picks the entry of a manifest list that is for the wanted platform.
func (p *puller) choose(ctx context.Context, list ocispec.Descriptor) (ocispec.Descriptor, error) {
	var index ocispec.Index
	if _, err := p.o.readJSON(ctx, list, &index); err != nil {
		return ocispec.Descriptor{}, err
	}
	best := p.o.wantedPlatform(p.platform)
	fitting := slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		return isAttestation(d) || d.Platform != nil && !best.Match(platforms.Normalize(*d.Platform))
	})
	if len(fitting) == 0 {
		return ocispec.Descriptor{}, core.NotFound("no matching manifest for %s in the manifest list entries", p.o.wanted(p.platform))
	}
	slices.SortStableFunc(fitting, func(a, b ocispec.Descriptor) int { return comparePlatforms(best, a.Platform, b.Platform) })
	return fitting[0], nil
}

// layers fetches and unpacks the layers and names the image.
func (p *puller) layers(ctx context.Context, image *parsed, name string) (map[string]digest.Digest, error) {
	group, ctx := errgroup.WithContext(ctx)
	here := make([]chan struct{}, len(image.layers))
	var waiting []int
	first := map[digest.Digest]int{}
	for i, layer := range image.layers {
		if earlier, again := first[layer.Digest]; again {
			here[i] = here[earlier]
			continue
		}
		first[layer.Digest] = i
		here[i] = make(chan struct{})
		exists, err := content.Exists(ctx, p.o.content, layer)
		if err != nil {
			return nil, err
		}
		if exists {
			p.report.say(short(layer.Digest), "Already exists")
			close(here[i])
			continue
		}
		p.report.say(short(layer.Digest), "Pulling fs layer")
		waiting = append(waiting, i)
	}
	// Where layers are here but not unpacked, the watch says nothing of them: they "already exist".
	arriving := map[int]bool{}
	for n, i := range waiting {
		arriving[i] = true
		if n >= p.o.options.MaxDownloads {
			p.report.say(short(image.layers[i].Digest), "Waiting")
		}
	}
	var replaced map[string]digest.Digest
	group.Go(func() (err error) {
		replaced, err = p.o.adopt(ctx, image, []string{name}, p.watch(image, here, arriving))
		return err
	})
	slots := make(chan struct{}, p.o.options.MaxDownloads)
	for _, i := range waiting {
		group.Go(func() error {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			defer func() { <-slots }()
			if err := p.fetch(ctx, image.layers[i]); err != nil {
				return err
			}
			p.report.say(short(image.layers[i].Digest), "Download complete")
			close(here[i])
			return nil
		})
	}
	p.fetched = len(waiting) > 0
	return replaced, group.Wait()
}

func (p *puller) watch(image *parsed, here []chan struct{}, arriving map[int]bool) unpackWatch {
	return unpackWatch{
		ready: func(ctx context.Context, layer int) error {
			select {
			case <-here[layer]:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		progress: func(layer int, current int64) {
			if desc := image.layers[layer]; arriving[layer] {
				p.report.count(short(desc.Digest), "Extracting", current, desc.Size)
			}
		},
		done: func(layer int, _ bool) {
			if arriving[layer] {
				p.report.say(short(image.layers[layer].Digest), "Pull complete")
			}
		},
	}
}

// fetch brings one blob here, unless it is here already. A blob whose content is not what its digest says is thrown
// away; one that broke off stays and is continued by the next pull.
func (p *puller) fetch(ctx context.Context, desc ocispec.Descriptor) error {
	if err := desc.Digest.Validate(); err != nil {
		return core.Invalid("the manifest names an invalid digest %q: %w", desc.Digest, err)
	}
	counted := remotes.FetcherFunc(func(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
		body, err := p.fetcher.Fetch(ctx, desc)
		if err != nil || !images.IsLayerType(desc.MediaType) {
			return body, err
		}
		return &countingReader{Reader: body, report: func(current int64) {
			p.report.count(short(desc.Digest), "Downloading", current, desc.Size)
		}}, nil
	})
	err := remotes.Fetch(ctx, p.o.content, counted, desc)
	if err != nil && !errdefs.IsAlreadyExists(err) {
		if errdefs.IsFailedPrecondition(err) {
			return p.discard(ctx, desc, err)
		}
		return err
	}
	_, err = p.source(ctx, desc)
	return err
}

// discard throws a blob with wrong content away.
func (p *puller) discard(ctx context.Context, desc ocispec.Descriptor, cause error) error {
	wrong := core.Internal("filesystem layer verification failed for digest %s: %w", desc.Digest, cause)
	err := p.o.content.Abort(context.WithoutCancel(ctx), remotes.MakeRefKey(ctx, desc))
	if err != nil && !errdefs.IsNotFound(err) {
		return errors.Join(wrong, err)
	}
	return wrong
}
