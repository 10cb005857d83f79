package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Watch calls changed whenever somebody other than the Conn changed the packet filter of the daemon's namespace so that
// the tables of that name may have lost something, or that there are other rules to live with; until the context ends. It
// first calls it once the watch stands, so that nothing is missed before. Changes that come while it runs are told
// together afterwards.
func (c *Conn) Watch(ctx context.Context, table string, changed func()) error {
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
	dirty := make(chan struct{}, 1)
	dirty <- struct{}{}
	var telling sync.WaitGroup
	defer telling.Wait()
	defer close(dirty)
	telling.Go(func() {
		for range dirty {
			changed()
		}
	})
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, syscall.ENOBUFS): // there was more than the socket holds: it may have been about us
		case err != nil:
			return fmt.Errorf("watch the packet filter: %w", err)
		case !slices.ContainsFunc(messages, func(m netlink.Message) bool { return m.Header.PID != c.port && concerns(m, table) }):
			continue
		}
		select {
		case dirty <- struct{}{}:
		default: // it is going to be told anyway
		}
	}
}

// concerns reports whether a change can have to do with us: elements of sets of others can't.
func concerns(m netlink.Message, table string) bool {
	switch uint16(m.Header.Type) & 0xff {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE, unix.NFT_MSG_NEWCHAIN, unix.NFT_MSG_DELCHAIN, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
		return true
	case unix.NFT_MSG_DELSET, unix.NFT_MSG_DELSETELEM:
		return tableOf(m) == table
	}
	return false
}

// tableOf is the table that a message about a set or its elements names.
func tableOf(m netlink.Message) string {
	const header = 4 // struct nfgenmsg
	if len(m.Data) < header {
		return ""
	}
	attrs, err := netlink.NewAttributeDecoder(m.Data[header:])
	if err != nil {
		return ""
	}
	for attrs.Next() {
		if attrs.Type() == unix.NFTA_SET_TABLE { // as NFTA_SET_ELEM_LIST_TABLE
			return attrs.String()
		}
	}
	return ""
}

// Intact reports whether the kernel has the table with as many rules in each chain, and elements in each set, as it should
// have.
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
	for _, set := range t.Sets {
		elements, err := c.conn.GetSetElements(set.declare(table, 0))
		if errors.Is(err, syscall.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("packet filter: %w", err)
		}
		if len(elements) != len(set.Elements) {
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
