package server

import (
	"net"
	"net/http"
	"sync"

	"golang.org/x/net/websocket"

	"github.com/berth-engine/berth/core"
)

// websocket runs an attachment over a websocket. The handshake waits for the engine to ask for the connection, so
// that an error before it has a status. It returns when the attachment has closed the connection.
func (c *call) websocket(attach func(core.Hijack) error) error {
	var (
		opened = make(chan *websocketConn, 1)
		ended  = make(chan struct{})
	)
	upgrade := func(bool) (core.Streams, error) {
		c.started, c.hijacked = true, true
		server := websocket.Server{Handler: func(conn *websocket.Conn) {
			conn.PayloadType = websocket.BinaryFrame
			wrapped := &websocketConn{Conn: conn, closed: make(chan struct{})}
			opened <- wrapped
			<-wrapped.closed
		}}
		go func() {
			defer close(ended)
			server.ServeHTTP(c.w, c.r)
		}()
		select {
		case conn := <-opened:
			c.conn = conn
			return core.Streams{Conn: conn}, nil
		case <-ended:
			return core.Streams{}, core.Invalid("the client does not speak the websocket protocol")
		}
	}
	if !isWebsocket(c.r) {
		return core.Invalid("this endpoint wants an upgrade to a websocket")
	}
	err := attach(upgrade)
	if err != nil {
		c.dropHijacked()
	}
	if c.hijacked {
		<-ended
	}
	return err
}

func isWebsocket(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && r.Header.Get("Sec-WebSocket-Key") != ""
}

// websocketConn tells when it is closed: only then may the request end, since net/http's reader is still in use.
type websocketConn struct {
	*websocket.Conn
	once   sync.Once
	closed chan struct{}
}

var _ net.Conn = (*websocketConn)(nil)

// Close closes the connection, once.
func (w *websocketConn) Close() (err error) {
	w.once.Do(func() {
		err = w.Conn.Close()
		close(w.closed)
	})
	return err
}
