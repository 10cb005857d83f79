package nft

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Statement is a condition or an action of a rule, in both languages.
type Statement struct {
	text  string
	exprs []expr.Any
}

// String is the statement in the language of nft.
func (s Statement) String() string { return s.text }

// Registers: the kernel numbers them in words of four bytes from 8 on.
const firstWord = 8

// Load is something of a packet that can be looked up in a set.
type Load struct {
	text  string
	words uint32
	load  func(register uint32) expr.Any
}

// InInterface is the name of the interface that a packet came in by, empty for the host's own.
func InInterface() Load {
	return Load{"iifname", 4, func(r uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: r} }}
}

// OutInterface is the name of the interface that a packet leaves by.
func OutInterface() Load {
	return Load{"oifname", 4, func(r uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyOIFNAME, Register: r} }}
}

// Transport is the number of the transport protocol.
func Transport() Load {
	return Load{"meta l4proto", 1, func(r uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: r} }}
}

// DestinationPort is the port that a packet goes to.
func DestinationPort() Load {
	return Load{"th dport", 1, func(r uint32) expr.Any {
		return &expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	}}
}

// SourcePort is the port that a packet comes from.
func SourcePort() Load {
	return Load{"th sport", 1, func(r uint32) expr.Any {
		return &expr.Payload{DestRegister: r, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2}
	}}
}

// Destination is the address that a packet goes to.
func Destination(f Family) Load {
	if f == IPv6 {
		return payload("ip6 daddr", 24, 16)
	}
	return payload("ip daddr", 16, 4)
}

// Source is the address that a packet comes from.
func Source(f Family) Load {
	if f == IPv6 {
		return payload("ip6 saddr", 8, 16)
	}
	return payload("ip saddr", 12, 4)
}

func payload(text string, offset, size uint32) Load {
	return Load{text, size / 4, func(r uint32) expr.Any {
		return &expr.Payload{DestRegister: r, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size}
	}}
}

// loads puts things of the packet side by side into registers.
func loads(list []Load) (text string, words uint32, exprs []expr.Any) {
	var parts []string
	for _, l := range list {
		parts = append(parts, l.text)
		exprs = append(exprs, l.load(firstWord+words))
		words += l.words
	}
	return strings.Join(parts, " . "), words, exprs
}

// In holds when what is loaded is an element of the set.
func In(set string, what ...Load) Statement {
	text, _, exprs := loads(what)
	return Statement{text + " @" + set, append(exprs, &expr.Lookup{SourceRegister: firstWord, SetName: set})}
}

// Is holds when what is loaded equals the value.
func Is(what Load, value Field) Statement {
	return compare(what, value, expr.CmpOpEq, " ")
}

// IsNot holds when what is loaded differs from the value.
func IsNot(what Load, value Field) Statement {
	return compare(what, value, expr.CmpOpNeq, " != ")
}

func compare(what Load, value Field, op expr.CmpOp, sign string) Statement {
	data := []byte(value.data)
	switch what.text {
	case "th dport", "th sport":
		data = data[:2]
	case "meta l4proto":
		data = data[:1]
	}
	return Statement{what.text + sign + value.text, []expr.Any{what.load(firstWord), &expr.Cmp{Op: op, Register: firstWord, Data: data}}}
}

// Within holds when the address that is loaded lies in the prefix.
func Within(what Load, prefix netip.Prefix) Statement {
	ip := prefix.Masked().Addr().AsSlice()
	mask := make([]byte, len(ip))
	for bit := range prefix.Bits() {
		mask[bit/8] |= 1 << (7 - bit%8)
	}
	size := uint32(len(ip))
	return Statement{what.text + " " + prefix.String(), []expr.Any{
		what.load(firstWord),
		&expr.Bitwise{SourceRegister: firstWord, DestRegister: firstWord, Len: size, Mask: mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: ip},
	}}
}

// ToHost holds when the packet goes to an address of the host itself.
func ToHost() Statement {
	return Statement{"fib daddr type local", []expr.Any{
		&expr.Fib{Register: firstWord, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}}
}

// ToElsewhere holds for packets of which the interface that they came in by does not have the destination's address.
func ToElsewhere() Statement {
	return Statement{"fib daddr . iif type unicast", []expr.Any{
		&expr.Fib{Register: firstWord, ResultADDRTYPE: true, FlagDADDR: true, FlagIIF: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_UNICAST)},
	}}
}

// Known holds for packets of connections that were let through before, and for errors about them.
func Known() Statement {
	return bits("ct state established,related", expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// Redirected holds for packets of connections whose destination was translated.
func Redirected() Statement {
	const destinationNAT = 1 << 5 // IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h
	return bits("ct status dnat", expr.CtKeySTATUS, destinationNAT)
}

func bits(text string, key expr.CtKey, mask uint32) Statement {
	return Statement{text, []expr.Any{
		&expr.Ct{Key: key, Register: firstWord},
		&expr.Bitwise{SourceRegister: firstWord, DestRegister: firstWord, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: firstWord, Data: make([]byte, 4)},
	}}
}

// Unreachable holds for what ICMP says of packets that can't be delivered.
func Unreachable() Statement {
	const unreachable = 3 // ICMP_DEST_UNREACH of linux/icmp.h
	return Statement{"icmp type destination-unreachable", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstWord},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: []byte{unix.IPPROTO_ICMP}},
		&expr.Payload{DestRegister: firstWord, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: []byte{unreachable}},
	}}
}

// Reset holds for packets that break a TCP connection off.
func Reset() Statement {
	const flags, reset = 13, 4 // RFC 9293, 3.1
	return Statement{"tcp flags rst", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: firstWord},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: firstWord, Base: expr.PayloadBaseTransportHeader, Offset: flags, Len: 1},
		&expr.Bitwise{SourceRegister: firstWord, DestRegister: firstWord, Len: 1, Mask: []byte{reset}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: firstWord, Data: []byte{0}},
	}}
}

// Redirect sends the packet to the address and port that the map has for what is loaded; without an element the rule
// does not hold.
func Redirect(f Family, table string, what ...Load) Statement {
	text, _, exprs := loads(what)
	family, words := uint32(unix.NFPROTO_IPV4), uint32(1)
	if f == IPv6 {
		family, words = unix.NFPROTO_IPV6, 4
	}
	exprs = append(exprs,
		&expr.Lookup{SourceRegister: firstWord, DestRegister: firstWord, IsDestRegSet: true, SetName: table},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: firstWord, RegProtoMin: firstWord + words, Specified: true},
	)
	return Statement{"dnat " + string(f) + " to " + text + " map @" + table, exprs}
}

// Translate gives the packet the source address that the map has for what is loaded; without an element the rule does
// not hold.
func Translate(f Family, table string, what ...Load) Statement {
	text, _, exprs := loads(what)
	family := uint32(unix.NFPROTO_IPV4)
	if f == IPv6 {
		family = unix.NFPROTO_IPV6
	}
	exprs = append(exprs,
		&expr.Lookup{SourceRegister: firstWord, DestRegister: firstWord, IsDestRegSet: true, SetName: table},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: family, RegAddrMin: firstWord, Specified: true},
	)
	return Statement{"snat to " + text + " map @" + table, exprs}
}

// RedirectTo sends the packet to an address and port.
func RedirectTo(to netip.AddrPort) Statement {
	family, words := uint32(unix.NFPROTO_IPV4), uint32(1)
	if to.Addr().Is6() {
		family, words = unix.NFPROTO_IPV6, 4
	}
	return Statement{fmt.Sprintf("dnat to %s", to), []expr.Any{
		&expr.Immediate{Register: firstWord, Data: to.Addr().AsSlice()},
		&expr.Immediate{Register: firstWord + words, Data: binaryutil.BigEndian.PutUint16(to.Port())},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: firstWord, RegProtoMin: firstWord + words, Specified: true},
	}}
}

// Masquerade gives the packet the address of the interface that it leaves by.
func Masquerade() Statement { return Statement{"masquerade", []expr.Any{&expr.Masq{}}} }

// Accept ends the table for the packet: other tables are still asked.
func Accept() Statement { return verdict("accept", expr.VerdictAccept) }

// Drop throws the packet away.
func Drop() Statement { return verdict("drop", expr.VerdictDrop) }

func verdict(text string, kind expr.VerdictKind) Statement {
	return Statement{text, []expr.Any{&expr.Verdict{Kind: kind}}}
}
