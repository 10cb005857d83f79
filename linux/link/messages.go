package link

import (
	"crypto/rand"
	"net"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Bridge describes a bridge to be made.
type Bridge struct {
	Name  string
	Index int // its number; 0: the kernel's choice
	MTU   int
	MAC   net.HardwareAddr // a bridge without a fixed one changes it with its ports
}

// AddBridge makes a bridge; one that is there is no error. It is down.
func (b *Batch) AddBridge(bridge Bridge) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("bridge"))
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(bridge.Index)
	parts := []nl.NetlinkRequestData{
		msg,
		name(bridge.Name),
		number(unix.IFLA_MTU, bridge.MTU),
		nl.NewRtAttr(unix.IFLA_ADDRESS, bridge.MAC),
		info,
	}
	b.add("make the bridge "+bridge.Name, unix.EEXIST, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, parts...)
}

// Veth describes a pair of connected interfaces to be made: Host here, Peer in the namespace NS.
type Veth struct {
	Host    string
	Peer    string
	PeerMAC net.HardwareAddr // nil: any
	MTU     int
	Master  int  // index of the bridge that the host's end joins; 0: none
	Port    Port // how the bridge treats the host's end
	NS      int  // descriptor of the namespace
}

// AddVeth makes a pair. The host's end is up, the other one is down: its namespace's own Conn switches it on,
// and then Settle of the host's end makes the pair carry packets.
func (b *Batch) AddVeth(v Veth) {
	peer := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte("veth"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	inside := data.AddRtAttr(nl.VETH_INFO_PEER, peer.Serialize())
	if v.PeerMAC == nil {
		v.PeerMAC = RandomMAC()
	}
	inside.AddChild(name(v.Peer))
	inside.AddChild(number(unix.IFLA_MTU, v.MTU))
	inside.AddChild(nl.NewRtAttr(unix.IFLA_ADDRESS, v.PeerMAC))
	inside.AddChild(number(unix.IFLA_NET_NS_FD, v.NS))
	host := nl.NewIfInfomsg(unix.AF_UNSPEC)
	parts := []nl.NetlinkRequestData{host, name(v.Host), number(unix.IFLA_MTU, v.MTU), info}
	b.add("make the interface "+v.Host, nil, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, parts...)
	b.Quiet(v.Host)
	if v.Master != 0 {
		b.Enslave(v.Host, v.Master, v.Port)
	}
	b.Up(v.Host)
}

// Quiet keeps the kernel from giving an interface an IPv6 address by itself. A kernel without IPv6 has none to give.
func (b *Batch) Quiet(link string) {
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{nl.IN6_ADDR_GEN_MODE_NONE})
	b.set("quieten", link, 0, spec)
	b.ignored[len(b.ignored)-1] = unix.EAFNOSUPPORT
}

// Port is how a bridge treats one of its ports.
type Port struct {
	Isolated bool // does not talk to other isolated ports
	Hairpin  bool // may get its own packets back
}

// Enslave makes an interface a port of a bridge.
func (b *Batch) Enslave(link string, master int, port Port) {
	b.set("join a bridge with", link, 0, number(unix.IFLA_MASTER, master))
	if port == (Port{}) {
		return
	}
	b.Configure(link, port)
}

// Configure changes how a bridge treats a port of it.
func (b *Batch) Configure(link string, port Port) {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, []byte("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil)
	flag := map[bool][]byte{false: {0}, true: {1}}
	data.AddRtAttr(nl.IFLA_BRPORT_ISOLATED, flag[port.Isolated])
	data.AddRtAttr(nl.IFLA_BRPORT_MODE, flag[port.Hairpin])
	b.set("configure the port", link, 0, info)
}

// Up switches an interface on.
func (b *Batch) Up(link string) { b.set("switch on", link, unix.IFF_UP) }

// Settle makes the kernel act at once on what changed of an interface's carrier, which it otherwise does when it finds
// the time: a port of a bridge that was just connected would lose its first packets. Kernels before 6.8 take their
// time all the same.
func (b *Batch) Settle(link string) {
	b.add("settle "+link, nil, unix.RTM_GETLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC), name(link))
}

// Down switches an interface off.
func (b *Batch) Down(link string) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Change = unix.IFF_UP
	b.add("switch off "+link, nil, unix.RTM_NEWLINK, 0, msg, name(link))
}

// Rename gives the interface of this index another name.
func (b *Batch) Rename(index int, to string) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	b.add("name the interface "+to, nil, unix.RTM_NEWLINK, 0, msg, name(to))
}

// SetMAC changes the hardware address of an interface.
func (b *Batch) SetMAC(link string, mac net.HardwareAddr) {
	b.set("give "+mac.String()+" to", link, 0, nl.NewRtAttr(unix.IFLA_ADDRESS, mac))
}

// SetMTU changes the size of the largest packet, in bytes.
func (b *Batch) SetMTU(link string, mtu int) {
	b.set("set the MTU of", link, 0, number(unix.IFLA_MTU, mtu))
}

// Delete removes an interface, and with one end of a pair the other; one that is not there is no error.
func (b *Batch) Delete(link string) {
	b.add("remove "+link, unix.ENODEV, unix.RTM_DELLINK, 0, nl.NewIfInfomsg(unix.AF_UNSPEC), name(link))
}

func (b *Batch) set(what, link string, flags uint32, attrs ...*nl.RtAttr) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Flags, msg.Change = flags, flags
	parts := []nl.NetlinkRequestData{msg, name(link)}
	for _, a := range attrs {
		parts = append(parts, a)
	}
	b.add(what+" "+link, nil, unix.RTM_NEWLINK, 0, parts...)
}

// AddAddress gives an address to an interface; one that is there is no error. An IPv6 address is used at once,
// without asking the neighbours whether it is taken (IPAM knows).
func (b *Batch) AddAddress(index int, address netip.Prefix) {
	ip := address.Addr()
	msg := nl.NewIfAddrmsg(family(ip))
	msg.Prefixlen, msg.Index = uint8(address.Bits()), uint32(index)
	parts := []nl.NetlinkRequestData{msg, addr(unix.IFA_LOCAL, ip), addr(unix.IFA_ADDRESS, ip)}
	if ip.Is6() {
		msg.IfAddrmsg.Flags = unix.IFA_F_NODAD
	} else if address.Bits() < 31 {
		parts = append(parts, addr(unix.IFA_BROADCAST, broadcast(address)))
	}
	b.add("give the address "+address.String(), unix.EEXIST, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, parts...)
}

// DeleteAddress takes an address away; one that is not there is no error.
func (b *Batch) DeleteAddress(index int, address netip.Prefix) {
	msg := nl.NewIfAddrmsg(family(address.Addr()))
	msg.Prefixlen, msg.Index = uint8(address.Bits()), uint32(index)
	b.add("take the address "+address.String(), unix.EADDRNOTAVAIL, unix.RTM_DELADDR, 0, msg, addr(unix.IFA_LOCAL, address.Addr()))
}

// SetDefaultRoute sends what has no better route through the gateway, or, when that is invalid, straight to the
// interface; an older default route is replaced.
func (b *Batch) SetDefaultRoute(index int, v6 bool, gateway netip.Addr) {
	parts := []nl.NetlinkRequestData{route(v6, gateway.IsValid()), number(unix.RTA_OIF, index)}
	if gateway.IsValid() {
		parts = append(parts, addr(unix.RTA_GATEWAY, gateway))
	}
	b.add("set the default route to "+gateway.String(), nil, unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, parts...)
}

func route(v6, gateway bool) *nl.RtMsg {
	msg := nl.NewRtMsg()
	msg.Family = unix.AF_INET
	if v6 {
		msg.Family = unix.AF_INET6
	}
	if !gateway {
		msg.Scope = unix.RT_SCOPE_LINK
	}
	msg.Table = unix.RT_TABLE_MAIN
	msg.Protocol = unix.RTPROT_BOOT
	return msg
}

func family(ip netip.Addr) int {
	if ip.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func addr(attr int, ip netip.Addr) *nl.RtAttr { return nl.NewRtAttr(attr, ip.AsSlice()) }

func name(s string) *nl.RtAttr { return nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(s)) }

func number(attr, value int) *nl.RtAttr { return nl.NewRtAttr(attr, nl.Uint32Attr(uint32(value))) }

// broadcast is the last address of an IPv4 network.
func broadcast(p netip.Prefix) netip.Addr {
	ip := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		ip[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(ip)
}

// Retire stops a port of a bridge, named by its index, from carrying anything and forgets what lay behind it. Unlike
// taking the port away it waits for nothing: the interface itself goes with its namespace. One that is not there is no
// error. (It has to be asked of the bridge: after a change of the interface the kernel looks at its carrier, and lets a
// port that has one carry again.)
func (b *Batch) Retire(index int) {
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(index)
	info := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	info.AddRtAttr(nl.IFLA_BRPORT_STATE, []byte{0})
	info.AddRtAttr(nl.IFLA_BRPORT_FLUSH, nil)
	b.add("retire interface "+strconv.Itoa(index), unix.ENODEV, unix.RTM_SETLINK, 0, msg, info)
}

// RandomMAC is a locally administered hardware address.
func RandomMAC() net.HardwareAddr {
	mac := make(net.HardwareAddr, 6)
	rand.Read(mac)
	mac[0] = mac[0]&^1 | 2
	return mac
}
