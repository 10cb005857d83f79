package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/atomicfile"
	"github.com/berth-engine/berth/network/bridge"
	"github.com/berth-engine/berth/network/driver"
)

// records is the file of all networks, in the folder of the organ.
const records = "networks.json"

// record is a network on the disk.
type record struct {
	core.Network
	Bridge  string `json:",omitempty"`
	Adopted bool   `json:",omitempty"`
	// Making: the network is not there yet. The daemon that reads this died in between, and what is in the kernel goes.
	Making bool `json:",omitempty"`
}

// save writes the networks down; the caller holds mu.
func (s *shared) save() error { return s.write(true) }

// write is save; what need not outlive the machine need not be on the disk at once.
func (s *shared) write(durable bool) error {
	var list []record
	for _, n := range s.networks {
		if n.driver != nil {
			list = append(list, record{n.Network.Network, n.Link, n.Adopted, false})
		}
	}
	for _, n := range s.making {
		list = append(list, record{n.Network.Network, n.Link, n.Adopted, true})
	}
	slices.SortFunc(list, func(a, b record) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(list, "", "\t")
	if err != nil {
		return fmt.Errorf("write the networks down: %w", err)
	}
	if err := atomicfile.WriteFile(filepath.Join(s.options.Dir, records), data, 0o600, durable); err != nil {
		return fmt.Errorf("write the networks down: %w", err)
	}
	return nil
}

// load reads the networks and makes them in the kernel again. One that can't be made (its subnet is taken by now)
// is reported and left out of the kernel; its record stays. The default network is made by predefined, since the
// daemon's options may have changed.
func (s *shared) load(ctx context.Context) error {
	data, err := os.ReadFile(filepath.Join(s.options.Dir, records))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the networks: %w", err)
	}
	var list []record
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("read the networks from %s: %w", filepath.Join(s.options.Dir, records), err)
	}
	for _, r := range list {
		n := &network{Network: driver.Network{Network: r.Network, Link: r.Bridge, Adopted: r.Adopted}}
		if n.driver, err = s.driverFor(n.Driver); err != nil {
			return fmt.Errorf("network %q: %w", n.Name, err)
		}
		if r.Making {
			if err := n.driver.Down(ctx, &n.Network); err != nil {
				return fmt.Errorf("unmake the network %q, which was half made: %w", n.Name, err)
			}
			continue
		}
		if n.Name == defaultName {
			s.last = r.Network
			continue
		}
		if err = s.complete(n); err == nil {
			err = s.up(ctx, n)
		}
		if err != nil {
			s.log.Error("a network can't be used", "network", n.Name, "error", err)
		}
		s.networks[n.ID] = n
	}
	return nil
}

// predefined makes the networks that are always there.
func (s *shared) predefined(ctx context.Context) error {
	for _, plain := range [][2]string{{core.NetworkHost, driverHost}, {core.NetworkNone, driverNull}} {
		if s.byName(plain[0]) == nil {
			if _, err := s.make(ctx, core.Network{Name: plain[0], Driver: plain[1], EnableIPv4: true}); err != nil {
				return err
			}
		}
	}
	if s.byName(defaultName) != nil || s.options.Bridge == "none" {
		return nil
	}
	o := s.options
	asked := core.Network{Name: defaultName, Driver: driverBridge, EnableIPv4: true, Options: map[string]string{
		bridge.OptName:       s.names.bridge,
		bridge.OptDefault:    "true",
		bridge.OptICC:        fmt.Sprint(!o.NoICC),
		bridge.OptMasquerade: fmt.Sprint(!o.NoMasquerade),
		bridge.OptBinding:    netip.IPv4Unspecified().String(),
		driver.OptMTU:        fmt.Sprint(driver.DefaultMTU),
	}}
	// The ID stays for ever, the subnet as long as the options agree.
	asked.ID, asked.Created, asked.IPAM.Pools = s.last.ID, s.last.Created, s.last.IPAM.Pools
	if o.MTU != 0 {
		asked.Options[driver.OptMTU] = fmt.Sprint(o.MTU)
	}
	if o.HostIP.IsValid() {
		asked.Options[bridge.OptBinding] = o.HostIP.String()
	}
	if o.BridgeIP.IsValid() {
		asked.IPAM.Pools = []core.IPPool{{Subnet: o.BridgeIP.Masked(), Gateway: o.BridgeIP.Addr(), Range: o.FixedCIDR}}
	}
	_, err := s.make(ctx, asked)
	if err != nil && !o.BridgeIP.IsValid() && len(asked.IPAM.Pools) > 0 {
		// Another network has taken the subnet meanwhile.
		asked.IPAM.Pools = nil
		_, err = s.make(ctx, asked)
	}
	if err != nil {
		return fmt.Errorf("make the default network: %w", err)
	}
	return nil
}
