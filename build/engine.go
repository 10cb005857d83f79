package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/gc"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/platforms"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/cache/remotecache"
	inlinecache "github.com/moby/buildkit/cache/remotecache/inline"
	localcache "github.com/moby/buildkit/cache/remotecache/local"
	registrycache "github.com/moby/buildkit/cache/remotecache/registry"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/frontend"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway"
	"github.com/moby/buildkit/frontend/gateway/forwarder"
	"github.com/moby/buildkit/session"
	containerdsnapshot "github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/solver/llbsolver/cdidevices"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/entitlements"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/resolver"
	"github.com/moby/buildkit/version"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	wlabel "github.com/moby/buildkit/worker/label"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// hostGatewayLabel is where buildx looks for what "host-gateway" means in --add-host.
const hostGatewayLabel = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"

// The files of BuildKit's databases.
const (
	recordsFile = "metadata_v2.db" // the pieces of the cache
	linksFile   = "cache.db"       // what they are the result of
	historyFile = "history.db"
)

// engine is BuildKit, running.
type engine struct {
	controller *control.Controller
	sessions   *session.Manager
	server     *grpc.Server
	relaxed    *relaxed
	steps      *steps
	// stop ends what runs in the background; stopping tells the history of it.
	stop     context.CancelFunc
	stopping chan struct{}
}

// newEngine puts BuildKit together. It outlives the request that caused it, so only the values of ctx are kept.
func newEngine(ctx context.Context, options Options) (_ *engine, err error) {
	if err := os.MkdirAll(options.Root, 0o711); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(quieten(context.WithoutCancel(ctx), options.Log))
	e := &engine{stop: stop, stopping: make(chan struct{})}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	if err := discard(ctx, options); err != nil {
		return nil, err
	}
	if e.sessions, err = session.NewManager(); err != nil {
		return nil, err
	}
	hosts := options.Hosts
	if hosts == nil {
		hosts = resolver.NewRegistryConfig(nil)
	}
	networks := providers(options)
	e.steps = newExecutor(options, networks)
	w, err := newWorker(ctx, options, hosts, networks, e.steps)
	if err != nil {
		return nil, err
	}
	if e.controller, err = newController(ctx, options, hosts, w, e); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	e.relaxed = &relaxed{records: w.MetadataStore.DB(), marker: markerPath(options.Root), log: options.Log}
	e.server = grpc.NewServer(
		grpc.ChainUnaryInterceptor(e.counted, grpcerrors.UnaryServerInterceptor),
		grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize),
	)
	e.controller.Register(e.server)
	return e, nil
}

// counted notes when a client builds.
func (e *engine) counted(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if info.FullMethod == controlapi.Control_Solve_FullMethodName {
		e.relaxed.begin()
		defer e.relaxed.end()
		if solve, ok := request.(*controlapi.SolveRequest); ok {
			leaveUnsaid(solve)
		}
	}
	return handler(ctx, request)
}

// leaveUnsaid takes the provenance away that buildx asks for by itself ("inline-only") when the image only comes here: the
// times in it would make another image of each build in which nothing has changed, and the last one dangle.
func leaveUnsaid(r *controlapi.SolveRequest) {
	leaves := func(e *controlapi.Exporter) bool {
		return e.Type != exporterMoby && e.Type != client.ExporterImage || e.Attrs["push"] == "true"
	}
	if strings.Contains(r.FrontendAttrs["attest:provenance"], "inline-only=true") && len(r.Exporters) > 0 && !slices.ContainsFunc(r.Exporters, leaves) {
		delete(r.FrontendAttrs, "attest:provenance")
	}
}

// newWorker makes what executes: caches, sources, exporters and the executor on our own runtime.
func newWorker(ctx context.Context, options Options, hosts hostsFunc, networks map[pb.NetMode]network.Provider, steps *steps) (*imageWorker, error) {
	records, err := metadata.NewStore(filepath.Join(options.Root, recordsFile))
	if err != nil {
		return nil, err
	}
	id, err := base.ID(options.Root)
	if err != nil {
		return nil, errors.Join(err, records.Close())
	}
	devices, err := cdi.NewCache(cdi.WithAutoRefresh(false), cdi.WithSpecDirs("/etc/cdi", "/var/run/cdi"))
	if err != nil {
		return nil, errors.Join(err, records.Close())
	}
	cdiManager := cdidevices.NewManager(devices, nil)
	steps.devices = cdiManager
	blobs := containerdsnapshot.NewContentStore(options.Content, options.Namespace)
	names := namedImages{store: options.Images, namespace: options.Namespace}
	w, err := base.NewWorker(ctx, base.WorkerOpt{
		ID:               id,
		Root:             options.Root,
		Labels:           labels(options),
		Platforms:        []ocispec.Platform{platforms.Normalize(platforms.DefaultSpec())},
		GCPolicy:         policy(options.Root, options.CacheLimit),
		BuildkitVersion:  linkedVersion(),
		NetworkProviders: networks,
		Executor:         steps,
		Snapshotter:      containerdsnapshot.NewSnapshotter(options.SnapshotterName, options.Snapshotter, options.Namespace, nil),
		ContentStore:     blobs,
		Applier:          apply.NewFileSystemApplier(blobs),
		Differ:           walking.NewWalkingDiff(blobs),
		ImageStore:       names,
		RegistryHosts:    hosts,
		LeaseManager:     leaseutil.WithNamespace(markedLeases{options.Leases}, options.Namespace),
		GarbageCollect: func(ctx context.Context) (gc.Stats, error) {
			return nil, options.GarbageCollect(ctx)
		},
		MetadataStore: records,
		MountPoolRoot: mountsRoot(options),
		CDIManager:    cdiManager,
	})
	if err != nil {
		return nil, errors.Join(err, records.Close())
	}
	return &imageWorker{Worker: w, danglingPrefix: options.DanglingPrefix}, nil
}

// linkedVersion is that of the BuildKit within this program: clients decide by it what they may ask for.
func linkedVersion() client.BuildkitVersion {
	v := client.BuildkitVersion{Package: version.Package, Version: version.Version, Revision: version.Revision}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == version.Package {
				v.Version = module.Version
			}
		}
	}
	return v
}

// labels are what clients can learn of the worker.
func labels(options Options) map[string]string {
	all := map[string]string{
		wlabel.Executor:    "berth",
		wlabel.Snapshotter: options.SnapshotterName,
		wlabel.Network:     "bridge",
	}
	if len(options.HostGateway) > 0 {
		all[hostGatewayLabel] = options.HostGateway[0].String()
	}
	return all
}

// newController makes what plans: the solver with its frontends, remote caches and history.
func newController(ctx context.Context, options Options, hosts hostsFunc, w *imageWorker, e *engine) (*control.Controller, error) {
	workers := &worker.Controller{}
	if err := workers.Add(w); err != nil {
		return nil, err
	}
	gatewayFrontend, err := gateway.NewGatewayFrontend(workers.Infos(), nil)
	if err != nil {
		return nil, err
	}
	links, err := bboltcachestorage.NewStore(filepath.Join(options.Root, linksFile))
	if err != nil {
		return nil, fmt.Errorf("open the build cache: %w", err)
	}
	// The history is for looking at, not for working with: it is not worth a wait for the disk, and a file that a
	// power cut broke is begun anew.
	history, err := boltutil.SafeOpen(filepath.Join(options.Root, historyFile), 0o600,
		&bolt.Options{FreelistType: bolt.FreelistMapType, NoFreelistSync: true, NoSync: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the build history: %w", err), links.Close())
	}
	c, err := control.NewController(control.Opt{
		SessionManager:   e.sessions,
		WorkerController: workers,
		Frontends: map[string]frontend.Frontend{
			"dockerfile.v0": forwarder.NewGatewayForwarder(workers.Infos(), dockerfile.Build),
			"gateway.v0":    gatewayFrontend,
		},
		CacheManager: solver.NewCacheManager(ctx, "local", links, worker.NewCacheResultStorage(workers)),
		ResolveCacheExporterFuncs: map[string]remotecache.ResolveCacheExporterFunc{
			"registry": registrycache.ResolveCacheExporterFunc(e.sessions, hosts),
			"local":    localcache.ResolveCacheExporterFunc(e.sessions),
			"inline":   inlinecache.ResolveCacheExporterFunc(),
		},
		ResolveCacheImporterFuncs: map[string]remotecache.ResolveCacheImporterFunc{
			"registry": registrycache.ResolveCacheImporterFunc(e.sessions, w.ContentStore(), hosts),
			"local":    localcache.ResolveCacheImporterFunc(e.sessions),
		},
		Entitlements:   []string{string(entitlements.EntitlementNetworkHost), string(entitlements.EntitlementSecurityInsecure)},
		HistoryDB:      history,
		CacheStore:     links,
		LeaseManager:   w.LeaseManager(),
		ContentStore:   w.ContentStore(),
		GarbageCollect: w.GarbageCollect,
		GracefulStop:   e.stopping,
	})
	if err != nil {
		return nil, errors.Join(err, history.Close(), links.Close())
	}
	return c, nil
}

// close ends sessions and builds first, so that nobody writes to the databases that are closed next.
func (e *engine) close() error {
	close(e.stopping)
	e.server.Stop()
	e.stop()
	e.steps.wait()
	return errors.Join(e.relaxed.settle(true), e.controller.Close())
}
