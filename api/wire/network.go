package wire

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/moby/moby/api/types/network"

	"github.com/berth-engine/berth/core"
)

// endpoint shows a container's place in a network.
func endpoint(e *core.Endpoint) *network.EndpointSettings {
	if e == nil {
		return &network.EndpointSettings{}
	}
	shape := &network.EndpointSettings{
		Links:       e.Links,
		Aliases:     e.Aliases,
		DriverOpts:  e.DriverOpts,
		GwPriority:  e.GwPriority,
		NetworkID:   string(e.NetworkID),
		EndpointID:  e.EndpointID,
		Gateway:     e.Gateway,
		MacAddress:  network.HardwareAddr(e.MAC),
		IPv6Gateway: e.GatewayIPv6,
		DNSNames:    e.DNSNames,
	}
	if e.MAC == nil {
		shape.MacAddress = network.HardwareAddr(e.WantMAC)
	}
	if e.IPv4.IsValid() || e.IPv6.IsValid() || len(e.LinkLocal) > 0 {
		shape.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: e.IPv4, IPv6Address: e.IPv6, LinkLocalIPs: e.LinkLocal}
	}
	if e.Address.IsValid() {
		shape.IPAddress, shape.IPPrefixLen = e.Address.Addr(), e.Address.Bits()
	}
	if e.AddressIPv6.IsValid() {
		shape.GlobalIPv6Address, shape.GlobalIPv6PrefixLen = e.AddressIPv6.Addr(), e.AddressIPv6.Bits()
	}
	return shape
}

// endpointFrom reads what was asked for; what the container got is the engine's to say.
func endpointFrom(shape *network.EndpointSettings) *core.Endpoint {
	if shape == nil {
		return &core.Endpoint{}
	}
	e := &core.Endpoint{
		Aliases:    shape.Aliases,
		Links:      shape.Links,
		DriverOpts: shape.DriverOpts,
		GwPriority: shape.GwPriority,
		WantMAC:    net.HardwareAddr(shape.MacAddress),
	}
	if ipam := shape.IPAMConfig; ipam != nil {
		e.IPv4, e.IPv6, e.LinkLocal = ipam.IPv4Address, ipam.IPv6Address, ipam.LinkLocalIPs
	}
	return e
}

// networkShape shows a network without who is in it.
func networkShape(n *core.Network) network.Network {
	shape := network.Network{
		Name:       n.Name,
		ID:         string(n.ID),
		Created:    n.Created,
		Scope:      "local",
		Driver:     n.Driver,
		EnableIPv4: n.EnableIPv4,
		EnableIPv6: n.EnableIPv6,
		IPAM:       network.IPAM{Driver: n.IPAM.Driver, Options: n.IPAM.Options, Config: list(each(n.IPAM.Pools, pool))},
		Internal:   n.Internal,
		Attachable: n.Attachable,
		Options:    notNil(n.Options),
		Labels:     notNil(n.Labels),
	}
	if n.Name == core.NetworkNone || n.Name == core.NetworkHost {
		shape.IPAM.Config = nil
	}
	if shape.IPAM.Driver == "" {
		shape.IPAM.Driver = "default"
	}
	return shape
}

func pool(p core.IPPool) network.IPAMConfig {
	return network.IPAMConfig{Subnet: p.Subnet, IPRange: p.Range, Gateway: p.Gateway, AuxAddress: p.Aux}
}

func poolFrom(c network.IPAMConfig) core.IPPool {
	return core.IPPool{Subnet: c.Subnet, Range: c.IPRange, Gateway: c.Gateway, Aux: c.AuxAddress}
}

// inspectedNetwork is Docker's shape and, beside it, what `network update` can give a network.
type inspectedNetwork struct {
	network.Inspect
	DNS []netip.Addr `json:",omitempty"`
}

// NetworkInspect shows a network with who is in it (GET /networks/{id}).
// From 1.52 on it says how the addresses are used.
func NetworkInspect(view core.NetworkView, version Version) any {
	shape := network.Inspect{
		Network:    networkShape(&view.Network),
		Containers: make(map[string]network.EndpointResource, len(view.Attached)),
	}
	if len(view.Use) > 0 && !version.Before(52) {
		subnets := network.SubnetStatuses{}
		for _, u := range view.Use {
			subnets[u.Subnet] = network.SubnetStatus{IPsInUse: u.Taken, DynamicIPsAvailable: u.Free}
		}
		shape.Status = &network.Status{IPAM: network.IPAMStatus{Subnets: subnets}}
	}
	for _, a := range view.Attached {
		shape.Containers[string(a.Container)] = network.EndpointResource{
			Name:        a.Name,
			EndpointID:  a.EndpointID,
			MacAddress:  network.HardwareAddr(a.MAC),
			IPv4Address: a.Address,
			IPv6Address: a.AddressIPv6,
		}
	}
	return inspectedNetwork{shape, view.Network.DNS}
}

// NetworkList shows networks (GET /networks). Until 1.51 each has an empty set of containers.
func NetworkList(views []core.NetworkView, version Version) any {
	if version.Before(52) {
		return each(list(views), func(view core.NetworkView) network.Inspect {
			return network.Inspect{Network: networkShape(&view.Network), Containers: map[string]network.EndpointResource{}}
		})
	}
	return each(list(views), func(view core.NetworkView) network.Summary {
		return network.Summary{Network: networkShape(&view.Network)}
	})
}

// The options that say which families a network has, where its field does not.
const (
	optIPv4 = "com.docker.network.enable_ipv4"
	optIPv6 = "com.docker.network.enable_ipv6"
)

// family reads whether a network has a family of addresses.
func family(field *bool, options map[string]string, option string, otherwise bool) (bool, error) {
	text, ok := options[option]
	switch {
	case field != nil:
		return *field, nil
	case !ok:
		return otherwise, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, core.Invalid("driver-opt %q is not a valid bool", option)
	}
	return on, nil
}

// DecodeNetwork reads the body of POST /networks/create.
func DecodeNetwork(body []byte, version Version) (core.Network, error) {
	var shape network.CreateRequest
	if err := decodeOptional(body, &shape); err != nil {
		return core.Network{}, err
	}
	switch {
	case shape.ConfigOnly || shape.ConfigFrom != nil && shape.ConfigFrom.Network != "":
		return core.Network{}, core.NotImplemented("Berth does not have config-only networks yet")
	case shape.Ingress || shape.Scope == "swarm" || shape.Scope == "global":
		return core.Network{}, core.NotImplemented("Berth does not have swarm-scoped networks yet")
	case shape.Scope != "" && shape.Scope != "local":
		return core.Network{}, core.Invalid("invalid network scope: %q", shape.Scope)
	}
	four, err := family(shape.EnableIPv4, shape.Options, optIPv4, true)
	if err != nil {
		return core.Network{}, err
	}
	six, err := family(shape.EnableIPv6, shape.Options, optIPv6, false)
	if err != nil {
		return core.Network{}, err
	}
	n := core.Network{
		Name:       shape.Name,
		Driver:     shape.Driver,
		EnableIPv4: four || version.Before(48),
		EnableIPv6: six,
		Internal:   shape.Internal,
		Attachable: shape.Attachable,
		Options:    shape.Options,
		Labels:     shape.Labels,
		IPAM:       core.IPAM{Driver: "default"},
	}
	if n.Driver == "" || n.Driver == "default" {
		n.Driver = network.NetworkBridge
	}
	if ipam := shape.IPAM; ipam != nil {
		n.IPAM.Options, n.IPAM.Pools = ipam.Options, each(ipam.Config, poolFrom)
		if ipam.Driver != "" {
			n.IPAM.Driver = ipam.Driver
		}
	}
	return n, nil
}

// networkUpdate is the body of POST /networks/{id}/update, which Docker does not have.
type networkUpdate struct {
	AddLabels    map[string]string
	RemoveLabels []string
	DNS          *[]netip.Addr
	Options      map[string]string
}

// DecodeNetworkUpdate reads the body of POST /networks/{id}/update.
func DecodeNetworkUpdate(body []byte) (core.NetworkUpdate, error) {
	var shape networkUpdate
	err := decodeOptional(body, &shape)
	return core.NetworkUpdate(shape), err
}

// NetworkCreated is the answer to POST /networks/create.
func NetworkCreated(id core.NetworkID) any { return network.CreateResponse{ID: string(id)} }

// DecodeConnect reads the body of POST /networks/{id}/connect.
func DecodeConnect(body []byte, version Version) (container string, e core.Endpoint, err error) {
	var shape network.ConnectRequest
	if err := decodeOptional(body, &shape); err != nil {
		return "", core.Endpoint{}, err
	}
	e = *endpointFrom(shape.EndpointConfig)
	if version.Before(48) {
		e.GwPriority = 0
	}
	if version.Before(44) {
		e.WantMAC = nil
	}
	return shape.Container, e, nil
}

// DecodeDisconnect reads the body of POST /networks/{id}/disconnect.
func DecodeDisconnect(body []byte) (container string, force bool, err error) {
	var shape network.DisconnectRequest
	err = decodeOptional(body, &shape)
	return shape.Container, shape.Force, err
}

// NetworksPruned shows what POST /networks/prune removed.
func NetworksPruned(p core.Pruned) any { return network.PruneReport{NetworksDeleted: p.Deleted} }
