package ports

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Times that bound what the daemon forwards itself.
const (
	dialTimeout = 10 * time.Second
	flowTimeout = 90 * time.Second // a UDP flow that is silent for so long is forgotten
	maxFlows    = 1024             // UDP flows per port
	maxDatagram = 65535
	acceptPause = 100 * time.Millisecond
)

// Forward passes what reaches the sockets on to the container, in goroutines that end with Close. Called again it
// changes where new connections go.
func (l *Lease) Forward(ctx context.Context, to netip.AddrPort) {
	l.target.Store(&to)
	if l.done != nil {
		return
	}
	ctx, l.done = context.WithCancel(context.WithoutCancel(ctx))
	for _, s := range l.sockets {
		switch {
		case s.stream != nil:
			l.forward.Go(func() { l.accept(ctx, s.stream) })
		case s.packet != nil:
			l.forward.Go(func() { l.relay(ctx, s.packet) })
		}
	}
}

// accept serves connections until the listener is closed.
func (l *Lease) accept(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Descriptors ran out: the kernel keeps clients waiting until some were closed.
			select {
			case <-ctx.Done():
				return
			case <-time.After(acceptPause):
				continue
			}
		}
		l.forward.Go(func() { pipe(ctx, conn, *l.target.Load()) })
	}
}

// pipe connects two ends until both directions are over. A container that does not answer ends the client's
// connection.
func pipe(ctx context.Context, client net.Conn, to netip.AddrPort) {
	defer client.Close()
	dialer := net.Dialer{Timeout: dialTimeout}
	server, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})
	defer stop()
	var both sync.WaitGroup
	copyTo := func(dst, src net.Conn) {
		// Whatever ends a direction ends it for both sides: there is nobody else to tell.
		_, _ = io.Copy(dst, src)
		if half, ok := dst.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}
	both.Go(func() { copyTo(server, client) })
	both.Go(func() { copyTo(client, server) })
	both.Wait()
}

// relay passes datagrams on until the socket is closed, with one socket per client, so that answers find back.
func (l *Lease) relay(ctx context.Context, socket net.PacketConn) {
	var mu sync.Mutex
	flows := map[netip.AddrPort]*net.UDPConn{}
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range flows {
			f.Close()
		}
	})
	defer stop()
	front := socket.(*net.UDPConn)
	buf := make([]byte, maxDatagram)
	for {
		n, client, err := front.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		mu.Lock()
		flow := flows[client]
		if flow == nil && len(flows) < maxFlows && ctx.Err() == nil {
			if flow, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(*l.target.Load())); err == nil {
				flows[client] = flow
				l.forward.Go(func() {
					answers(front, flow, client)
					mu.Lock()
					defer mu.Unlock()
					delete(flows, client)
					flow.Close()
				})
			}
		}
		mu.Unlock()
		if flow != nil {
			// A datagram that can't be passed on is lost, as datagrams are.
			_, _ = flow.Write(buf[:n])
		}
	}
}

// answers passes on what the container says to one client, until it is silent for a while.
func answers(front, flow *net.UDPConn, client netip.AddrPort) {
	buf := make([]byte, maxDatagram)
	for {
		if err := flow.SetReadDeadline(time.Now().Add(flowTimeout)); err != nil {
			return
		}
		n, err := flow.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // "connection refused" from a container that does not listen yet
		}
		_, _ = front.WriteToUDPAddrPort(buf[:n], client)
	}
}
