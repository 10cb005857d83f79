package dns

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/berth-engine/berth/linux/datagram"
)

// Scope is what a container can ask for by name.
type Scope struct {
	// Zones are those of the networks that the container is in, in the order in which they are asked.
	Zones []*Zone
	// Links are the names that aliases of this container alone, in lower case, stand for.
	Links map[string]string
	// Servers gives those that are asked what the zones do not know; none: such questions have no answer. It is called
	// for each such question.
	Servers func() []Server
}

// find finds a name in lower case; nil: no zone has it.
func (s *Scope) find(key []byte) *name {
	if len(s.Links) > 0 {
		if target, ok := s.Links[string(key)]; ok {
			key = []byte(target)
		}
	}
	for _, z := range s.Zones {
		if n := z.find(key); n != nil {
			return n
		}
	}
	return nil
}

// The header of a message (RFC 1035, 4.1.1) and what stands in its flags.
const (
	headerSize = 12

	flagAnswer    = 1 << 15
	flagTruncated = 1 << 9
	flagAsked     = 1 << 8 // recursion desired
	flagRecursive = 1 << 7 // recursion available
	maskOpcode    = 15 << 11
)

const (
	maxLabel = 63
	maxName  = 255
	// optSize is the length of the pseudo record that says how large an answer may be (RFC 6891), without options.
	optSize = 11
)

// quick answers what can be answered from the datagram itself: a plain question for a name that a zone has, and what is
// no question at all. It writes into out, whose capacity is MaxOut, and allocates nothing. done is false for everything
// else; done without a reply means that none is due.
func (s *Scope) quick(query, out []byte) (reply []byte, done bool) {
	if len(query) < headerSize {
		return nil, true
	}
	flags := binary.BigEndian.Uint16(query[2:])
	switch {
	case flags&flagAnswer != 0: // two servers would answer each other for ever
		return nil, true
	case flags&maskOpcode != 0:
		return refuse(query, out, dns.RcodeNotImplemented), true
	case binary.BigEndian.Uint16(query[4:]) != 1:
		return refuse(query, out, dns.RcodeFormatError), true
	case binary.BigEndian.Uint32(query[6:]) != 0: // records where only answers have some
		return nil, false
	}
	var buf [maxName]byte
	key, end, ok := readName(query, buf[:0])
	if !ok || len(query) < end+4 {
		return nil, false
	}
	kind, class := binary.BigEndian.Uint16(query[end:]), binary.BigEndian.Uint16(query[end+2:])
	size, ok := answerSize(query, end+4)
	if !ok || class != dns.ClassINET || kind == dns.TypePTR || kind == dns.TypeANY {
		return nil, false
	}
	n := s.find(key)
	if n == nil {
		return nil, false
	}
	out = append(out, query[:end+4]...)
	flags = flags&flagAsked | flagAnswer | flagRecursive
	extended := size > 0
	if !extended {
		size = dns.MinMsgSize
	}
	count, whole := 0, true
	switch kind {
	case dns.TypeA:
		out, count, whole = appendAddrs(out, n.v4, n.next(), size, extended)
	case dns.TypeAAAA:
		out, count, whole = appendAddrs(out, n.v6, n.next(), size, extended)
	}
	if !whole {
		flags |= flagTruncated
	}
	binary.BigEndian.PutUint16(out[2:], flags)
	binary.BigEndian.PutUint16(out[6:], uint16(count))
	binary.BigEndian.PutUint16(out[10:], 0)
	if extended {
		binary.BigEndian.PutUint16(out[10:], 1)
		out = append(out, 0, 0, byte(dns.TypeOPT), datagram.MaxOut>>8, datagram.MaxOut&0xff, 0, 0, 0, 0, 0, 0)
	}
	return out, true
}

// refuse is an answer of a header alone.
func refuse(query, out []byte, code uint16) []byte {
	out = append(out, query[:headerSize]...)
	flags := binary.BigEndian.Uint16(query[2:])
	binary.BigEndian.PutUint16(out[2:], flags&(maskOpcode|flagAsked)|flagAnswer|code)
	clear(out[4:])
	return out
}

// readName reads the name of the question into key, in lower case and with dots, and gives where it ends. A name that
// is compressed, or has dots within its labels, is not read: no container is called so.
func readName(query, key []byte) (_ []byte, end int, ok bool) {
	for at := headerSize; at < len(query); {
		size := int(query[at])
		at++
		if size == 0 {
			return key, at, true
		}
		if size > maxLabel || at+size > len(query) || len(key)+1+size > maxName {
			return nil, 0, false
		}
		if len(key) > 0 {
			key = append(key, '.')
		}
		for _, c := range query[at : at+size] {
			switch {
			case c == '.':
				return nil, 0, false
			case 'A' <= c && c <= 'Z':
				c += 'a' - 'A'
			}
			key = append(key, c)
		}
		at += size
	}
	return nil, 0, false
}

// answerSize reads the pseudo record behind the question, which says how large an answer may be; 0: there is none.
func answerSize(query []byte, at int) (size int, ok bool) {
	additional := binary.BigEndian.Uint16(query[10:])
	if additional == 0 {
		return 0, at == len(query)
	}
	rest := query[at:]
	if additional != 1 || len(rest) < optSize || rest[0] != 0 || binary.BigEndian.Uint16(rest[1:]) != dns.TypeOPT || rest[6] != 0 {
		return 0, false
	}
	if int(binary.BigEndian.Uint16(rest[9:])) != len(rest)-optSize {
		return 0, false
	}
	size = int(binary.BigEndian.Uint16(rest[3:]))
	return min(max(size, dns.MinMsgSize), datagram.MaxOut), true
}

// appendAddrs writes a record for each address, beginning with one of them, as far as there is room.
func appendAddrs(out []byte, addrs []netip.Addr, turn, size int, extended bool) (_ []byte, count int, whole bool) {
	if extended {
		size -= optSize
	}
	for i := range addrs {
		ip := addrs[(i+turn)%len(addrs)]
		kind, length := byte(dns.TypeA), byte(4)
		if ip.Is6() {
			kind, length = byte(dns.TypeAAAA), 16
		}
		const pointer, head = 0xc0, 12 // to the name of the question
		if len(out)+head+int(length) > size {
			return out, count, false
		}
		out = append(out, pointer, headerSize, 0, kind, 0, dns.ClassINET, 0, 0, ttl>>8, ttl&0xff, 0, length)
		if ip.Is4() {
			b := ip.As4()
			out = append(out, b[:]...)
		} else {
			b := ip.As16()
			out = append(out, b[:]...)
		}
		count++
	}
	return out, count, true
}
