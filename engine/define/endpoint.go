package define

import "github.com/berth-engine/berth/core"

// JoinEndpoints keeps the endpoints that have no interface (none, host) beside those that were joined.
func JoinEndpoints(asked, got map[string]*core.Endpoint) map[string]*core.Endpoint {
	all := make(map[string]*core.Endpoint, len(asked))
	for name, e := range asked {
		all[name] = e
	}
	for name, e := range got {
		all[name] = e
	}
	return all
}

// Released is the endpoints as asked for, without what they had while the container ran.
func Released(endpoints map[string]*core.Endpoint) map[string]*core.Endpoint {
	out := make(map[string]*core.Endpoint, len(endpoints))
	for name, e := range endpoints {
		out[name] = &core.Endpoint{
			Aliases: e.Aliases, Links: e.Links, DriverOpts: e.DriverOpts, GwPriority: e.GwPriority,
			IPv4: e.IPv4, IPv6: e.IPv6, LinkLocal: e.LinkLocal, WantMAC: e.WantMAC,
			NetworkID: e.NetworkID, DNSNames: e.DNSNames,
		}
	}
	return out
}

// Sandbox says how the container's network should be.
func Sandbox(c *core.Container) core.Sandbox {
	endpoints := map[string]*core.Endpoint{}
	for name, e := range c.Endpoints {
		if name != core.NetworkNone && name != core.NetworkHost {
			endpoints[name] = e
		}
	}
	return core.Sandbox{
		Container:  c.ID,
		Name:       c.Name,
		Hostname:   c.Config.Hostname,
		Domain:     c.Config.Domainname,
		Endpoints:  endpoints,
		Ports:      c.Host.PortBindings,
		Exposed:    c.Config.ExposedPorts,
		PublishAll: c.Host.PublishAllPorts,
		Published:  c.Published,
		DNS:        c.Host,
		Sysctls:    c.Host.Sysctls,
		Dir:        c.Dir,
		Host:       c.Host.NetworkMode == core.NetworkHost,
		PID:        c.State.PID,
	}
}
