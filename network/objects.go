package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/failpoint"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/bridge"
	"github.com/berth-engine/berth/network/dns"
	"github.com/berth-engine/berth/network/driver"
	"github.com/berth-engine/berth/network/firewall"
	"github.com/berth-engine/berth/network/ipam"
	"github.com/berth-engine/berth/network/vlan"
)

// Options of endpoints, in Docker's words.
const (
	optIfname  = "com.docker.network.endpoint.ifname"
	optSysctls = "com.docker.network.endpoint.sysctls"
)

// Names of the drivers, and of the default network.
const (
	driverBridge  = "bridge"
	driverHost    = "host"
	driverNull    = "null"
	driverMacvlan = "macvlan"
	driverIPvlan  = "ipvlan"
	defaultName   = core.NetworkBridge
)

// Networks is the networks of the daemon. It is the engine's Networks.
type Networks struct{ *shared }

// network is a network with what it is made of. Its fields do not change once it is in shared.networks: an update puts
// another one in its place.
type network struct {
	driver.Network
	driver driver.Driver // nil: the network is being made, and nobody is shown it
	zone   *dns.Zone     // nil: names are not answered (the default network)
}

// driverFor finds a driver by name.
func (s *shared) driverFor(name string) (driver.Driver, error) {
	switch name {
	case driverBridge:
		return bridge.New(s.conn, s.others), nil
	case driverMacvlan, driverIPvlan:
		return vlan.New(s.conn, s.others), nil
	case driverHost, driverNull:
		return driver.Plain{}, nil
	case "overlay":
		return nil, core.NotImplemented("Berth does not have the network driver %q yet", name)
	}
	return nil, noPlugin(name)
}

func noPlugin(name string) error {
	return core.NotFound("could not find plugin %s in v1 plugin registry: plugin not found", name)
}

// others gives the networks that are there besides one.
func (s *shared) others(id core.NetworkID) []*driver.Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*driver.Network
	for _, n := range s.networks {
		if n.driver != nil && n.ID != id {
			list = append(list, &n.Network)
		}
	}
	return list
}

// complete asks the driver what the options mean, and takes the addresses.
func (s *shared) complete(n *network) error {
	if err := n.driver.Complete(&n.Network); err != nil {
		return err
	}
	if !n.Joined {
		return nil
	}
	if n.Name != defaultName {
		n.zone = dns.NewZone(n.Name)
	}
	switch n.IPAM.Driver {
	case "null":
		if len(n.IPAM.Pools) > 0 {
			return core.Invalid("null ipam driver does not handle specific address pool requests")
		}
		return nil
	case "", "default":
		n.IPAM.Driver = "default"
		return s.takeSubnets(n)
	}
	return noPlugin(n.IPAM.Driver)
}

// takeSubnets takes the network's subnets, one per family that it has when none is named.
func (s *shared) takeSubnets(n *network) error {
	if err := ipam.Check(n.IPAM.Pools); err != nil {
		return err
	}
	// A pool without a subnet may carry a gateway or a range only by mistake: both need one.
	n.IPAM.Pools = slices.DeleteFunc(n.IPAM.Pools, func(p core.IPPool) bool { return !p.Subnet.IsValid() })
	routes, err := link.Routes()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		six, on bool
		family  **ipam.Family
		subnet  *netip.Prefix
	}{{false, n.EnableIPv4, &n.IPv4, &n.Rules.IPv4.Subnet}, {true, n.EnableIPv6, &n.IPv6, &n.Rules.IPv6.Subnet}} {
		if !f.on {
			continue
		}
		if *f.family, n.IPAM.Pools, err = s.space.Open(ipam.Wish{IPv6: f.six, Pools: n.IPAM.Pools, NoGateway: n.NoGateway, Avoid: routes}); err != nil {
			return err
		}
		if len((*f.family).Subnets()) > n.Subnets {
			return core.Forbidden("%s driver doesn't support multiple subnets", n.Driver)
		}
		if n.Rules.Bridge != "" {
			*f.subnet = (*f.family).Subnet()
		}
	}
	return nil
}

// up makes the network in the kernel and tells the packet filter; an error leaves nothing.
func (s *shared) up(ctx context.Context, n *network) error {
	err := n.driver.Up(ctx, &n.Network)
	if err == nil {
		err = s.firewall.Add(ctx, n.rules())
	}
	if err != nil {
		return joinDown(ctx, s, n, err)
	}
	return nil
}

// down undoes up.
func (s *shared) down(ctx context.Context, n *network) error {
	return errors.Join(s.firewall.Delete(ctx, n.rules()), n.driver.Down(ctx, &n.Network))
}

// joinDown unmakes a network after an error.
func joinDown(ctx context.Context, s *shared, n *network, err error) error {
	ctx, cancel := undoing(ctx)
	defer cancel()
	return errors.Join(err, s.down(ctx, n))
}

// rules is what the packet filter shall know of the network.
func (n *network) rules() firewall.State {
	if n.Rules.Bridge == "" {
		return firewall.State{}
	}
	return firewall.State{Networks: []firewall.Network{n.Rules}}
}

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
	n := &network{Network: driver.Network{Network: asked}}
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
	if err := s.complete(n); err != nil {
		return nil, err
	}
	n.Adopted = n.Name != defaultName && link.Exists(n.Link)
	if err := s.intend(n); err != nil {
		return nil, err
	}
	if err = s.up(ctx, n); err == nil && !n.Predefined() { // those are made whenever a daemon starts
		err = failpoint.Hit("network:before-record")
	}
	if err != nil {
		s.mu.Lock()
		delete(s.making, n.ID)
		s.mu.Unlock()
		return nil, err
	}
	s.mu.Lock()
	delete(s.making, n.ID)
	s.networks[n.ID] = n
	err = s.save()
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("network %q: %w", n.Name, joinDown(ctx, s, n, err))
	}
	return n, nil
}

// intend writes down that a network is being made. The default one is found by its name, and those that are nothing in the
// kernel leave nothing there. When that fails later, the next change of the networks strikes the note out, or the next
// daemon, which finds nothing.
func (s *shared) intend(n *network) error {
	if n.Link == "" || n.Name == defaultName {
		return nil
	}
	s.mu.Lock()
	s.making[n.ID] = n
	err := s.write(false)
	if err != nil {
		delete(s.making, n.ID)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return failpoint.Hit("network:before-up")
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
	s.networks[n.ID] = &network{Network: driver.Network{Network: core.Network{ID: n.ID, Name: n.Name}}}
	return nil
}

// forget gives back what a network held in memory.
func (s *shared) forget(n *network) {
	s.mu.Lock()
	delete(s.networks, n.ID)
	s.mu.Unlock()
	n.IPv4.Close()
	n.IPv6.Close()
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
	if err := ns.down(ctx, n); err != nil {
		return fmt.Errorf("error while removing network: %w", err)
	}
	if err := failpoint.Hit("network:before-removed"); err != nil {
		return err
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
	c := n.Network.Network
	c.Options, c.Labels = maps.Clone(n.Options), maps.Clone(n.Labels)
	c.IPAM.Pools = slices.Clone(n.IPAM.Pools)
	return c
}
