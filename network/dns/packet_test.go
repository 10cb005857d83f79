package dns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/berth-engine/berth/linux/datagram"
)

// fleet is a scope with a bit of everything.
func fleet() *Scope {
	z := NewZone("Back")
	z.Set("e1", []string{"web", "all"}, netip.MustParseAddr("10.0.0.2"))
	z.Set("e2", []string{"six", "all"}, netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fd00::3"))
	z.Set("e3", []string{"with.dot"}, netip.MustParseAddr("10.0.0.4"))
	for i := range 100 {
		z.Set(fmt.Sprint("many", i), []string{"many"}, netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), netip.AddrFrom16([16]byte{0xfd, 15: byte(i)}))
	}
	return &Scope{Zones: []*Zone{NewZone("first"), z}, Links: map[string]string{"db": "web"}}
}

// question packs a question.
func question(t testing.TB, name string, kind uint16, change ...func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, kind)
	m.Id = 4711
	for _, f := range change {
		f(m)
	}
	data, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func extended(size uint16) func(*dns.Msg) {
	return func(m *dns.Msg) { m.SetEdns0(size, false) }
}

func TestPlainQuestionsAreAnsweredFromTheDatagram(t *testing.T) {
	s := fleet()
	for name, test := range map[string]struct {
		query []byte
		want  string // what the answers are, in order of the alphabet; "-": not answered here; "": dropped
	}{
		"an address":                      {question(t, "web.", dns.TypeA), "NOERROR 10.0.0.2"},
		"in another case":                 {question(t, "wEb.BACK.", dns.TypeA), "NOERROR 10.0.0.2"},
		"of a link":                       {question(t, "DB.", dns.TypeA), "NOERROR 10.0.0.2"},
		"IPv6":                            {question(t, "six.", dns.TypeAAAA), "NOERROR fd00::3"},
		"IPv6 of a name that has IPv4":    {question(t, "web.", dns.TypeAAAA), "NOERROR"},
		"another type of a name":          {question(t, "web.", dns.TypeMX), "NOERROR"},
		"an alias of two":                 {question(t, "all.", dns.TypeA), "NOERROR 10.0.0.2 10.0.0.3"},
		"a name with a dot of its own":    {question(t, "with.dot.", dns.TypeA), "NOERROR 10.0.0.4"},
		"a size of answers":               {question(t, "web.", dns.TypeA, extended(4096)), "NOERROR 10.0.0.2"},
		"a name that nobody has":          {question(t, "web.front.", dns.TypeA), "-"},
		"the root":                        {question(t, ".", dns.TypeA), "-"},
		"the network":                     {question(t, "back.", dns.TypeA), "-"},
		"a reverse lookup":                {question(t, "2.0.0.10.in-addr.arpa.", dns.TypePTR), "-"},
		"another class":                   {question(t, "web.", dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), "-"},
		"a version of options to come":    {question(t, "web.", dns.TypeA, extended(512), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }), "-"},
		"an answer":                       {question(t, "web.", dns.TypeA, func(m *dns.Msg) { m.Response = true }), ""},
		"another operation":               {question(t, "web.", dns.TypeA, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), "NOTIMP"},
		"no question":                     {question(t, "web.", dns.TypeA, func(m *dns.Msg) { m.Question = nil }), "FORMERR"},
		"two questions":                   {question(t, "web.", dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), "FORMERR"},
		"a question with an answer in it": {question(t, "web.", dns.TypeA, func(m *dns.Msg) { m.Answer = []dns.RR{&dns.A{Hdr: header("web.", dns.TypeA), A: []byte{1, 2, 3, 4}}} }), "-"},
		"half a header":                   {question(t, "web.", dns.TypeA)[:11], ""},
		"half a name":                     {question(t, "web.", dns.TypeA)[:14], "-"},
		"half a type":                     {question(t, "web.", dns.TypeA)[:18], "-"},
		"more than a question":            {append(question(t, "web.", dns.TypeA), 0), "-"},
		"a name that leads to itself":     {append(slices.Clip(question(t, ".", dns.TypeA)[:12]), 0xc0, 12, 0, 1, 0, 1), "-"},
		"a giant name":                    {giant(), "-"},
	} {
		before := slices.Clone(test.query)
		reply, done := s.quick(test.query, make([]byte, 0, datagram.MaxOut))
		got := "-"
		if done {
			got = told(t, reply)
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		if !slices.Equal(before, test.query) {
			t.Errorf("%s: the question was changed", name)
		}
	}
}

// giant is a question whose name is longer than names are.
func giant() []byte {
	q := make([]byte, headerSize)
	q[5] = 1
	for range 10 {
		q = append(q, 60)
		q = append(q, strings.Repeat("x", 60)...)
	}
	return append(q, 0, 0, 1, 0, 1)
}

// told is a reply as text: its code and addresses.
func told(t testing.TB, reply []byte) string {
	t.Helper()
	if reply == nil {
		return ""
	}
	var m dns.Msg
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("% x: %v", reply, err)
	}
	if !m.Response || m.Id == 0 && len(m.Question) > 0 {
		t.Errorf("not an answer to the question: %s", &m)
	}
	var list []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			list = append(list, rr.A.String())
		case *dns.AAAA:
			list = append(list, rr.AAAA.String())
		}
		if rr.Header().Name != m.Question[0].Name || rr.Header().Ttl != ttl || rr.Header().Class != dns.ClassINET {
			t.Errorf("a record for another name: %s", rr)
		}
	}
	slices.Sort(list)
	return strings.Join(append([]string{dns.RcodeToString[m.Rcode]}, list...), " ")
}

func TestLongAnswersAreCutAndSaySo(t *testing.T) {
	s := fleet()
	for name, test := range map[string]struct {
		query     []byte
		size, has int
	}{
		"IPv4":                   {question(t, "many.", dns.TypeA), 512, 30},
		"IPv6":                   {question(t, "many.", dns.TypeAAAA), 512, 17},
		"IPv4 with room":         {question(t, "many.", dns.TypeA, extended(1232)), 1232, 74},
		"IPv4 with endless room": {question(t, "many.", dns.TypeA, extended(65535)), 1232, 74},
		"IPv4 with no room":      {question(t, "many.", dns.TypeA, extended(1)), 512, 29},
	} {
		reply, done := s.quick(test.query, make([]byte, 0, datagram.MaxOut))
		var m dns.Msg
		if err := m.Unpack(reply); err != nil || !done {
			t.Errorf("%s: %t %v", name, done, err)
			continue
		}
		if !m.Truncated || len(reply) > test.size || len(m.Answer) != test.has {
			t.Errorf("%s: %d bytes with %d addresses, truncated %t", name, len(reply), len(m.Answer), m.Truncated)
		}
		asks := binary.BigEndian.Uint16(test.query[10:]) == 1
		if opt := m.IsEdns0(); asks != (opt != nil) {
			t.Errorf("%s: options %v", name, opt)
		}
	}
}

func TestAnswersBeginWithAnotherAddressEachTime(t *testing.T) {
	s, first := fleet(), map[string]int{}
	for range 20 {
		reply, _ := s.quick(question(t, "all.", dns.TypeA), make([]byte, 0, datagram.MaxOut))
		var m dns.Msg
		if err := m.Unpack(reply); err != nil {
			t.Fatal(err)
		}
		first[m.Answer[0].(*dns.A).A.String()]++
	}
	if first["10.0.0.2"] != 10 || first["10.0.0.3"] != 10 {
		t.Errorf("the first addresses: %v", first)
	}
}

func TestAnAnswerAllocatesNothing(t *testing.T) {
	s, query, out := fleet(), question(t, "web.back.", dns.TypeA, extended(1232)), make([]byte, 0, datagram.MaxOut)
	if n := testing.AllocsPerRun(100, func() { s.quick(query, out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzQuick holds what is answered from datagrams against what is answered from messages.
func FuzzQuick(f *testing.F) {
	for _, name := range []string{"web.", "ALL.back.", "six.", "many.", "nobody.", "with.dot.", "db."} {
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypePTR} {
			f.Add(question(f, name, kind))
			f.Add(question(f, name, kind, extended(1232)))
		}
	}
	f.Add(giant())
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1})
	s := fleet()
	r := &Resolver{}
	r.scope.Store(s)
	f.Fuzz(func(t *testing.T, query []byte) {
		reply, done := s.quick(query, make([]byte, 0, datagram.MaxOut))
		if !done || reply == nil {
			return
		}
		got := told(t, reply)
		var asked, answered dns.Msg
		if asked.Unpack(query) != nil || answered.Unpack(reply) != nil || answered.Truncated || answered.Rcode != dns.RcodeSuccess {
			return
		}
		packed, err := r.answer(&asked).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if want := told(t, packed); got != want {
			t.Errorf("%s: got %q, want %q", &asked, got, want)
		}
	})
}

func BenchmarkQuick(b *testing.B) {
	s, query, out := fleet(), question(b, "web.", dns.TypeA), make([]byte, 0, datagram.MaxOut)
	for b.Loop() {
		s.quick(query, out)
	}
}
