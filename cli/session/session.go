// Package session is what every command of the command line is given: the streams, the configuration, and the client of
// the daemon that flags, environment and contexts point to. Nothing is read or dialled before a command asks for it.
package session

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/config"
	"github.com/berth-engine/berth/cli/stream"
)

// Flags are those that stand before the command.
type Flags struct {
	ConfigDir         string
	Hosts             []string
	Context           string
	Debug             bool
	LogLevel          string
	TLS, TLSVerify    bool
	TLSVerifySet      bool
	CACert, Cert, Key string
}

// Session belongs to one run of the command line and one goroutine, but for Client, which is safe for several.
type Session struct {
	In       *stream.In
	Out, Err *stream.Out
	Flags    Flags
	Version  string // of the program

	client  *client.Client
	config  *config.File
	watched context.Context
	unwatch func()
}

// New makes a session on three streams.
func New(in io.Reader, out, err io.Writer, version string) *Session {
	return &Session{In: stream.NewIn(in), Out: stream.NewOut(out), Err: stream.NewOut(err), Version: version}
}

// Config is the configuration file. One that can't be read is reported once and then taken for empty.
func (s *Session) Config() *config.File {
	if s.config == nil {
		dir := s.Flags.ConfigDir
		if dir == "" {
			dir = config.DefaultDir()
		}
		loaded, err := config.Load(dir)
		if err != nil {
			fmt.Fprintf(s.Err, "WARNING: Error %v\n", err)
		}
		s.config = loaded
	}
	return s.config
}

// ContextName is the context in use: --context, else none when a host is given, else DOCKER_CONTEXT, else the
// configuration's current one.
func (s *Session) ContextName() string {
	switch {
	case s.Flags.Context != "":
		return s.Flags.Context
	case len(s.Flags.Hosts) > 0 || os.Getenv("BERTH_HOST") != "" || os.Getenv("DOCKER_HOST") != "":
		return config.DefaultContext
	case os.Getenv("DOCKER_CONTEXT") != "":
		return os.Getenv("DOCKER_CONTEXT")
	}
	if current := s.Config().CurrentContext; current != "" {
		return current
	}
	return config.DefaultContext
}

// Client is the connection to the daemon.
func (s *Session) Client() (*client.Client, error) {
	if s.client != nil {
		return s.client, nil
	}
	options, err := s.endpoint()
	if err != nil {
		return nil, err
	}
	options.Version = os.Getenv("DOCKER_API_VERSION")
	options.UserAgent = "Berth-Client/" + s.Version + " (" + runtime.GOOS + ")"
	options.Headers = s.Config().HTTPHeaders
	made, err := client.New(options)
	if err != nil {
		return nil, err
	}
	s.client = made
	return made, nil
}

// Proxy is what the configuration says of proxies for containers and builds on this daemon.
func (s *Session) Proxy() config.Proxy {
	proxies := s.Config().Proxies
	if proxy, ok := proxies[s.DefaultHost()]; ok {
		return proxy
	}
	return proxies["default"]
}

// DefaultHost is the daemon's address when no context is in use.
func (s *Session) DefaultHost() string {
	if len(s.Flags.Hosts) > 0 {
		return normalizeHost(s.Flags.Hosts[0])
	}
	for _, variable := range []string{"BERTH_HOST", "DOCKER_HOST"} {
		if host := os.Getenv(variable); host != "" {
			return normalizeHost(host)
		}
	}
	return client.DefaultHost
}

func (s *Session) endpoint() (client.Options, error) {
	if len(s.Flags.Hosts) > 1 {
		return client.Options{}, fmt.Errorf("specify only one -H")
	}
	if s.Flags.Context != "" && len(s.Flags.Hosts) > 0 {
		return client.Options{}, fmt.Errorf("conflicting options: cannot specify both --host and --context")
	}
	if name := s.ContextName(); name != config.DefaultContext {
		c, err := s.Config().Context(name)
		if err != nil {
			return client.Options{}, fmt.Errorf("unable to resolve docker endpoint: %w\nSee `berth context ls`, and `berth context use default` to go back.", err)
		}
		t, err := c.TLS()
		if err != nil {
			return client.Options{}, fmt.Errorf("unable to resolve docker endpoint: context %q: %w", name, err)
		}
		host := c.Host
		if host == "" {
			host = client.DefaultHost
		}
		return client.Options{Host: normalizeHost(host), TLS: t}, nil
	}
	t, err := s.tlsConfig()
	if err != nil {
		return client.Options{}, err
	}
	return client.Options{Host: s.DefaultHost(), TLS: t}, nil
}

// tlsConfig reads the TLS flags and variables; nil when none asks for TLS.
func (s *Session) tlsConfig() (*tls.Config, error) {
	f := s.Flags
	verify := f.TLSVerify
	if !f.TLSVerifySet && os.Getenv("DOCKER_TLS_VERIFY") != "" {
		verify = true
	}
	if on, err := strconv.ParseBool(os.Getenv("DOCKER_TLS")); err == nil && on {
		f.TLS = true
	}
	if !f.TLS && !verify && !f.TLSVerifySet {
		return nil, nil
	}
	dir := os.Getenv("DOCKER_CERT_PATH")
	if dir == "" {
		dir = s.Config().Dir()
	}
	read := func(path, standard string, wanted bool) ([]byte, error) {
		given := path != ""
		if !given {
			path = filepath.Join(dir, standard)
		}
		text, err := os.ReadFile(path)
		if err != nil && (given || wanted) && !(os.IsNotExist(err) && !given) {
			return nil, fmt.Errorf("failed to read TLS file %s: %w", path, err)
		}
		return text, nil
	}
	ca, err := read(f.CACert, "ca.pem", verify)
	if err != nil {
		return nil, err
	}
	if !verify {
		ca = nil
	}
	cert, err := read(f.Cert, "cert.pem", false)
	if err != nil {
		return nil, err
	}
	key, err := read(f.Key, "key.pem", false)
	if err != nil {
		return nil, err
	}
	return config.TLSConfig(ca, cert, key, !verify)
}
