package engine

import (
	"context"
	"syscall"

	"github.com/berth-engine/berth/core"
)

// Layers is what the engine needs of the image organ: the writable layer of each container.
type Layers interface {
	// Create makes an empty writable layer on the image and keeps the image's content alive while it exists.
	// Creating twice is harmless.
	Create(ctx context.Context, id core.ContainerID, image core.Image) error
	// Limit bounds how many bytes the layer may take; called once, before anything is written to it.
	Limit(ctx context.Context, id core.ContainerID, bytes int64) error
	// Mounts says how the root file system is mounted. It touches no disk beyond a cached look at the image.
	Mounts(ctx context.Context, id core.ContainerID) ([]core.FSMount, error)
	// Remove deletes the layer; one that is not there is no error.
	Remove(ctx context.Context, id core.ContainerID) error
	// Usage is the size in bytes of the writable layer, and of everything below it.
	Usage(ctx context.Context, id core.ContainerID) (rw, root int64, err error)
	// Changes lists how it differs from the image, folders before what is in them.
	Changes(ctx context.Context, id core.ContainerID) ([]core.Change, error)
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

// Sandboxes is what the engine needs of the network organ: containers in networks.
type Sandboxes interface {
	// Open makes the namespace, joins the networks, publishes the ports. An error leaves nothing behind.
	Open(ctx context.Context, sandbox core.Sandbox) (core.Joined, error)
	// Close undoes Open: addresses, published ports, names. Closing twice is harmless.
	Close(ctx context.Context, id core.ContainerID) error
	// Connect and Disconnect change the networks of an open sandbox, and give the ports that are published then.
	Connect(ctx context.Context, id core.ContainerID, network string, endpoint core.Endpoint) (core.Endpoint, []core.PublishedPort, error)
	Disconnect(ctx context.Context, id core.ContainerID, network string) ([]core.PublishedPort, error)
	// Publish makes the published ports of an open sandbox those of the specification, and gives what is held then. An
	// error leaves those that were.
	Publish(ctx context.Context, sandbox core.Sandbox) ([]core.PublishedPort, error)
	// Rename changes the names that DNS answers with.
	Rename(ctx context.Context, id core.ContainerID, name string) error
	// Relink changes the containers that an open sandbox is linked to on the default network.
	Relink(ctx context.Context, id core.ContainerID, links []string) error
	// Restore takes over the sandboxes of running containers after a restart of the daemon and removes whatever
	// belongs to no container any more. Called once, before Open.
	Restore(ctx context.Context, sandboxes []core.Sandbox) error
}

// Images is what containers need of the image organ.
type Images interface {
	// Lookup finds a local image by reference, digest, ID or unambiguous prefix of an ID (core.NoSuchImage when
	// it is not there). A zero platform means the best one for this host.
	Lookup(ctx context.Context, ref string, platform core.Platform) (core.Image, error)
}

// Records keeps what must survive the daemon, and the machine.
type Records interface {
	// Save writes a container's record; with durable it is on the disk before Save returns, else soon.
	Save(ctx context.Context, c *core.Container, durable bool) error
	Delete(ctx context.Context, id core.ContainerID) error
	All(ctx context.Context) ([]*core.Container, error)
}

// Labels is what the engine needs of SELinux. Where that is off, or not to be used, no label is given, and nothing else
// has an effect.
type Labels interface {
	// Allot makes the labels of a container's processes and of its files, from the values of --security-opt label=. No
	// two containers get the same categories, unless an option says so.
	Allot(options []string) (process, files string, err error)
	// Like gives the options that make a label as another container's.
	Like(process string) (options []string, err error)
	// Keep makes a label that an earlier daemon gave nobody else's; Release gives it back.
	Keep(process string) error
	Release(process string)
	// Relabel labels what is at a path of the host, and below, for a container; shared: for all.
	Relabel(path, files string, shared bool) error
}
