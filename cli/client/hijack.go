package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
)

// Stream is a connection that HTTP was left on: both directions carry the streams of a process.
type Stream struct {
	conn net.Conn
	r    *bufio.Reader
	// Framed reports whether output comes in frames that name the stream; false: raw bytes of a terminal. It is known
	// only when the daemon said so (API 1.42): Known.
	Framed, Known bool
}

// Read gives the output of the process.
func (s *Stream) Read(b []byte) (int, error) { return s.r.Read(b) }

// WriteTo lets io.Copy use the connection's own way of copying once the buffer is empty.
func (s *Stream) WriteTo(w io.Writer) (int64, error) { return s.r.WriteTo(w) }

// Write sends input to the process.
func (s *Stream) Write(b []byte) (int, error) { return s.conn.Write(b) }

// inputSize is how much input is sent at once: what a pipe holds.
const inputSize = 64 << 10

// ReadFrom lets io.Copy splice, or copy in large pieces.
func (s *Stream) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := s.conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.CopyBuffer(struct{ io.Writer }{s.conn}, struct{ io.Reader }{r}, make([]byte, inputSize))
}

// CloseWrite says that the input has ended.
func (s *Stream) CloseWrite() error {
	if half, ok := s.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close ends both directions.
func (s *Stream) Close() error { return s.conn.Close() }

// Hijack makes a POST that asks to leave HTTP, on a connection of its own.
func (c *Client) Hijack(ctx context.Context, r Request) (*Stream, error) {
	r.Method = http.MethodPost
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "tcp")
	payload, err := encode(r.JSON)
	if err != nil {
		return nil, err
	}
	for {
		stream, resp, err := c.hijackOnce(ctx, r, payload)
		if err != nil || stream != nil {
			return stream, err
		}
		if c.stepDown(resp) {
			resp.Body.Close()
			continue
		}
		return nil, refusal(resp)
	}
}

// hijackOnce gives either a stream, or an answer that is a refusal and whose body owns the connection.
func (c *Client) hijackOnce(ctx context.Context, r Request, payload []byte) (*Stream, *http.Response, error) {
	var body io.Reader
	if payload != nil {
		body = bytes.NewReader(payload)
	}
	req, err := c.request(ctx, r, body, payload != nil)
	if err != nil {
		return nil, nil, err
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, nil, c.unreachable(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := req.Write(conn); err != nil {
		conn.Close()
		return nil, nil, c.unreachable(ctx, err)
	}
	reader := bufio.NewReaderSize(conn, 32<<10)
	resp, err := http.ReadResponse(reader, req)
	if err != nil {
		conn.Close()
		return nil, nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode >= 400 {
		resp.Body = closeBoth{resp.Body, conn}
		return nil, resp, nil
	}
	if resp.StatusCode != http.StatusSwitchingProtocols && resp.StatusCode != http.StatusOK {
		conn.Close()
		return nil, nil, &Error{Status: resp.StatusCode, Message: "unable to upgrade to tcp, received " + resp.Status}
	}
	c.answered()
	s := &Stream{conn: conn, r: reader}
	switch kind := resp.Header.Get("Content-Type"); {
	case strings.HasPrefix(kind, "application/vnd.docker.multiplexed-stream"):
		s.Framed, s.Known = true, true
	case strings.HasPrefix(kind, "application/vnd.docker.raw-stream") && !older(c.Version(), "1.42"):
		s.Known = true
	}
	return s, nil, nil
}

type closeBoth struct {
	io.ReadCloser
	conn net.Conn
}

func (c closeBoth) Close() error { return errors.Join(c.ReadCloser.Close(), c.conn.Close()) }
