// Package engine is the brain of Berth: what happens to containers, networks, volumes and images, in which order,
// and what is undone when a step fails. It knows the organs by the interfaces of ports.go only.
//
// One type per noun of the API: Containers and Execs here, Images, Networks and Volumes in engine/object, Consoles in
// engine/console, System in engine/system. Each verb of a container has
// a file of its own. Two things run without being asked: what follows the end of a process (exit.go, restart.go) and
// health checks (health.go).
package engine

import (
	"io"
	"log/slog"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/console"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/engine/events"
	"github.com/berth-engine/berth/engine/files"
	"github.com/berth-engine/berth/engine/health"
	"github.com/berth-engine/berth/engine/mounts"
	"github.com/berth-engine/berth/engine/object"
	"github.com/berth-engine/berth/engine/system"
)

// Ports are the organs that the engine stands on.
type Ports struct {
	Images      Images
	ImageStore  object.ImagePort
	Layers      Layers
	Runtime     Runtime
	Terminals   console.Terminals
	Meter       console.Meter
	Networks    object.NetworkPort
	Sandboxes   Sandboxes
	Labels      Labels
	Volumes     mounts.Volumes
	VolumeStore object.VolumePort
	VolumeCopy  object.CopyPort
	Logs        console.Logs
	Records     Records
	Journal     events.Journal
	Files       Files
	Cache       system.BuildCache
}

// Files are what the files of containers stand on besides the other ports (see files.Ports).
type Files struct {
	Images     files.Images
	Open       func(core.FilesView) (files.View, error)
	Ended      func(error) bool
	Decompress func(io.Reader) (io.ReadCloser, error)
	Compress   func(w io.Writer, format string) (io.WriteCloser, error)
}

// Options are the engine's settings.
type Options struct {
	// Defaults are what definitions of containers are completed with; Facts of them is filled in by New.
	Defaults define.Defaults
	// ShutdownTimeout bounds stop for a container that says nothing; 0: 10 s.
	StopTimeout time.Duration
	Facts       Facts
	Logger      *slog.Logger
}

// Facts are what never changes while the daemon runs, for `info`.
type Facts struct {
	core.Info
	CgroupV2 bool
}

// Engine is the nouns, wired to each other.
type Engine struct {
	Containers *Containers
	Lifecycle  *Lifecycle
	Consoles   *console.Consoles
	Execs      *Execs
	Files      *files.Files
	Images     *object.Images
	Networks   *object.Networks
	Volumes    *object.Volumes
	Copies     *object.Copies
	System     *system.System
	events     *events.Hub
}

// New wires the nouns. Restore must be called before anything else.
func New(ports Ports, options Options) *Engine {
	if options.StopTimeout == 0 {
		options.StopTimeout = 10 * time.Second
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	options.Defaults.Facts = &options.Facts.Info
	hub := events.NewHub(ports.Journal)
	g := &ground{table: newTable(), ports: ports, options: options, events: hub, log: options.Logger}
	containers := &Containers{ground: g}
	containers.defaults.Store(&g.options.Defaults)
	execs := newExecs(g)
	volumes := object.NewVolumes(ports.VolumeStore, containers, hub)
	images := object.NewImages(ports.ImageStore, containers, hub)
	g.mounts = &mounts.Mounts{Volumes: ports.Volumes, Objects: volumes, Layers: ports.Layers, Images: ports.Images, Find: g.table.view, Relabel: ports.Labels.Relabel}
	life := &Lifecycle{ground: g, execs: execs, remove: containers.remove}
	life.health = health.New(execs.probe, life.healthChanged)
	containers.life, containers.volumes, containers.execs = life, volumes, execs
	g.files = files.New(files.Ports{
		Containers: containers, Freezer: life, Layers: ports.Layers, Mounts: g.mounts, Events: hub, Logger: options.Logger,
		Images: ports.Files.Images, Open: ports.Files.Open, Ended: ports.Files.Ended, Decompress: ports.Files.Decompress,
	})
	networks := object.NewNetworks(ports.Networks, containers, hub, options.Logger)
	return &Engine{
		Containers: containers,
		Lifecycle:  life,
		Consoles:   console.New(containers, ports.Terminals, ports.Meter, ports.Logs, hub),
		Execs:      execs,
		Files:      g.files,
		Images:     images,
		Networks:   networks,
		Volumes:    volumes,
		Copies:     object.NewCopies(volumes, ports.VolumeCopy, life, object.Packing{Compress: ports.Files.Compress, Decompress: ports.Files.Decompress}),
		System:     system.New(system.Parts{Containers: containers, Images: images, Volumes: volumes, Cache: ports.Cache, Events: hub, Networks: networks, Info: options.Facts.Info}),
		events:     hub,
	}
}

// Reload changes what info says of the daemon, and the runtimes that containers may name; the first is the default.
func (e *Engine) Reload(info core.Info, runtimes []string) {
	e.System.Reload(info)
	next := *e.Containers.defaults.Load()
	next.Runtimes = runtimes
	e.Containers.defaults.Store(&next)
}

// Publish hands on an event of something that the engine does not do itself: a pull, a build.
func (e *Engine) Publish(event core.Event) { e.events.Publish(event) }
