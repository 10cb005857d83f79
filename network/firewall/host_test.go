package firewall

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/linux/netns"
	"github.com/berth-engine/berth/linux/nft"
)

// watched runs f with a firewall that is watched. until waits for a state of the kernel's rules, looking again whenever the
// watch has acted.
func watched(t *testing.T, host Host, f func(fw *Firewall, until func(what string, holds func() bool))) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	ns, err := netns.New(func(ns *os.File) error {
		fw, err := New("berth", host)
		if err != nil {
			return err
		}
		defer fw.Close()
		if err := fw.Set(ctx, full()); err != nil {
			return err
		}
		acted := make(chan error, 100)
		go func() { ended <- netns.Do(ns, func() error { return fw.Watch(ctx, func(err error) { acted <- err }) }) }()
		if err := <-acted; err != nil {
			return err
		}
		f(fw, func(what string, holds func() bool) {
			t.Helper()
			for !holds() {
				select {
				case err := <-acted:
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
				case <-time.After(20 * time.Second):
					t.Errorf("%s: nothing happens; the kernel has\n%s", what, kernel(t))
					return
				}
			}
		})
		cancel()
		<-ended
		return fw.Remove(context.WithoutCancel(ctx))
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Close()
}

// run runs nft or the like; the namespace is that of the calling thread.
func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func TestWhatOthersThrowAwayComesBack(t *testing.T) {
	watched(t, Respect, func(_ *Firewall, until func(string, func() bool)) {
		want := kernel(t)
		words := func(s string) int { return len(strings.Fields(s)) }
		for _, command := range []string{
			"nft flush ruleset", "nft delete table ip6 berth", "nft flush table ip berth", "nft flush chain ip berth forward", "nft delete element ip berth published { tcp . 8080 }",
			"nft flush set ip6 berth bridges",
		} {
			run(t, strings.Fields(command)...)
			until(command, func() bool { return words(kernel(t)) == words(want) })
		}
		if _, err := exec.LookPath("iptables"); err == nil {
			run(t, "iptables", "-F")
			run(t, "iptables", "-t", "nat", "-F")
			if got := kernel(t); !strings.Contains(got, "udp . 53 : 172.17.0.2 . 53") {
				t.Errorf("iptables -F took our rules away:\n%s", got)
			}
		}
	})
}

// ufw is what a host's firewall that drops looks like, and firewalld one whose last rule rejects.
const (
	ufw       = "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }; add rule ip filter FORWARD ct state established accept"
	firewalld = "add table inet firewalld; add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy accept; }; add rule inet firewalld filter_FORWARD counter reject with icmpx admin-prohibited"
	harmless  = "add table inet mine; add chain inet mine forward { type filter hook forward priority 0; policy accept; }; add rule inet mine forward tcp dport 22 drop"
)

func TestTheHostsFirewallHasTheLastWord(t *testing.T) {
	watched(t, Respect, func(fw *Firewall, until func(string, func() bool)) {
		for _, rules := range []string{harmless, ufw, firewalld} {
			run(t, "nft", rules)
		}
		until("warnings", func() bool { return len(fw.Warnings()) == 2 })
		all := strings.Join(fw.Warnings(), "\n")
		for _, want := range []string{"nft list chain ip filter FORWARD", "nft insert rule inet firewalld filter_FORWARD oifname BRIDGE accept", `"host-firewall": "override"`} {
			if !strings.Contains(all, want) {
				t.Errorf("%q is not in\n%s", want, all)
			}
		}
		if strings.Contains(kernel(t), "mark") {
			t.Errorf("the host's chains were touched:\n%s", kernel(t))
		}
		run(t, "nft", "delete table ip filter; delete table inet firewalld")
		until("no warnings", func() bool { return len(fw.Warnings()) == 0 })
	})
}

func TestWithOverrideContainersGetThrough(t *testing.T) {
	rule := "\t\tmeta mark & 0x10000000 == 0x10000000 accept comment \"berth\"\n"
	watched(t, Override, func(fw *Firewall, until func(string, func() bool)) {
		for _, rules := range []string{harmless, ufw, firewalld} {
			run(t, "nft", rules)
		}
		head := func(chain string) func() bool {
			return func() bool {
				out, err := exec.Command("nft", "-s", "list", "ruleset").Output()
				_, body, _ := strings.Cut(string(out), "chain "+chain+" {\n")
				_, first, _ := strings.Cut(body, "\n") // behind the hook
				return err == nil && strings.HasPrefix(first, rule)
			}
		}
		until("a policy that drops", head("FORWARD"))
		until("a last rule that rejects", head("filter_FORWARD"))
		if got := strings.Count(kernel(t), rule); got != 2 {
			t.Errorf("%d rules in the host's chains:\n%s", got, kernel(t))
		}
		if w := fw.Warnings(); len(w) > 0 {
			t.Errorf("warnings: %q", w)
		}
		// The host's firewall is loaded anew, or somebody puts a rule before ours.
		run(t, "nft", "flush chain inet firewalld filter_FORWARD; add rule inet firewalld filter_FORWARD reject; delete table ip filter; "+ufw)
		until("after a reload", head("FORWARD"))
		until("after a reload", head("filter_FORWARD"))
		run(t, "nft", "insert rule ip filter FORWARD tcp dport 23 drop")
		until("behind another rule", head("FORWARD"))
		if got := strings.Count(kernel(t), rule); got != 2 {
			t.Errorf("%d rules in the host's chains:\n%s", got, kernel(t))
		}
		for _, f := range []nft.Family{nft.IPv4, nft.IPv6} {
			for _, c := range chains(f, Override) {
				for _, r := range c.Rules {
					if c.Name == "forward" && strings.HasSuffix(r.String(), "accept") && !strings.Contains(r.String(), "meta mark set") {
						t.Errorf("%q lets through without the mark", r)
					}
				}
			}
		}
	})
}

func TestShutdownLeavesTheHostsChainsAsTheyWere(t *testing.T) {
	inside(t, func(ctx context.Context, _ *Firewall) error {
		fw, err := New("berth", Override)
		if err != nil {
			return err
		}
		defer fw.Close()
		run(t, "nft", ufw)
		want := kernel(t)
		if err := fw.Set(ctx, full()); err != nil {
			return err
		}
		if err := fw.Repair(ctx); err != nil {
			return err
		}
		if got := kernel(t); !strings.Contains(got, "comment \"berth\"") || !strings.Contains(got, "meta mark set") {
			t.Errorf("nothing is overridden:\n%s", got)
		}
		if err := fw.Remove(ctx); err != nil {
			return err
		}
		if got := kernel(t); got != want {
			t.Errorf("left:\n%s", got)
		}
		return nil
	})
}
