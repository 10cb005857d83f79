package server

import (
	"io"
	"net/http"
	"strings"

	"github.com/berth-engine/berth/core"
)

// Content types of the streams of attach, exec and logs.
const (
	rawStream         = "application/vnd.docker.raw-stream"
	multiplexedStream = "application/vnd.docker.multiplexed-stream"
)

// streamType is the content type of output; framed: with Docker's 8-byte headers, a name of its own since 1.42.
func (c *call) streamType(framed bool) string {
	if framed && !c.version.Before(42) {
		return multiplexedStream
	}
	return rawStream
}

// hijack takes the connection away from HTTP and hands it, after the head of the answer, to the engine. The
// connection is the listener's own (for a plain socket the *net.UnixConn or *net.TCPConn), so that its descriptor
// can be passed on. Whoever gets it closes it.
func (c *call) hijack(framed bool) (core.Streams, error) {
	hijacker, ok := c.w.(http.Hijacker)
	if !ok {
		return core.Streams{}, core.Invalid("error attaching to container %s, hijack connection missing", c.name)
	}
	// Some clients (dockerode) repeat their options in a body: it is a part of the request, not the first input.
	if c.r.ContentLength > 0 {
		if _, err := io.Copy(io.Discard, c.r.Body); err != nil {
			return core.Streams{}, core.Unavailable("the client went away: %w", err)
		}
	}
	head := c.hijackHead(framed)
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		return core.Streams{}, core.Internal("can't take over the connection: %w", err)
	}
	c.started, c.hijacked, c.conn = true, true, conn
	streams := core.Streams{Conn: conn, Framed: framed}
	if n := buffered.Reader.Buffered(); n > 0 {
		early, err := buffered.Reader.Peek(n)
		if err != nil {
			return core.Streams{}, core.Internal("can't read what the client sent early: %w", err)
		}
		streams.Early = append([]byte(nil), early...)
	}
	if _, err := conn.Write(head); err != nil {
		return core.Streams{}, core.Unavailable("the client went away: %w", err)
	}
	return streams, nil
}

// hijackHead is the head of the answer: 101 for a client that asked for an upgrade, else 200 as old clients expect.
func (c *call) hijackHead(framed bool) []byte {
	var head strings.Builder
	if _, upgrade := c.r.Header["Upgrade"]; upgrade {
		head.WriteString("HTTP/1.1 101 UPGRADED\r\nContent-Type: " + c.streamType(framed) + "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n")
	} else {
		head.WriteString("HTTP/1.1 200 OK\r\nContent-Type: " + rawStream + "\r\n")
	}
	for _, name := range []string{"Api-Version", "Docker-Experimental", "Ostype", "Server"} {
		head.WriteString(name + ": " + c.w.Header().Get(name) + "\r\n")
	}
	head.WriteString("\r\n")
	return []byte(head.String())
}

// dropHijacked closes a connection that was taken over for something that then failed. Closing twice is harmless.
func (c *call) dropHijacked() {
	if c.conn == nil {
		return
	}
	if err := c.conn.Close(); err != nil {
		c.logger.Debug("close of a connection that was taken over", "error", err)
	}
}
