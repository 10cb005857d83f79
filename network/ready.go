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
)

// firstIndex is the number of the first interface after the loopback in a new namespace.
const firstIndex = 2

// defaultMTU in bytes.
const defaultMTU = 1500

// place is a new namespace with its loopback up. A connected one has a pair of interfaces: eth0 inside (number
// firstIndex, up, without address), host outside, a port of the default bridge where there is one.
type place struct {
	ns   *os.File
	conn *link.Conn // inside
	host string     // empty: not connected
}

// close gives the place up; the kernel then removes its interfaces.
func (p *place) close() {
	p.conn.Close()
	p.ns.Close()
}

// ready keeps places ready, because making one is the slowest part of a start. They are refilled when a container
// ends and when they run low, so that a start seldom shares the processor with the making of the next place.
type ready struct {
	shared    *shared
	connected chan *place
	bare      chan *place
	wake      chan struct{}
	stop      context.CancelFunc
	filling   sync.WaitGroup
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
	r := &ready{
		shared: s, connected: make(chan *place, size), bare: make(chan *place, (size+1)/2),
		wake: make(chan struct{}, 1), stop: stop,
	}
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

// fill makes places whenever it is woken.
func (r *ready) fill(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for ctx.Err() == nil {
			// This goroutine alone puts places in: what is not full now has room below.
			kind, connected := r.connected, true
			if len(r.connected) == cap(r.connected) {
				kind, connected = r.bare, false
			}
			if len(kind) == cap(kind) {
				break
			}
			p, err := r.shared.newPlace(ctx, connected)
			if err != nil {
				if ctx.Err() == nil {
					r.shared.log.Error("make a namespace in advance", "error", err)
				}
				break // a start makes its own, and reports why it can't
			}
			kind <- p
		}
	}
}

// take gives a place that nobody else has: a ready one, else a new one.
func (r *ready) take(ctx context.Context, connected bool) (*place, error) {
	kind := r.bare
	if connected {
		kind = r.connected
	}
	select {
	case p := <-kind:
		if len(kind) <= cap(kind)/3 {
			r.refill()
		}
		return p, nil
	default:
		r.refill()
		return r.shared.newPlace(ctx, connected)
	}
}

// close gives all places up. Closing twice is harmless.
func (r *ready) close() {
	r.stop()
	r.filling.Wait()
	for {
		select {
		case p := <-r.connected:
			p.close()
		case p := <-r.bare:
			p.close()
		default:
			return
		}
	}
}

// newPlace makes a namespace.
func (s *shared) newPlace(ctx context.Context, connected bool) (*place, error) {
	p := &place{}
	port := link.Port{Hairpin: hairpin()}
	if connected {
		p.host = newVeth()
	}
	ns, err := netns.New(func(ns *os.File) (err error) {
		if p.conn, err = link.Dial(); err != nil {
			return err
		}
		var inside link.Batch
		inside.Up("lo")
		if connected {
			if err = s.connectPlace(ctx, p.host, port, ns); err == nil {
				inside.Up("eth0")
			}
		}
		if err = errors.Join(err, p.conn.Apply(ctx, &inside)); err != nil {
			p.conn.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	p.ns = ns
	return p, nil
}

// connectPlace makes the pair of interfaces; the calling thread is inside the namespace.
func (s *shared) connectPlace(ctx context.Context, host string, port link.Port, ns *os.File) error {
	veth := link.Veth{Host: host, Peer: "eth0", PeerIndex: firstIndex, MTU: defaultMTU, NS: int(ns.Fd())}
	if n := s.byName(defaultName); n != nil {
		port.Isolated = n.isolated
		veth.Master, veth.Port, veth.MTU = n.index, port, n.mtu
	}
	var outside link.Batch
	outside.AddVeth(veth)
	if err := s.conn.Apply(ctx, &outside); err != nil {
		return err
	}
	return switchIPv6("eth0", false)
}

// switchIPv6 turns IPv6 of an interface on or off, in the namespace of the calling thread. A kernel without IPv6 has
// it off.
func switchIPv6(name string, on bool) error {
	value := "1"
	if on {
		value = "0"
	}
	err := link.Sysctl("ipv6/conf/"+name+"/disable_ipv6", value)
	if errors.Is(err, os.ErrNotExist) && !on {
		return nil
	}
	return err
}

// newVeth is a name for the host's end of a pair.
func newVeth() string {
	b := make([]byte, 4)
	rand.Read(b)
	return "veth" + hex.EncodeToString(b)[:7]
}
