package dns

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestZone(t *testing.T) {
	z := NewZone("back")
	one, two, six := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fd00::3")
	z.Set("e1", []string{"web", "Shared"}, one, netip.Addr{})
	z.Set("e2", []string{"db", "shared"}, two, six)
	first, _ := z.Lookup("shared")
	second, _ := z.Lookup("SHARED.Back")
	if fmt.Sprint(first) == fmt.Sprint(second) || len(first) != 3 || len(second) != 3 {
		t.Errorf("no turns: %v, %v", first, second)
	}
	for name, want := range map[string]string{
		"web": "[10.0.0.2] true", "web.back": "[10.0.0.2] true", "web.front": "[] false", "": "[] false", "back": "[] false", ".back": "[] false",
	} {
		addrs, known := z.Lookup(name)
		if got := fmt.Sprint(addrs, known); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
	if name, ok := z.Reverse(six); !ok || name != "db.back" {
		t.Errorf("reverse: %q %t", name, ok)
	}
	z.Set("e1", []string{"renamed"}, one)
	if _, known := z.Lookup("web"); known {
		t.Error("the old name is still known")
	}
	z.Remove("e2")
	z.Remove("e2")
	if _, known := z.Lookup("shared"); known || len(z.names) != 1 {
		t.Errorf("left: %v", z.names)
	}
}

func TestReversed(t *testing.T) {
	for in, want := range map[string]string{
		"2.0.18.172.in-addr.arpa.": "172.18.0.2",
		"3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.IP6.arpa.": "fd00::3",
		"2.0.18.in-addr.arpa.": "", "x.ip6.arpa.": "", "example.com.": "", ".": "",
		"ff.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.": "",
	} {
		ip, ok := reversed(in)
		got := ""
		if ok {
			got = ip.String()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
