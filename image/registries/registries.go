// Package registries knows how registries are reached: mirrors, certificates, credentials, logins, lists of tags, and
// what their refusals mean in Docker's words.
package registries

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"

	"github.com/berth-engine/berth/core"
)

// Config says how registries are reached. It is dockerd's configuration with mirrors for any registry.
type Config struct {
	// Insecure are registries ("host", "host:port") and networks ("10.0.0.0/8") that may speak plain HTTP or show a
	// certificate that nobody vouches for. 127.0.0.0/8, ::1 and localhost always are.
	Insecure []string
	// Mirrors are addresses ("https://mirror.example") that are asked before Docker Hub.
	Mirrors []string
	// HostMirrors are such addresses for other registries, by the registry's host.
	HostMirrors map[string][]string
	// CertsDirs are folders with a folder per registry: *.crt are its authorities, *.cert and *.key ours. Empty:
	// /etc/berth/certs.d and /etc/docker/certs.d.
	CertsDirs []string
	// UserAgent is sent to registries; empty: "berth".
	UserAgent string
}

const dockerHub = "docker.io"

// Hosts finds the addresses of a registry: its mirrors in order, then itself. auth, when there is one, is for the
// registry itself and never sent to a mirror.
func (r Config) Hosts(auth *core.RegistryAuth) docker.RegistryHosts {
	return func(host string) ([]docker.RegistryHost, error) {
		mirrors := r.HostMirrors[host]
		if host == dockerHub {
			mirrors = append(append([]string(nil), mirrors...), r.Mirrors...)
		}
		var list []docker.RegistryHost
		for _, mirror := range mirrors {
			address, err := url.Parse(mirror)
			if err != nil || address.Host == "" {
				return nil, core.Invalid("invalid mirror %q: it must be a URL with a host", mirror)
			}
			entry, err := r.host(address.Host, nil)
			if err != nil {
				return nil, err
			}
			entry.Scheme = address.Scheme
			entry.Path = strings.TrimSuffix(address.Path, "/") + "/v2"
			entry.Capabilities = docker.HostCapabilityPull | docker.HostCapabilityResolve
			list = append(list, entry)
		}
		address := host
		if host == dockerHub {
			address = "registry-1.docker.io"
		}
		entry, err := r.host(address, auth)
		if err != nil {
			return nil, err
		}
		return append(list, entry), nil
	}
}

// host is one address, with its certificates and credentials.
func (r Config) host(address string, auth *core.RegistryAuth) (docker.RegistryHost, error) {
	config, err := r.tlsConfig(address)
	if err != nil {
		return docker.RegistryHost{}, err
	}
	var transport http.RoundTripper
	insecure := r.insecure(address)
	if insecure {
		config.InsecureSkipVerify = true // the user says so, or it is this machine
		transport = docker.NewHTTPFallback(docker.DefaultHTTPTransport(config))
	} else {
		transport = docker.DefaultHTTPTransport(config)
	}
	agent := r.UserAgent
	if agent == "" {
		agent = "berth"
	}
	client := &http.Client{Transport: transport}
	options := []docker.AuthorizerOpt{docker.WithAuthClient(client), docker.WithAuthHeader(http.Header{"User-Agent": {agent}})}
	if auth != nil {
		options = append(options, docker.WithAuthCreds(credentials(*auth, address)))
	}
	entry := docker.RegistryHost{
		Client: client, Authorizer: docker.NewDockerAuthorizer(options...), Host: address, Scheme: "https", Path: "/v2",
		Header:       http.Header{"User-Agent": {agent}},
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve | docker.HostCapabilityPush | docker.HostCapabilityReferrers,
	}
	if auth != nil && auth.RegistryToken != "" {
		entry.Authorizer = fixedToken{auth.RegistryToken, address}
	}
	if _, port, err := net.SplitHostPort(address); insecure && err == nil && port != "443" {
		// The first request goes out as HTTPS and falls back; on port 80 it would only cost time.
		if port == "80" {
			entry.Scheme = "http"
		}
	}
	return entry, nil
}

// credentials in the way of containerd's client: a secret without a name is an identity token. They are for one
// address; another one that a redirect leads to gets none, whatever it asks for.
func credentials(auth core.RegistryAuth, address string) func(string) (string, string, error) {
	return func(host string) (string, string, error) {
		switch {
		case host != address:
			return "", "", nil
		case auth.IdentityToken != "":
			return "", auth.IdentityToken, nil
		}
		return auth.Username, auth.Password, nil
	}
}

// insecure reports whether a registry need not prove who it is.
func (r Config) insecure(address string) bool {
	name := address
	if host, _, err := net.SplitHostPort(address); err == nil {
		name = host
	}
	name = strings.Trim(name, "[]")
	ip, ipErr := netip.ParseAddr(name)
	if name == "localhost" || ipErr == nil && ip.IsLoopback() {
		return true
	}
	for _, entry := range r.Insecure {
		if entry == address || entry == name {
			return true
		}
		if network, err := netip.ParsePrefix(entry); err == nil && ipErr == nil && network.Contains(ip) {
			return true
		}
	}
	return false
}

// tlsConfig reads a registry's folder below CertsDirs.
func (r Config) tlsConfig(address string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	roots := r.CertsDirs
	if len(roots) == 0 {
		roots = []string{"/etc/berth/certs.d", "/etc/docker/certs.d"}
	}
	for _, root := range roots {
		dir := filepath.Join(root, filepath.Base(address))
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if err := addCertificate(config, filepath.Join(dir, entry.Name())); err != nil {
				return nil, err
			}
		}
	}
	return config, nil
}

func addCertificate(config *tls.Config, path string) error {
	switch filepath.Ext(path) {
	case ".crt":
		if config.RootCAs == nil {
			pool, err := x509.SystemCertPool()
			if err != nil {
				return fmt.Errorf("system certificates: %w", err)
			}
			config.RootCAs = pool
		}
		pem, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return core.Invalid("%s holds no certificate", path)
		}
	case ".cert":
		key := strings.TrimSuffix(path, ".cert") + ".key"
		pair, err := tls.LoadX509KeyPair(path, key)
		if err != nil {
			return core.Invalid("client certificate %s: %w", path, err)
		}
		config.Certificates = append(config.Certificates, pair)
	}
	return nil
}
