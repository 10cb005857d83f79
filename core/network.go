package core

import (
	"net"
	"net/netip"
	"time"
)

// Names of the networks that are always there.
const (
	NetworkBridge = "bridge"
	NetworkHost   = "host"
	NetworkNone   = "none"
)

// Network is a network that containers can be attached to.
type Network struct {
	ID         NetworkID
	Name       string
	Created    time.Time
	Driver     string // "bridge", "macvlan", "ipvlan", "host", "null"
	EnableIPv4 bool
	EnableIPv6 bool
	Internal   bool
	Attachable bool
	IPAM       IPAM
	Options    map[string]string
	Labels     map[string]string
	// DNS are the servers that containers of the network ask that name none themselves; nil: the daemon's.
	DNS []netip.Addr `json:",omitempty"`
}

// Predefined reports whether the network is one of bridge, host and none, which can't be removed.
func (n Network) Predefined() bool {
	return n.Name == NetworkBridge || n.Name == NetworkHost || n.Name == NetworkNone
}

// NetworkUpdate is a change of a network that containers may be in.
type NetworkUpdate struct {
	AddLabels    map[string]string
	RemoveLabels []string
	DNS          *[]netip.Addr     // nil: as they are; empty: the daemon's
	Options      map[string]string // an empty value takes the option away
}

// SubnetUse is how many addresses of a subnet are taken or reserved, and how many can still be given out.
type SubnetUse struct {
	Subnet      netip.Prefix
	Taken, Free uint64
}

// IPAM is how a network gives out addresses.
type IPAM struct {
	Driver  string // "default", "null"
	Options map[string]string
	Pools   []IPPool
}

// IPPool is a subnet of a network.
type IPPool struct {
	Subnet  netip.Prefix
	Range   netip.Prefix // invalid: the whole subnet
	Gateway netip.Addr   // invalid: the first address
	Aux     map[string]netip.Addr
}

// Endpoint is a container's place in a network: first what was asked for, then what it got while it runs.
type Endpoint struct {
	// What was asked for.
	Aliases    []string
	Links      []string
	DriverOpts map[string]string
	GwPriority int
	IPv4       netip.Addr // a fixed address; invalid: any
	IPv6       netip.Addr
	LinkLocal  []netip.Addr
	WantMAC    net.HardwareAddr // a fixed address; nil: any

	// What it got. Zero while the container does not run.
	NetworkID   NetworkID
	EndpointID  string
	Gateway     netip.Addr
	Address     netip.Prefix
	GatewayIPv6 netip.Addr
	AddressIPv6 netip.Prefix
	MAC         net.HardwareAddr
	DNSNames    []string
	Interface   string // inside the container: "eth0"
}

// Attachment is an endpoint seen from its network.
type Attachment struct {
	Container   ContainerID
	Name        string
	EndpointID  string
	MAC         net.HardwareAddr
	Address     netip.Prefix
	AddressIPv6 netip.Prefix
}
