package core

import (
	"os"
	"time"
)

// PathStat is what is at a path inside a container.
type PathStat struct {
	Name  string
	Size  int64
	Mode  os.FileMode
	Mtime time.Time
	// LinkTarget is where a symbolic link leads to, inside the container, as far as the way there exists.
	LinkTarget string
}

// FilesView says what the files of a container are made of.
type FilesView struct {
	Container ContainerID
	// PID is the first process when the container runs: its mount namespace says what is mounted. Else Root says how the
	// root file system is mounted, and Mounts what over it.
	PID    int
	Root   []FSMount
	Mounts []FSMount // only the targets matter while it runs
	// ReadOnly keeps the root file system, but not what is mounted over it, from being written to.
	ReadOnly bool
	// Over is a folder that the view is put together on, in a mount namespace that nobody else sees.
	Over string
}

// ExtractOptions say how a tar is unpacked into a container.
type ExtractOptions struct {
	// KeepKinds refuses to replace a folder by something else, or something else by a folder.
	KeepKinds bool
	// User, "name|uid[:group|gid]", owns what is unpacked; nil: whom the tar names.
	User *string
}

// ChangeKind says what a container did to a path of its image.
type ChangeKind uint8

// The kinds, with the numbers of the API.
const (
	ChangeModify ChangeKind = 0
	ChangeAdd    ChangeKind = 1
	ChangeDelete ChangeKind = 2
)

// Change is a path at which a container differs from its image.
type Change struct {
	Path string
	Kind ChangeKind
}

// CommitRequest is a container that becomes an image.
type CommitRequest struct {
	Container string
	Ref       string // empty: the image gets no name
	Author    string
	Comment   string
	Changes   []string // instructions of a Dockerfile
	Config    *Config  // nil: the container's
	NoPause   bool
}

// Commit is a CommitRequest with what the engine knows of the container.
type Commit struct {
	CommitRequest
	ID        ContainerID
	Image     ImageID
	Platform  Platform
	Settings  Config // the container's own
	CreatedBy string
}
