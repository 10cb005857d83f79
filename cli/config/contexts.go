package config

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
)

// DefaultContext is the name of the context that stands for flags and environment.
const DefaultContext = "default"

// Context is a named place of a daemon.
type Context struct {
	Name        string
	Description string
	Host        string
	SkipVerify  bool
	// CA, Cert and Key are PEM texts; empty: none.
	CA, Cert, Key []byte

	metaDir, tlsDir string
}

// The file on disk, as docker writes it.
type contextMeta struct {
	Name      string
	Metadata  map[string]any
	Endpoints map[string]contextEndpoint
}

type contextEndpoint struct {
	Host          string `json:",omitempty"`
	SkipTLSVerify bool
}

// ErrNoContext is the class of a context that is not there.
var ErrNoContext = errors.New("context not found")

// ValidateContextName refuses what can't be the name of a context.
func ValidateContextName(name string) error {
	if name == "" {
		return errors.New("context name cannot be empty")
	}
	if name == DefaultContext {
		return errors.New(`"default" is a reserved context name`)
	}
	if !regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$`).MatchString(name) {
		return fmt.Errorf("context name %q is invalid, names are validated against regexp %q", name, "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$")
	}
	return nil
}

func (f *File) contextDirs(name string) (meta, tls string) {
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	return filepath.Join(f.dir, "contexts", "meta", id), filepath.Join(f.dir, "contexts", "tls", id)
}

// Context reads one by name; the error is ErrNoContext when there is none.
func (f *File) Context(name string) (Context, error) {
	meta, tlsDir := f.contextDirs(name)
	c, err := readContext(meta)
	if errors.Is(err, fs.ErrNotExist) {
		return Context{}, missingContext(fmt.Sprintf("context %q: context not found", name))
	}
	if err != nil {
		return Context{}, fmt.Errorf("context %q: %w", name, err)
	}
	c.metaDir, c.tlsDir = meta, tlsDir
	for file, into := range map[string]*[]byte{"ca.pem": &c.CA, "cert.pem": &c.Cert, "key.pem": &c.Key} {
		text, err := os.ReadFile(filepath.Join(tlsDir, "docker", file))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Context{}, fmt.Errorf("context %q: %w", name, err)
		}
		*into = text
	}
	return c, nil
}

func readContext(dir string) (Context, error) {
	text, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return Context{}, err
	}
	var m contextMeta
	if err := json.Unmarshal(text, &m); err != nil {
		return Context{}, fmt.Errorf("%s: %w", filepath.Join(dir, "meta.json"), err)
	}
	description, isText := m.Metadata["Description"].(string)
	if !isText {
		description = ""
	}
	endpoint := m.Endpoints["docker"]
	return Context{Name: m.Name, Description: description, Host: endpoint.Host, SkipVerify: endpoint.SkipTLSVerify}, nil
}

// Contexts lists all that are stored, by name. One that can't be read does not hide the others: bad names them.
func (f *File) Contexts() (list []Context, bad error) {
	root := filepath.Join(f.dir, "contexts", "meta")
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		c, err := readContext(filepath.Join(root, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			bad = errors.Join(bad, err)
			continue
		}
		list = append(list, c)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, bad
}

// SaveContext writes a context, replacing one of that name.
func (f *File) SaveContext(c Context) error {
	meta, tlsDir := f.contextDirs(c.Name)
	m := contextMeta{Name: c.Name, Metadata: map[string]any{}, Endpoints: map[string]contextEndpoint{
		"docker": {Host: c.Host, SkipTLSVerify: c.SkipVerify},
	}}
	if c.Description != "" {
		m.Metadata["Description"] = c.Description
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(tlsDir); err != nil {
		return err
	}
	for file, pem := range map[string][]byte{"ca.pem": c.CA, "cert.pem": c.Cert, "key.pem": c.Key} {
		if len(pem) == 0 {
			continue
		}
		if err := replaceFile(filepath.Join(tlsDir, "docker", file), pem); err != nil {
			return err
		}
	}
	return replaceFile(filepath.Join(meta, "meta.json"), text)
}

// RemoveContext removes what is stored under the name.
func (f *File) RemoveContext(name string) error {
	meta, tlsDir := f.contextDirs(name)
	if _, err := os.Stat(meta); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return missingContext(fmt.Sprintf("context %q: not found", name))
		}
		return err
	}
	return errors.Join(os.RemoveAll(meta), os.RemoveAll(tlsDir))
}

// Folders are where the context's metadata and keys are.
func (c Context) Folders() (meta, tls string) { return c.metaDir, c.tlsDir }

// TLS is the configuration of the context's connection; nil when it has no keys and verifies nothing.
func (c Context) TLS() (*tls.Config, error) {
	if len(c.CA) == 0 && len(c.Cert) == 0 && len(c.Key) == 0 && !c.SkipVerify {
		return nil, nil
	}
	return TLSConfig(c.CA, c.Cert, c.Key, c.SkipVerify)
}

// TLSConfig makes a client's TLS configuration from PEM texts.
func TLSConfig(ca, cert, key []byte, skipVerify bool) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: skipVerify}
	if len(ca) > 0 {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("the CA file has no certificate in PEM")
		}
	}
	if len(cert) > 0 || len(key) > 0 {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("could not load X509 key pair: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// missingContext is a sentence whose class is ErrNoContext.
type missingContext string

func (m missingContext) Error() string { return string(m) }

// Is makes errors.Is(err, ErrNoContext) true.
func (m missingContext) Is(target error) bool { return target == ErrNoContext }
