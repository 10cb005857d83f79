package core

import "time"

// Volume is a named place for data that outlives containers.
type Volume struct {
	Name       string
	Driver     string // "local"
	Mountpoint string
	Created    time.Time
	Labels     map[string]string
	Options    map[string]string
	Anonymous  bool
}

// VolumeSnapshot is what a volume held at a moment.
type VolumeSnapshot struct {
	Tag     string
	Created time.Time
	Size    int64 // of the files in bytes, also where the file system shares them with others; -1: not known
}
