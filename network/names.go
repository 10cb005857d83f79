package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/network/dns"
	"github.com/berth-engine/berth/network/files"
)

// dnsNames is what an endpoint answers to: the container's name first, which reverse lookups give.
func (sb *sandbox) dnsNames(e *endpoint) []string {
	var names []string
	for _, name := range append(append([]string{sb.Name}, e.Aliases...), sb.Container.Short(), sb.Hostname) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// names makes the container known in its networks, and gives it a name server when one of them has names.
func (sb *sandbox) names(ctx context.Context) (err error) {
	for _, e := range sb.endpoints {
		if e.network.zone != nil {
			e.network.zone.Set(e.EndpointID, e.DNSNames, e.Address.Addr(), e.AddressIPv6.Addr())
		}
	}
	if !sb.named() || sb.serving {
		sb.tellResolver()
		return nil
	}
	if sb.resolver == nil {
		listen := dns.Listen
		if sb.PID != 0 { // of a sandbox that the last daemon had
			listen = dns.Resume
		}
		if sb.resolver, err = listen(ctx, sb.ns, sb.shared.log); err != nil {
			return err
		}
	}
	sb.resolver.Serve(sb.scope())
	sb.serving = true
	return nil
}

// tellResolver tells the sandbox's name server what the container can ask for by now; the caller holds op.
func (sb *sandbox) tellResolver() {
	if sb.serving {
		sb.resolver.Know(sb.scope())
	}
}

// named reports whether one of the sandbox's networks has names.
func (sb *sandbox) named() bool {
	return slices.ContainsFunc(sb.endpoints, func(e *endpoint) bool { return e.network.zone != nil })
}

// scope is what the container can ask for by name; the caller holds op.
func (sb *sandbox) scope() dns.Scope {
	scope := dns.Scope{Links: map[string]string{}, Servers: sb.servers}
	for _, e := range sb.endpoints {
		if e.network.zone == nil {
			continue
		}
		scope.Zones = append(scope.Zones, e.network.zone)
		for _, l := range slices.Concat(e.Links, sb.DNS.Links) {
			// An alias that only this container uses (--link name:alias); the first one counts.
			name, alias := splitLink(l)
			if alias = strings.ToLower(alias); scope.Links[alias] == "" {
				scope.Links[alias] = strings.ToLower(name)
			}
		}
	}
	return scope
}

// servers are those outside. A container that only has internal networks has none.
func (sb *sandbox) servers() []dns.Server {
	sb.shared.mu.Lock()
	out := slices.ContainsFunc(sb.endpoints, func(e *endpoint) bool { return !e.network.Internal })
	own := sb.networkServers()
	sb.shared.mu.Unlock()
	if !out {
		return nil
	}
	if len(sb.DNS.DNS) == 0 && len(own) > 0 {
		return own
	}
	var list []dns.Server
	for _, ip := range sb.shared.resolvConf(sb.DNS).Servers {
		// What the user named for the container is reached as the container would.
		inside := len(sb.DNS.DNS) > 0 && !ip.IsLoopback()
		list = append(list, dns.Server{Addr: netip.AddrPortFrom(ip, 53), Inside: inside})
	}
	return list
}

// networkServers are the name servers of the first of the sandbox's networks that has some; the caller holds shared.mu.
func (sb *sandbox) networkServers() []dns.Server {
	for _, e := range sb.endpoints {
		if len(e.network.DNS) > 0 && !e.network.Internal {
			var list []dns.Server
			for _, ip := range e.network.DNS {
				list = append(list, dns.Server{Addr: netip.AddrPortFrom(ip, 53), Inside: !ip.IsLoopback()})
			}
			return list
		}
	}
	return nil
}

// splitLink reads name:alias; the alias is the name where there is none.
func splitLink(l string) (name, alias string) {
	name, alias, ok := strings.Cut(l, ":")
	name = strings.TrimPrefix(name, "/")
	if !ok {
		return name, name
	}
	return name, alias[strings.LastIndexByte(alias, '/')+1:]
}

// writeFiles writes hosts, hostname and resolv.conf.
func (sb *sandbox) writeFiles() error {
	err := files.WriteHostname(sb.Dir, sb.Hostname)
	if err == nil {
		err = sb.writeResolvConf()
	}
	if err == nil {
		err = sb.writeHosts()
	}
	if err != nil {
		return fmt.Errorf("write the network files of container %s: %w", sb.Container.Short(), err)
	}
	return nil
}

func (sb *sandbox) writeResolvConf() error {
	conf := sb.shared.resolvConf(sb.DNS)
	switch {
	case sb.named():
		conf = conf.Embedded(dns.Address())
	case !sb.Host && len(sb.DNS.DNS) == 0 && len(sb.endpoints) > 0:
		v6 := slices.ContainsFunc(sb.endpoints, func(e *endpoint) bool { return e.AddressIPv6.IsValid() })
		conf = conf.Outside(v6)
	}
	return conf.Write(sb.Dir)
}

func (sb *sandbox) writeHosts() error {
	lines, err := sb.extraHosts()
	if err != nil {
		return err
	}
	if sb.Host {
		return files.WriteHostHosts(sb.Dir, lines)
	}
	own := sb.Hostname
	if sb.Domain != "" {
		own = sb.Hostname + "." + sb.Domain + " " + sb.Hostname
	}
	for _, e := range sb.endpoints {
		lines = append(lines, files.Host{Addr: e.Address.Addr(), Names: own}, files.Host{Addr: e.AddressIPv6.Addr(), Names: own})
		if e.network.zone == nil {
			lines = append(lines, sb.linked(e)...)
		}
	}
	return files.WriteHosts(sb.Dir, sb.shared.hostV6, lines)
}

// extraHosts are the lines that the user asked for.
func (sb *sandbox) extraHosts() ([]files.Host, error) {
	var lines []files.Host
	for _, extra := range sb.DNS.ExtraHosts {
		at := strings.IndexAny(extra, ":=")
		if at <= 0 || at == len(extra)-1 {
			return nil, core.Invalid("bad format for add-host: %q", extra)
		}
		name, text := extra[:at], strings.Trim(extra[at+1:], "[]")
		if text == "host-gateway" {
			addrs := sb.shared.hostGateway()
			if len(addrs) == 0 {
				return nil, core.Invalid("unable to derive the IP value for host-gateway")
			}
			for _, ip := range addrs {
				lines = append(lines, files.Host{Addr: ip, Names: name})
			}
			continue
		}
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, core.Invalid("invalid IP address in add-host: %q", text)
		}
		lines = append(lines, files.Host{Addr: ip, Names: name})
	}
	return lines, nil
}

// Gateway is where a container reaches the host: what host-gateway stands for.
func (o *Organ) Gateway() []netip.Addr { return o.hostGateway() }

// hostGateway is where a container reaches the host.
func (s *shared) hostGateway() []netip.Addr {
	if s.options.HostGateway != nil {
		return s.options.HostGateway
	}
	n := s.byName(defaultName)
	if n == nil {
		return nil
	}
	return slices.DeleteFunc([]netip.Addr{n.IPv4.Gateway(), n.IPv6.Gateway()}, func(ip netip.Addr) bool { return !ip.IsValid() })
}

// linked are the lines for containers that this one is linked to on the default network.
func (sb *sandbox) linked(e *endpoint) []files.Host {
	sb.shared.mu.Lock()
	defer sb.shared.mu.Unlock()
	var lines []files.Host
	for _, l := range slices.Concat(e.Links, sb.DNS.Links) {
		name, alias := splitLink(l)
		for _, other := range sb.shared.sandboxes {
			if other.Name != name && string(other.Container) != name && other.Container.Short() != name {
				continue
			}
			for _, o := range other.endpoints {
				if o.network.ID == e.network.ID {
					words := slices.Compact([]string{alias, other.Hostname, other.Name})
					lines = append(lines, files.Host{Addr: o.Address.Addr(), Names: strings.Join(words, " ")})
				}
			}
		}
	}
	return lines
}

// Relink changes the containers that an open sandbox is linked to on the default network.
func (ss *Sandboxes) Relink(_ context.Context, id core.ContainerID, links []string) error {
	sb := ss.sandbox(id)
	if sb == nil {
		return nil
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	if sb.closed {
		return nil
	}
	ss.mu.Lock()
	sb.DNS.Links = links
	ss.mu.Unlock()
	sb.tellResolver()
	return sb.writeHosts()
}

// tellLinked writes the hosts of those containers anew that are linked to the one that has just come, with another
// address than before. The caller holds no sandbox's op.
func (ss *Sandboxes) tellLinked(name string) {
	ss.mu.Lock()
	var linked []*sandbox
	for _, other := range ss.sandboxes {
		if slices.ContainsFunc(other.DNS.Links, func(l string) bool { to, _ := splitLink(l); return to == name }) {
			linked = append(linked, other)
		}
	}
	ss.mu.Unlock()
	for _, sb := range linked {
		sb.op.Lock()
		if !sb.closed {
			if err := sb.writeHosts(); err != nil {
				ss.log.Error("tell a container the address of one that it is linked to", "container", sb.Container, "error", err)
			}
		}
		sb.op.Unlock()
	}
}

// Rename changes the names that DNS answers with.
func (ss *Sandboxes) Rename(_ context.Context, id core.ContainerID, name string) error {
	sb := ss.sandbox(id)
	if sb == nil {
		return nil
	}
	sb.op.Lock()
	defer sb.op.Unlock()
	if sb.closed {
		return nil
	}
	ss.mu.Lock()
	sb.Name = name
	ss.mu.Unlock()
	for _, e := range sb.endpoints {
		if e.network.zone != nil {
			e.DNSNames = sb.dnsNames(e)
			e.network.zone.Set(e.EndpointID, e.DNSNames, e.Address.Addr(), e.AddressIPv6.Addr())
		}
	}
	return nil
}

// resolvConf is what a container asks before any change for its network: the host's words, the daemon's and its own
// over them.
func (s *shared) resolvConf(dns core.HostConfig) files.ResolvConf {
	servers, search, options := dns.DNS, dns.DNSSearch, dns.DNSOptions
	if len(servers) == 0 {
		servers = s.options.DNS
	}
	if len(search) == 0 {
		search = s.options.DNSSearch
	}
	if len(options) == 0 {
		options = s.options.DNSOptions
	}
	return s.upstream.Get().Override(slices.Clone(servers), search, options)
}
