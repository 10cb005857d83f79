package link

import (
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Stacked describes an interface that stands on another one: macvlan or ipvlan.
type Stacked struct {
	Name   string
	Parent int              // index of the interface that it stands on
	Kind   string           // "macvlan", "ipvlan"
	Mode   string           // as StackedMode knows it
	Flag   string           // of ipvlan
	MAC    net.HardwareAddr // nil: any
	MTU    int              // 0: the parent's
	Away   bool             // it is made in the namespace NS, and else here
	NS     int              // descriptor of the namespace
}

// The modes as users write them.
var (
	macvlanModes = map[string]uint32{
		"private": nl.MACVLAN_MODE_PRIVATE, "vepa": nl.MACVLAN_MODE_VEPA, "bridge": nl.MACVLAN_MODE_BRIDGE, "passthru": nl.MACVLAN_MODE_PASSTHRU,
	}
	ipvlanModes = map[string]uint16{"l2": uint16(netlink.IPVLAN_MODE_L2), "l3": uint16(netlink.IPVLAN_MODE_L3), "l3s": uint16(netlink.IPVLAN_MODE_L3S)}
	ipvlanFlags = map[string]uint16{"bridge": uint16(netlink.IPVLAN_FLAG_BRIDGE), "private": uint16(netlink.IPVLAN_FLAG_PRIVATE), "vepa": uint16(netlink.IPVLAN_FLAG_VEPA)}
)

// StackedMode reports whether a kind has a mode of that name.
func StackedMode(kind, mode string) bool {
	if kind == "ipvlan" {
		_, ok := ipvlanModes[mode]
		return ok
	}
	_, ok := macvlanModes[mode]
	return ok
}

// IPvlanFlag reports whether ipvlan has a flag of that name.
func IPvlanFlag(flag string) bool {
	_, ok := ipvlanFlags[flag]
	return ok
}

// AddStacked makes an interface on another one. It is down.
func (b *Batch) AddStacked(s Stacked) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte(s.Kind))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	if s.Kind == "ipvlan" {
		data.AddRtAttr(nl.IFLA_IPVLAN_MODE, nl.Uint16Attr(ipvlanModes[s.Mode]))
		data.AddRtAttr(nl.IFLA_IPVLAN_FLAG, nl.Uint16Attr(ipvlanFlags[s.Flag]))
	} else {
		data.AddRtAttr(nl.IFLA_MACVLAN_MODE, nl.Uint32Attr(macvlanModes[s.Mode]))
	}
	parts := []nl.NetlinkRequestData{nl.NewIfInfomsg(unix.AF_UNSPEC), name(s.Name), number(unix.IFLA_LINK, s.Parent)}
	if s.Away {
		parts = append(parts, number(unix.IFLA_NET_NS_FD, s.NS))
	}
	if s.MAC != nil {
		parts = append(parts, nl.NewRtAttr(unix.IFLA_ADDRESS, s.MAC))
	}
	if s.MTU != 0 {
		parts = append(parts, number(unix.IFLA_MTU, s.MTU))
	}
	b.add("make the interface "+s.Name, nil, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, append(parts, info)...)
}

// AddVLAN makes the interface of a VLAN on another one; one that is there is no error. It is down.
func (b *Batch) AddVLAN(link string, parent, id int) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("vlan"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_VLAN_ID, nl.Uint16Attr(uint16(id)))
	b.add("make the interface "+link, unix.EEXIST, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		nl.NewIfInfomsg(unix.AF_UNSPEC), name(link), number(unix.IFLA_LINK, parent), info)
}

// AddPair makes a pair of connected interfaces that both stay here; one that is there is no error. They are down.
func (b *Batch) AddPair(link, peer string) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("veth"))
	inside := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nl.NewIfInfomsg(unix.AF_UNSPEC).Serialize())
	inside.AddChild(name(peer))
	b.add("make the interface "+link, unix.EEXIST, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, nl.NewIfInfomsg(unix.AF_UNSPEC), name(link), info)
}
