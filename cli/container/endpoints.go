package container

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/berth-engine/berth/cli/option"
)

// endpoints joins the long form of --network with the older flags, which speak of the first network.
func (d *definition) endpoints() (map[string]*network.EndpointSettings, error) {
	endpoints := map[string]*network.EndpointSettings{}
	userDefined, other := false, false
	for i, n := range d.networks.Values {
		if isUserDefined(n.Target) {
			userDefined = true
		} else {
			other = true
		}
		if i == 0 {
			if err := d.addOldFlags(&n); err != nil {
				return nil, err
			}
		}
		settings, err := endpoint(n)
		if err != nil {
			return nil, err
		}
		if _, twice := endpoints[n.Target]; twice {
			return nil, fmt.Errorf("network %q is specified multiple times", n.Target)
		}
		// The predefined networks need no settings of their own unless some were given.
		if isUserDefined(n.Target) || !emptyEndpoint(settings) {
			endpoints[n.Target] = settings
		}
	}
	if len(d.networks.Values) == 0 {
		if err := d.defaultEndpoint(endpoints); err != nil {
			return nil, err
		}
	}
	if userDefined && other {
		return nil, errors.New("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
	}
	return endpoints, nil
}

// defaultEndpoint is for the older flags without a --network: they speak of the default network.
func (d *definition) defaultEndpoint(endpoints map[string]*network.EndpointSettings) error {
	n := option.Network{Target: network.NetworkDefault}
	if err := d.addOldFlags(&n); err != nil {
		return err
	}
	settings, err := endpoint(n)
	if err != nil {
		return err
	}
	if !emptyEndpoint(settings) {
		endpoints[n.Target] = settings
	}
	return nil
}

func (d *definition) addOldFlags(n *option.Network) error {
	switch {
	case len(n.Aliases) > 0 && len(d.aliases.Values) > 0:
		return errors.New("conflicting options: cannot specify both --network-alias and per-network alias")
	case len(n.Links) > 0 && len(d.links.Values) > 0:
		return errors.New("conflicting options: cannot specify both --link and per-network links")
	case n.IPv4.IsValid() && d.ip != nil:
		return errors.New("conflicting options: cannot specify both --ip and per-network IPv4 address")
	case n.IPv6.IsValid() && d.ip6 != nil:
		return errors.New("conflicting options: cannot specify both --ip6 and per-network IPv6 address")
	case n.MAC != "" && d.mac != "":
		return errors.New("conflicting options: cannot specify both --mac-address and per-network MAC address")
	case len(n.LinkLocalIPs) > 0 && len(d.linkLocal.Values) > 0:
		return errors.New("conflicting options: cannot specify both --link-local-ip and per-network link-local IP addresses")
	}
	n.Aliases = append(n.Aliases, d.aliases.Values...)
	if isUserDefined(n.Target) {
		n.Links = append(n.Links, d.links.Values...)
	}
	if d.ip != nil {
		n.IPv4 = fromIP(d.ip)
	}
	if d.ip6 != nil {
		n.IPv6 = fromIP(d.ip6)
	}
	if d.mac != "" {
		n.MAC = d.mac
	}
	n.LinkLocalIPs = append(n.LinkLocalIPs, option.Addresses(d.linkLocal.Values)...)
	return nil
}

func endpoint(n option.Network) (*network.EndpointSettings, error) {
	if strings.TrimSpace(n.Target) == "" {
		return nil, errors.New("no name set for network")
	}
	if !isUserDefined(n.Target) {
		if len(n.Aliases) > 0 {
			return nil, errors.New("network-scoped aliases are only supported for user-defined networks")
		}
		if len(n.Links) > 0 {
			return nil, errors.New("links are only supported for user-defined networks")
		}
	}
	settings := &network.EndpointSettings{Aliases: n.Aliases, Links: n.Links, DriverOpts: n.DriverOpts, GwPriority: n.GwPriority}
	if n.IPv4.IsValid() || n.IPv6.IsValid() || len(n.LinkLocalIPs) > 0 {
		settings.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: n.IPv4, IPv6Address: n.IPv6, LinkLocalIPs: n.LinkLocalIPs}
	}
	if n.MAC != "" {
		mac, err := net.ParseMAC(n.MAC)
		if err != nil {
			return nil, fmt.Errorf("%s is not a valid mac address", n.MAC)
		}
		settings.MacAddress = network.HardwareAddr(mac)
	}
	return settings, nil
}

func emptyEndpoint(s *network.EndpointSettings) bool {
	return s.IPAMConfig == nil && len(s.Aliases) == 0 && len(s.Links) == 0 && len(s.DriverOpts) == 0 && s.GwPriority == 0 && s.MacAddress == nil
}

func isUserDefined(name string) bool {
	return container.NetworkMode(name).IsUserDefined()
}

func fromIP(ip net.IP) netip.Addr {
	address, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}
	}
	return address.Unmap()
}
