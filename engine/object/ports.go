// Package object holds the nouns that outlive containers: images, networks and volumes. The organs own them; who may
// change or remove one while containers use it is decided here.
package object

import (
	"context"

	"github.com/berth-engine/berth/core"
)

// Containers is what the nouns need to know of containers.
type Containers interface {
	// Views lists the containers, newest first.
	Views() []*core.Container
	// Hold gives a container once no verb works on it; none begins before release is called.
	Hold(ctx context.Context, ref string) (c *core.Container, release func(), err error)
	// Connect and Disconnect change the networks of a container, found by reference.
	Connect(ctx context.Context, ref string, network core.Network, endpoint core.Endpoint) (core.ContainerID, error)
	Disconnect(ctx context.Context, ref string, network core.Network, force bool) (core.ContainerID, error)
}

// Publisher hands on what happened.
type Publisher interface {
	Publish(event core.Event)
}

// ImagePort is what the engine needs of the image organ: looking up what a container stands on.
type ImagePort interface {
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
	// Prune deletes the images that the filters select and that are not in use.
	Prune(ctx context.Context, filters core.Filters, used func(core.ImageID) bool) (core.Pruned, error)
	// Usage lists all images with what they share, and the bytes that all take together.
	Usage(ctx context.Context) (images []core.ImageUsage, total int64, err error)
}

// NetworkPort is what the engine needs of the network organ: objects.
type NetworkPort interface {
	// Create checks, completes (subnet, gateway, options) and makes a network.
	Create(ctx context.Context, network core.Network) (core.Network, error)
	// Remove unmakes a network. The engine has checked that nothing is attached.
	Remove(ctx context.Context, id core.NetworkID) error
	// Lookup finds a network by name, ID or unambiguous prefix of an ID.
	Lookup(ctx context.Context, ref string) (core.Network, error)
	List(ctx context.Context) ([]core.Network, error)
	// Attachments lists who is in a network right now.
	Attachments(ctx context.Context, id core.NetworkID) ([]core.Attachment, error)
	// Use counts the addresses of each subnet.
	Use(ctx context.Context, id core.NetworkID) ([]core.SubnetUse, error)
	// Update changes a network while containers are in it, or refuses what can't change so.
	Update(ctx context.Context, id core.NetworkID, update core.NetworkUpdate) (core.Network, error)
	// Warnings say what of the host stands in the way of networks.
	Warnings() []string
}

// VolumePort is what the engine needs of the volume organ to keep volumes.
type VolumePort interface {
	// Create makes a volume, or gives the one that is there when driver and options agree.
	Create(ctx context.Context, volume core.Volume) (core.Volume, error)
	Lookup(ctx context.Context, name string) (core.Volume, error)
	List(ctx context.Context) ([]core.Volume, error)
	// Remove deletes a volume and its data, those with snapshots by force only (a conflict else). The engine has checked
	// that no container uses it.
	Remove(ctx context.Context, name string, force bool) error
	// Size is the disk use in bytes.
	Size(ctx context.Context, name string) (int64, error)
}
