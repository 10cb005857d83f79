package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/berth-engine/berth/build"
	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/network"
	"github.com/berth-engine/berth/network/firewall"
	"github.com/berth-engine/berth/network/ipam"
)

// registries is what the settings say of registries.
func registries(c *config) image.Registries {
	return image.Registries{Insecure: c.InsecureRegistries, Mirrors: c.RegistryMirrors, HostMirrors: c.Mirrors}
}

// networkOptions is what the settings say of networks. check has refused what can't be parsed.
func networkOptions(c *config, log *slog.Logger) (network.Options, error) {
	options := network.Options{
		Dir:      filepath.Join(c.DataRoot, "network"),
		Instance: c.instance(),
		Bridge:   c.Bridge, MTU: c.MTU, NoICC: !c.ICC, NoMasquerade: !c.IPMasquerade,
		DNSSearch: c.DNSSearch, DNSOptions: c.DNSOptions,
		Log: log,
	}
	for _, prefix := range []struct {
		flag, value string
		to          *netip.Prefix
	}{{"bip", c.BIP, &options.BridgeIP}, {"fixed-cidr", c.FixedCIDR, &options.FixedCIDR}} {
		if prefix.value == "" {
			continue
		}
		parsed, err := netip.ParsePrefix(prefix.value)
		if err != nil {
			return options, fmt.Errorf("invalid --%s: %w", prefix.flag, err)
		}
		*prefix.to = parsed
	}
	var ok bool
	if options.HostFirewall, ok = firewall.ParseHost(c.HostFirewall); !ok {
		return options, fmt.Errorf("invalid --host-firewall: %q is neither respect nor override", c.HostFirewall)
	}
	var err error
	if options.DNS, err = addresses(c.DNS); err != nil {
		return options, err
	}
	if options.HostGateway, err = addresses(c.HostGateway); err != nil {
		return options, err
	}
	if c.IP != "" {
		if options.HostIP, err = netip.ParseAddr(c.IP); err != nil {
			return options, err
		}
	}
	for _, pool := range c.AddressPools {
		base, err := netip.ParsePrefix(pool.Base)
		if err != nil {
			return options, fmt.Errorf("invalid default address pool: %w", err)
		}
		options.Pools = append(options.Pools, ipam.Base{Prefix: base, Size: pool.Size})
	}
	return options, nil
}

func addresses(texts []string) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, text := range texts {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		list = append(list, address)
	}
	return list, nil
}

// buildOptions introduces the builder to the image organ, whose stores it works on, and to the network organ, which
// gives its steps a network.
func buildOptions(c *config, images *image.Organ, networks *network.Organ, shim string, events func(core.Event), log *slog.Logger) build.Options {
	stores := images.Stores()
	return build.Options{
		Root:            filepath.Join(c.DataRoot, "build"),
		Namespace:       stores.Namespace,
		Content:         stores.Content,
		Snapshotter:     stores.DB.Snapshotter(stores.Snapshotter),
		SnapshotterName: stores.Snapshotter,
		Images:          stores.Images,
		Leases:          stores.Leases,
		GarbageCollect:  stores.GarbageCollect,
		Hosts:           stores.RegistryHosts,
		DanglingPrefix:  image.DanglingPrefix,
		Run:             build.Shim(shim),
		CgroupParent:    cgroupParent(c),
		Network:         stepNetwork(c, networks),
		Events:          events,
		HostGateway:     networks.Gateway(),
		Log:             log,
	}
}

// cgroupParent is where the builds of this daemon have their cgroups, in a folder "buildkit".
func cgroupParent(c *config) string { return filepath.Join("/berth", c.instance()) }

// cgroupsAlone is the part of it that no other daemon shares.
func cgroupsAlone(c *config) string {
	if c.instance() == "" {
		return filepath.Join(cgroupParent(c), "buildkit")
	}
	return cgroupParent(c)
}

// stepNetwork gives a build step a namespace on the default network, by a path below /proc that is good for as long
// as the step runs.
func stepNetwork(c *config, networks *network.Organ) func(context.Context) (string, func() error, error) {
	return func(ctx context.Context) (string, func() error, error) {
		step := core.ContainerID(id.New())
		dir := filepath.Join(c.ExecRoot, "build", string(step))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", nil, err
		}
		joined, err := networks.Sandboxes.Open(ctx, core.Sandbox{
			Container: step, Name: "build-" + step.Short(), Hostname: "buildkitsandbox",
			Endpoints: map[string]*core.Endpoint{core.NetworkBridge: {}},
			Dir:       dir,
		})
		if err != nil {
			os.RemoveAll(dir)
			return "", nil, err
		}
		release := func() error {
			err := networks.Sandboxes.Close(context.WithoutCancel(ctx), step)
			joined.NS.Close()
			if removeErr := os.RemoveAll(dir); err == nil {
				err = removeErr
			}
			return err
		}
		return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), joined.NS.Fd()), release, nil
	}
}
