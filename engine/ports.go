package engine

import (
	"context"
	"syscall"
	"time"

	"github.com/berth-engine/berth/core"
)

// Images is what the engine needs of the image organ: looking up what a container stands on.
type Images interface {
	// Lookup finds a local image by reference, digest, ID or unambiguous prefix of an ID (core.NoSuchImage when
	// it is not there). A zero platform means the best one for this host.
	Lookup(ctx context.Context, ref string, platform core.Platform) (core.Image, error)
	// Delete takes a reference away or, for an ID, all of them, and with the last one the image. The engine has
	// already checked that no container stands in the way; with prune, parents without a name go too.
	Delete(ctx context.Context, ref string, force, prune bool) ([]core.ImageDelete, error)
	// List gives the images that the options select; Containers of the answer is filled in by the engine.
	List(ctx context.Context, options core.ImageListOptions) ([]core.ImageUsage, error)
	History(ctx context.Context, ref string, platform core.Platform) ([]core.ImageHistory, error)
	Tag(ctx context.Context, source, target string) error
	// Size is the bytes of all content and layers on the disk, each counted once.
	Size(ctx context.Context) (int64, error)
}

// Layers is what the engine needs of the image organ: the writable layer of each container.
type Layers interface {
	// Create makes an empty writable layer on the image and keeps the image's content alive while it exists.
	// Creating twice is harmless.
	Create(ctx context.Context, id core.ContainerID, image core.Image) error
	// Mounts says how the root file system is mounted. It touches no disk beyond a cached look at the image.
	Mounts(ctx context.Context, id core.ContainerID) ([]core.FSMount, error)
	// Remove deletes the layer; one that is not there is no error.
	Remove(ctx context.Context, id core.ContainerID) error
	// Usage is the size in bytes of the writable layer, and of everything below it.
	Usage(ctx context.Context, id core.ContainerID) (rw, root int64, err error)
	// List names the layers that exist, so that restore can remove those without a container.
	List(ctx context.Context) ([]core.ContainerID, error)
}

// Runtime is what the engine needs of the runtime organ: processes.
type Runtime interface {
	// Start runs the container's first process. Streams that Attach queued beforehand are connected before the
	// process runs, so that no byte is lost. An error means that nothing is left of the attempt.
	Start(ctx context.Context, launch core.Launch) (core.Started, error)
	// Exec runs a further process in a running container.
	Exec(ctx context.Context, c *core.Container, exec *core.Exec, streams *core.Streams) (core.Started, error)
	// Signal sends a signal to the container's first process. syscall.Errno ESRCH: it is gone already.
	Signal(ctx context.Context, id core.ContainerID, signal syscall.Signal) error
	// KillExec ends a further process by SIGKILL; one that is gone is no error.
	KillExec(ctx context.Context, id core.ContainerID, exec core.ExecID) error
	Pause(ctx context.Context, id core.ContainerID) error
	Resume(ctx context.Context, id core.ContainerID) error
	// Update changes the limits of a running container.
	Update(ctx context.Context, id core.ContainerID, resources core.Resources) error
	// Delete ends what is left of the container (by SIGKILL) and removes its runtime state: shim, cgroup, bundle.
	// Deleting what is not there is harmless.
	Delete(ctx context.Context, id core.ContainerID) error
	// Adopt finds the containers that survived the last daemon and connects to their shims. Called once, before
	// anything else; exits of adopted containers arrive through the exit function from then on.
	Adopt(ctx context.Context) ([]core.Adopted, error)
}

// Console is what the engine needs of the runtime organ: streams and terminals.
type Console interface {
	// Attach connects a client. For a container that has not started it queues the client until Start. It returns
	// when the attachment is over (detached, output at its end, client gone).
	Attach(ctx context.Context, id core.ContainerID, streams core.Streams) error
	// Resize sets the size of the terminal of the first process, or of an exec.
	Resize(ctx context.Context, id core.ContainerID, exec core.ExecID, height, width uint) error
}

// Meter is what the engine needs of the runtime organ: numbers.
type Meter interface {
	Stats(ctx context.Context, id core.ContainerID) (core.Stats, error)
	// PIDs lists the processes of the container, in the host's namespace.
	PIDs(ctx context.Context, id core.ContainerID) ([]int, error)
}

// Networks is what the engine needs of the network organ: objects.
type Networks interface {
	// Create checks, completes (subnet, gateway, options) and makes a network.
	Create(ctx context.Context, network core.Network) (core.Network, error)
	// Remove unmakes a network. The engine has checked that nothing is attached.
	Remove(ctx context.Context, id core.NetworkID) error
	// Lookup finds a network by name, ID or unambiguous prefix of an ID.
	Lookup(ctx context.Context, ref string) (core.Network, error)
	List(ctx context.Context) ([]core.Network, error)
	// Attachments lists who is in a network right now.
	Attachments(ctx context.Context, id core.NetworkID) ([]core.Attachment, error)
}

// Sandboxes is what the engine needs of the network organ: containers in networks.
type Sandboxes interface {
	// Open makes the namespace, joins the networks, publishes the ports. An error leaves nothing behind.
	Open(ctx context.Context, sandbox core.Sandbox) (core.Joined, error)
	// Close undoes Open: addresses, published ports, names. Closing twice is harmless.
	Close(ctx context.Context, id core.ContainerID) error
	// Connect and Disconnect change the networks of an open sandbox.
	Connect(ctx context.Context, id core.ContainerID, network string, endpoint core.Endpoint) (core.Endpoint, error)
	Disconnect(ctx context.Context, id core.ContainerID, network string) error
	// Rename changes the names that DNS answers with.
	Rename(ctx context.Context, id core.ContainerID, name string) error
	// Restore takes over the sandboxes of running containers after a restart of the daemon and removes whatever
	// belongs to no container any more. Called once, before Open.
	Restore(ctx context.Context, sandboxes []core.Sandbox) error
}

// Volumes is what the engine needs of the volume organ.
type Volumes interface {
	// Create makes a volume, or gives the one that is there when driver and options agree.
	Create(ctx context.Context, volume core.Volume) (core.Volume, error)
	Lookup(ctx context.Context, name string) (core.Volume, error)
	List(ctx context.Context) ([]core.Volume, error)
	// Remove deletes a volume and its data. The engine has checked that no container uses it.
	Remove(ctx context.Context, name string) error
	// Mount readies a volume for a container and gives its path on the host; Unmount lets go.
	Mount(ctx context.Context, name string, by core.ContainerID) (path string, err error)
	Unmount(ctx context.Context, name string, by core.ContainerID) error
	// Fill copies what the image has at the destination into an empty volume, with owners and modes.
	// root is the mounts of a root file system to look into.
	Fill(ctx context.Context, name string, root []core.FSMount, destination string) error
	// Source checks that the source of a bind is there; with make a missing one becomes a folder.
	Source(ctx context.Context, path string, make bool) error
	// Size is the disk use in bytes.
	Size(ctx context.Context, name string) (int64, error)
}

// Logs is what the engine needs of the logs organ. The shims write; it reads.
type Logs interface {
	// Read opens the log of a container; done is closed when its process ended (it ends a Follow).
	Read(ctx context.Context, path string, options core.LogOptions, done <-chan struct{}) (core.LogReader, error)
	Remove(ctx context.Context, path string) error
}

// Records keeps what must survive the daemon, and the machine.
type Records interface {
	// Save writes a container's record; with durable it is on the disk before Save returns, else soon.
	Save(ctx context.Context, c *core.Container, durable bool) error
	Delete(ctx context.Context, id core.ContainerID) error
	All(ctx context.Context) ([]*core.Container, error)
}

// Journal keeps events on the disk.
type Journal interface {
	// Append keeps an event; it does not block on the disk.
	Append(event core.Event)
	// Since lists the kept events from a moment on, oldest first.
	Since(moment time.Time) ([]core.Event, error)
}

// BuildCache is what the engine needs of the build organ, for `system df`.
type BuildCache interface {
	Usage(ctx context.Context) ([]core.BuildCacheRecord, error)
}
