package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/moby/buildkit/client"

	docker "github.com/berth-engine/berth/cli/client"
)

// connect opens BuildKit's client over the daemon's connection.
func connect(ctx context.Context, daemon *docker.Client) (*client.Client, error) {
	return client.New(ctx, "passthrough:///berth",
		client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return upgrade(ctx, daemon, "/grpc", nil)
		}),
		client.WithSessionDialer(func(ctx context.Context, _ string, meta map[string][]string) (net.Conn, error) {
			return upgrade(ctx, daemon, "/session", meta)
		}))
}

// upgrade makes a connection of HTTP to one of HTTP/2, which gRPC speaks.
func upgrade(ctx context.Context, daemon *docker.Client, path string, meta http.Header) (_ net.Conn, err error) {
	conn, err := daemon.DialRaw(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer func() {
		if err != nil {
			err = errors.Join(err, conn.Close())
		}
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://berth"+path, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range meta {
		for _, value := range values {
			request.Header.Add(name, value)
		}
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "h2c")
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return nil, fmt.Errorf("the daemon broke off while its builder was asked for: %w", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		text, readErr := io.ReadAll(io.LimitReader(response.Body, 64<<10))
		return nil, errors.Join(fmt.Errorf("the daemon has no builder to speak to: %s: %s", response.Status, strings.TrimSpace(string(text))), readErr)
	}
	return &upgraded{Conn: conn, reader: reader}, nil
}

// upgraded gives first what came right behind the answer.
type upgraded struct {
	net.Conn
	reader *bufio.Reader
}

// Read implements net.Conn.
func (c *upgraded) Read(p []byte) (int, error) { return c.reader.Read(p) }
