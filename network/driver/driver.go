// Package driver says what makes the kinds of networks differ. The organ takes addresses, publishes ports and answers
// names; a Driver knows what the network is made of.
package driver

import (
	"context"
	"net"
	"net/netip"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/firewall"
	"github.com/berth-engine/berth/network/ipam"
)

// DefaultMTU in bytes.
const DefaultMTU = 1500

// Driver makes the networks of one kind.
type Driver interface {
	// Complete reads the options of a network, refuses those that it does not know, and says in the network what follows
	// from them. Nothing is made; the kernel may be asked. The organ takes the addresses afterwards.
	Complete(n *Network) error
	// Up makes the network in the kernel, or takes over what is there, and sets Index. It may be called again with other
	// options of the same network. An error leaves what Down removes.
	Up(ctx context.Context, n *Network) error
	// Down undoes Up; what is not there is no error.
	Down(ctx context.Context, n *Network) error
	// Join asks, in a batch of the host's, for an interface inside a namespace. It is down and has no address.
	Join(batch *link.Batch, n *Network, p Port) error
}

// Network is a network with what its driver made of it. Its fields do not change once containers can see it.
type Network struct {
	core.Network
	Traits

	Link    string // the interface of the host that the network stands on: its bridge, its parent; empty: none
	Adopted bool   // Link was there before the network and stays behind it
	Index   int    // of Link; 0: the network is not up
	MTU     int    // of containers' interfaces, in bytes

	IPv4, IPv6 *ipam.Family // nil: the network does not have the family
	Rules      firewall.Network
	Port       link.Port  // how a bridge treats containers
	HostIP     netip.Addr // where ports are published that name no address; invalid: everywhere
}

// Traits are what the organ must know of a network.
type Traits struct {
	Joined    bool // containers get an interface in it; false for host and none
	Subnets   int  // how many subnets it may have of each family
	NoGateway bool // a gateway is only where the user says that there is one
	SharedMAC bool // interfaces have the hardware address of Link
	OnLink    bool // everything is reached without a gateway
	Pairs     bool // interfaces are pairs whose other end is on the host, as those that are made in advance
	Publishes bool // ports of the host can lead to its containers
}

// Port is the interface of a container.
type Port struct {
	Host string // the name of its end on the host, for drivers that have one
	Name string // inside
	MAC  net.HardwareAddr
	NS   int // descriptor of the namespace
}

// Plain is the driver of networks that are nothing in the kernel: the host's, and none.
type Plain struct{}

// Complete forgets what was asked for addresses.
func (Plain) Complete(n *Network) error {
	n.IPAM = core.IPAM{Driver: "default"}
	return nil
}

// Up makes nothing.
func (Plain) Up(context.Context, *Network) error { return nil }

// Down has nothing to undo.
func (Plain) Down(context.Context, *Network) error { return nil }

// Join is never called: nobody gets an interface.
func (Plain) Join(*link.Batch, *Network, Port) error { return nil }
