package server

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/berth-engine/berth/core"
)

// Containers is what the API needs of the engine to make, find and remove containers.
type Containers interface {
	// Create checks and makes a container; warnings are sentences for the user.
	Create(ctx context.Context, request core.CreateRequest) (id core.ContainerID, warnings []string, err error)
	// Inspect finds a container by name, ID or unambiguous prefix of an ID.
	Inspect(ctx context.Context, ref string, size bool) (core.ContainerView, error)
	List(ctx context.Context, options core.ContainerListOptions) ([]core.ContainerView, error)
	Rename(ctx context.Context, ref, name string) error
	Remove(ctx context.Context, ref string, options core.RemoveOptions) error
	Prune(ctx context.Context, filters core.Filters) (core.Pruned, error)
	// Update changes limits, restart policy and published ports.
	Update(ctx context.Context, ref string, request core.UpdateRequest) (core.UpdateResult, error)
}

// Lifecycle is what the API needs of the engine to start and end containers. "Already so" is core.NotModified.
type Lifecycle interface {
	Start(ctx context.Context, ref string) error
	Stop(ctx context.Context, ref string, options core.StopOptions) error
	Restart(ctx context.Context, ref string, options core.StopOptions) error
	Kill(ctx context.Context, ref, signal string) error
	Pause(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
	// Wait returns at once: an error when there is no such container, else a channel that gets one status. The
	// waiter is registered when Wait returns, so that a start that follows can't be missed. condition is
	// "not-running", "next-exit" or "removed".
	Wait(ctx context.Context, ref, condition string) (<-chan core.WaitResult, error)
}

// Consoles is what the API needs of the engine to look into a running container.
type Consoles interface {
	// Attach checks, then calls hijack for the connection (from that moment errors can no longer be answered with
	// a status), and returns when the attachment is over. tty tells hijack which content type to announce.
	Attach(ctx context.Context, ref string, options core.AttachOptions, hijack core.Hijack) error
	Resize(ctx context.Context, ref string, height, width uint) error
	// Logs gives the lines and whether the container has a terminal (then the API sends them unframed).
	Logs(ctx context.Context, ref string, options core.LogOptions) (reader core.LogReader, tty bool, err error)
	// Top runs ps with the arguments and keeps the rows of the container's processes.
	Top(ctx context.Context, ref, psArgs string) (titles []string, rows [][]string, err error)
	// Stats measures once; name is without slash.
	Stats(ctx context.Context, ref string) (core.StatsSample, error)
}

// Execs is what the API needs of the engine for further processes.
type Execs interface {
	Create(ctx context.Context, container string, spec core.ExecSpec) (core.ExecID, error)
	// Start runs it. With detach it returns once the process runs; else it calls hijack and returns at the end.
	Start(ctx context.Context, id string, options core.ExecStartOptions, hijack core.Hijack) error
	Inspect(ctx context.Context, id string) (core.Exec, error)
	Resize(ctx context.Context, id string, height, width uint) error
}

// Files is what the API needs of the engine for the files of containers. What moves much of them is given a function that
// breaks the client's connection off: it is called when the container can't wait for a slow client any longer.
type Files interface {
	// Stat describes what is at a path.
	Stat(ctx context.Context, container, path string) (core.PathStat, error)
	// Archive writes a tar of what is at a path. Before the first byte head is called, which says where the tar goes.
	Archive(ctx context.Context, container, path string, head func(core.PathStat) (io.Writer, error), cut func()) error
	// Extract unpacks a tar, compressed or not, into a folder; asUser makes it belong to the container's user.
	Extract(ctx context.Context, container, path string, options core.ExtractOptions, asUser bool, r io.Reader, cut func()) error
	// Changes lists how the files differ from the image's.
	Changes(ctx context.Context, container string) ([]core.Change, error)
	// Export writes a tar of the root file system without what is mounted over it.
	Export(ctx context.Context, container string, w io.Writer, cut func()) error
	// Commit makes an image of the container.
	Commit(ctx context.Context, request core.CommitRequest) (core.ImageID, error)
}

// Images is what the API needs to show and change images.
type Images interface {
	List(ctx context.Context, options core.ImageListOptions) ([]core.ImageUsage, error)
	Inspect(ctx context.Context, ref string, platform core.Platform) (core.Image, error)
	History(ctx context.Context, ref string, platform core.Platform) ([]core.ImageHistory, error)
	Tag(ctx context.Context, source, target string) error
	Remove(ctx context.Context, ref string, force, prune bool) ([]core.ImageDelete, error)
	Prune(ctx context.Context, filters core.Filters) (core.Pruned, error)
}

// Transfers is what the API needs to move images.
type Transfers interface {
	Pull(ctx context.Context, ref string, platform core.Platform, all bool, auth *core.RegistryAuth, progress core.ProgressFunc) error
	Push(ctx context.Context, ref string, platform core.Platform, auth *core.RegistryAuth, progress core.ProgressFunc) error
	// Load reads a tar (docker archive or OCI layout, compressed or not).
	Load(ctx context.Context, r io.Reader, platform core.Platform, quiet bool, progress core.ProgressFunc) error
	// Save writes a tar that both Docker and OCI tools read.
	Save(ctx context.Context, refs []string, platform core.Platform, w io.Writer) error
	// Import makes an image of a root file system (tar, compressed or not) and tags it.
	Import(ctx context.Context, r io.Reader, request core.ImportRequest) (core.ImageID, error)
	// Login checks credentials against a registry.
	Login(ctx context.Context, auth core.RegistryAuth) (status, identityToken string, err error)
}

// Networks is what the API needs of the engine for networks.
type Networks interface {
	List(ctx context.Context, filters core.Filters) ([]core.NetworkView, error)
	Inspect(ctx context.Context, ref string) (core.NetworkView, error)
	Create(ctx context.Context, network core.Network) (core.NetworkID, error)
	Remove(ctx context.Context, ref string) error
	Update(ctx context.Context, ref string, update core.NetworkUpdate) error
	Connect(ctx context.Context, ref, container string, endpoint core.Endpoint) error
	Disconnect(ctx context.Context, ref, container string, force bool) error
	Prune(ctx context.Context, filters core.Filters) (core.Pruned, error)
}

// Volumes is what the API needs of the engine for volumes.
type Volumes interface {
	List(ctx context.Context, filters core.Filters) ([]core.Volume, error)
	Inspect(ctx context.Context, name string) (core.Volume, error)
	Create(ctx context.Context, volume core.Volume) (core.Volume, error)
	Remove(ctx context.Context, name string, force bool) error
	Prune(ctx context.Context, filters core.Filters) (core.Pruned, error)
}

// VolumeCopies is what the API needs of the engine for the verbs of volumes that Docker does not have.
type VolumeCopies interface {
	// Export writes a tar of a volume or, with a tag, of a snapshot; format is "gzip", "zstd" or empty.
	Export(ctx context.Context, name, tag, format string, w io.Writer) error
	// Import makes a volume of a tar, compressed or not; with replace what is in it goes.
	Import(ctx context.Context, name string, r io.Reader, replace bool) (core.Volume, error)
	Clone(ctx context.Context, name, tag, as string, pause bool, progress core.ProgressFunc) (core.Volume, error)
	Rename(ctx context.Context, name, as string) error
	Snapshot(ctx context.Context, name, tag string, pause bool, progress core.ProgressFunc) (core.VolumeSnapshot, error)
	Snapshots(ctx context.Context, name string) ([]core.VolumeSnapshot, error)
	Rollback(ctx context.Context, name, tag string, progress core.ProgressFunc) error
	RemoveSnapshot(ctx context.Context, name, tag string) error
}

// Builds is what the API needs of the build organ.
type Builds interface {
	// Build runs a classic build; the context is a tar, compressed or not. It gives the image's ID.
	Build(ctx context.Context, context io.Reader, options core.BuildOptions, progress core.ProgressFunc) (core.ImageID, error)
	Cancel(ctx context.Context, buildID string) error
	Usage(ctx context.Context) ([]core.BuildCacheRecord, error)
	Prune(ctx context.Context, all bool, keepBytes int64, filters core.Filters) (core.Pruned, error)
	// ServeGRPC and ServeSession take over the connection of an upgraded request (h2c) for BuildKit's own protocols.
	ServeGRPC(w http.ResponseWriter, r *http.Request)
	ServeSession(w http.ResponseWriter, r *http.Request)
}

// System is what the API needs to speak of the whole.
type System interface {
	Info(ctx context.Context) (core.Info, error)
	DiskUsage(ctx context.Context, types []string) (core.DiskUsage, error)
	// Events replays what is kept since `since` and follows until `until` (zero: now and no further when since is
	// set and until is past; else forever). The channel is closed at the end.
	Events(ctx context.Context, since, until time.Time, filters core.Filters) (<-chan core.Event, error)
}
