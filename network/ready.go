package network

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/berth-engine/berth/linux/link"
	"github.com/berth-engine/berth/linux/netns"
	"github.com/berth-engine/berth/network/dns"
	"github.com/berth-engine/berth/network/driver"
)

// place is a new namespace with its loopback up. One that is not bare has a pair of interfaces: eth0 inside, up and
// without address; host outside.
type place struct {
	ns   *os.File
	conn *link.Conn // inside
	kind kind

	host   string
	index  int      // of eth0
	master *network // whose bridge host is a port of; nil: none
	mtu    int

	resolver *dns.Resolver // of a loose place; it does not serve yet
}

// close gives the place up; the kernel then removes its interfaces.
func (p *place) close() error {
	p.conn.Close()
	var err error
	if p.resolver != nil {
		err = p.resolver.Close()
	}
	return errors.Join(err, p.ns.Close())
}

// kind of a place: what it is made for.
type kind int

const (
	bare     kind = iota // no interface
	loose                // for networks with names: host is on no bridge, since to change bridges takes the kernel some 7 ms
	attached             // for the default network: host is a port of its bridge
	kinds
)

// ready keeps places ready, because making one is the slowest part of a start. They are refilled when a container
// ends and when they run low, so that a start seldom shares the processor with the making of the next place.
type ready struct {
	shared  *shared
	places  [kinds]chan *place
	wake    chan struct{}
	stop    context.CancelFunc
	filling sync.WaitGroup
}

func newReady(ctx context.Context, s *shared) *ready {
	size := s.options.Ready
	switch {
	case size == 0:
		size = 3
	case size < 0:
		size = 0
	}
	ctx, stop := context.WithCancel(ctx)
	few := (size + 1) / 2
	r := &ready{shared: s, wake: make(chan struct{}, 1), stop: stop}
	r.places = [kinds]chan *place{bare: make(chan *place, few), loose: make(chan *place, few), attached: make(chan *place, size)}
	r.filling.Go(func() { r.fill(ctx) })
	return r
}

// refill asks for places to be made. It does not wait.
func (r *ready) refill() {
	select {
	case r.wake <- struct{}{}:
	default: // it is already asked for
	}
}

// fill makes places whenever it is woken. This goroutine alone puts places in: what is not full stays so.
func (r *ready) fill(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for k := attached; k >= bare; k-- {
			for ctx.Err() == nil && len(r.places[k]) < cap(r.places[k]) {
				p, err := r.shared.newPlace(ctx, k)
				if err != nil {
					if ctx.Err() == nil {
						r.shared.log.Error("make a namespace in advance", "error", err)
					}
					break // a start makes its own, and reports why it can't
				}
				r.places[k] <- p
			}
		}
	}
}

// take gives a place that nobody else has: a ready one, else a new one.
func (r *ready) take(ctx context.Context, k kind) (*place, error) {
	select {
	case p := <-r.places[k]:
		if len(r.places[k]) <= cap(r.places[k])/3 {
			r.refill()
		}
		return p, nil
	default:
		r.refill()
		return r.shared.newPlace(ctx, k)
	}
}

// renew gives the places up that are on a bridge, and makes others.
func (r *ready) renew() {
	for range len(r.places[attached]) {
		select {
		case p := <-r.places[attached]:
			if err := p.close(); err != nil {
				r.shared.log.Debug("give a ready namespace up", "error", err)
			}
		default: // somebody took it
		}
	}
	r.refill()
}

// close gives all places up. Closing twice is harmless.
func (r *ready) close() {
	r.stop()
	r.filling.Wait()
	for _, places := range r.places {
		for range len(places) {
			if err := (<-places).close(); err != nil {
				r.shared.log.Debug("give a ready namespace up", "error", err)
			}
		}
	}
}

// newPlace makes a namespace.
func (s *shared) newPlace(ctx context.Context, k kind) (_ *place, err error) {
	p := &place{kind: k, mtu: driver.DefaultMTU}
	port := link.Port{}
	if k != bare {
		p.host = newVeth()
	}
	if k == attached {
		if p.master = s.byName(defaultName); p.master != nil {
			port, p.mtu = p.master.Port, p.master.MTU
		}
	}
	p.ns, err = netns.New(func(ns *os.File) error { return s.furnish(ctx, p, ns, port) })
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if k == loose {
		if p.resolver, err = dns.Listen(ctx, p.ns, s.log); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

// furnish makes the interfaces of a place; the calling thread is inside it.
func (s *shared) furnish(ctx context.Context, p *place, ns *os.File, port link.Port) (err error) {
	if p.conn, err = link.Dial(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.conn.Close()
		}
	}()
	var inside, outside, settle link.Batch
	inside.Up("lo")
	if p.kind == bare {
		return p.conn.Apply(ctx, &inside)
	}
	veth := link.Veth{Host: p.host, Peer: "eth0", MTU: p.mtu, NS: int(ns.Fd())}
	if p.master != nil {
		veth.Master, veth.Port = p.master.Index, port
	}
	outside.AddVeth(veth)
	if err := s.conn.Apply(ctx, &outside); err != nil {
		return err
	}
	if err := link.SwitchIPv6("eth0", false); err != nil {
		return err
	}
	found, err := link.Find("eth0")
	if err != nil {
		return err
	}
	p.index = found.Index
	inside.Up("eth0")
	settle.Settle(p.host)
	if p.master != nil {
		settle.Settle(p.master.Link)
	}
	return errors.Join(p.conn.Apply(ctx, &inside), s.conn.Apply(ctx, &settle))
}

// newVeth is a name for the host's end of a pair.
func newVeth() string {
	b := make([]byte, 4)
	rand.Read(b)
	return "veth" + hex.EncodeToString(b)[:7]
}
