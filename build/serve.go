package build

import (
	"bufio"
	"net"
	"net/http"

	"golang.org/x/net/http2"
)

// ServeGRPC hands an upgraded connection to BuildKit's gRPC server: buildx and berth-build speak to it directly.
func (b *Builder) ServeGRPC(w http.ResponseWriter, r *http.Request) {
	e, err := b.start(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if r.Header.Get("Upgrade") != "h2c" {
		http.Error(w, "the connection must be upgraded to h2c", http.StatusBadRequest)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	// An upgrade is written by hand: after the hijack net/http keeps out. A client that is gone shows in ServeConn.
	if _, err := conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")); err != nil {
		if closeErr := conn.Close(); closeErr != nil {
			b.log.Debug("close a lost connection of BuildKit's gRPC", "error", closeErr)
		}
		return
	}
	(&http2.Server{}).ServeConn(&earlyConn{Conn: conn, early: buffered.Reader}, &http2.ServeConnOpts{
		Context: r.Context(),
		Handler: e.server,
	})
}

// ServeSession hands an upgraded connection to BuildKit's session manager: the way back to a client's files,
// credentials and secrets.
func (b *Builder) ServeSession(w http.ResponseWriter, r *http.Request) {
	e, err := b.start(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if r.Header.Get("Upgrade") != "h2c" {
		http.Error(w, "the connection must be upgraded to h2c", http.StatusBadRequest)
		return
	}
	// Errors after the upgrade are those of a connection that ended; the build tells its own story.
	if err := e.sessions.HandleHTTPRequest(r.Context(), w, r); err != nil {
		b.log.Debug("a build session ended", "error", err)
	}
}

// earlyConn gives first what was read from the connection before it was taken over.
type earlyConn struct {
	net.Conn
	early *bufio.Reader
}

// Read empties the buffer before it asks the connection.
func (c *earlyConn) Read(p []byte) (int, error) {
	if c.early != nil {
		if n := c.early.Buffered(); n > 0 {
			return c.early.Read(p[:min(n, len(p))])
		}
		c.early = nil
	}
	return c.Conn.Read(p)
}
