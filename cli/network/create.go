package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
)

type creating struct {
	driver, scope, configFrom, ipamDriver                 string
	internal, attachable, ingress, configOnly, ipv4, ipv6 bool
	options, ipamOptions, aux                             option.Map
	labels, subnets, ranges, gateways                     option.List
}

func newCreate(s *session.Session) *cobra.Command {
	var o creating
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] NETWORK",
		Annotations:       session.Brief,
		Short:             "Create a network",
		Args:              session.Exactly(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := o.request(cmd, args[0])
			if err != nil {
				return err
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			var made network.CreateResponse
			if err := api.Post(cmd.Context(), "/networks/create", nil, request, &made); err != nil {
				return err
			}
			if made.Warning != "" {
				fmt.Fprintf(s.Err, "WARNING: %s\n", made.Warning)
			}
			fmt.Fprintln(s.Out, made.ID)
			return nil
		},
	}
	f := cmd.Flags()
	o.labels.Check = option.CheckLabel
	f.StringVarP(&o.driver, "driver", "d", "bridge", "Driver to manage the Network")
	f.VarP(&o.options, "opt", "o", "Set driver specific options")
	f.Var(&o.labels, "label", "Set metadata on a network")
	f.BoolVar(&o.internal, "internal", false, "Restrict external access to the network")
	f.BoolVar(&o.ipv4, "ipv4", true, "Enable or disable IPv4 address assignment")
	f.BoolVar(&o.ipv6, "ipv6", false, "Enable or disable IPv6 address assignment")
	f.BoolVar(&o.attachable, "attachable", false, "Enable manual container attachment")
	f.BoolVar(&o.ingress, "ingress", false, "Create swarm routing-mesh network")
	f.StringVar(&o.scope, "scope", "", "Control the network's scope")
	f.BoolVar(&o.configOnly, "config-only", false, "Create a configuration only network")
	f.StringVar(&o.configFrom, "config-from", "", "The network from which to copy the configuration")
	f.StringVar(&o.ipamDriver, "ipam-driver", "default", "IP Address Management Driver")
	f.Var(&o.subnets, "subnet", "Subnet in CIDR format that represents a network segment")
	f.Var(&o.ranges, "ip-range", "Allocate container ip from a sub-range")
	f.Var(&o.gateways, "gateway", "IPv4 or IPv6 Gateway for the master subnet")
	f.Var(&o.aux, "aux-address", "Auxiliary IPv4 or IPv6 addresses used by Network driver")
	f.Var(&o.ipamOptions, "ipam-opt", "Set IPAM driver specific options")
	return cmd
}

func (o *creating) request(cmd *cobra.Command, name string) (network.CreateRequest, error) {
	pools, err := o.pools()
	if err != nil {
		return network.CreateRequest{}, err
	}
	request := network.CreateRequest{
		Name:       name,
		Driver:     o.driver,
		Scope:      o.scope,
		Options:    o.options.Values,
		Internal:   o.internal,
		Attachable: o.attachable,
		Ingress:    o.ingress,
		ConfigOnly: o.configOnly,
		Labels:     option.PairMap(o.labels.Values),
		IPAM:       &network.IPAM{Driver: o.ipamDriver, Config: pools, Options: o.ipamOptions.Values},
	}
	if cmd.Flags().Changed("ipv4") {
		request.EnableIPv4 = &o.ipv4
	}
	if cmd.Flags().Changed("ipv6") {
		request.EnableIPv6 = &o.ipv6
	}
	if o.configFrom != "" {
		request.ConfigFrom = &network.ConfigReference{Network: o.configFrom}
	}
	return request, nil
}

// pools puts each range, gateway and auxiliary address into the subnet that it lies in.
func (o *creating) pools() ([]network.IPAMConfig, error) {
	if len(o.subnets.Values) < len(o.ranges.Values) || len(o.subnets.Values) < len(o.gateways.Values) {
		return nil, errors.New("every ip-range or gateway must have a corresponding subnet")
	}
	pools := make([]network.IPAMConfig, 0, len(o.subnets.Values))
	for _, text := range o.subnets.Values {
		subnet, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("invalid subnet %s: %w", text, err)
		}
		for _, other := range pools {
			if other.Subnet.Overlaps(subnet) {
				return nil, errors.New("multiple overlapping subnet configuration is not supported")
			}
		}
		pools = append(pools, network.IPAMConfig{Subnet: subnet, AuxAddress: map[string]netip.Addr{}})
	}
	for _, text := range o.ranges.Values {
		inner, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("invalid ip-range %s: %w", text, err)
		}
		pool := poolOf(pools, inner.Addr())
		if pool == nil {
			return nil, fmt.Errorf("no matching subnet for range %s", text)
		}
		if pool.IPRange.IsValid() {
			return nil, fmt.Errorf("cannot configure multiple ranges (%s, %s) on the same subnet (%s)", text, pool.IPRange, pool.Subnet)
		}
		pool.IPRange = inner
	}
	for _, text := range o.gateways.Values {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("invalid gateway %s: %w", text, err)
		}
		pool := poolOf(pools, address)
		if pool == nil {
			return nil, fmt.Errorf("no matching subnet for gateway %s", text)
		}
		if pool.Gateway.IsValid() {
			return nil, fmt.Errorf("cannot configure multiple gateways (%s, %s) for the same subnet (%s)", text, pool.Gateway, pool.Subnet)
		}
		pool.Gateway = address
	}
	for name, text := range o.aux.Values {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("invalid aux-address %s: %w", text, err)
		}
		pool := poolOf(pools, address)
		if pool == nil {
			return nil, fmt.Errorf("no matching subnet for aux-address %s", text)
		}
		pool.AuxAddress[name] = address
	}
	return pools, nil
}

func poolOf(pools []network.IPAMConfig, address netip.Addr) *network.IPAMConfig {
	for i := range pools {
		if pools[i].Subnet.Contains(address) {
			return &pools[i]
		}
	}
	return nil
}

type connecting struct {
	ip, ip6                         net.IP
	links, aliases, linkLocal, opts option.List
	priority                        int
}

func newConnect(s *session.Session) *cobra.Command {
	var o connecting
	cmd := &cobra.Command{
		Use:               "connect [OPTIONS] NETWORK CONTAINER",
		Annotations:       session.Brief,
		Short:             "Connect a container to a network",
		Args:              session.Exactly(2),
		ValidArgsFunction: session.CompleteNetworks(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			endpoint, err := o.endpoint()
			if err != nil {
				return err
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			return api.Post(cmd.Context(), path(args[0], "connect"), nil, network.ConnectRequest{Container: args[1], EndpointConfig: endpoint}, nil)
		},
	}
	f := cmd.Flags()
	o.links.Check, o.linkLocal.Check = option.CheckLink, option.CheckIP
	f.IPVar(&o.ip, "ip", nil, `IPv4 address (e.g., "172.30.100.104")`)
	f.IPVar(&o.ip6, "ip6", nil, `IPv6 address (e.g., "2001:db8::33")`)
	f.Var(&o.links, "link", "Add link to another container")
	f.Var(&o.aliases, "alias", "Add network-scoped alias for the container")
	f.Var(&o.linkLocal, "link-local-ip", "Add a link-local address for the container")
	f.Var(&o.opts, "driver-opt", "driver options for the network")
	f.IntVar(&o.priority, "gw-priority", 0, "Highest gw-priority provides the default gateway. Accepts positive and negative values")
	return cmd
}

func (o *connecting) endpoint() (*network.EndpointSettings, error) {
	e := &network.EndpointSettings{Links: o.links.Values, Aliases: o.aliases.Values, GwPriority: o.priority}
	for _, pair := range o.opts.Values {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, errors.New("invalid key/value pair format in driver options")
		}
		if e.DriverOpts == nil {
			e.DriverOpts = map[string]string{}
		}
		e.DriverOpts[name] = value
	}
	if o.ip != nil || o.ip6 != nil || len(o.linkLocal.Values) > 0 {
		e.IPAMConfig = &network.EndpointIPAMConfig{LinkLocalIPs: option.Addresses(o.linkLocal.Values)}
		if address, ok := netip.AddrFromSlice(o.ip); ok {
			e.IPAMConfig.IPv4Address = address.Unmap()
		}
		if address, ok := netip.AddrFromSlice(o.ip6); ok {
			e.IPAMConfig.IPv6Address = address
		}
	}
	return e, nil
}
