// Package system is the room of the engine for the whole: what there is, how much room it takes, what happens.
package system

import (
	"context"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/berth-engine/berth/core"
)

// Containers is what the system needs of the noun container.
type Containers interface {
	Views() []*core.Container
	List(ctx context.Context, options core.ContainerListOptions) ([]core.ContainerView, error)
}

// Images is what the system needs of the noun image.
type Images interface {
	List(ctx context.Context, options core.ImageListOptions) ([]core.ImageUsage, error)
	// Usage measures every image; layers is what all their layers take together.
	Usage(ctx context.Context) (images []core.ImageUsage, layers int64, err error)
}

// Volumes is what the system needs of the noun volume.
type Volumes interface {
	Usage(ctx context.Context) ([]core.VolumeUsage, error)
}

// Networks is what the system needs of the noun network.
type Networks interface {
	Warnings() []string
}

// BuildCache is what the engine needs of the build organ, for `system df`.
type BuildCache interface {
	Usage(ctx context.Context) ([]core.BuildCacheRecord, error)
}

// Events is what the system needs of the hub of events.
type Events interface {
	Listeners() int
	Follow(ctx context.Context, since, until time.Time, filters core.Filters) (<-chan core.Event, error)
}

// Parts are what the system sums up.
type Parts struct {
	Containers Containers
	Images     Images
	Volumes    Volumes
	Cache      BuildCache
	Events     Events
	Networks   Networks
	Info       core.Info // what seldom changes while the daemon runs, see Reload
}

// System is the whole.
type System struct {
	parts Parts
	info  atomic.Pointer[core.Info]
}

// New makes the noun.
func New(parts Parts) *System {
	s := &System{parts: parts}
	s.Reload(parts.Info)
	return s
}

// Reload changes what Info says of the daemon.
func (s *System) Reload(info core.Info) { s.info.Store(&info) }

// Info is what the daemon knows of itself and its host.
func (s *System) Info(ctx context.Context) (core.Info, error) {
	info := *s.info.Load()
	for _, c := range s.parts.Containers.Views() {
		switch c.State.Status {
		case core.StatusRunning:
			info.Running++
		case core.StatusPaused:
			info.Paused++
		default:
			info.Stopped++
		}
	}
	images, err := s.parts.Images.List(ctx, core.ImageListOptions{All: true})
	if err != nil {
		return core.Info{}, err
	}
	info.Images = len(images)
	info.Goroutines = runtime.NumGoroutine()
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		info.FileDescriptors = len(fds)
	}
	info.EventsListeners = s.parts.Events.Listeners()
	info.Warnings = append(slices.Clone(info.Warnings), s.parts.Networks.Warnings()...)
	return info, nil
}

// Events replays what was kept since a moment and follows what happens, see events.Hub.
func (s *System) Events(ctx context.Context, since, until time.Time, filters core.Filters) (<-chan core.Event, error) {
	return s.parts.Events.Follow(ctx, since, until, filters)
}

// DiskUsage measures what the kinds of objects take: image, container, volume, build-cache; none means all.
func (s *System) DiskUsage(ctx context.Context, types []string) (core.DiskUsage, error) {
	wanted := func(kind string) bool { return len(types) == 0 || slices.Contains(types, kind) }
	var usage core.DiskUsage
	var err error
	if wanted("image") {
		if usage.Images, usage.LayersSize, err = s.parts.Images.Usage(ctx); err != nil {
			return usage, err
		}
	}
	if wanted("container") {
		if usage.Containers, err = s.parts.Containers.List(ctx, core.ContainerListOptions{All: true, Size: true}); err != nil {
			return usage, err
		}
	}
	if wanted("volume") {
		if usage.Volumes, err = s.parts.Volumes.Usage(ctx); err != nil {
			return usage, err
		}
	}
	if wanted("build-cache") {
		if usage.BuildCache, err = s.parts.Cache.Usage(ctx); err != nil {
			return usage, err
		}
	}
	return usage, nil
}
