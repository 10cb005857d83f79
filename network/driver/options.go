package driver

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/berth-engine/berth/core"
)

// Options of all drivers, in Docker's words.
const (
	OptMTU    = "com.docker.network.driver.mtu"
	OptPrefix = "com.docker.network.container_iface_prefix"
	OptIPv4   = "com.docker.network.enable_ipv4"
	OptIPv6   = "com.docker.network.enable_ipv6"
)

// Options reads the options of a network, remembering the first that can't be read and those that were asked for.
type Options struct {
	values map[string]string
	known  map[string]bool
	err    error
}

// Read begins to read.
func Read(n *Network) *Options {
	// Those that are of the network, not of its driver, were read before.
	return &Options{values: n.Options, known: map[string]bool{OptIPv4: true, OptIPv6: true}}
}

// Text is a value as it is written; ok tells whether there is one.
func (o *Options) Text(name string) (text string, ok bool) {
	o.known[name] = true
	text, ok = o.values[name]
	return text, ok && text != ""
}

// Bad notes a value that can't be.
func (o *Options) Bad(name, why string) {
	if o.err == nil {
		o.err = core.Invalid("failed to parse %s value: %s (%s)", name, o.values[name], why)
	}
}

// Flag is a value that is true or false.
func (o *Options) Flag(name string, otherwise bool) bool {
	text, ok := o.Text(name)
	if !ok {
		return otherwise
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		o.Bad(name, "it is neither true nor false")
	}
	return v
}

// Addr is an address of a family.
func (o *Options) Addr(name string, v6 bool) netip.Addr {
	text, ok := o.Text(name)
	if !ok {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Unmap().Is6() != v6 {
		o.Bad(name, map[bool]string{false: "it is not an IPv4 address", true: "it is not an IPv6 address"}[v6])
	}
	return ip.Unmap()
}

// MTU is the size of packets that the network has.
func (o *Options) MTU() int {
	text, ok := o.Text(OptMTU)
	if !ok {
		return DefaultMTU
	}
	mtu, err := strconv.Atoi(text)
	if err != nil || mtu != 0 && mtu < 68 || mtu > 65535 {
		o.Bad(OptMTU, "it is not a size of packets")
	}
	if mtu == 0 {
		return DefaultMTU
	}
	return mtu
}

// Err is the first value that could not be read, or else the first option that nobody asked for.
func (o *Options) Err(driver string) error {
	if o.err != nil {
		return o.err
	}
	for _, name := range slices.Sorted(maps.Keys(o.values)) {
		if !o.known[name] {
			return core.Invalid("the network driver %q does not have the option %s", driver, name)
		}
	}
	return nil
}
