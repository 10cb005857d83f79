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

// full is a state with one of everything.
func full() State {
	return State{
		Networks: []Network{
			{Bridge: "berth0", Masquerade: true, IPv4: netip.MustParsePrefix("172.17.0.0/16")},
			{Bridge: "br-inner", Internal: true, Masquerade: true, IPv4: netip.MustParsePrefix("172.18.0.0/16")},
			{Bridge: "br-six", IPv4: netip.MustParsePrefix("172.19.0.0/16"), IPv6: netip.MustParsePrefix("fd00:1::/64")},
		},
		Publications: []Publication{
			{nft.TCP, netip.IPv4Unspecified(), 8080, netip.MustParseAddrPort("172.17.0.2:80")},
			{nft.UDP, netip.MustParseAddr("127.0.0.1"), 53, netip.MustParseAddrPort("172.17.0.2:53")},
			{nft.SCTP, netip.IPv6Unspecified(), 9, netip.MustParseAddrPort("[fd00:1::2]:9")},
			{nft.TCP, netip.IPv6Loopback(), 8080, netip.MustParseAddrPort("[fd00:1::2]:80")},
		},
	}
}

func TestTables(t *testing.T) {
	for name, state := range map[string]State{"empty": {}, "full": full()} {
		var b strings.Builder
		for _, table := range Tables("berth", state) {
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
		fw, err := New("berth")
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
		for _, table := range Tables("berth", full()) {
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
		more := State{Networks: []Network{{Bridge: "br-more", Masquerade: true, IPv4: netip.MustParsePrefix("10.0.0.0/8")}}}
		for i := range 500 {
			more.Publications = append(more.Publications, Publication{nft.TCP, netip.IPv4Unspecified(), uint16(10000 + i), netip.MustParseAddrPort("10.0.0.2:80")})
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
