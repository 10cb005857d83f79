package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:6]
}

// listen opens the sockets of the configuration. On an error those that are open are closed again.
func listen(ctx context.Context, c *config, log *slog.Logger) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	for _, host := range c.Hosts {
		scheme, address, found := strings.Cut(host, "://")
		if !found {
			scheme, address = "tcp", host
		}
		var l net.Listener
		switch scheme {
		case "unix":
			l, err = listenUnix(ctx, address, c.Group, log)
		case "tcp":
			l, err = listenTCP(ctx, address, c, log)
		case "fd":
			var more []net.Listener
			more, err = inherited()
			listeners = append(listeners, more...)
			if err != nil {
				return listeners, err
			}
			continue
		default:
			err = fmt.Errorf("invalid protocol in %q: unix, tcp and fd are known", host)
		}
		if err != nil {
			return listeners, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// listenUnix makes the socket with mode 0660 and the group. A file left by a daemon that was killed is replaced, the
// socket of one that lives is not.
func listenUnix(ctx context.Context, path, group string, log *slog.Logger) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	var dialer net.Dialer
	if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another daemon listens on %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	gid, err := groupID(group)
	if err == nil {
		err = os.Chown(path, 0, gid)
	}
	if err != nil {
		// As dockerd: without the group the socket is root's alone.
		log.Warn("the socket belongs to root alone", "socket", path, "group", group, "reason", err)
	}
	return l, nil
}

func groupID(name string) (int, error) {
	if id, err := strconv.Atoi(name); err == nil {
		return id, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// listenTCP opens a port: with TLS, or in the clear when a flag says so out loud.
func listenTCP(ctx context.Context, address string, c *config, log *slog.Logger) (net.Listener, error) {
	if !c.TLS && !c.AllowInsecureHosts {
		return nil, fmt.Errorf("refusing to listen on tcp://%s without TLS: whoever reaches the port would be root on this machine; "+
			"give --tlsverify with --tlscacert, --tlscert and --tlskey, or say --allow-insecure-tcp", address)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		port := "2375"
		if c.TLS {
			port = "2376"
		}
		address = net.JoinHostPort(strings.Trim(address, "[]"), port)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if !c.TLS {
		log.Warn("listening without TLS: whoever reaches the port is root on this machine", "address", l.Addr().String())
		return l, nil
	}
	settings, err := tlsSettings(c)
	if err != nil {
		l.Close()
		return nil, err
	}
	return tls.NewListener(l, settings), nil
}

func tlsSettings(c *config) (*tls.Config, error) {
	if c.TLSCert == "" || c.TLSKey == "" {
		return nil, errors.New("TLS needs --tlscert and --tlskey")
	}
	certificate, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("could not load X509 key pair (cert: %q, key: %q): %w", c.TLSCert, c.TLSKey, err)
	}
	settings := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS12,
		// Attaching takes the connection over, which only HTTP/1.1 allows.
		NextProtos: []string{"http/1.1"},
	}
	if !c.TLSVerify {
		return settings, nil
	}
	pem, err := os.ReadFile(c.TLSCACert)
	if err != nil {
		return nil, fmt.Errorf("could not read CA certificate %q: %w", c.TLSCACert, err)
	}
	settings.ClientCAs = x509.NewCertPool()
	if !settings.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %q", c.TLSCACert)
	}
	settings.ClientAuth = tls.RequireAndVerifyClientCert
	return settings, nil
}

// inherited takes over the sockets that the service manager opened (sd_listen_fds(3)).
func inherited() ([]net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, errors.New("no sockets found via socket activation: make sure the service was started by systemd")
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 1 {
		return nil, errors.New("no sockets found via socket activation: LISTEN_FDS is not a number")
	}
	var listeners []net.Listener
	for fd := 3; fd < 3+n; fd++ {
		f := os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		f.Close() // FileListener has a copy
		if err != nil {
			return listeners, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}
