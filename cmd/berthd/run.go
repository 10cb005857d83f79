package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/berth-engine/berth/api/server"
	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/build"
	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine"
	"github.com/berth-engine/berth/engine/files"
	"github.com/berth-engine/berth/image"
	"github.com/berth-engine/berth/image/archive"
	"github.com/berth-engine/berth/lib/version"
	"github.com/berth-engine/berth/linux/cgroup"
	"github.com/berth-engine/berth/linux/quota"
	"github.com/berth-engine/berth/linux/rootfs"
	"github.com/berth-engine/berth/linux/selinux"
	"github.com/berth-engine/berth/logs"
	"github.com/berth-engine/berth/network"
	"github.com/berth-engine/berth/runtime"
	"github.com/berth-engine/berth/store"
	"github.com/berth-engine/berth/volume"
)

// warmShims is how many shims wait for containers: a start takes one, a new one is made in the background.
const warmShims = 2

// closer is something that was opened, with what closes it.
type closer struct {
	name  string
	close func() error
}

// house is what run opened so far; it closes in reverse.
type house struct {
	log     *slog.Logger
	closers []closer
	reload  *reloader
}

func (h *house) opened(name string, close func() error) {
	h.closers = append(h.closers, closer{name, close})
}

func (h *house) close() {
	for i := len(h.closers) - 1; i >= 0; i-- {
		if err := h.closers[i].close(); err != nil {
			h.log.Error("close "+h.closers[i].name, "error", err)
		}
	}
}

// run opens every room in order, serves until the context ends, and closes in reverse.
func run(ctx context.Context, c *config, hangup <-chan os.Signal, log *slog.Logger) error {
	release, err := claim(c)
	if err != nil {
		return err
	}
	defer release()
	h := &house{log: log}
	defer h.close()

	listeners, err := listen(ctx, c, log) // first: a second daemon on the socket is noticed before it touches anything
	if err != nil {
		return err
	}
	h.opened("listeners", func() error { closeAll(listeners); return nil })

	handler, err := open(ctx, c, h, log)
	if err != nil {
		return err
	}
	// What start-up needed once is given back before the daemon sits and waits.
	debug.FreeOSMemory()
	return serve(ctx, c, listeners, handler, hangup, h)
}

// open makes the organs, the engine on top of them and the API in front.
func open(ctx context.Context, c *config, h *house, log *slog.Logger) (http.Handler, error) {
	known, err := facts(ctx, c, log)
	if err != nil {
		return nil, err
	}
	// The organs tell what happens before the engine that they are given to exists.
	var e *engine.Engine

	records, journal, err := openStores(c, h, log)
	if err != nil {
		return nil, err
	}
	publish := func(event core.Event) { e.Publish(event) }
	projects, labels := quota.New(), selinux.New(c.SELinux)
	images, err := openImages(ctx, c, projects, labels, publish, log)
	if err != nil {
		return nil, err
	}
	h.opened("images", images.Close)
	settings, err := networkOptions(c, log)
	if err != nil {
		return nil, err
	}
	networks, err := network.New(ctx, settings)
	if err != nil {
		return nil, err
	}
	h.opened("networks", func() error {
		// With no container left nothing of ours stays on the host; else what they need stays.
		return networks.Shutdown(context.WithoutCancel(ctx), e == nil || !e.Containers.AnyRunning())
	})
	volumes, err := volume.New(filepath.Join(c.DataRoot, "volumes"), projects, log)
	if err != nil {
		return nil, err
	}
	shim, err := beside("berth-shim")
	if err != nil {
		return nil, err
	}
	processes, err := runtime.New(runtime.Options{
		ExecRoot: c.ExecRoot, ShimPath: shim, TunnelPath: filepath.Join(filepath.Dir(shim), "berth-log"), Warm: warmShims, Memory: known.Memory, CDI: c.cdiFolders(), Programs: c.programs(),
		OnExit: func(exit core.Exit) { e.Lifecycle.Exited(exit) },
		Logger: log,
	})
	if err != nil {
		return nil, err
	}
	h.opened("runtime", processes.Close)
	// After the builder, whose steps have their cgroups there.
	h.opened("cgroups", func() error { return cgroup.Sweep(cgroupsAlone(c)) })
	builder, err := build.New(buildOptions(c, images, networks, shim, publish, log))
	if err != nil {
		return nil, err
	}
	h.opened("builder", builder.Close)

	reader := logs.New(log)
	h.opened("logs", reader.Close)
	catalog := imagePort{images.Images(), images.Catalog()}
	e = engine.New(engine.Ports{
		Images: catalog, ImageStore: catalog, Layers: images.Layers(),
		Runtime: processes, Terminals: processes, Meter: processes,
		Networks: networks.Networks, Sandboxes: networks.Sandboxes,
		Labels:  labels,
		Volumes: volumes, VolumeStore: volumes, VolumeCopy: volumes,
		Logs: reader, Records: records, Journal: journal, Cache: builder,
		Files: engine.Files{Images: images.Transfers(), Open: openFiles, Ended: filesEnded, Decompress: archive.Decompress, Compress: archive.Compress},
	}, engine.Options{
		Defaults: definitionDefaults(c, known, c.layerQuota(projects)),
		Facts:    known,
		Logger:   log,
	})
	if err := e.Restore(ctx); err != nil {
		return nil, err
	}
	h.reload = &reloader{e, processes, known.Info}
	return api(c, known.KernelVersion, e, images, builder, log), nil
}

// openStores opens our own records and the journal of events.
func openStores(c *config, h *house, log *slog.Logger) (*store.Records, *store.Events, error) {
	records, err := store.Open(filepath.Join(c.DataRoot, "berth.db"), filepath.Join(c.ExecRoot, "records"), log)
	if err != nil {
		return nil, nil, err
	}
	h.opened("records", records.Close)
	journal, err := store.OpenEvents(filepath.Join(c.DataRoot, "events.jsonl"), log)
	if err != nil {
		return nil, nil, err
	}
	h.opened("journal", journal.Close)
	return records, journal, nil
}

// api puts the Engine API in front of the engine.
func api(c *config, kernel string, e *engine.Engine, images *image.Organ, builder *build.Builder, log *slog.Logger) http.Handler {
	return server.New(server.Options{
		Containers: e.Containers, Lifecycle: e.Lifecycle, Consoles: e.Consoles, Execs: e.Execs, Files: e.Files,
		Images: e.Images, Transfers: images.Transfers(), Networks: e.Networks, Volumes: e.Volumes, VolumeCopies: e.Copies,
		Builds: builder, System: e.System,
		Build: wire.Build{
			Version: version.Version, GitCommit: version.Commit, BuildTime: version.Built,
			Kernel: kernel, Experimental: c.Experimental,
		},
		Logger: log,
	})
}

func openImages(ctx context.Context, c *config, projects *quota.Projects, labels *selinux.Labels, events func(core.Event), log *slog.Logger) (*image.Organ, error) {
	if size, err := c.layerSize(); err != nil || size > 0 && !c.layerQuota(projects) {
		return nil, errors.Join(err, errors.New("storage option overlay2.size needs project quotas: the data root on XFS mounted with pquota, or on ext4 with the feature project, mounted with prjquota"))
	}
	root, layers := filepath.Join(c.DataRoot, "image"), filepath.Join(c.DataRoot, "layers")
	organ, err := image.New(ctx, image.Options{
		Root: root, LayersRoot: layers,
		Quota:        projects,
		Registries:   registries(c),
		MaxDownloads: c.MaxDownloads, MaxUploads: c.MaxUploads,
		Events: events, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(labels.Images(root), labels.Images(layers)); err != nil {
		return nil, errors.Join(err, organ.Close())
	}
	return organ, nil
}

// imagePort is the image organ as the engine sees it.
type imagePort struct {
	*image.Images
	*image.Catalog
}

// List is the catalog's: the organ's other view has one too.
func (p imagePort) List(ctx context.Context, options core.ImageListOptions) ([]core.ImageUsage, error) {
	return p.Catalog.List(ctx, options)
}

// openFiles and filesEnded are the files of containers as the engine sees them.
func openFiles(view core.FilesView) (files.View, error) { return rootfs.Open(view) }

func filesEnded(err error) bool { return errors.Is(err, rootfs.ErrEnded) }

// beside finds a program of ours in the folder of this one.
func beside(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is missing beside berthd: %w", name, err)
	}
	return path, nil
}

// serve answers requests on every socket until the context ends, then gives requests under way some time.
func serve(ctx context.Context, c *config, listeners []net.Listener, handler http.Handler, hangup <-chan os.Signal, h *house) error {
	log := h.log
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		log.Info("the API listens", "address", l.Addr().Network()+"://"+l.Addr().String())
		go func() { failed <- s.Serve(l) }()
	}
	for {
		select {
		case err := <-failed:
			return err
		case <-hangup:
			h.reload.reload(c, log)
		case <-ctx.Done():
			log.Info("the daemon stops; containers run on")
			// Requests that only wait (events, logs, wait) end at once, the others get their time.
			cancel()
			deadline, done := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(c.ShutdownTimeout)*time.Second)
			defer done()
			if err := s.Shutdown(deadline); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		}
	}
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close() // closed already by the server, or about to be unused
	}
}
