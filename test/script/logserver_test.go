package script

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// logServer keeps all that is sent to it.
type logServer struct {
	mu   sync.Mutex // guards what follows
	data []byte
	more chan struct{} // closed and replaced when data comes
}

func (s *logServer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = append(s.data, p...)
	close(s.more)
	s.more = make(chan struct{})
	return len(p), nil
}

// await waits until what came matches; false: it does not come.
func (s *logServer) await(pattern *regexp.Regexp, patience <-chan time.Time) (string, bool) {
	for {
		s.mu.Lock()
		data, more := s.data, s.more
		s.mu.Unlock()
		if pattern.Match(data) {
			return string(data), true
		}
		select {
		case <-more:
		case <-patience:
			return string(data), false
		}
	}
}

// startServer is `logserver NAME tcp|udp|tls`: $NAME becomes its address. The certificate of a server with TLS is NAME.pem.
func startServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: logserver NAME tcp|udp|tls")
	}
	s := &logServer{more: make(chan struct{})}
	servers.Store(logKey(ts, args[0]), s)
	if args[1] == "udp" {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		ts.Check(err)
		ts.Defer(func() { conn.Close() })
		ts.Setenv(args[0], conn.LocalAddr().String())
		go func() {
			buffer := make([]byte, 64<<10)
			for {
				n, _, err := conn.ReadFrom(buffer)
				if err != nil {
					return
				}
				_, _ = s.Write(buffer[:n])
			}
		}()
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], listener.Addr().String())
	if args[1] == "tls" {
		config, err := certificate(filepath.Join(ts.MkAbs("."), args[0]+".pem"))
		ts.Check(err)
		listener = tls.NewListener(listener, config)
	}
	ts.Defer(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(s, conn)
			}()
		}
	}()
}

// servers are all of them: a transcript's own is found by its working folder.
var servers sync.Map

func logKey(ts *testscript.TestScript, name string) string {
	return ts.MkAbs(".") + "/" + name
}

// heard is `heard NAME PATTERN`: waits until what the server was sent matches.
func heard(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: heard NAME PATTERN")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	s, ok := servers.Load(logKey(ts, args[0]))
	if !ok {
		ts.Fatalf("there is no server %s", args[0])
	}
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	if data, ok := s.(*logServer).await(pattern, timer.C); !ok {
		ts.Fatalf("%q does not come; what came: %q", args[1], data)
	}
}

// certificate makes one for the loopback address, that is its own authority.
func certificate(path string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(pem.Encode(file, &pem.Block{Type: "CERTIFICATE", Bytes: der}), file.Close()); err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}
