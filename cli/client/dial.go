package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
)

// DefaultHost is where berthd listens unasked.
const DefaultHost = "unix:///run/berth.sock"

type dialer func(ctx context.Context) (net.Conn, error)

type target struct {
	dial            dialer
	scheme          string
	authority, path string
}

func parseHost(options Options) (target, error) {
	proto, rest, found := strings.Cut(options.Host, "://")
	if !found || proto == "" {
		return target{}, fmt.Errorf("unable to parse docker host `%s`", options.Host)
	}
	switch proto {
	case "unix":
		if rest == "" {
			return target{}, fmt.Errorf("unable to parse docker host `%s`", options.Host)
		}
		return target{dial: unixDialer(rest), scheme: "http", authority: "api.berth.localhost"}, nil
	case "tcp", "http", "https":
		return tcpTarget(proto, rest, options)
	case "ssh":
		u, err := url.Parse(options.Host)
		if err != nil {
			return target{}, fmt.Errorf("unable to parse docker host `%s`: %w", options.Host, err)
		}
		dial, err := sshDialer(u)
		if err != nil {
			return target{}, err
		}
		return target{dial: dial, scheme: "http", authority: "api.berth.localhost"}, nil
	}
	return target{}, fmt.Errorf("protocol not available: %s:// (known are unix, tcp, http, https and ssh)", proto)
}

func unixDialer(path string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

func tcpTarget(proto, rest string, options Options) (target, error) {
	u, err := url.Parse("tcp://" + rest)
	if err != nil || u.Host == "" {
		return target{}, fmt.Errorf("unable to parse docker host `%s`", options.Host)
	}
	secure := options.TLS != nil || proto == "https"
	port, scheme := "2375", "http"
	if secure {
		port, scheme = "2376", "https"
	}
	if u.Port() != "" {
		port = u.Port()
	}
	address := net.JoinHostPort(u.Hostname(), port)
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	if secure {
		config := options.TLS
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		dial = tlsDialer(address, u.Hostname(), config)
	}
	return target{dial: dial, scheme: scheme, authority: address, path: strings.TrimSuffix(u.Path, "/")}, nil
}

func tlsDialer(address, name string, config *tls.Config) dialer {
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName = name
	}
	// The daemon's hijacked connections are HTTP/1.1 only.
	config.NextProtos = []string{"http/1.1"}
	return func(ctx context.Context) (net.Conn, error) {
		d := tls.Dialer{Config: config}
		return d.DialContext(ctx, "tcp", address)
	}
}

// IsLocal reports whether the daemon is on this machine, at a socket in its file system.
func (c *Client) IsLocal() bool { return strings.HasPrefix(c.options.Host, "unix://") }

// DialRaw opens a connection to the daemon without saying anything on it. `system dial-stdio` passes it on.
func (c *Client) DialRaw(ctx context.Context) (net.Conn, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return conn, nil
}

// sshCommand is the program that carries ssh:// connections.
func sshCommand() string {
	if program := os.Getenv("BERTH_SSH_COMMAND"); program != "" {
		return program
	}
	return "ssh"
}
