package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/berth-engine/berth/linux/datagram"
	"github.com/berth-engine/berth/linux/netns"
	"github.com/berth-engine/berth/linux/nft"
)

// Address is where containers find their resolver.
func Address() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 11}) }

const (
	ttl           = 600              // seconds that a container may remember an answer of ours
	serverTimeout = 2 * time.Second  // two servers are tried before the first retry of a container's library (5 s)
	sickTime      = 30 * time.Second // a server that did not answer is asked last for so long
	maxQueries    = 1024             // questions of one container that wait for servers outside
	tableName     = "berth_dns"
)

// Server is a resolver outside.
type Server struct {
	Addr netip.AddrPort
	// Inside: reached from the container's namespace, since the user named it for this container.
	Inside bool
}

// Resolver is the name server of one container.
type Resolver struct {
	scope   atomic.Pointer[Scope]
	log     *slog.Logger
	ns      *os.File // of the container
	packet  *net.UDPConn
	stream  net.Listener
	serving sync.WaitGroup
	waiting chan struct{} // a place for each question that is not answered at once

	mu   sync.Mutex // guards sick
	sick map[netip.AddrPort]time.Time
}

// Listen opens the sockets in the namespace and leads what containers send to port 53 of Address there: the port
// itself stays free for the container. The kernel takes some 10 ms for that, so it is better done in advance. Until
// Close the resolver keeps the namespace alive.
func Listen(ctx context.Context, ns *os.File, log *slog.Logger) (*Resolver, error) {
	return listen(ctx, ns, log, netip.AddrPortFrom(Address(), 0), netip.AddrPortFrom(Address(), 0))
}

// Resume is Listen for a namespace whose resolver went with its daemon: on the same ports, so that the question that a
// container asks for the second time from the same socket, which the kernel leads where it led the first, is answered.
func Resume(ctx context.Context, ns *os.File, log *slog.Logger) (*Resolver, error) {
	filter, err := nft.Dial(ns)
	if err != nil {
		return nil, err
	}
	ports, err := filter.Targets(redirection(netip.AddrPort{}, netip.AddrPort{}))
	if err = errors.Join(err, filter.Close()); err == nil && len(ports) == 2 {
		r, failed := listen(ctx, ns, log, ports[0], ports[1])
		if failed == nil {
			return r, nil
		}
		log.Warn("the name server of a container moves: what it asked meanwhile is lost", "error", failed)
	}
	if err != nil {
		log.Warn("look for the last name server of a container", "error", err)
	}
	return Listen(ctx, ns, log)
}

func listen(ctx context.Context, ns *os.File, log *slog.Logger, udp, tcp netip.AddrPort) (_ *Resolver, err error) {
	r := &Resolver{log: log, waiting: make(chan struct{}, maxQueries), sick: map[netip.AddrPort]time.Time{}}
	r.scope.Store(&Scope{})
	if r.ns, err = netns.Duplicate(ns); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	err = netns.Do(ns, func() (err error) {
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		packet, err := config.ListenPacket(ctx, "udp4", udp.String())
		if err != nil {
			return fmt.Errorf("listen for questions: %w", err)
		}
		r.packet = packet.(*net.UDPConn)
		if r.stream, err = config.Listen(ctx, "tcp4", tcp.String()); err != nil {
			return fmt.Errorf("listen for questions: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, redirect(ctx, ns, r.packet.LocalAddr().(*net.UDPAddr).AddrPort(), r.stream.Addr().(*net.TCPAddr).AddrPort())
}

// Serve answers, in goroutines that end with Close. It is called once.
func (r *Resolver) Serve(scope Scope) {
	r.Know(scope)
	stream := &dns.Server{Listener: r.stream, Handler: r}
	r.serving.Go(func() { r.ended(stream.ActivateAndServe()) })
	r.serving.Go(func() { r.ended(r.answerPackets()) })
}

func (r *Resolver) ended(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		r.log.Warn("name server of a container ended", "error", err)
	}
}

// Know changes what the container can ask for.
func (r *Resolver) Know(scope Scope) { r.scope.Store(&scope) }

// answerPackets answers datagrams until the socket is closed.
func (r *Resolver) answerPackets() error {
	conn, err := r.packet.SyscallConn()
	if err != nil {
		return err
	}
	for {
		batch, err := datagram.Receive(conn)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive questions: %w", err)
		}
		scope := r.scope.Load()
		for i := range batch.Len() {
			query, whole := batch.Data(i)
			if reply, done := scope.quick(query, batch.Room(i)); done && whole {
				if reply != nil {
					batch.Answer(i, reply)
				}
				continue
			}
			if !r.answerLater(slices.Clone(query), batch.From(i)) {
				batch.Answer(i, refuse(query, batch.Room(i), dns.RcodeRefused))
			}
		}
		err = batch.Send(conn)
		batch.Release()
		if err != nil {
			return fmt.Errorf("send answers: %w", err)
		}
	}
}

// answerLater answers a datagram as a message, which may ask servers outside. false: too many of them wait.
func (r *Resolver) answerLater(query []byte, from netip.AddrPort) bool {
	select {
	case r.waiting <- struct{}{}:
	default:
		return false
	}
	r.serving.Go(func() {
		defer func() { <-r.waiting }()
		var question dns.Msg
		reply := refuse(query, nil, dns.RcodeFormatError)
		if question.Unpack(query) == nil {
			answer := r.answer(&question)
			answer.Truncate(room(&question))
			packed, err := answer.Pack()
			if err != nil {
				r.log.Debug("answer a container's question", "error", err)
				packed = refuse(query, nil, dns.RcodeServerFailure)
			}
			reply = packed
		}
		if _, err := r.packet.WriteToUDPAddrPort(reply, from); err != nil {
			r.log.Debug("answer a container's question", "error", err)
		}
	})
	return true
}

// room is how large the answer to a datagram may be.
func room(query *dns.Msg) int {
	if opt := query.IsEdns0(); opt != nil {
		return max(dns.MinMsgSize, int(opt.UDPSize()))
	}
	return dns.MinMsgSize
}

// redirection is the table that leads port 53 of Address to the sockets, inside the namespace. Its second chain keeps the
// kernel from telling who asks that nobody listens: then a daemon is being restarted, and the library in the container
// asks again, instead of giving up at once.
func redirection(udp, tcp netip.AddrPort) nft.Table {
	to := nft.Is(nft.Destination(nft.IPv4), nft.Addr(Address()))
	from := nft.Is(nft.Source(nft.IPv4), nft.Addr(Address()))
	rule := func(protocol uint8, at netip.AddrPort) nft.Rule {
		return nft.Rule{to, nft.Is(nft.Transport(), nft.Protocol(protocol)), nft.Is(nft.DestinationPort(), nft.Port(53)), nft.RedirectTo(at)}
	}
	return nft.Table{Family: nft.IPv4, Name: tableName, Chains: []nft.Chain{
		{Name: "output", Type: "nat", Hook: "output", Priority: -100, Rules: []nft.Rule{rule(nft.UDP, udp), rule(nft.TCP, tcp)}},
		{Name: "silence", Type: "filter", Hook: "output", Priority: 0, Rules: []nft.Rule{
			{from, nft.Unreachable(), nft.Drop()},
			{from, nft.Is(nft.SourcePort(), nft.Port(tcp.Port())), nft.Reset(), nft.Drop()},
		}},
	}}
}

// redirect makes the namespace have the table.
func redirect(ctx context.Context, ns *os.File, udp, tcp netip.AddrPort) error {
	filter, err := nft.Dial(ns)
	if err != nil {
		return err
	}
	return errors.Join(filter.Apply(ctx, redirection(udp, tcp)), filter.Close())
}

// Close ends the service and lets go of the namespace.
func (r *Resolver) Close() error {
	var errs []error
	if r.packet != nil {
		errs = append(errs, r.packet.Close())
	}
	if r.stream != nil {
		errs = append(errs, r.stream.Close())
	}
	r.serving.Wait()
	return errors.Join(append(errs, r.ns.Close())...)
}

// ServeDNS answers one question of a connection.
func (r *Resolver) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	var reply *dns.Msg
	select {
	case r.waiting <- struct{}{}:
		reply = r.answer(query)
		<-r.waiting
	default:
		reply = new(dns.Msg).SetRcode(query, dns.RcodeRefused)
	}
	if err := w.WriteMsg(reply); err != nil {
		r.log.Debug("answer a container's question", "error", err)
	}
}

func (r *Resolver) answer(query *dns.Msg) *dns.Msg {
	if len(query.Question) != 1 {
		return new(dns.Msg).SetRcode(query, dns.RcodeFormatError)
	}
	q := query.Question[0]
	if q.Qclass == dns.ClassINET {
		var answers []dns.RR
		var known bool
		switch q.Qtype {
		case dns.TypePTR:
			answers, known = r.reverse(q.Name)
		default:
			answers, known = r.lookup(q)
		}
		if known {
			reply := new(dns.Msg).SetReply(query)
			reply.RecursionAvailable, reply.Answer = true, answers
			if opt := query.IsEdns0(); opt != nil {
				reply.SetEdns0(datagram.MaxOut, false)
			}
			return reply
		}
	}
	return r.ask(query)
}

// lookup finds a name of a container. A name that is known but has no record of the type gets an empty answer.
func (r *Resolver) lookup(q dns.Question) (answers []dns.RR, known bool) {
	n := r.scope.Load().find([]byte(strings.ToLower(strings.TrimSuffix(q.Name, "."))))
	if n == nil {
		return nil, false
	}
	addrs, turn := slices.Concat(n.v4, n.v6), n.next()
	for i := range addrs {
		ip := addrs[(i+turn)%len(addrs)]
		switch {
		case q.Qtype == dns.TypeA && ip.Is4():
			answers = append(answers, &dns.A{Hdr: header(q.Name, dns.TypeA), A: ip.AsSlice()})
		case q.Qtype == dns.TypeAAAA && ip.Is6():
			answers = append(answers, &dns.AAAA{Hdr: header(q.Name, dns.TypeAAAA), AAAA: ip.AsSlice()})
		}
	}
	return answers, true
}

func (r *Resolver) reverse(question string) ([]dns.RR, bool) {
	ip, ok := reversed(question)
	if !ok {
		return nil, false
	}
	for _, z := range r.scope.Load().Zones {
		if name, ok := z.Reverse(ip); ok {
			return []dns.RR{&dns.PTR{Hdr: header(question, dns.TypePTR), Ptr: dns.Fqdn(name)}}, true
		}
	}
	return nil, false
}

// reversed reads the address out of "2.0.18.172.in-addr.arpa." or the IPv6 form of it.
func reversed(question string) (netip.Addr, bool) {
	name := strings.ToLower(strings.TrimSuffix(question, "."))
	if digits, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		ip, err := netip.ParseAddr(digits)
		if err != nil || !ip.Is4() {
			return netip.Addr{}, false
		}
		b := ip.As4()
		return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}), true
	}
	digits, ok := strings.CutSuffix(name, ".ip6.arpa")
	nibbles := strings.Split(digits, ".")
	if !ok || len(nibbles) != 32 {
		return netip.Addr{}, false
	}
	var text strings.Builder
	for i := range nibbles {
		if i > 0 && i%4 == 0 {
			text.WriteByte(':')
		}
		text.WriteString(nibbles[len(nibbles)-1-i])
	}
	ip, err := netip.ParseAddr(text.String())
	return ip, err == nil
}

func header(name string, typ uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: typ, Class: dns.ClassINET, Ttl: ttl}
}

// ask passes a question on to the servers outside, one after the other.
func (r *Resolver) ask(query *dns.Msg) *dns.Msg {
	servers := r.servers()
	if len(servers) == 0 {
		return new(dns.Msg).SetRcode(query, dns.RcodeNameError)
	}
	var last *dns.Msg
	for _, server := range servers {
		reply, err := r.exchange(query, server, "udp")
		if err == nil && reply.Truncated {
			reply, err = r.exchange(query, server, "tcp")
		}
		r.judge(server.Addr, err == nil)
		if err != nil {
			r.log.Debug("a name server does not answer", "server", server.Addr, "error", err)
			continue
		}
		reply.Id = query.Id
		if reply.Rcode == dns.RcodeSuccess || reply.Rcode == dns.RcodeNameError {
			return reply
		}
		last = reply
	}
	if last != nil {
		return last
	}
	return new(dns.Msg).SetRcode(query, dns.RcodeServerFailure)
}

// servers are those outside, those last that did not answer lately: not every question shall wait for them.
func (r *Resolver) servers() []Server {
	give := r.scope.Load().Servers
	if give == nil {
		return nil
	}
	list := slices.Clone(give())
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(list, func(a, b Server) int { return r.sickness(a.Addr) - r.sickness(b.Addr) })
	return list
}

func (r *Resolver) sickness(server netip.AddrPort) int {
	if since, ok := r.sick[server]; ok && time.Since(since) < sickTime {
		return 1
	}
	return 0
}

// judge remembers whether a server answered.
func (r *Resolver) judge(server netip.AddrPort, answered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if answered {
		delete(r.sick, server)
	} else {
		r.sick[server] = time.Now()
	}
}

// exchange asks one server, from the namespace that it is reached from.
func (r *Resolver) exchange(query *dns.Msg, server Server, network string) (*dns.Msg, error) {
	var conn net.Conn
	dial := func() (err error) {
		conn, err = net.DialTimeout(network, server.Addr.String(), serverTimeout)
		return err
	}
	var err error
	if server.Inside {
		err = netns.Do(r.ns, dial)
	} else {
		err = dial()
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := dns.Client{Net: network, Timeout: serverTimeout, UDPSize: dns.DefaultMsgSize}
	reply, _, err := client.ExchangeWithConn(query.Copy(), &dns.Conn{Conn: conn})
	return reply, err
}
