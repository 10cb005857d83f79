package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is an interface as the kernel has it.
type Interface struct {
	Name   string
	Index  int
	Peer   int // index of the other end of a pair, or of what the interface stands on; 0: none
	Master int // index of the bridge that it is a port of; 0: none
	MAC    net.HardwareAddr
	MTU    int
	Kind   string // "bridge", "veth", …
}

// ErrNotFound is given for an interface that is not there.
var ErrNotFound = errors.New("no such interface")

// Find looks an interface up by name, in the namespace of the calling thread.
func Find(name string) (Interface, error) {
	l, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return Interface{}, fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	if err != nil {
		return Interface{}, fmt.Errorf("look for the interface %s: %w", name, err)
	}
	return of(l), nil
}

// Exists reports whether the namespace of the calling thread has an interface of that name.
func Exists(name string) bool {
	_, err := Find(name)
	return name != "" && err == nil
}

// List gives all interfaces of the namespace of the calling thread.
func List() ([]Interface, error) {
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	list := make([]Interface, 0, len(links))
	for _, l := range links {
		list = append(list, of(l))
	}
	return list, nil
}

func of(l netlink.Link) Interface {
	a := l.Attrs()
	return Interface{Name: a.Name, Index: a.Index, Peer: a.ParentIndex, Master: a.MasterIndex, MAC: a.HardwareAddr, MTU: a.MTU, Kind: l.Type()}
}

// Addresses lists the addresses of an interface of the namespace of the calling thread.
func Addresses(index int) ([]netip.Prefix, error) {
	addrs, err := netlink.AddrList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	var list []netip.Prefix
	for _, a := range addrs {
		if p, ok := prefix(a.IPNet); ok {
			list = append(list, p)
		}
	}
	return list, nil
}

// Route is where packets to a destination go.
type Route struct {
	To        netip.Prefix
	Interface int // its index; 0: none, or several
}

// AllRoutes lists the routes of the main table.
func AllRoutes() ([]Route, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	var list []Route
	for _, r := range routes {
		if p, ok := prefix(r.Dst); ok {
			list = append(list, Route{To: p, Interface: r.LinkIndex})
		}
	}
	return list, nil
}

// Routes lists the destinations that the host has routes for, except the default ones.
func Routes() ([]netip.Prefix, error) {
	routes, err := AllRoutes()
	var list []netip.Prefix
	for _, r := range routes {
		if r.To.Bits() > 0 {
			list = append(list, r.To)
		}
	}
	return list, err
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits), ok
}

// Sysctl writes a value below /proc/sys/net for the namespace of the calling thread. path uses slashes, since names
// of interfaces may have dots. A value that is already there is not written again.
func Sysctl(path, value string) error {
	file := "/proc/sys/net/" + path
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read sysctl: %w", err)
	}
	if strings.TrimSpace(string(old)) == value {
		return nil
	}
	if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl: %w", err)
	}
	return nil
}

// SwitchIPv6 turns IPv6 of an interface on or off, in the namespace of the calling thread. A kernel without IPv6 has
// it off.
func SwitchIPv6(name string, on bool) error {
	value := "1"
	if on {
		value = "0"
	}
	err := Sysctl("ipv6/conf/"+name+"/disable_ipv6", value)
	if errors.Is(err, os.ErrNotExist) && !on {
		return nil
	}
	return err
}

// ForgetFlows makes the kernel forget the UDP flows to ports, so that packets do not go on to where these led before.
func ForgetFlows(ports ...uint16) error {
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, flowsTo(ports)); err != nil {
			return fmt.Errorf("forget the flows to ports %d: %w", ports, err)
		}
	}
	return nil
}

// flowsTo matches UDP flows by the port that they were sent to.
type flowsTo []uint16

// MatchConntrackFlow is netlink's CustomConntrackFilter.
func (f flowsTo) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	return flow.Forward.Protocol == unix.IPPROTO_UDP && slices.Contains(f, flow.Forward.DstPort)
}
