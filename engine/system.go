package engine

import (
	"context"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/events"
	"github.com/berth-engine/berth/engine/object"
)

// System is the whole: what there is, how much room it takes, what happens.
type System struct {
	containers *Containers
	images     *object.Images
	volumes    *object.Volumes
	cache      BuildCache
	events     *events.Hub
	facts      Facts
}

// Info is what the daemon knows of itself and its host.
func (s *System) Info(ctx context.Context) (core.Info, error) {
	info := s.facts.Info
	for _, c := range s.containers.table.views() {
		switch c.State.Status {
		case core.StatusRunning:
			info.Running++
		case core.StatusPaused:
			info.Paused++
		default:
			info.Stopped++
		}
	}
	images, err := s.images.List(ctx, core.ImageListOptions{All: true})
	if err != nil {
		return core.Info{}, err
	}
	info.Images = len(images)
	info.Goroutines = runtime.NumGoroutine()
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		info.FileDescriptors = len(fds)
	}
	info.EventsListeners = s.events.Listeners()
	return info, nil
}

// Events replays what was kept since a moment and follows what happens, see events.Hub.
func (s *System) Events(ctx context.Context, since, until time.Time, filters core.Filters) (<-chan core.Event, error) {
	return s.events.Follow(ctx, since, until, filters)
}

// DiskUsage measures what the kinds of objects take: image, container, volume, build-cache; none means all.
func (s *System) DiskUsage(ctx context.Context, types []string) (core.DiskUsage, error) {
	wanted := func(kind string) bool { return len(types) == 0 || slices.Contains(types, kind) }
	var usage core.DiskUsage
	var err error
	if wanted("image") {
		if usage.Images, usage.LayersSize, err = s.images.Usage(ctx); err != nil {
			return usage, err
		}
	}
	if wanted("container") {
		if usage.Containers, err = s.containers.List(ctx, core.ContainerListOptions{All: true, Size: true}); err != nil {
			return usage, err
		}
	}
	if wanted("volume") {
		if usage.Volumes, err = s.volumes.Usage(ctx); err != nil {
			return usage, err
		}
	}
	if wanted("build-cache") {
		if usage.BuildCache, err = s.cache.Usage(ctx); err != nil {
			return usage, err
		}
	}
	return usage, nil
}
