package nft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// Forwarding is a chain of somebody else that sees the packets that are forwarded.
type Forwarding struct {
	Family string // as nft(8) writes it: ip, ip6, inet
	Table  string
	Name   string
	Drops  bool // what no rule of it lets through is dropped
	Admits bool // it lets through at its head what carries the mark

	chain *nftables.Chain
	rules []*nftables.Rule // those of Admit
}

var families = map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet"}

// Forwarding lists the chains of others that see forwarded packets. comment is that of the rules that Admit makes; tables
// whose name is in own are ours. Rules of iptables-legacy are not in the packet filter's list.
func (c *Conn) Forwarding(own func(table string) bool, mark uint32, comment string) ([]Forwarding, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	chains, err := c.conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("packet filter: list the chains: %w", err)
	}
	var list []Forwarding
	for _, chain := range chains {
		family, ok := families[chain.Table.Family]
		if !ok || chain.Hooknum == nil || *chain.Hooknum != *nftables.ChainHookForward || chain.Type != nftables.ChainTypeFilter || own(chain.Table.Name) {
			continue
		}
		rules, err := c.conn.GetRules(chain.Table, chain)
		if errors.Is(err, syscall.ENOENT) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("packet filter: list the rules of %s: %w", chain.Name, err)
		}
		f := Forwarding{Family: family, Table: chain.Table.Name, Name: chain.Name, chain: chain}
		f.Drops = chain.Policy != nil && *chain.Policy == nftables.ChainPolicyDrop || len(rules) > 0 && refuses(rules[len(rules)-1])
		for i, r := range rules {
			if text, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok && text == comment && tests(r, mark) {
				f.rules = append(f.rules, r)
				f.Admits = f.Admits || i == 0
			}
		}
		list = append(list, f)
	}
	return list, nil
}

// refuses reports whether a rule drops or rejects every packet.
func refuses(r *nftables.Rule) bool {
	for i, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Counter, *expr.Log:
		case *expr.Reject:
			return true
		case *expr.Verdict:
			return e.Kind == expr.VerdictDrop && i == len(r.Exprs)-1
		default:
			return false
		}
	}
	return false
}

// tests reports whether a rule asks for the mark.
func tests(r *nftables.Rule, mark uint32) bool {
	want := binaryutil.NativeEndian.PutUint32(mark)
	return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool {
		b, ok := e.(*expr.Bitwise)
		return ok && slices.Equal(b.Mask, want)
	})
}

// Admit puts a rule at the head of a chain that lets through what carries the mark, and takes away older ones of ours.
func (c *Conn) Admit(ctx context.Context, f Forwarding, mark uint32, comment string) error {
	return c.transaction(ctx, func() error {
		if err := c.withdraw(f); err != nil {
			return err
		}
		c.conn.InsertRule(&nftables.Rule{
			Table: f.chain.Table, Chain: f.chain, UserData: userdata.AppendString(nil, userdata.TypeComment, comment),
			Exprs: append(marked(mark).exprs, Accept().exprs...),
		})
		return nil
	})
}

// Withdraw takes away the rules that Admit put into a chain.
func (c *Conn) Withdraw(ctx context.Context, f Forwarding) error {
	if len(f.rules) == 0 {
		return nil
	}
	return c.transaction(ctx, func() error { return c.withdraw(f) })
}

func (c *Conn) withdraw(f Forwarding) error {
	for _, r := range f.rules {
		if err := c.conn.DelRule(r); err != nil {
			return err
		}
	}
	return nil
}

// marked holds for packets that carry the mark, beside others.
func marked(mark uint32) Statement {
	bits := binaryutil.NativeEndian.PutUint32(mark)
	return Statement{fmt.Sprintf("meta mark & 0x%08x == 0x%08x", mark, mark), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: firstWord},
		&expr.Bitwise{SourceRegister: firstWord, DestRegister: firstWord, Len: 4, Mask: bits, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: bits},
	}}
}

// Mark adds a mark to those that the packet carries.
func Mark(mark uint32) Statement {
	keep, set := binaryutil.NativeEndian.PutUint32(^mark), binaryutil.NativeEndian.PutUint32(mark)
	return Statement{fmt.Sprintf("meta mark set meta mark | 0x%08x", mark), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: firstWord},
		&expr.Bitwise{SourceRegister: firstWord, DestRegister: firstWord, Len: 4, Mask: keep, Xor: set},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: firstWord, SourceRegister: true},
	}}
}
