package core

// MountType says where the content of a mount comes from.
type MountType string

// The mount types of the API.
const (
	MountBind   MountType = "bind"
	MountVolume MountType = "volume"
	MountTmpfs  MountType = "tmpfs"
	MountImage  MountType = "image"
)

// MountSpec is a mount as the user asked for it (`--mount`).
type MountSpec struct {
	Type        MountType
	Source      string
	Target      string
	ReadOnly    bool
	Consistency string

	Bind   *BindOptions
	Volume *VolumeOptions
	Image  *ImageMountOptions
	Tmpfs  *TmpfsOptions
}

// BindOptions of a bind mount.
type BindOptions struct {
	Propagation            string
	NonRecursive           bool
	CreateMountpoint       bool
	ReadOnlyNonRecursive   bool
	ReadOnlyForceRecursive bool
}

// VolumeOptions of a volume mount.
type VolumeOptions struct {
	NoCopy        bool
	Labels        map[string]string
	Subpath       string
	Driver        string
	DriverOptions map[string]string
}

// ImageMountOptions of an image mount.
type ImageMountOptions struct {
	Subpath string
}

// TmpfsOptions of a tmpfs mount.
type TmpfsOptions struct {
	SizeBytes int64
	Mode      uint32
	Options   [][]string
}

// Mount is a mount as it was resolved at creation: the answer to a MountSpec, a bind or an image's VOLUME.
type Mount struct {
	Type        MountType
	Name        string // of the volume
	Source      string // a path of the host; for a volume its mountpoint; empty for tmpfs
	Destination string
	Driver      string // of the volume
	Mode        string // options as given: "ro", "z", …
	RW          bool
	Propagation string
	Options     []string // mount options for a tmpfs
	NoCopy      bool     // a volume that must not be filled from the image
	Subpath     string
	Anonymous   bool // a volume that nobody named: goes with `rm -v` and `--rm`
	// NonRecursive, ReadOnlyNonRecursive and ReadOnlyForceRecursive are those of BindOptions.
	NonRecursive           bool
	ReadOnlyNonRecursive   bool
	ReadOnlyForceRecursive bool
	// IDs says which owners the files have in the container; zero: those that they have.
	IDs IDMaps
	// Layer is what the image organ keeps for an image that is mounted.
	Layer ContainerID
}

// IDMap maps a range of numbers of users or groups: those that the files have on the disk to those that are seen.
type IDMap struct{ Disk, Seen, Size uint32 }

// IDMaps are the two of an id-mapped mount (mount_setattr(2), MOUNT_ATTR_IDMAP); both or none are given.
type IDMaps struct{ UIDs, GIDs []IDMap }

// FSMount is one call of mount(2), as a snapshotter or a volume answers it.
type FSMount struct {
	Type    string // "overlay", "bind", "tmpfs", …
	Source  string
	Target  string // below the root of the container; empty: the root itself
	Options []string
	// Below are the mounts of an image, which take the place of Source.
	Below []FSMount
	// Subpath is the part of Source, or of Below, that is shown. It is resolved without leaving either.
	Subpath string
	// IDs maps the owners of files; of binds in containers only.
	IDs IDMaps
}
