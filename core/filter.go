package core

import (
	"strconv"
	"strings"
	"time"
)

// Filters are the conditions of a list: several values of one key are alternatives, several keys must all hold.
type Filters map[string][]string

// Moment reads what `--filter until=` takes: a duration back from now, a date, or seconds since 1970.
func Moment(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	if seconds, fraction, _ := strings.Cut(s, "."); seconds != "" && strings.Trim(seconds+fraction, "0123456789") == "" {
		d, err := time.ParseDuration(s + "s")
		if err == nil {
			return time.Unix(0, d.Nanoseconds()), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15Z07:00", "2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, Invalid("failed to parse value as time or duration: %q", s)
}

// ContainerListOptions select containers.
type ContainerListOptions struct {
	All     bool // not only the running ones
	Limit   int  // the newest n, whatever their state; 0: no limit
	Size    bool // measure their layers
	Filters Filters
}

// ContainerView is a container with what is only known on asking.
type ContainerView struct {
	*Container
	ExecIDs          []ExecID
	SizeRw, SizeRoot int64  // -1: not asked for
	ImageName        string // what `ps` shows: the reference as given, or the ID once that names another image
	Image            Image  // what it was made from; zero once that is gone
}

// Pruned is the answer to a prune.
type Pruned struct {
	Deleted   []string
	Images    []ImageDelete
	Reclaimed uint64 // bytes
}

// Event tells of a prune of all objects of a type.
func (p Pruned) Event(kind string) Event {
	return Event{Type: kind, Action: "prune", Attributes: map[string]string{"reclaimed": strconv.FormatUint(p.Reclaimed, 10)}}
}

// DiskUsage is what `docker system df` shows.
type DiskUsage struct {
	Images     []ImageUsage
	Containers []ContainerView
	Volumes    []VolumeUsage
	BuildCache []BuildCacheRecord
	LayersSize int64
}

// ImageUsage is an image with its users.
type ImageUsage struct {
	Image
	Containers int64 // -1: not asked for
	SharedSize int64 // -1: not asked for
}

// VolumeUsage is a volume with its users.
type VolumeUsage struct {
	Volume
	RefCount int64 // -1: not asked for
	Size     int64 // -1: not known
}
