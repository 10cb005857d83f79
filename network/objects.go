package network

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/network/dns"
	"github.com/berth-engine/berth/network/ipam"
)

// Options of the bridge driver, in Docker's words.
const (
	optBridgeName = "com.docker.network.bridge.name"
	optDefault    = "com.docker.network.bridge.default_bridge"
	optICC        = "com.docker.network.bridge.enable_icc"
	optMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
	optHostIPv4   = "com.docker.network.bridge.host_binding_ipv4"
	optMTU        = "com.docker.network.driver.mtu"
	optNoGateway  = "com.docker.network.bridge.inhibit_ipv4"
	optPrefix     = "com.docker.network.container_iface_prefix"
	optIfname     = "com.docker.network.endpoint.ifname"
	optSysctls    = "com.docker.network.endpoint.sysctls"
)

// Names of the drivers, and of the default network.
const (
	driverBridge = "bridge"
	driverHost   = "host"
	driverNull   = "null"
	defaultName  = core.NetworkBridge
)

// Networks is the networks of the daemon. It is the engine's Networks.
type Networks struct{ *shared }

// network is a network with what it has in the kernel. Its fields do not change once it is in shared.networks.
type network struct {
	core.Network
	driver driver

	// Of the bridge driver.
	bridge     string
	adopted    bool // the bridge was there before the network and stays behind it
	index      int
	mtu        int
	isolated   bool // its containers may not talk to each other
	masquerade bool
	hostIP     netip.Addr // where ports are published that name no address; invalid: everywhere
	v4, v6     *ipam.Pool // nil: the network does not have the family
	gateway4   netip.Addr // of the containers, and the bridge's own address
	gateway6   netip.Addr
	zone       *dns.Zone // nil: names are not answered (the default network)
}

// driver is what makes the kinds of networks differ.
type driver interface {
	// complete checks what was asked for and fills in the rest.
	complete(n *network) error
	// up makes the network in the kernel; what is there stays. down undoes it.
	up(ctx context.Context, n *network) error
	down(ctx context.Context, n *network) error
}

// driverFor finds a driver by name.
func (s *shared) driverFor(name string) (driver, error) {
	switch name {
	case driverBridge:
		return bridgeDriver{s}, nil
	case driverHost, driverNull:
		return plainDriver{}, nil
	case "macvlan", "ipvlan", "overlay":
		return nil, core.NotImplemented("Berth does not have the network driver %q yet", name)
	}
	return nil, noPlugin(name)
}

func noPlugin(name string) error {
	return core.NotFound("could not find plugin %s in v1 plugin registry: plugin not found", name)
}

// plainDriver is of networks that are nothing in the kernel: the host's, and none.
type plainDriver struct{}

func (plainDriver) complete(n *network) error {
	n.IPAM = core.IPAM{Driver: "default"}
	return nil
}
func (plainDriver) up(context.Context, *network) error   { return nil }
func (plainDriver) down(context.Context, *network) error { return nil }

// Create checks, completes (subnet, gateway, options) and makes a network.
func (ns *Networks) Create(ctx context.Context, asked core.Network) (core.Network, error) {
	if strings.TrimSpace(asked.Name) == "" {
		return core.Network{}, core.Invalid("invalid name: name is empty")
	}
	if asked.Driver == "" {
		asked.Driver = driverBridge
	}
	if asked.Predefined() || asked.Name == "default" {
		return core.Network{}, core.Forbidden("operation is not permitted on predefined %s network ", asked.Name)
	}
	if asked.Driver == driverHost || asked.Driver == driverNull {
		return core.Network{}, core.Forbidden("only one instance of %q network is allowed", asked.Driver)
	}
	n, err := ns.make(ctx, asked)
	if err != nil {
		return core.Network{}, err
	}
	return n.copy(), nil
}

// make completes a network, makes it in the kernel and writes it down; the caller has checked the name's form.
func (s *shared) make(ctx context.Context, asked core.Network) (_ *network, err error) {
	n := &network{Network: asked}
	n.Options, n.Labels = maps.Clone(asked.Options), maps.Clone(asked.Labels)
	n.IPAM.Pools = slices.Clone(asked.IPAM.Pools)
	if n.ID == "" {
		n.ID = core.NetworkID(id.New())
	}
	if n.Created.IsZero() {
		n.Created = time.Now().UTC()
	}
	if n.driver, err = s.driverFor(n.Driver); err != nil {
		return nil, err
	}
	if err := s.announce(n); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.forget(n)
		}
	}()
	if err := n.driver.complete(n); err != nil {
		return nil, err
	}
	if err := n.driver.up(ctx, n); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.networks[n.ID] = n
	err = s.save()
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("network %q: %w", n.Name, joinDown(ctx, n, err))
	}
	return n, nil
}

// announce takes the name of a network that is being made: a placeholder that nobody is shown stands for it.
func (s *shared) announce(n *network) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.networks {
		if o.Name == n.Name {
			return core.Conflict("network with name %s already exists", n.Name)
		}
	}
	s.networks[n.ID] = &network{Network: core.Network{ID: n.ID, Name: n.Name}}
	return nil
}

// forget gives back what a network held in memory.
func (s *shared) forget(n *network) {
	s.mu.Lock()
	delete(s.networks, n.ID)
	s.mu.Unlock()
	for _, p := range []*ipam.Pool{n.v4, n.v6} {
		if p != nil {
			p.Close()
		}
	}
}

// Remove unmakes a network. The engine has checked that nothing is attached.
func (ns *Networks) Remove(ctx context.Context, id core.NetworkID) error {
	n, err := ns.find(string(id))
	if err != nil {
		return err
	}
	if n.Predefined() {
		return core.Forbidden("%s is a pre-defined network and cannot be removed", n.Name)
	}
	if list := ns.attached(n.ID); len(list) > 0 {
		words := make([]string, len(list))
		for i, a := range list {
			words[i] = fmt.Sprintf("name:%q id:%q", a.Name, core.ContainerID(a.EndpointID).Short())
		}
		return core.Forbidden("error while removing network: network %s has active endpoints (%s)", n.Name, strings.Join(words, ", "))
	}
	if err := n.driver.down(ctx, n); err != nil {
		return fmt.Errorf("error while removing network: %w", err)
	}
	ns.forget(n)
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.save()
}

// Lookup finds a network by ID, name or unambiguous prefix of an ID.
func (ns *Networks) Lookup(_ context.Context, ref string) (core.Network, error) {
	n, err := ns.find(ref)
	if err != nil {
		return core.Network{}, err
	}
	return n.copy(), nil
}

// List gives all networks, by name.
func (ns *Networks) List(context.Context) ([]core.Network, error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	var list []core.Network
	for _, n := range ns.networks {
		if n.driver != nil {
			list = append(list, n.copy())
		}
	}
	slices.SortFunc(list, func(a, b core.Network) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Attachments lists who is in a network right now, by name.
func (ns *Networks) Attachments(_ context.Context, id core.NetworkID) ([]core.Attachment, error) {
	if _, err := ns.find(string(id)); err != nil {
		return nil, err
	}
	return ns.attached(id), nil
}

func (s *shared) attached(id core.NetworkID) []core.Attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []core.Attachment
	for _, sb := range s.sandboxes {
		for _, e := range sb.endpoints {
			if e.network.ID == id {
				list = append(list, core.Attachment{
					Container: sb.Container, Name: sb.Name, EndpointID: e.EndpointID, MAC: e.MAC,
					Address: e.Address, AddressIPv6: e.AddressIPv6,
				})
			}
		}
	}
	slices.SortFunc(list, func(a, b core.Attachment) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// find is Lookup for the organ itself.
func (s *shared) find(ref string) (*network, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.networks[core.NetworkID(ref)]; n != nil && n.driver != nil {
		return n, nil
	}
	var matches []*network
	for _, n := range s.networks {
		if n.driver == nil {
			continue
		}
		if n.Name == ref {
			return n, nil
		}
		if ref != "" && strings.HasPrefix(string(n.ID), ref) {
			matches = append(matches, n)
		}
	}
	switch len(matches) {
	case 0:
		return nil, core.NoSuchNetwork(ref)
	case 1:
		return matches[0], nil
	}
	return nil, core.Invalid("network %s is ambiguous (%d matches found based on ID prefix)", ref, len(matches))
}

// byName finds a network by its name alone; nil: there is none.
func (s *shared) byName(name string) *network {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.networks {
		if n.Name == name && n.driver != nil {
			return n
		}
	}
	return nil
}

// copy is the network for others to keep.
func (n *network) copy() core.Network {
	c := n.Network
	c.Options, c.Labels = maps.Clone(n.Options), maps.Clone(n.Labels)
	c.IPAM.Pools = slices.Clone(n.IPAM.Pools)
	return c
}

// flag reads an option that is true or false.
func (n *network) flag(option string, otherwise bool) (bool, error) {
	text, ok := n.Options[option]
	if !ok || text == "" {
		return otherwise, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, core.Invalid("invalid value for option %s: %q is not a boolean", option, text)
	}
	return v, nil
}
