package core

import "strconv"

// Filters are the conditions of a list: several values of one key are alternatives, several keys must all hold.
type Filters map[string][]string

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
