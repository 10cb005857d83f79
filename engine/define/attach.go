package define

import (
	"maps"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
)

// The options of an endpoint that the network organ knows.
const (
	endpointName    = "com.docker.network.endpoint.ifname"
	endpointSysctls = "com.docker.network.endpoint.sysctls"
)

// Attachment refuses settings of a container's place in a network that can't be.
func Attachment(network string, e *core.Endpoint) error {
	err := checkEndpoint(network, e)
	if err == nil {
		err = checkEndpointOptions(e.DriverOpts)
	}
	if err != nil {
		return core.Invalid("invalid config for network %s: invalid endpoint settings:\n%w", network, err)
	}
	return nil
}

func checkEndpoint(network string, e *core.Endpoint) error {
	predefined := slices.Contains([]string{"default", core.NetworkBridge, core.NetworkHost, core.NetworkNone}, network)
	switch {
	case predefined && (e.IPv4.IsValid() || e.IPv6.IsValid()):
		return core.Invalid("user-specified IP address is supported on user-defined networks only")
	case predefined && len(e.Aliases) > 0:
		return core.Invalid("network-scoped aliases are only supported for user-defined networks")
	case e.IPv4.IsValid() && (!e.IPv4.Unmap().Is4() || e.IPv4.IsUnspecified()):
		return core.Invalid("invalid IPv4 address: %s", e.IPv4)
	case e.IPv6.IsValid() && (!e.IPv6.Is6() || e.IPv6.Is4In6() || e.IPv6.IsUnspecified() || e.IPv6.Zone() != ""):
		return core.Invalid("invalid IPv6 address: %s", e.IPv6)
	}
	for _, address := range e.LinkLocal {
		if !address.IsValid() || address.IsUnspecified() {
			return core.Invalid("invalid link-local IP address: %s", address)
		}
	}
	return nil
}

func checkEndpointOptions(options map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		switch name {
		case endpointName:
		case endpointSysctls:
			for sysctl := range strings.SplitSeq(options[name], ",") {
				// net.ipv4.conf.IFNAME.log_martians=1
				parts := strings.SplitN(sysctl, ".", 5)
				if len(parts) != 5 || parts[0] != "net" || !slices.Contains([]string{"ipv4", "ipv6", "mpls"}, parts[1]) || !strings.EqualFold(parts[3], "IFNAME") || !strings.Contains(parts[4], "=") || strings.Contains(sysctl, "/") {
					return core.Invalid("unrecognised network interface sysctl '%s'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'", sysctl)
				}
			}
		default:
			return core.Invalid("unknown driver option: %s", name)
		}
	}
	return nil
}
