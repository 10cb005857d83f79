package define

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
)

// Publish gives the container as it is when some bindings have come and others have gone. What goes is named by the
// container's port (an empty list: all that lead to it) or by a binding of it, as it was asked for or as it is held.
func Publish(c *core.Container, come, gone map[core.Port][]core.PortBinding) (*core.Container, error) {
	if mode := c.Host.NetworkMode; mode == core.NetworkHost || strings.HasPrefix(mode, "container:") {
		kind, _, _ := strings.Cut(mode, ":")
		return nil, core.Invalid("conflicting options: port publishing and the %s type network mode", kind)
	}
	if err := checkPorts(&core.HostConfig{PortBindings: come}); err != nil {
		return nil, err
	}
	next := *c
	host := &next.Host
	host.PortBindings = maps.Clone(host.PortBindings)
	if host.PortBindings == nil {
		host.PortBindings = map[core.Port][]core.PortBinding{}
	}
	if len(gone) > 0 && host.PublishAllPorts {
		// "All" is spelled out, so that one of them can go.
		host.PublishAllPorts = false
		for _, port := range c.Config.ExposedPorts {
			if len(host.PortBindings[port]) == 0 {
				host.PortBindings[port] = []core.PortBinding{{}}
			}
		}
	}
	for port, bindings := range gone {
		if err := unpublish(c, host.PortBindings, port, bindings); err != nil {
			return nil, err
		}
	}
	for port, bindings := range come {
		if len(bindings) == 0 {
			bindings = []core.PortBinding{{}}
		}
		for _, b := range bindings {
			// What is published already, word for word, is so.
			if b.HostPort == "" || !slices.Contains(host.PortBindings[port], b) {
				host.PortBindings[port] = append(slices.Clip(host.PortBindings[port]), b)
			}
		}
		if !slices.Contains(next.Config.ExposedPorts, port) {
			next.Config.ExposedPorts = append(slices.Clip(next.Config.ExposedPorts), port)
		}
	}
	return &next, nil
}

// unpublish takes bindings of one port of the container away.
func unpublish(c *core.Container, all map[core.Port][]core.PortBinding, port core.Port, bindings []core.PortBinding) error {
	rest := slices.Clone(all[port])
	if len(bindings) == 0 && len(rest) > 0 {
		delete(all, port)
		return nil
	}
	if len(bindings) == 0 {
		return notPublished(c, all, port, "")
	}
	for _, b := range bindings {
		i := slices.Index(rest, b)
		if i < 0 {
			i = slices.IndexFunc(rest, func(r core.PortBinding) bool { return holds(c, port, r, b) })
		}
		if i < 0 {
			return notPublished(c, all, port, hostSide(b))
		}
		rest = slices.Delete(rest, i, i+1)
	}
	if all[port] = rest; len(rest) == 0 {
		delete(all, port)
	}
	return nil
}

// holds tells whether a binding of the definition is the one that holds what is named: the host chose the number.
func holds(c *core.Container, port core.Port, binding, named core.PortBinding) bool {
	first, last, err := PortRange(binding.HostPort)
	number, wrong := strconv.ParseUint(named.HostPort, 10, 16)
	if err != nil || wrong != nil || named.HostIP.IsValid() && binding.HostIP != named.HostIP {
		return false
	}
	if first != 0 && (uint16(number) < first || uint16(number) > last) {
		return false
	}
	return slices.ContainsFunc(c.Published, func(p core.PublishedPort) bool {
		return p.Port == port && p.HostPort == uint16(number) && (!binding.HostIP.IsValid() || p.HostIP == binding.HostIP)
	})
}

// notPublished is the error for a port that is not there to be unpublished. Who names the host's port alone is told how to.
func notPublished(c *core.Container, all map[core.Port][]core.PortBinding, port core.Port, host string) error {
	what := port.String()
	if host != "" {
		what = host + ":" + what
	}
	hint := ""
	if host == "" {
		for other, bindings := range all {
			for _, b := range bindings {
				if b.HostPort == strconv.Itoa(int(port.Number)) && other.Protocol == port.Protocol {
					hint = fmt.Sprintf(" (the host's port %d leads to %s: name it as %s:%s)", port.Number, other, hostSide(b), other)
				}
			}
		}
	}
	return core.Invalid("No public port '%s' published for %s%s", what, c.Name, hint)
}

// hostSide is a binding as users write it.
func hostSide(b core.PortBinding) string {
	switch {
	case !b.HostIP.IsValid() || b.HostIP == netip.IPv4Unspecified() && b.HostPort == "":
		return b.HostPort
	case b.HostIP.Is6():
		return "[" + b.HostIP.String() + "]:" + b.HostPort
	}
	return b.HostIP.String() + ":" + b.HostPort
}
