package wire

import (
	"time"

	"github.com/moby/moby/api/types/volume"

	"github.com/berth-engine/berth/core"
)

func volumeShape(v *core.Volume) volume.Volume {
	shape := volume.Volume{
		Driver:     v.Driver,
		Labels:     v.Labels,
		Mountpoint: v.Mountpoint,
		Name:       v.Name,
		Options:    v.Options,
		Scope:      "local",
	}
	if !v.Created.IsZero() {
		shape.CreatedAt = v.Created.UTC().Format(time.RFC3339)
	}
	if v.Anonymous { // Docker's mark for a volume that nobody named; prune looks for it
		labels := map[string]string{"com.docker.volume.anonymous": ""}
		for key, value := range v.Labels {
			labels[key] = value
		}
		shape.Labels = labels
	}
	return shape
}

// VolumeInspect shows a volume (GET /volumes/{name}, POST /volumes/create).
func VolumeInspect(v core.Volume) any { return volumeShape(&v) }

// VolumeList shows volumes (GET /volumes).
func VolumeList(volumes []core.Volume) any {
	return volume.ListResponse{Volumes: each(list(volumes), func(v core.Volume) volume.Volume { return volumeShape(&v) })}
}

// DecodeVolume reads the body of POST /volumes/create.
func DecodeVolume(body []byte) (core.Volume, error) {
	var shape volume.CreateRequest
	if err := decodeOptional(body, &shape); err != nil {
		return core.Volume{}, err
	}
	if shape.ClusterVolumeSpec != nil {
		return core.Volume{}, core.NotImplemented("Berth does not have cluster volumes yet")
	}
	return core.Volume{Name: shape.Name, Driver: shape.Driver, Labels: shape.Labels, Options: shape.DriverOpts}, nil
}

// VolumesPruned shows what POST /volumes/prune removed.
func VolumesPruned(p core.Pruned) any {
	return volume.PruneReport{VolumesDeleted: list(p.Deleted), SpaceReclaimed: p.Reclaimed}
}

// volumeSnapshot is ours: Docker has no snapshots.
type volumeSnapshot struct {
	Tag       string
	CreatedAt string `json:",omitempty"`
	Size      int64  // bytes; -1: not known
}

func snapshotShape(s core.VolumeSnapshot) volumeSnapshot {
	shape := volumeSnapshot{Tag: s.Tag, Size: s.Size}
	if !s.Created.IsZero() {
		shape.CreatedAt = s.Created.UTC().Format(time.RFC3339Nano)
	}
	return shape
}

// VolumeSnapshot shows a snapshot of a volume.
func VolumeSnapshot(s core.VolumeSnapshot) any { return snapshotShape(s) }

// VolumeSnapshots shows the snapshots of a volume (GET /volumes/{name}/snapshots).
func VolumeSnapshots(all []core.VolumeSnapshot) any { return each(list(all), snapshotShape) }
