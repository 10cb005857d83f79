package ipam

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestPick(t *testing.T) {
	for _, c := range []struct {
		what  string
		bases []Base
		avoid []netip.Prefix
		want  string
	}{
		{"the first", Defaults(), nil, "172.17.0.0/16"},
		{"past a route", Defaults(), prefixes("172.17.3.0/24"), "172.18.0.0/16"},
		{"past a route that covers many", Defaults(), prefixes("172.16.0.0/12"), "192.168.0.0/20"},
		{"past all", Defaults(), prefixes("172.16.0.0/12", "192.168.0.0/16"), ""},
		{"past a default route it is not asked for", Defaults(), prefixes("0.0.0.0/0"), ""},
		{"in small steps", []Base{{netip.MustParsePrefix("10.0.0.0/24"), 28}}, prefixes("10.0.0.0/28", "10.0.0.20/32", "10.0.0.32/29"), "10.0.0.48/28"},
		{"at the end of all addresses", []Base{{netip.MustParsePrefix("255.255.255.0/24"), 25}}, prefixes("255.255.255.0/25"), "255.255.255.128/25"},
		{"beyond the end of all addresses", []Base{{netip.MustParsePrefix("255.255.255.0/24"), 25}}, prefixes("255.255.255.0/24"), ""},
	} {
		s, err := NewSpace(c.bases)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.Pick(false, c.avoid)
		got := ""
		if err == nil {
			got = p.Subnet().String()
		} else if err.Error() != "all predefined address pools have been fully subnetted" {
			t.Errorf("%s: %v", c.what, err)
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

func TestPickIPv6(t *testing.T) {
	s, err := NewSpace([]Base{{netip.MustParsePrefix("fd00:1::/48"), 64}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fd00:1::/64", "fd00:1:0:1::/64"} {
		p, err := s.Pick(true, nil)
		if err != nil || p.Subnet().String() != want {
			t.Errorf("got %v %v, want %s", p, err, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	s, err := NewSpace(nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Take(netip.MustParsePrefix("10.0.0.0/29"), netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	next := func(want string) {
		t.Helper()
		ip, err := p.Next()
		if got := ip.String(); err != nil && want != "" || err == nil && got != want {
			t.Errorf("got %s %v, want %s", got, err, want)
		}
	}
	if err := p.Take(netip.MustParseAddr("10.0.0.2")); err != nil {
		t.Fatal(err)
	}
	if err := p.Take(netip.MustParseAddr("10.0.0.2")); err == nil || err.Error() != "Address already in use" {
		t.Error(err)
	}
	if err := p.Take(netip.MustParseAddr("10.0.1.2")); err == nil || err.Error() != "requested address is out of range" {
		t.Error(err)
	}
	next("10.0.0.1")
	next("10.0.0.3")
	p.Release(netip.MustParseAddr("10.0.0.1"))
	p.Release(netip.MustParseAddr("10.0.0.1"))
	next("10.0.0.1")
	next("10.0.0.4")
	next("10.0.0.5")
	next("10.0.0.6")
	next("")
	if _, err := s.Take(netip.MustParsePrefix("10.0.0.0/8"), netip.Prefix{}); err == nil || !strings.Contains(err.Error(), "Pool overlaps with other one on this address space") {
		t.Error(err)
	}
	p.Close()
	if _, err := s.Take(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.9.0.0/16")); err != nil {
		t.Error(err)
	}
}

func TestBadBases(t *testing.T) {
	for _, b := range []Base{
		{netip.MustParsePrefix("10.0.0.1/8"), 16}, {netip.MustParsePrefix("10.0.0.0/16"), 8},
		{netip.MustParsePrefix("10.0.0.0/16"), 40}, {netip.MustParsePrefix("fd00::/8"), 64},
	} {
		if _, err := NewSpace([]Base{b}); err == nil {
			t.Errorf("%v was taken", b)
		}
	}
}

func BenchmarkNextInACrowd(b *testing.B) {
	s, _ := NewSpace(Defaults())
	p, _ := s.Pick(false, nil)
	for range 1000 {
		_, _ = p.Next()
	}
	for b.Loop() {
		ip, _ := p.Next()
		p.Release(ip)
	}
}
