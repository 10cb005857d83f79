// Package image keeps images and what containers write on top of them. It is the door of containerd: the content
// store, the metadata database with its leases and garbage collection, the overlayfs snapshotter, and the clients of
// registries are containerd's libraries, in this process, under one containerd namespace.
//
// On disk, below Root:
//
//	content/    blobs by digest: manifests, configurations, layers as they travelled
//	meta.db     bbolt: names of images, labels, leases, which snapshot belongs to which chain of layers
//	snapshots/  one folder per unpacked layer
//	l/          short links to those folders, so that many of them fit into the options of one mount
//	empty/      what an image without layers is mounted from
//
// and below LayersRoot one folder per container (see layers).
package image

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/archive"
	"github.com/berth-engine/berth/image/layers"
	"github.com/berth-engine/berth/image/names"
	"github.com/berth-engine/berth/image/registries"
	"github.com/berth-engine/berth/linux/quota"
)

const (
	// Namespace is the containerd namespace of everything that Berth keeps.
	Namespace = "berth"
	// SnapshotterName is the name under which the snapshotter is known in the metadata database.
	SnapshotterName = "overlayfs"
	// DanglingPrefix, followed by "@" and the digest, is the private name of an image that lost its last name. It is
	// the one that BuildKit's exporter is told, too.
	DanglingPrefix = names.DanglingPrefix
)

// Registries says how registries are reached.
type Registries = registries.Config

// Options of New.
type Options struct {
	Root       string          // content, metadata and unpacked layers
	LayersRoot string          // writable layers of containers
	Quota      *quota.Projects // sets their limits, where the file system can
	Registries Registries
	// MaxDownloads and MaxUploads bound the layers in flight per pull and per push; 0: 3 and 5, as in Docker.
	MaxDownloads, MaxUploads int
	// Events is told what happens to images; it must not block.
	Events func(core.Event)
	Log    *slog.Logger
}

// Organ is the image organ as a whole. Its parts (Images, Catalog, Layers, Transfers) are views of it for those who
// need only them.
type Organ struct {
	options     Options
	log         *slog.Logger
	quiet       *log.Entry // containerd's log: what matters of it goes to log
	bolt        *bolt.DB
	db          *metadata.DB
	content     content.Store
	snapshotter snapshots.Snapshotter
	backend     snapshots.Snapshotter // below the metadata database; closed at the end
	leases      leases.Manager
	names       *names.Store
	applier     diff.Applier
	archives    *archive.Store
	platform    ocispec.Platform

	parsed  atomic.Pointer[parsedCache]
	layers  *layers.Layers
	gc      *collector
	closing context.CancelFunc
	workers sync.WaitGroup
}

// New opens the organ and starts its background work, which ends with Close. Leftovers of a crash (half-made pulls,
// layers that were being deleted) are cleared away in the background.
func New(ctx context.Context, options Options) (*Organ, error) {
	if options.MaxDownloads <= 0 {
		options.MaxDownloads = 3
	}
	if options.MaxUploads <= 0 {
		options.MaxUploads = 5
	}
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if options.Events == nil {
		options.Events = func(core.Event) {}
	}
	if strings.ContainsAny(options.Root+options.LayersRoot, ":,\\") {
		return nil, core.Invalid("image store %s: overlayfs takes no folder with a colon, comma or backslash in its path", options.Root)
	}
	o := &Organ{options: options, log: options.Log, platform: platforms.Normalize(platforms.DefaultSpec())}
	o.quiet = bridge(options.Log)
	o.parsed.Store(&parsedCache{})
	if err := o.open(o.context(ctx)); err != nil {
		return nil, fmt.Errorf("image store %s: %w", options.Root, err)
	}
	if err := o.start(o.context(ctx)); err != nil {
		o.closeStores()
		return nil, fmt.Errorf("image store %s: %w", options.Root, err)
	}
	return o, nil
}

// open builds containerd's stores on the folders.
func (o *Organ) open(ctx context.Context) (err error) {
	for _, dir := range []string{o.options.Root, o.options.LayersRoot, filepath.Join(o.options.Root, "l"), filepath.Join(o.options.Root, "empty")} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
	}
	o.backend, err = overlay.NewSnapshotter(filepath.Join(o.options.Root, "snapshots"), overlay.AsynchronousRemove, overlay.WithUpperdirLabel)
	if err != nil {
		return err
	}
	blobs, err := local.NewStore(filepath.Join(o.options.Root, "content"))
	if err != nil {
		return err
	}
	o.bolt, err = bolt.Open(filepath.Join(o.options.Root, "meta.db"), 0o600, &bolt.Options{
		Timeout: 10 * time.Second, FreelistType: bolt.FreelistMapType, NoFreelistSync: true,
	})
	if err != nil {
		return fmt.Errorf("meta.db is in use by another daemon or damaged: %w", err)
	}
	o.db = metadata.NewDB(o.bolt, blobs, map[string]snapshots.Snapshotter{SnapshotterName: o.backend})
	if err := o.db.Init(ctx); err != nil {
		return err
	}
	o.content = o.db.ContentStore()
	o.snapshotter = o.db.Snapshotter(SnapshotterName)
	o.leases = metadata.NewLeaseManager(o.db)
	o.names = names.New(o.db)
	o.archives = &archive.Store{Content: o.content, Protect: o.protect}
	o.applier = pipelined{blobs: o.content, ordinary: apply.NewFileSystemApplier(o.content)}
	return nil
}

// start reads what containers stand on and starts the background work.
func (o *Organ) start(ctx context.Context) (err error) {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o.closing = cancel
	o.gc = newCollector(o)
	o.layers, err = layers.Open(layers.Options{
		Root: o.options.LayersRoot, Links: filepath.Join(o.options.Root, "l"), Empty: filepath.Join(o.options.Root, "empty"), Quota: o.options.Quota,
		Snapshotter: o.snapshotter, Context: o.context, Unpack: o.unpackTarget, Released: o.gc.released, Log: o.log,
	})
	if err != nil {
		return err
	}
	stale, err := o.dropStaleLeases(ctx)
	if err != nil {
		return err
	}
	o.workers.Go(func() { o.layers.Run(background) })
	o.workers.Go(func() { o.gc.run(background) })
	if stale {
		o.gc.soon()
	}
	return nil
}

// Close ends the background work and closes the stores. Nobody may use the organ any more.
func (o *Organ) Close() error {
	o.closing()
	o.workers.Wait()
	return o.closeStores()
}

func (o *Organ) closeStores() error {
	if o.closing != nil {
		o.closing()
	}
	err := o.db.Close()
	if closeErr := o.backend.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Stores are containerd's stores as the build organ needs them, so that a built image is there to run and not
// copied. Calls on DB's parts need Namespace in the context; Images supplies it by itself.
type Stores struct {
	DB          *metadata.DB
	Bolt        *bolt.DB
	Namespace   string
	Snapshotter string
	Content     content.Store
	Images      images.Store // keeps an image that loses its last name as a dangling one
	Leases      leases.Manager
	Applier     diff.Applier
	Differ      diff.Comparer
	// GarbageCollect is the only way to collect: it keeps what containers stand on.
	GarbageCollect func(context.Context) error
	// RegistryHosts finds a registry's addresses (mirrors, insecure ones, certificates), without credentials.
	RegistryHosts docker.RegistryHosts
}

// Stores gives the stores of the organ.
func (o *Organ) Stores() Stores {
	return Stores{
		DB: o.db, Bolt: o.bolt, Namespace: Namespace, Snapshotter: SnapshotterName,
		Content: o.content, Images: hookedStore{o}, Leases: o.leases, Applier: o.applier,
		Differ: walking.NewWalkingDiff(o.content), GarbageCollect: o.gc.collect,
		RegistryHosts: o.options.Registries.Hosts(nil),
	}
}

// Layers are the writable layers of containers.
func (o *Organ) Layers() *layers.Layers { return o.layers }

// context puts containerd's namespace and log into a context.
func (o *Organ) context(ctx context.Context) context.Context {
	return log.WithLogger(namespaces.WithNamespace(ctx, Namespace), o.quiet)
}

const leasePrefix = "berth-work-"

// lease protects what an operation writes from being collected until done is called.
func (o *Organ) lease(ctx context.Context) (leased context.Context, done func(), err error) {
	lease, err := o.leases.Create(ctx, leases.WithID(leasePrefix+rand.Text()), leases.WithExpiration(24*time.Hour))
	if err != nil {
		return nil, nil, fmt.Errorf("lease: %w", err)
	}
	return leases.WithLease(ctx, lease.ID), func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if err := o.leases.Delete(ctx, lease); err != nil && !errdefs.IsNotFound(err) {
			o.log.Warn("a lease stays until it expires", "lease", lease.ID, "error", err)
		}
	}, nil
}

// protect takes content into the lease of the context, with all that it refers to.
func (o *Organ) protect(ctx context.Context, content digest.Digest) error {
	id, ok := leases.FromContext(ctx)
	if !ok {
		return nil
	}
	return o.leases.AddResource(ctx, leases.Lease{ID: id}, leases.Resource{ID: content.String(), Type: "content"})
}

// dropStaleLeases removes leases of operations that a crash cut short, and reports whether there were any.
func (o *Organ) dropStaleLeases(ctx context.Context) (bool, error) {
	all, err := o.leases.List(ctx, `id~="^`+leasePrefix+`"`)
	if err != nil {
		return false, err
	}
	for _, lease := range all {
		if err := o.leases.Delete(ctx, lease); err != nil && !errdefs.IsNotFound(err) {
			return false, err
		}
	}
	return len(all) > 0, nil
}

// event tells the world what happened to an image. The image's labels go along, as in Docker, where it is there: a zero
// target is one that is not.
func (o *Organ) event(ctx context.Context, action, id, name string, target ocispec.Descriptor) {
	attributes := map[string]string{}
	if target.Digest != "" {
		if p, err := o.load(ctx, target, core.Platform{}); err == nil { // without labels an event is still one
			maps.Copy(attributes, p.image.Config.Labels)
		}
	}
	if name != "" {
		attributes["name"] = name
	}
	o.options.Events(core.Event{Type: "image", Action: action, ID: id, Attributes: attributes, Time: time.Now()})
}
