package build

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/snapshots"

	"github.com/berth-engine/berth/core"
)

// Options are what the build organ needs of the others. cmd/berthd fills them in.
type Options struct {
	// Root is a folder of our own below the data root: cache records, history, bundles of running steps.
	Root string

	// Namespace is containerd's namespace in which the image organ keeps everything.
	Namespace string
	// Content, Snapshotter, Images and Leases are views of the image organ's metadata database. BuildKit passes bare
	// contexts; the organ puts the namespace in. Images keeps an image that loses its last name as a dangling one, and
	// tells of new names.
	Content         content.Store
	Snapshotter     snapshots.Snapshotter
	SnapshotterName string // "overlayfs" when empty
	Images          images.Store
	Leases          leases.Manager
	// GarbageCollect removes what neither an image nor a lease holds.
	GarbageCollect func(ctx context.Context) error
	// Hosts says how registries are reached; nil: BuildKit's defaults.
	Hosts docker.RegistryHosts

	// DanglingPrefix begins the name ("prefix@sha256:…") under which an image without a tag is kept; the image organ
	// knows it. Empty: "moby-dangling", as in Docker.
	DanglingPrefix string

	// Events is told of what happened to the cache; nil: nobody.
	Events func(core.Event)

	// Run runs the bundle of a step to its end; see Shim.
	Run func(ctx context.Context, bundle Bundle) error
	// CgroupParent is where steps get their cgroups: <CgroupParent>/buildkit/<id>. Empty: "/berth".
	CgroupParent string
	// Network makes a network namespace on the default bridge and gives a path to it; release undoes that. nil: steps
	// with the default network share the host's.
	Network func(ctx context.Context) (path string, release func() error, err error)
	// HostGateway are the addresses that "host-gateway" stands for in --add-host.
	HostGateway []netip.Addr

	// CacheLimit is how large the build cache may grow, in bytes; 0: a tenth of the disk, at least 10 GB.
	CacheLimit int64
	// Log receives what has no caller to return to; nil: slog's default.
	Log *slog.Logger
}

// Builder builds images and keeps the build cache. It implements the Builds of the API and the BuildCache of the engine.
type Builder struct {
	options Options
	log     *slog.Logger

	// mu guards what follows. It is held while BuildKit starts, so that it starts once.
	mu      sync.Mutex
	engine  *engine
	closed  bool
	cancels map[string]context.CancelFunc // of classic builds, by the ID that the client chose
}

// New checks the options and clears away what a killed daemon left. BuildKit itself starts with the first build, since most daemons
// start and stop without one.
func New(options Options) (*Builder, error) {
	switch {
	case options.Root == "":
		return nil, core.Invalid("build: no root folder given")
	case options.Namespace == "":
		return nil, core.Invalid("build: no namespace given")
	case options.Content == nil || options.Snapshotter == nil || options.Images == nil || options.Leases == nil:
		return nil, core.Invalid("build: content store, snapshotter, image store and leases are all needed")
	case options.GarbageCollect == nil:
		return nil, core.Invalid("build: no garbage collection given")
	case options.Run == nil:
		return nil, core.Invalid("build: nothing given to run steps with")
	}
	root, err := filepath.Abs(options.Root) // bundles name their root file system by it
	if err != nil {
		return nil, core.Internal("build: find the root folder: %w", err)
	}
	options.Root = root
	if options.SnapshotterName == "" {
		options.SnapshotterName = "overlayfs"
	}
	if options.DanglingPrefix == "" {
		options.DanglingPrefix = "moby-dangling"
	}
	if options.Events == nil {
		options.Events = func(core.Event) {}
	}
	if options.CgroupParent == "" {
		options.CgroupParent = "/berth"
	}
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if err := sweep(options); err != nil {
		return nil, core.Internal("build: %w", err)
	}
	return &Builder{options: options, log: options.Log, cancels: map[string]context.CancelFunc{}}, nil
}

// start gives the running BuildKit and starts it when this is the first use.
func (b *Builder) start(ctx context.Context) (*engine, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, core.Unavailable("the builder is shutting down")
	}
	if b.engine != nil {
		return b.engine, nil
	}
	e, err := newEngine(ctx, b.options)
	if err != nil {
		return nil, core.Internal("start the builder: %w", err)
	}
	b.engine = e
	return e, nil
}

// Close cancels running builds and closes BuildKit's databases. The stores of the image organ stay open: close them
// afterwards.
func (b *Builder) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	for _, cancel := range b.cancels {
		cancel()
	}
	if b.engine == nil {
		return nil
	}
	err := b.engine.close()
	b.engine = nil
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
