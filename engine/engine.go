// Package engine is the brain of Berth: what happens to containers, networks, volumes and images, in which order,
// and what is undone when a step fails. It knows the organs by the interfaces of ports.go only.
//
// One type per noun of the API: Containers, Execs and System here, Images, Networks and Volumes in engine/object. Each verb of a container has
// a file of its own. Two things run without being asked: what follows the end of a process (exit.go, restart.go) and
// health checks (health.go).
package engine

import (
	"log/slog"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/events"
	"github.com/berth-engine/berth/engine/health"
	"github.com/berth-engine/berth/engine/object"
)

// Ports are the organs that the engine stands on.
type Ports struct {
	Images      Images
	ImageStore  object.ImagePort
	Layers      Layers
	Runtime     Runtime
	Console     Console
	Meter       Meter
	Networks    object.NetworkPort
	Sandboxes   Sandboxes
	Volumes     Volumes
	VolumeStore object.VolumePort
	Logs        Logs
	Records     Records
	Journal     events.Journal
	Cache       BuildCache
}

// Options are the engine's settings.
type Options struct {
	// ContainersDir is where each container has its folder (hosts, resolv.conf, log files).
	ContainersDir string
	// DefaultLog is the log driver of containers that name none.
	DefaultLog core.LogConfig
	// LogDrivers are the drivers that the shims can write.
	LogDrivers []string
	// Runtimes are the names that `--runtime` takes; the first is the default.
	Runtimes []string
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
	Consoles   *Consoles
	Execs      *Execs
	Images     *object.Images
	Networks   *object.Networks
	Volumes    *object.Volumes
	System     *System
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
	hub := events.NewHub(ports.Journal)
	g := &ground{table: newTable(), ports: ports, options: options, events: hub, log: options.Logger}
	containers := &Containers{ground: g}
	execs := newExecs(g)
	volumes := object.NewVolumes(ports.VolumeStore, containers, hub)
	images := object.NewImages(ports.ImageStore, containers, hub)
	life := &Lifecycle{ground: g, execs: execs, remove: containers.remove}
	life.health = health.New(execs.probe, g.healthChanged)
	containers.life, containers.volumes, containers.execs = life, volumes, execs
	return &Engine{
		Containers: containers,
		Lifecycle:  life,
		Consoles:   &Consoles{g},
		Execs:      execs,
		Images:     images,
		Networks:   object.NewNetworks(ports.Networks, containers, hub, options.Logger),
		Volumes:    volumes,
		System:     &System{containers: containers, images: images, volumes: volumes, cache: ports.Cache, events: hub, facts: options.Facts},
		events:     hub,
	}
}

// Publish hands on an event of something that the engine does not do itself: a pull, a build.
func (e *Engine) Publish(event core.Event) { e.events.Publish(event) }
