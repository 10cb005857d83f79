// Command berth-log carries a connection to a log server over TLS. The shim of a container that logs to such a server
// starts it: Go's TLS library would cost every other shim half its size again (docs/decisions/0006).
//
//	berth-log '{"network":"tcp","address":"host:6514","tls":{…}}'
//
// Standard input is a stream socket. berth-log writes a zero to it once TLS is agreed on, or the reason why not; then
// it copies in both directions until one of them ends.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/berth-engine/berth/core/logopt"
)

// dialTime bounds the connection and the agreement.
const dialTime = 10 * time.Second

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "berth-log is started by berth-shim")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "berth-log:", err)
		os.Exit(1)
	}
}

func run(address string) error {
	shim, err := net.FileConn(os.Stdin)
	if err != nil {
		return err
	}
	defer shim.Close()
	server, err := dial(address)
	if err != nil {
		_, werr := io.WriteString(shim, err.Error())
		return werr // the shim has the reason
	}
	defer server.Close()
	if _, err := shim.Write([]byte{0}); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(server, shim)
		ended <- errors.Join(err, server.CloseWrite())
	}()
	go func() {
		_, err := io.Copy(shim, server)
		ended <- err
	}()
	return <-ended
}

func dial(text string) (*tls.Conn, error) {
	var a logopt.Address
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, err
	}
	if a.TLS == nil {
		return nil, errors.New("no TLS is asked for")
	}
	config, err := configure(a.TLS)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, a.Network, a.Address)
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
}

// configure reads the certificates. Those of the user are believed besides those of the system.
func configure(t *logopt.TLS) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.SkipVerify}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("could not read CA certificate %q: %w", t.CA, err)
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("failed to read system certificates: %w", err)
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("failed to append certificates from PEM file: %q", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("could not load X509 key pair: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
