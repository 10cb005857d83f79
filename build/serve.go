package build

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/net/http2"
)

// ServeGRPC hands an upgraded connection to BuildKit's gRPC server: buildx and berth-build speak to it directly.
func (b *Builder) ServeGRPC(w http.ResponseWriter, r *http.Request) {
	e, conn := b.upgrade(w, r)
	if conn == nil {
		return
	}
	(&http2.Server{}).ServeConn(conn, &http2.ServeConnOpts{
		Context: quieten(context.WithoutCancel(r.Context()), b.log),
		Handler: e.server,
		// A client that went away is no news.
		BaseConfig: &http.Server{ErrorLog: slog.NewLogLogger(b.log.Handler(), slog.LevelDebug)},
	})
}

// ServeSession hands an upgraded connection to BuildKit's session manager: the way back to a client's files,
// credentials and secrets.
func (b *Builder) ServeSession(w http.ResponseWriter, r *http.Request) {
	e, conn := b.upgrade(w, r)
	if conn == nil {
		return
	}
	ctx, cancel := context.WithCancel(quieten(context.WithoutCancel(r.Context()), b.log))
	defer cancel()
	// Without being told, BuildKit goes on asking a session that is gone how it is, for ten seconds.
	conn.lost = cancel
	if err := e.sessions.HandleConn(ctx, conn, r.Header); err != nil {
		b.log.Debug("a build session ended", "error", err)
	}
	if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		b.log.Debug("close a build session", "error", err)
	}
}

// upgrade starts the builder and takes the connection over. Where that fails it has answered, and gives nil.
func (b *Builder) upgrade(w http.ResponseWriter, r *http.Request) (*engine, *upgraded) {
	if r.Header.Get("Upgrade") != "h2c" {
		http.Error(w, "the connection must be upgraded to h2c", http.StatusBadRequest)
		return nil, nil
	}
	e, err := b.start(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, nil
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, nil
	}
	// After the hijack net/http keeps out: the answer is written by hand.
	if _, err := conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")); err != nil {
		b.log.Debug("a client of the builder went away", "error", errors.Join(err, conn.Close()))
		return nil, nil
	}
	return e, &upgraded{Conn: conn, early: buffered.Reader}
}

// upgraded is a connection that was taken over. It gives first what was read from it before.
type upgraded struct {
	net.Conn
	early *bufio.Reader
	lost  func() // is told that nothing more will come; nil: nobody needs to know
}

// Read empties the buffer before it asks the connection.
func (c *upgraded) Read(p []byte) (int, error) {
	if c.early != nil {
		if n := c.early.Buffered(); n > 0 {
			return c.early.Read(p[:min(n, len(p))])
		}
		c.early = nil
	}
	n, err := c.Conn.Read(p)
	if err != nil && c.lost != nil {
		c.lost()
	}
	return n, err
}
