// Package network gives containers their place on the network: namespaces, interfaces, addresses, published ports,
// names, and the files that say so inside.
//
// Networks holds the objects, Sandboxes the containers in them; both are faces of one organ that New makes. What
// exists in the kernel is derived from the records of the networks and from the sandboxes that the engine asks for:
// a bridge per network, a pair of interfaces per endpoint, and two tables of the packet filter. The namespace of a
// container is no file: it lives as long as its processes and the organ's open file do, and the kernel takes its
// interfaces away with it.
package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/network/files"
	"github.com/berth-engine/berth/network/firewall"
	"github.com/berth-engine/berth/network/ipam"
	"github.com/berth-engine/berth/network/ports"
)

// Options say how the organ shall work.
type Options struct {
	// Dir is a folder of the organ's own for the records of networks.
	Dir string
	// Instance tells daemons on one machine apart: bridges and tables of another one are not touched. Empty: the
	// first daemon, whose bridge is berth0.
	Instance string
	// Bridge is the name of the default network's bridge; empty: berth0 or one made from Instance; "none": there
	// is no default network.
	Bridge string
	// BridgeIP is address and subnet of the default bridge (--bip); invalid: the first free default pool.
	BridgeIP netip.Prefix
	// FixedCIDR is the part of the default bridge's subnet that addresses are given out from (--fixed-cidr).
	FixedCIDR netip.Prefix
	// Pools are what subnets are cut from (default-address-pools); nil: Docker's.
	Pools []ipam.Base
	// MTU of the default network in bytes; 0: 1500.
	MTU int
	// HostIP is where ports are published that name no address (--ip); invalid: everywhere.
	HostIP netip.Addr
	// HostGateway is what host-gateway stands for in extra hosts; nil: the default bridge's address.
	HostGateway []netip.Addr
	// DNS, DNSSearch and DNSOptions are used by containers that name none.
	DNS        []netip.Addr
	DNSSearch  []string
	DNSOptions []string
	// ResolvConf is the host's file; empty: /etc/resolv.conf, or systemd-resolved's own where that is a stub.
	ResolvConf string
	// HostFirewall says who wins when the host's own firewall drops what is forwarded.
	HostFirewall firewall.Host
	// NoICC keeps containers on the default bridge from talking to each other (--icc=false).
	NoICC bool
	// NoMasquerade leaves the addresses of containers on the default bridge as they are (--ip-masq=false).
	NoMasquerade bool
	// Ready is how many namespaces are kept ready; 0: 3; negative: none.
	Ready int
	Log   *slog.Logger // nil: slog.Default
}

// Organ is the network of one daemon.
type Organ struct {
	Networks  *Networks
	Sandboxes *Sandboxes
	*shared
}

// shared is what both faces work on.
type shared struct {
	options  Options
	log      *slog.Logger
	names    names
	conn     *link.Conn // to the host's interfaces
	firewall *firewall.Firewall
	book     *ports.Book
	space    *ipam.Space
	ready    *ready
	upstream *files.Upstream
	hostV6   bool         // the host has IPv6 addresses
	restored atomic.Bool  // Restore said who runs
	last     core.Network // the default network as its record has it
	watching sync.WaitGroup
	stop     context.CancelFunc

	updating sync.Mutex // one update of a network at a time; taken before the sandboxes' op
	mending  sync.Mutex // one bridge is made again at a time; taken before mu

	mu        sync.Mutex // guards all below; never held while the kernel is asked
	networks  map[core.NetworkID]*network
	sandboxes map[core.ContainerID]*sandbox
	// collisions are the networks that overlap with routes of the host, as warnings.
	collisions []string
	making     map[core.NetworkID]*network // written down, and not there yet
}

// names of what an instance owns on the host.
type names struct {
	bridge string
	table  string
}

func (o Options) names() names {
	n := names{bridge: "berth0", table: "berth"}
	if o.Instance != "" {
		sum := sha256.Sum256([]byte(o.Instance))
		mark := hex.EncodeToString(sum[:4])
		n = names{bridge: "berth-" + mark, table: "berth_" + mark}
	}
	if o.Bridge != "" {
		n.bridge = o.Bridge
	}
	return n
}

// New makes the organ: it loads the networks, makes their bridges and the networks that are always there. Restore of
// Sandboxes must be called next. The daemon's namespace must be the host's.
func New(ctx context.Context, options Options) (_ *Organ, err error) {
	s := &shared{
		options: options, log: options.Log, names: options.names(), book: ports.NewBook(),
		networks: map[core.NetworkID]*network{}, sandboxes: map[core.ContainerID]*sandbox{}, making: map[core.NetworkID]*network{},
		upstream: files.NewUpstream(options.ResolvConf), hostV6: hostHasIPv6(),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	bases := options.Pools
	if bases == nil {
		bases = ipam.Defaults()
	}
	if s.space, err = ipam.NewSpace(append(bases, ipam.Private(options.Instance))); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(options.Dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the folder of networks: %w", err)
	}
	if s.conn, err = link.Dial(); err != nil {
		return nil, err
	}
	if s.firewall, err = firewall.New(s.names.table, options.HostFirewall); err != nil {
		s.conn.Close()
		return nil, err
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.ready = newReady(watch, s)
	o := &Organ{Networks: &Networks{s}, Sandboxes: &Sandboxes{s}, shared: s}
	if err := o.start(ctx); err != nil {
		return nil, errors.Join(err, o.close())
	}
	s.watch(watch)
	s.watchRoutes(watch)
	return o, nil
}

// start brings the host to where containers can be connected.
func (o *Organ) start(ctx context.Context) error {
	if err := link.Sysctl("ipv4/ip_forward", "1"); err != nil {
		return fmt.Errorf("switch IPv4 forwarding on: %w", err)
	}
	if err := o.load(ctx); err != nil {
		return err
	}
	return o.predefined(ctx)
}

// watch keeps the packet filter as it should be, and tells when the host's own one stands in the way of containers.
func (s *shared) watch(ctx context.Context) {
	s.watching.Go(func() {
		var told []string
		err := s.firewall.Watch(ctx, func(err error) {
			if err != nil && ctx.Err() == nil {
				s.log.Error("repair the packet filter", "error", err)
			}
			now := s.firewall.Warnings()
			for _, warning := range now {
				if !slices.Contains(told, warning) {
					s.log.Warn(strings.TrimPrefix(warning, "WARNING: "))
				}
			}
			told = now
		})
		if err != nil && ctx.Err() == nil {
			s.log.Warn("the packet filter is not watched: rules that another program removes come back with the next change only", "error", err)
		}
	})
}

// Shutdown ends the organ. Networks of running containers stay as they are, for the next daemon to take over. When
// no container runs, or with all, everything that this instance has on the host goes: bridges, tables, interfaces.
// Records stay. No call may be under way. A daemon that fails before Restore does not know who runs: then ports of
// the bridges count as running containers, whatever all says.
func (o *Organ) Shutdown(ctx context.Context, all bool) error {
	o.stop()
	o.watching.Wait()
	o.ready.close()
	o.mu.Lock()
	sandboxes := slices.Collect(maps.Values(o.sandboxes))
	running := len(sandboxes)
	var bridges link.Batch
	for _, n := range o.networks {
		if n.Link != "" && !n.Adopted {
			bridges.Delete(n.Link)
		}
	}
	o.mu.Unlock()
	// Without the lock: a name server's last answers, which its end waits for, want it.
	var errs []error
	for _, sb := range sandboxes {
		sb.op.Lock()
		errs = append(errs, sb.release())
		sb.op.Unlock()
	}
	if !o.restored.Load() {
		ports, err := o.ports()
		errs = append(errs, err)
		all, running = false, len(ports)
	}
	if all || running == 0 {
		errs = append(errs, o.removeLinks(ctx, nil), o.conn.Apply(ctx, &bridges), o.firewall.Remove(ctx))
	}
	return errors.Join(append(errs, o.close())...)
}

// close lets go of what the organ holds open.
func (o *Organ) close() error {
	o.stop()
	o.ready.close()
	o.conn.Close()
	return o.firewall.Close()
}

func hostHasIPv6() bool {
	data, err := os.ReadFile("/proc/net/if_inet6")
	return err == nil && len(data) > 0
}
