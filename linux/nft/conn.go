package nft

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn is a socket to the packet filter of one network namespace, which it keeps alive until it is closed.
type Conn struct {
	mu   sync.Mutex // one transaction at a time
	conn *nftables.Conn
	port uint32 // of the socket: what tells our changes from those of others
}

// Dial opens a socket in the namespace; nil: that of the daemon.
func Dial(ns *os.File) (*Conn, error) {
	c := &Conn{}
	options := []nftables.ConnOption{nftables.AsLasting(), nftables.WithSockOptions(c.learnPort)}
	if ns != nil {
		options = append(options, nftables.WithNetNSFd(int(ns.Fd())))
	}
	var err error
	if c.conn, err = nftables.New(options...); err != nil {
		return nil, fmt.Errorf("open the packet filter: %w", err)
	}
	return c, nil
}

// learnPort asks for the address that the kernel gave to the socket.
func (c *Conn) learnPort(socket *netlink.Conn) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var address unix.Sockaddr
	var asked error
	if err := raw.Control(func(fd uintptr) { address, asked = unix.Getsockname(int(fd)) }); err != nil {
		return err
	}
	if own, ok := address.(*unix.SockaddrNetlink); ok {
		c.port = own.Pid
	}
	return asked
}

// Close lets go of the socket.
func (c *Conn) Close() error { return c.conn.CloseLasting() }

// Apply makes the kernel have exactly these tables, whatever was there under their names. Other tables are not
// touched.
func (c *Conn) Apply(ctx context.Context, tables ...Table) error {
	return c.transaction(ctx, func() error {
		for _, t := range tables {
			if err := c.add(t); err != nil {
				return err
			}
		}
		return nil
	})
}

// Remove takes tables away; those that are not there are no error. Only family and name are looked at.
func (c *Conn) Remove(ctx context.Context, tables ...Table) error {
	return c.transaction(ctx, func() error {
		for _, t := range tables {
			c.conn.DelTable(c.conn.AddTable(t.header()))
		}
		return nil
	})
}

// Change is elements that come and go in the sets of a table. Only names and types of Sets are looked at.
type Change struct {
	Table       Table
	Add, Delete []Set
}

// Update changes elements in one transaction. Adding what is there is harmless; deleting what is not there fails,
// and so does everything when the table is gone: the caller then applies the whole table.
func (c *Conn) Update(ctx context.Context, changes ...Change) error {
	return c.transaction(ctx, func() error {
		for _, change := range changes {
			table := change.Table.header()
			for _, s := range change.Delete {
				if err := c.elements(s.declare(table, 0), s.Elements, c.conn.SetDeleteElements); err != nil {
					return err
				}
			}
			for _, s := range change.Add {
				if err := c.elements(s.declare(table, 0), s.Elements, c.conn.SetAddElements); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// transaction collects messages and sends them as one.
func (c *Conn) transaction(ctx context.Context, fill func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := fill(); err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	if err := c.conn.Flush(); err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	return nil
}

func (t Table) header() *nftables.Table {
	family := nftables.TableFamilyIPv4
	if t.Family == IPv6 {
		family = nftables.TableFamilyIPv6
	}
	return &nftables.Table{Name: t.Name, Family: family}
}

// add replaces one table: made so that it is there to be deleted, deleted, made.
func (c *Conn) add(t Table) error {
	table := c.conn.AddTable(t.header())
	c.conn.DelTable(table)
	c.conn.AddTable(table)
	sets := map[string]*nftables.Set{}
	for i, s := range t.Sets {
		set := s.declare(table, uint32(i+1))
		sets[s.Name] = set
		if err := c.conn.AddSet(set, nil); err != nil {
			return err
		}
		if err := c.elements(set, s.Elements, c.conn.SetAddElements); err != nil {
			return err
		}
	}
	for _, ch := range t.Chains {
		hooks := map[string]*nftables.ChainHook{
			"prerouting": nftables.ChainHookPrerouting, "input": nftables.ChainHookInput, "forward": nftables.ChainHookForward,
			"output": nftables.ChainHookOutput, "postrouting": nftables.ChainHookPostrouting,
		}
		policy := nftables.ChainPolicyAccept
		chain := c.conn.AddChain(&nftables.Chain{
			Table: table, Name: ch.Name, Type: nftables.ChainType(ch.Type), Hooknum: hooks[ch.Hook],
			Priority: nftables.ChainPriorityRef(nftables.ChainPriority(ch.Priority)), Policy: &policy,
		})
		for _, r := range ch.Rules {
			var exprs []expr.Any
			for _, s := range r {
				for _, e := range s.exprs {
					exprs = append(exprs, bind(e, sets))
				}
			}
			c.conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
		}
	}
	return nil
}

// bind tells a lookup the number that its set has in this transaction.
func bind(e expr.Any, sets map[string]*nftables.Set) expr.Any {
	lookup, ok := e.(*expr.Lookup)
	if !ok || sets[lookup.SetName] == nil {
		return e
	}
	bound := *lookup
	bound.SetID = sets[lookup.SetName].ID
	return &bound
}

// elements passes a list on in pieces: a message holds at most 64 KiB of them.
func (c *Conn) elements(set *nftables.Set, list []Element, do func(*nftables.Set, []nftables.SetElement) error) error {
	const piece = 256
	for len(list) > 0 {
		n := min(len(list), piece)
		raw := make([]nftables.SetElement, n)
		for i, e := range list[:n] {
			raw[i] = nftables.SetElement{Key: join(e.Key), Val: join(e.Value)}
			if set.Interval {
				raw[i].KeyEnd = joinEnds(e.Key)
			}
		}
		if err := do(set, raw); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

func (s Set) declare(table *nftables.Table, id uint32) *nftables.Set {
	set := &nftables.Set{Table: table, ID: id, Name: s.Name, KeyType: concat(s.Key), Concatenation: len(s.Key) > 1, Interval: s.Interval}
	if len(s.Key) == 1 && s.Key[0] == TypeInterface() {
		set.KeyByteOrder = binaryutil.NativeEndian // how nft(8) knows a name when it lists the set
	}
	if s.Value != nil {
		set.IsMap, set.DataType = true, concat(s.Value)
	}
	return set
}

// concat is the type of fields side by side, each in whole words.
func concat(types []Type) nftables.SetDatatype {
	if len(types) == 1 {
		return types[0].kind
	}
	kinds := make([]nftables.SetDatatype, len(types))
	for i, t := range types {
		kinds[i] = t.kind
	}
	return nftables.MustConcatSetType(kinds...)
}

// Protocol numbers of the transport protocols that can be published.
const (
	TCP  = unix.IPPROTO_TCP
	UDP  = unix.IPPROTO_UDP
	SCTP = unix.IPPROTO_SCTP
)
