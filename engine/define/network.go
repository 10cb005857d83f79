package define

import (
	"fmt"
	"strings"

	"github.com/berth-engine/berth/core"
)

func checkPorts(host *core.HostConfig) error {
	for port, bindings := range host.PortBindings {
		for _, b := range bindings {
			if _, _, err := PortRange(b.HostPort); err != nil {
				return core.Invalid("invalid port specification: %q", b.HostPort)
			}
		}
		if port.Number == 0 {
			return core.Invalid("invalid port specification: %q", port.String())
		}
	}
	return nil
}

// PortRange reads the host's side of a binding: "" (any), "8080", "8000-8010".
func PortRange(s string) (first, last uint16, err error) {
	if s == "" {
		return 0, 0, nil
	}
	low, high, isRange := strings.Cut(s, "-")
	if !isRange {
		high = low
	}
	a, err := core.ParsePort(low)
	if err != nil {
		return 0, 0, err
	}
	b, err := core.ParsePort(high)
	if err != nil {
		return 0, 0, err
	}
	if b.Number < a.Number {
		return 0, 0, fmt.Errorf("invalid range %q", s)
	}
	return a.Number, b.Number, nil
}

// Endpoints brings the networks of the request and the network mode together.
func Endpoints(c *core.Container) error {
	mode := c.Host.NetworkMode
	endpoints := map[string]*core.Endpoint{}
	for name, e := range c.Endpoints {
		if e == nil {
			e = &core.Endpoint{}
		}
		if err := Attachment(name, e); err != nil {
			return err
		}
		if name == "default" {
			name = core.NetworkBridge
		}
		endpoints[name] = e
	}
	switch {
	case strings.HasPrefix(mode, "container:"):
		if len(c.Endpoints) > 0 {
			return core.Invalid("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
		}
	case mode == "default":
		if endpoints[core.NetworkBridge] == nil {
			endpoints[core.NetworkBridge] = &core.Endpoint{}
		}
	case endpoints[mode] == nil:
		endpoints[mode] = &core.Endpoint{}
	}
	if c.Config.NetworkDisabled {
		endpoints = map[string]*core.Endpoint{core.NetworkNone: {}}
	}
	c.Endpoints = endpoints
	return nil
}
