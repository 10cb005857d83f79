// Package nft describes a table of the kernel's packet filter as a value, prints it in the language of nft(8) and
// makes the kernel have it.
//
// A table is applied as one transaction: the kernel has the old one or the new one, never a part, and applying twice
// is harmless. Rules never change between applications; what changes are the elements of sets and maps, so that a
// table with a thousand published ports has the rules of a table with one.
package nft

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Family is the protocol that a table sees.
type Family string

// The families that Berth uses.
const (
	IPv4 Family = "ip"
	IPv6 Family = "ip6"
)

// Table is a named table of one family.
type Table struct {
	Family Family
	Name   string
	Sets   []Set
	Chains []Chain
}

// Set is a set of keys, or a map when it has values.
type Set struct {
	Name     string
	Key      []Type
	Value    []Type // nil: a set
	Interval bool   // fields of keys may be prefixes
	Elements []Element
}

// Element is a member of a set: its key and, in a map, what the key stands for.
type Element struct {
	Key, Value []Field
}

// Chain is a chain that the kernel calls at a hook.
type Chain struct {
	Name     string
	Type     string // "filter", "nat"
	Hook     string // "prerouting", "forward", "output", "postrouting"
	Priority int32
	Rules    []Rule
}

// Rule is a list of statements: conditions and, when all hold, what happens.
type Rule []Statement

// Type is the type of a field of a set.
type Type struct {
	name string
	kind nftables.SetDatatype
}

// TypeAddr is an address of the family.
func TypeAddr(f Family) Type {
	if f == IPv6 {
		return Type{"ipv6_addr", nftables.TypeIP6Addr}
	}
	return Type{"ipv4_addr", nftables.TypeIPAddr}
}

// TypeInterface is the name of an interface.
func TypeInterface() Type { return Type{"ifname", nftables.TypeIFName} }

// TypeProtocol is the number of a transport protocol.
func TypeProtocol() Type { return Type{"inet_proto", nftables.TypeInetProto} }

// TypePort is a port of a transport protocol.
func TypePort() Type { return Type{"inet_service", nftables.TypeInetService} }

// Field is a value in a key or behind it, as the kernel stores it: in whole words of four bytes.
type Field struct {
	data string
	end  string // of an interval, included; empty: one value
	text string
}

// Addr is an address.
func Addr(ip netip.Addr) Field { return Field{data: string(ip.AsSlice()), text: ip.String()} }

// Prefix is all addresses of a prefix, for a key of a set of intervals.
func Prefix(p netip.Prefix) Field {
	end := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(end)*8; bit++ {
		end[bit/8] |= 1 << (7 - bit%8)
	}
	return Field{data: string(p.Masked().Addr().AsSlice()), end: string(end), text: p.String()}
}

// Interface is the name of an interface.
func Interface(name string) Field {
	data := make([]byte, 16)
	copy(data[:15], name)
	return Field{data: string(data), text: fmt.Sprintf("%q", name)}
}

// Protocol is the number of a transport protocol.
func Protocol(number uint8) Field {
	names := map[uint8]string{1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp"}
	text := names[number]
	if text == "" {
		text = fmt.Sprint(number)
	}
	return Field{data: string([]byte{number, 0, 0, 0}), text: text}
}

// ICMP is the protocol of errors and echoes of a family.
func ICMP(f Family) Field {
	if f == IPv6 {
		return Protocol(unix.IPPROTO_ICMPV6)
	}
	return Protocol(unix.IPPROTO_ICMP)
}

// Port is a port of a transport protocol.
func Port(number uint16) Field {
	return Field{data: string([]byte{byte(number >> 8), byte(number), 0, 0}), text: fmt.Sprint(number)}
}

func join(fields []Field) []byte {
	var b []byte
	for _, f := range fields {
		b = append(b, f.data...)
	}
	return b
}

func joinEnds(fields []Field) []byte {
	var b []byte
	for _, f := range fields {
		if f.end == "" {
			b = append(b, f.data...)
		} else {
			b = append(b, f.end...)
		}
	}
	return b
}

func text(fields []Field) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = f.text
	}
	return strings.Join(parts, " . ")
}

// String is the element in the language of nft.
func (e Element) String() string {
	if e.Value == nil {
		return text(e.Key)
	}
	return text(e.Key) + " : " + text(e.Value)
}

// String is the table in the language of nft(8): what `nft -f` would take.
func (t Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", t.Family, t.Name)
	for _, s := range t.Sets {
		word := "set"
		if s.Value != nil {
			word = "map"
		}
		fmt.Fprintf(&b, "\t%s %s {\n\t\ttype %s\n", word, s.Name, s.types())
		if s.Interval {
			b.WriteString("\t\tflags interval\n")
		}
		if len(s.Elements) > 0 {
			b.WriteString("\t\telements = {\n")
			for _, e := range s.Elements {
				fmt.Fprintf(&b, "\t\t\t%s,\n", e)
			}
			b.WriteString("\t\t}\n")
		}
		b.WriteString("\t}\n\n")
	}
	for i, c := range t.Chains {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s hook %s priority %d; policy accept;\n", c.Name, c.Type, c.Hook, c.Priority)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t\t%s\n", r)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func (s Set) types() string {
	names := func(types []Type) string {
		list := make([]string, len(types))
		for i, t := range types {
			list[i] = t.name
		}
		return strings.Join(list, " . ")
	}
	if s.Value == nil {
		return names(s.Key)
	}
	return names(s.Key) + " : " + names(s.Value)
}

// String is the rule in the language of nft.
func (r Rule) String() string {
	parts := make([]string, len(r))
	for i, s := range r {
		parts[i] = s.text
	}
	return strings.Join(parts, " ")
}
