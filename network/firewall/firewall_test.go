package firewall

import (
	"context"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-engine/berth/linux/netns"
	"github.com/berth-engine/berth/linux/nft"
)

var update = flag.Bool("update", false, "write the golden files anew")

func nat(subnet string) Family {
	return Family{Subnet: netip.MustParsePrefix(subnet), Masquerade: true}
}

func with(f Family, change func(*Family)) Family {
	change(&f)
	return f
}

var (
	web  = Publication{Protocol: nft.TCP, HostIP: netip.IPv4Unspecified(), HostPort: 8080, To: netip.MustParseAddrPort("172.18.0.2:80")}
	web6 = Publication{Protocol: nft.TCP, HostIP: netip.IPv6Unspecified(), HostPort: 8080, To: netip.MustParseAddrPort("[fd00:1::2]:80")}
)

// kinds are the states of one network of each kind, with a container that publishes a port.
func kinds() map[string]State {
	mode := func(m Mode, n Network) Network {
		n.IPv4.Mode, n.IPv6.Mode = m, m
		n.IPv4.Masquerade, n.IPv6.Masquerade = m != Routed, m != Routed
		return n
	}
	both := Network{Bridge: "br-web", IPv4: nat("172.18.0.0/16"), IPv6: nat("fd00:1::/64")}
	only := func(n Network, p ...Publication) State { return State{[]Network{n}, p} }
	routed := []Publication{{Protocol: nft.TCP, To: web.To, Direct: true}, {Protocol: nft.TCP, To: web6.To, Direct: true}}
	internal, icc, six, trusted, source, plain := both, both, both, both, both, both
	internal.Internal = true
	icc.NoICC = true
	six.IPv4 = Family{}
	trusted.Trusted = "eth1:wg0"
	source.IPv4.Source = netip.MustParseAddr("192.0.2.7")
	plain.IPv4.Masquerade, plain.IPv6.Masquerade = false, false
	direct := web
	direct.Direct = true
	return map[string]State{
		"empty":           {},
		"nat":             only(both, web, web6),
		"nat-unprotected": only(mode(Unprotected, both), web, web6),
		"routed":          only(mode(Routed, both), routed...),
		"isolated":        only(mode(isolated, internal)),
		"internal":        only(internal),
		"icc-off":         only(icc, web, web6),
		"ipv6-only":       only(six, web6),
		"trusted":         only(trusted, direct),
		"source":          only(source, web),
		"no-masquerade":   only(plain, web, web6),
		"full":            full(),
	}
}

// full is a state with one of everything.
func full() State {
	return State{
		Networks: []Network{
			{Bridge: "berth0", IPv4: nat("172.17.0.0/16")},
			{Bridge: "br-inner", Internal: true, IPv4: nat("172.18.0.0/16")},
			{Bridge: "br-six", NoICC: true, IPv4: Family{Subnet: netip.MustParsePrefix("172.19.0.0/16"), Mode: Routed}, IPv6: Family{Subnet: netip.MustParsePrefix("fd00:1::/64"), Mode: Unprotected}},
			{Bridge: "br-source", Trusted: "eth1:wg0", IPv4: with(nat("172.20.0.0/16"), func(f *Family) { f.Source = netip.MustParseAddr("192.0.2.7") })},
		},
		Publications: []Publication{
			{Protocol: nft.TCP, HostIP: netip.IPv4Unspecified(), HostPort: 8080, To: netip.MustParseAddrPort("172.17.0.2:80")},
			{Protocol: nft.UDP, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 53, To: netip.MustParseAddrPort("172.17.0.2:53")},
			{Protocol: nft.SCTP, HostIP: netip.IPv6Unspecified(), HostPort: 9, To: netip.MustParseAddrPort("[fd00:1::2]:9")},
			{Protocol: nft.TCP, HostIP: netip.IPv6Loopback(), HostPort: 8080, To: netip.MustParseAddrPort("[fd00:1::2]:80")},
			{Protocol: nft.TCP, To: netip.MustParseAddrPort("172.19.0.2:80"), Direct: true},
			{Protocol: nft.TCP, HostIP: netip.IPv4Unspecified(), HostPort: 81, To: netip.MustParseAddrPort("172.20.0.2:80"), Direct: true},
			{Protocol: nft.TCP, HostIP: netip.IPv4Unspecified(), HostPort: 82, To: netip.MustParseAddrPort("172.20.0.2:80"), Direct: true},
		},
	}
}

func TestTables(t *testing.T) {
	for name, state := range kinds() {
		var b strings.Builder
		for _, table := range Tables("berth", Respect, state) {
			b.WriteString(table.String())
		}
		file := filepath.Join("testdata", name+".nft")
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s differs from %s:\n%s", name, file, b.String())
		}
	}
}

// inside runs f with a firewall in a network namespace of its own.
func inside(t *testing.T, f func(context.Context, *Firewall) error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	ns, err := netns.New(func(*os.File) error {
		fw, err := New("berth", Respect)
		if err != nil {
			return err
		}
		defer fw.Close()
		return f(t.Context(), fw)
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Close()
}

// kernel is the rules and elements that the kernel has, in nft's words, with spaces and order of elements evened out.
func kernel(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("nft", "-s", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Skipf("nft(8) is needed to see what the kernel has: %v %s", err, out)
	}
	return string(out)
}

func TestTheKernelUnderstandsTheRulesAsWritten(t *testing.T) {
	inside(t, func(ctx context.Context, fw *Firewall) error {
		for range 2 {
			if err := fw.Set(ctx, full()); err != nil {
				return err
			}
		}
		got := kernel(t)
		for _, table := range Tables("berth", Respect, full()) {
			for _, chain := range table.Chains {
				for _, rule := range chain.Rules {
					if !strings.Contains(got, "\t"+rule.String()+"\n") {
						t.Errorf("%s %s: the kernel does not have %q", table.Family, chain.Name, rule)
					}
				}
			}
			for _, set := range table.Sets {
				for _, e := range set.Elements {
					if !strings.Contains(got, e.String()) {
						t.Errorf("%s %s: the kernel does not have %q", table.Family, set.Name, e)
					}
				}
			}
		}
		if err := fw.Remove(ctx); err != nil {
			return err
		}
		if got := kernel(t); got != "" {
			t.Errorf("left:\n%s", got)
		}
		return fw.Remove(ctx)
	})
}

func TestChangesLeadWhereTheWholeStateLeads(t *testing.T) {
	inside(t, func(ctx context.Context, fw *Firewall) error {
		if err := fw.Set(ctx, full()); err != nil {
			return err
		}
		want := kernel(t)
		more := State{Networks: []Network{{Bridge: "br-more", IPv4: nat("10.0.0.0/8")}}}
		for i := range 500 {
			more.Publications = append(more.Publications, Publication{Protocol: nft.TCP, HostIP: netip.IPv4Unspecified(), HostPort: uint16(10000 + i), To: netip.MustParseAddrPort("10.0.0.2:80")})
		}
		if err := fw.Add(ctx, more); err != nil {
			return err
		}
		if got := kernel(t); !strings.Contains(got, "tcp . 10499 : 10.0.0.2 . 80") || !strings.Contains(got, `"br-more"`) {
			t.Errorf("after Add:\n%s", got)
		}
		// What is not there is left out.
		more.Networks = append(more.Networks, Network{Bridge: "nowhere"})
		if err := fw.Delete(ctx, more); err != nil {
			return err
		}
		if got := kernel(t); len(strings.Fields(got)) != len(strings.Fields(want)) {
			t.Errorf("after Delete:\n%s\nwant:\n%s", got, want)
		}
		// Another program flushes our tables: changes and Repair bring them back.
		for _, repair := range []func() error{
			func() error { return fw.Add(ctx, State{Networks: []Network{{Bridge: "late"}}}) },
			func() error { return fw.Delete(ctx, State{Networks: []Network{{Bridge: "late"}}}) },
			func() error { return fw.Repair(ctx) },
		} {
			if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if err := repair(); err != nil {
				return err
			}
			if !strings.Contains(kernel(t), "tcp . 8080 : 172.17.0.2 . 80") {
				t.Error("not repaired")
			}
		}
		// Rules alone are flushed.
		if out, err := exec.Command("nft", "flush", "table", "ip", "berth").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := fw.Repair(ctx); err != nil {
			return err
		}
		if !strings.Contains(kernel(t), "ct status dnat accept") {
			t.Error("rules are not repaired")
		}
		return nil
	})
}
