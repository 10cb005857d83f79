package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/berth-engine/berth/linux/netns"
	"github.com/berth-engine/berth/linux/nft"
)

// Address is where containers find their resolver.
func Address() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 11}) }

const (
	ttl           = 600 // seconds that a container may remember an answer of ours
	serverTimeout = 4 * time.Second
	maxQueries    = 1024 // questions of one container that wait for servers outside
	tableName     = "berth_dns"
)

// Source is what a resolver asks. Its functions are called for each question and must be quick.
type Source interface {
	// Zones are those of the networks that the container is in, in the order in which they are asked.
	Zones() []*Zone
	// Link gives the name that an alias of this container alone stands for; empty: none.
	Link(alias string) string
	// Servers are asked what the zones do not know; none: such questions have no answer.
	Servers() []Server
}

// Server is a resolver outside.
type Server struct {
	Addr netip.AddrPort
	// Inside: reached from the container's namespace, since the user named it for this container.
	Inside bool
}

// Resolver is the name server of one container.
type Resolver struct {
	source  Source
	log     *slog.Logger
	ns      *os.File // of the container
	packet  net.PacketConn
	stream  net.Listener
	serving sync.WaitGroup
	waiting chan struct{} // a place for each question on its way
}

// Listen opens the sockets in the namespace and leads what containers send to port 53 of Address there: the port
// itself stays free for the container. The kernel takes some 10 ms for that, so it is better done in advance. Until
// Close the resolver keeps the namespace alive.
func Listen(ctx context.Context, ns *os.File, log *slog.Logger) (_ *Resolver, err error) {
	r := &Resolver{log: log, waiting: make(chan struct{}, maxQueries)}
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
		at := netip.AddrPortFrom(Address(), 0).String()
		if r.packet, err = config.ListenPacket(ctx, "udp4", at); err != nil {
			return fmt.Errorf("listen for questions: %w", err)
		}
		if r.stream, err = config.Listen(ctx, "tcp4", at); err != nil {
			return fmt.Errorf("listen for questions: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, redirect(ctx, ns, r.packet.LocalAddr().(*net.UDPAddr).AddrPort(), r.stream.Addr().(*net.TCPAddr).AddrPort())
}

// Serve answers from the source, in goroutines that end with Close. It is called once.
func (r *Resolver) Serve(source Source) {
	r.source = source
	for _, server := range []*dns.Server{{PacketConn: r.packet, Handler: r}, {Listener: r.stream, Handler: r}} {
		r.serving.Go(func() {
			if err := server.ActivateAndServe(); err != nil && !errors.Is(err, net.ErrClosed) {
				r.log.Warn("name server of a container ended", "error", err)
			}
		})
	}
}

// redirect makes port 53 of Address lead to the sockets, inside the namespace.
func redirect(ctx context.Context, ns *os.File, udp, tcp netip.AddrPort) error {
	filter, err := nft.Dial(ns)
	if err != nil {
		return err
	}
	to := nft.Is(nft.Destination(nft.IPv4), nft.Addr(Address()))
	rule := func(protocol uint8, at netip.AddrPort) nft.Rule {
		return nft.Rule{to, nft.Is(nft.Transport(), nft.Protocol(protocol)), nft.Is(nft.DestinationPort(), nft.Port(53)), nft.RedirectTo(at)}
	}
	err = filter.Apply(ctx, nft.Table{Family: nft.IPv4, Name: tableName, Chains: []nft.Chain{{
		Name: "output", Type: "nat", Hook: "output", Priority: -100,
		Rules: []nft.Rule{rule(nft.UDP, udp), rule(nft.TCP, tcp)},
	}}})
	return errors.Join(err, filter.Close())
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

// ServeDNS answers one question.
func (r *Resolver) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	reply := r.answer(query)
	size := dns.MaxMsgSize
	if w.LocalAddr().Network() == "udp" {
		size = dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
	}
	reply.Truncate(size)
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
			return reply
		}
	}
	return r.ask(query)
}

// lookup finds a name of a container. A name that is known but has no record of the type gets an empty answer.
func (r *Resolver) lookup(q dns.Question) (answers []dns.RR, known bool) {
	name := strings.TrimSuffix(q.Name, ".")
	if target := r.source.Link(strings.ToLower(name)); target != "" {
		name = target
	}
	var addrs []netip.Addr
	for _, z := range r.source.Zones() {
		if addrs, known = z.Lookup(name); known {
			break
		}
	}
	for _, ip := range addrs {
		switch {
		case q.Qtype == dns.TypeA && ip.Is4():
			answers = append(answers, &dns.A{Hdr: header(q.Name, dns.TypeA), A: ip.AsSlice()})
		case q.Qtype == dns.TypeAAAA && ip.Is6():
			answers = append(answers, &dns.AAAA{Hdr: header(q.Name, dns.TypeAAAA), AAAA: ip.AsSlice()})
		}
	}
	return answers, known
}

func (r *Resolver) reverse(question string) ([]dns.RR, bool) {
	ip, ok := reversed(question)
	if !ok {
		return nil, false
	}
	for _, z := range r.source.Zones() {
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
	select {
	case r.waiting <- struct{}{}:
		defer func() { <-r.waiting }()
	default:
		return new(dns.Msg).SetRcode(query, dns.RcodeRefused)
	}
	servers := r.source.Servers()
	if len(servers) == 0 {
		return new(dns.Msg).SetRcode(query, dns.RcodeNameError)
	}
	var last *dns.Msg
	for _, server := range servers {
		reply, err := r.exchange(query, server, "udp")
		if err == nil && reply.Truncated {
			reply, err = r.exchange(query, server, "tcp")
		}
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
