package firewall

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-engine/berth/linux/nft"
)

// Host says who wins when the host's own firewall drops what is forwarded (ufw, firewalld, rules for nft): its table or ours.
type Host int

const (
	// Respect leaves the last word to the host: containers are cut off until the administrator lets them through.
	Respect Host = iota
	// Override puts one rule at the head of each such chain, which lets through what our own table has let through.
	Override
)

// ParseHost reads the setting as users write it.
func ParseHost(s string) (Host, bool) {
	switch s {
	case "", "respect":
		return Respect, true
	case "override":
		return Override, true
	}
	return Respect, false
}

// mark is what our table gives to packets that it lets through, for the rule in the host's chains to know them by. It is
// one bit that neither Kubernetes, Tailscale nor Docker uses.
const mark = 0x10000000

// mark makes the rules that let packets through mark them.
func (h Host) mark(rules []nft.Rule) []nft.Rule {
	if h == Respect {
		return rules
	}
	var marking []nft.Rule
	for _, r := range rules {
		if last := len(r) - 1; r[last].String() == nft.Accept().String() {
			r = slices.Concat(r[:last], nft.Rule{nft.Mark(mark), r[last]})
		}
		marking = append(marking, r)
	}
	return marking
}

// ours reports whether a table belongs to a daemon of our kind: another one's tables admit what they know.
func ours(table string) bool { return table == "berth" || strings.HasPrefix(table, "berth_") }

// Watch keeps our tables, and our rules in the host's chains, as they should be whatever other programs do, until the
// context ends. changed is called with what Repair said.
func (f *Firewall) Watch(ctx context.Context, changed func(error)) error {
	return f.conn.Watch(ctx, f.name, func() { changed(f.Repair(ctx)) })
}

// meet looks at the chains of the host's own firewall and does what Host says; the caller holds mu.
func (f *Firewall) meet(ctx context.Context) error {
	chains, err := f.conn.Forwarding(ours, mark, f.name)
	if err != nil {
		return err
	}
	f.dropping = nil
	for _, c := range chains {
		switch {
		case f.host == Respect && c.Drops:
			f.dropping = append(f.dropping, fmt.Sprintf("%s %s %s", c.Family, c.Table, c.Name))
		case f.host == Override && c.Drops && !c.Admits:
			if err := f.conn.Admit(ctx, c, mark, f.name); err != nil {
				return fmt.Errorf("let containers through the host's chain %s of the table %s: %w", c.Name, c.Table, err)
			}
		}
	}
	return nil
}

// withdraw takes our rules out of the host's chains; the caller holds mu.
func (f *Firewall) withdraw(ctx context.Context) error {
	chains, err := f.conn.Forwarding(ours, mark, f.name)
	if err != nil {
		return err
	}
	for _, c := range chains {
		if err := f.conn.Withdraw(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// Warnings say which chains of the host's own firewall drop what containers send and get, and what can be done about it.
func (f *Firewall) Warnings() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, chain := range f.dropping {
		list = append(list, fmt.Sprintf("WARNING: the host's firewall drops packets to and from containers (nft list chain %[1]s): "+
			"allow them there (nft insert rule %[1]s oifname BRIDGE accept; nft insert rule %[1]s iifname BRIDGE accept), or set \"host-firewall\": \"override\"", chain))
	}
	return list
}
