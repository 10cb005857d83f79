package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watch calls lost whenever something was removed from the packet filter of the daemon's namespace, whosever it was,
// until the context ends. It first calls it once the watch stands, so that nothing is missed before.
func Watch(ctx context.Context, lost func()) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("watch the packet filter: %w", err)
	}
	defer conn.Close()
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("watch the packet filter: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	lost()
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, syscall.ENOBUFS):
			lost() // there was more than the socket holds: it may have been about us
		case err != nil:
			return fmt.Errorf("watch the packet filter: %w", err)
		case removes(messages):
			lost()
		}
	}
}

func removes(messages []netlink.Message) bool {
	for _, m := range messages {
		switch uint16(m.Header.Type) & 0xff {
		case unix.NFT_MSG_DELTABLE, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_DELRULE:
			return true
		}
	}
	return false
}

// Intact reports whether the kernel has the table with as many rules in each chain as it should have.
func (c *Conn) Intact(t Table) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	table := t.header()
	for _, chain := range t.Chains {
		rules, err := c.conn.GetRules(table, &nftables.Chain{Table: table, Name: chain.Name})
		if errors.Is(err, syscall.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("packet filter: %w", err)
		}
		if len(rules) != len(chain.Rules) {
			return false, nil
		}
	}
	return true, nil
}

// Targets gives where the rules of a table that end with RedirectTo lead, in their order. A table that is not there has
// none. Only family, name and the names of the chains are looked at.
func (c *Conn) Targets(t Table) ([]netip.AddrPort, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	table := t.header()
	var list []netip.AddrPort
	for _, chain := range t.Chains {
		rules, err := c.conn.GetRules(table, &nftables.Chain{Table: table, Name: chain.Name})
		if errors.Is(err, syscall.ENOENT) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("packet filter: %w", err)
		}
		for _, rule := range rules {
			var values [][]byte
			for _, e := range rule.Exprs {
				if value, ok := e.(*expr.Immediate); ok {
					values = append(values, value.Data)
				}
			}
			if len(values) != 2 || len(values[1]) < 2 {
				continue
			}
			if ip, ok := netip.AddrFromSlice(values[0]); ok {
				list = append(list, netip.AddrPortFrom(ip, binary.BigEndian.Uint16(values[1])))
			}
		}
	}
	return list, nil
}
