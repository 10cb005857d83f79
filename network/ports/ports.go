// Package ports takes ports of the host and keeps them taken while they are published.
//
// A taken port is a bound socket, listening where the protocol listens: other programs, other daemons included, get
// "address already in use". The packet filter leads packets to containers before they reach that socket; what still
// arrives (connections to ::1, to an IPv6 address of the host for a container without one, or everything when
// somebody flushed the rules) is passed on by the daemon itself.
package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/berth-engine/berth/core"
)

// Book knows the ports that this daemon has taken, so that a conflict between containers is told from one with
// another program.
type Book struct {
	mu    sync.Mutex // guards all below
	taken map[slot]bool
	some  map[slot]int // by the unspecified address of a family: on how many addresses of it the port is taken
	next  uint16       // where the search for a free port of the host's choice goes on
}

// slot is a port of an address; the unspecified address stands for all of its family.
type slot struct {
	protocol core.Protocol
	addr     netip.Addr
	port     uint16
}

// NewBook is a book without entries.
func NewBook() *Book { return &Book{taken: map[slot]bool{}, some: map[slot]int{}} }

// Lease is one port number that is taken on some addresses.
type Lease struct {
	Port  uint16
	Addrs []netip.Addr

	book     *Book
	protocol core.Protocol
	sockets  []socket
	target   atomic.Pointer[netip.AddrPort]
	done     context.CancelFunc // nil: nothing is forwarded
	forward  sync.WaitGroup
}

// socket is what holds a port on one address.
type socket struct {
	addr   netip.Addr
	stream net.Listener   // tcp
	packet net.PacketConn // udp
	fd     int            // sctp; -1: none
}

// Take takes the first port of begin to end that is free on all addresses; 0 to 0 leaves the choice to us, from the
// host's range for such ports. The addresses must not be empty.
func (b *Book) Take(ctx context.Context, protocol core.Protocol, addrs []netip.Addr, begin, end uint16) (*Lease, error) {
	if begin != 0 {
		var first error
		for port := uint32(begin); port <= uint32(end); port++ {
			lease, err := b.take(ctx, protocol, addrs, uint16(port))
			if err == nil {
				return lease, nil
			}
			if first == nil {
				first = err
			}
		}
		return nil, first
	}
	low, high := ephemeral()
	for range uint32(high-low) + 1 {
		lease, err := b.take(ctx, protocol, addrs, b.candidate(low, high))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, errTaken) {
			return lease, err
		}
	}
	return nil, core.Conflict("all ports are allocated")
}

var errTaken = errors.New("port is already allocated")

// candidate is the next number to try.
func (b *Book) candidate(low, high uint16) uint16 {
	b.mu.Lock()
	defer b.mu.Unlock()
	port := max(b.next, low)
	if port > high {
		port = low
	}
	b.next = port + 1
	if port == high {
		b.next = low
	}
	return port
}

// ephemeral is the host's range of ports that programs get when they do not ask for one.
func ephemeral() (low, high uint16) {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		if _, err := fmt.Sscan(string(data), &low, &high); err == nil && low > 0 && low <= high {
			return low, high
		}
	}
	return 49153, 65535
}

// take takes one number on all addresses, or on none.
func (b *Book) take(ctx context.Context, protocol core.Protocol, addrs []netip.Addr, port uint16) (_ *Lease, err error) {
	l := &Lease{Port: port, book: b, protocol: protocol}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	for _, addr := range addrs {
		if err := b.enter(protocol, addr, port); err != nil {
			return nil, err
		}
		l.Addrs = append(l.Addrs, addr)
		s, err := bind(ctx, protocol, netip.AddrPortFrom(addr, port))
		if err != nil {
			return nil, fmt.Errorf("failed to bind host port %s/%s: %w", netip.AddrPortFrom(addr, port), protocol, err)
		}
		l.sockets = append(l.sockets, s)
	}
	return l, nil
}

// Keep takes one number that this daemon's predecessor, or a moment ago we ourselves, held on the addresses. What another
// program has taken since is in the lease all the same, without a socket, and the error says so. nil: another container
// has it.
func (b *Book) Keep(ctx context.Context, protocol core.Protocol, addrs []netip.Addr, port uint16) (*Lease, error) {
	l := &Lease{Port: port, book: b, protocol: protocol}
	var errs []error
	for _, addr := range addrs {
		if err := b.enter(protocol, addr, port); err != nil {
			l.Close()
			return nil, err
		}
		l.Addrs = append(l.Addrs, addr)
		s, err := bind(ctx, protocol, netip.AddrPortFrom(addr, port))
		if err != nil {
			errs = append(errs, fmt.Errorf("failed to bind host port %s/%s: %w", netip.AddrPortFrom(addr, port), protocol, err))
			continue
		}
		l.sockets = append(l.sockets, s)
	}
	return l, errors.Join(errs...)
}

// enter writes a port down, unless it is there: for the address, for all, or, when all are asked for, for any.
func (b *Book) enter(protocol core.Protocol, addr netip.Addr, port uint16) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := slot{protocol, family(addr), port}
	if addr == all.addr && b.some[all] > 0 || b.taken[all] || b.taken[slot{protocol, addr, port}] {
		return fmt.Errorf("Bind for %s failed: %w", netip.AddrPortFrom(addr, port), errTaken)
	}
	b.taken[slot{protocol, addr, port}] = true
	b.some[all]++
	return nil
}

// leave strikes a port out.
func (b *Book) leave(protocol core.Protocol, addr netip.Addr, port uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.taken, slot{protocol, addr, port})
	all := slot{protocol, family(addr), port}
	if b.some[all]--; b.some[all] == 0 {
		delete(b.some, all)
	}
}

// family is the unspecified address of the address's family.
func family(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// bind holds a port with a socket. A kernel without SCTP can't hold such a port and can't use it either.
func bind(ctx context.Context, protocol core.Protocol, at netip.AddrPort) (s socket, err error) {
	s = socket{addr: at.Addr(), fd: -1}
	family := "4"
	if at.Addr().Is6() {
		family = "6"
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	switch protocol {
	case core.TCP:
		s.stream, err = config.Listen(ctx, "tcp"+family, at.String())
	case core.UDP:
		s.packet, err = config.ListenPacket(ctx, "udp"+family, at.String())
	case core.SCTP:
		s.fd, err = bindSCTP(at)
	default:
		err = core.Invalid("invalid proto: %s", protocol)
	}
	return s, cause(err)
}

// cause strips what the net package puts around an error of the kernel: the sentence around ours says it all.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func bindSCTP(at netip.AddrPort) (int, error) {
	domain, addr := syscall.AF_INET, syscall.Sockaddr(&syscall.SockaddrInet4{Port: int(at.Port())})
	if at.Addr().Is4() {
		addr.(*syscall.SockaddrInet4).Addr = at.Addr().As4()
	} else {
		domain, addr = syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	}
	fd, err := syscall.Socket(domain, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, syscall.IPPROTO_SCTP)
	if errors.Is(err, syscall.EPROTONOSUPPORT) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	if domain == syscall.AF_INET6 {
		err = syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = syscall.Bind(fd, addr)
	}
	if err == nil {
		err = syscall.Listen(fd, 1)
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Close gives the port back and ends what is being forwarded. Closing twice is harmless.
func (l *Lease) Close() {
	if l.done != nil {
		l.done()
	}
	for i, s := range l.sockets {
		switch {
		case s.stream != nil:
			s.stream.Close()
		case s.packet != nil:
			s.packet.Close()
		case s.fd >= 0:
			syscall.Close(s.fd)
			l.sockets[i].fd = -1
		}
	}
	l.forward.Wait()
	// A program that is being started has copies of all sockets until its exec: the port is free only after that. Whoever
	// forks holds this lock until then.
	syscall.ForkLock.RLock()
	syscall.ForkLock.RUnlock()
	for _, addr := range l.Addrs {
		l.book.leave(l.protocol, addr, l.Port)
	}
	l.Addrs, l.sockets = nil, nil
}

// ParseRange reads a host's port as users write it: "", "0", "8080", "8000-8010". 0, 0 means any.
func ParseRange(s string) (begin, end uint16, err error) {
	low, high, isRange := strings.Cut(s, "-")
	if s == "" {
		return 0, 0, nil
	}
	if !isRange {
		high = low
	}
	port := func(text string) (n uint16) {
		if _, scan := fmt.Sscanf(text, "%d", &n); scan != nil || fmt.Sprint(n) != text {
			err = core.Invalid("invalid host port '%s': invalid syntax", s)
		}
		return n
	}
	begin, end = port(low), port(high)
	if err == nil && (end < begin || begin == 0 && end != 0) {
		err = core.Invalid("invalid host port '%s': invalid range", s)
	}
	return begin, end, err
}
