// Package config reads and writes the client's configuration: ~/.docker/config.json with the same keys and meanings as
// docker's, the credentials that it holds or points to, and the contexts beside it. Keys that are not known here are
// kept as they are, since other tools share the file.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is the configuration. Fields mirror the keys of config.json that the client uses.
type File struct {
	Auths             map[string]Auth   `json:"auths,omitempty"`
	CredentialsStore  string            `json:"credsStore,omitempty"`
	CredentialHelpers map[string]string `json:"credHelpers,omitempty"`
	HTTPHeaders       map[string]string `json:"HttpHeaders,omitempty"`
	CurrentContext    string            `json:"currentContext,omitempty"`
	DetachKeys        string            `json:"detachKeys,omitempty"`
	PsFormat          string            `json:"psFormat,omitempty"`
	ImagesFormat      string            `json:"imagesFormat,omitempty"`
	NetworksFormat    string            `json:"networksFormat,omitempty"`
	VolumesFormat     string            `json:"volumesFormat,omitempty"`
	StatsFormat       string            `json:"statsFormat,omitempty"`
	Proxies           map[string]Proxy  `json:"proxies,omitempty"`

	dir   string
	known map[string]json.RawMessage // the whole file as read
}

// Auth is an entry of "auths": Auth is base64 of user:password.
type Auth struct {
	Auth          string `json:"auth,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
	Email         string `json:"email,omitempty"`
}

// Proxy is what containers are told of proxies, by the daemon's address or "default".
type Proxy struct {
	HTTPProxy  string `json:"httpProxy,omitempty"`
	HTTPSProxy string `json:"httpsProxy,omitempty"`
	NoProxy    string `json:"noProxy,omitempty"`
	FTPProxy   string `json:"ftpProxy,omitempty"`
	AllProxy   string `json:"allProxy,omitempty"`
}

// Variables are the environment variables that say so, in large and in small letters.
func (p Proxy) Variables() map[string]string {
	variables := map[string]string{}
	for name, value := range map[string]string{
		"HTTP_PROXY": p.HTTPProxy, "HTTPS_PROXY": p.HTTPSProxy, "FTP_PROXY": p.FTPProxy, "NO_PROXY": p.NoProxy, "ALL_PROXY": p.AllProxy,
	} {
		if value != "" {
			variables[name], variables[strings.ToLower(name)] = value, value
		}
	}
	return variables
}

// DefaultDir is $DOCKER_CONFIG, else ~/.docker.
func DefaultDir() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".docker"
	}
	return filepath.Join(home, ".docker")
}

// Load reads dir/config.json; a file that is not there is an empty configuration.
func Load(dir string) (*File, error) {
	f := &File{dir: dir, known: map[string]json.RawMessage{}}
	text, err := os.ReadFile(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("loading config file: %w", err)
	}
	if len(text) == 0 {
		return f, nil
	}
	if err := json.Unmarshal(text, f); err != nil {
		return f, fmt.Errorf("loading config file: %s: %w", f.path(), err)
	}
	if err := json.Unmarshal(text, &f.known); err != nil {
		return f, fmt.Errorf("loading config file: %s: %w", f.path(), err)
	}
	return f, nil
}

// Dir is the folder of the configuration.
func (f *File) Dir() string { return f.dir }

func (f *File) path() string { return filepath.Join(f.dir, "config.json") }

// Save writes the file in one step, readable by its owner only, with the keys that are not ours as they were.
func (f *File) Save() error {
	if f.known == nil {
		f.known = map[string]json.RawMessage{}
	}
	for key, value := range map[string]any{
		"auths": f.Auths, "credsStore": f.CredentialsStore, "credHelpers": f.CredentialHelpers, "currentContext": f.CurrentContext,
	} {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		switch string(text) {
		case `null`, `""`, `{}`:
			delete(f.known, key)
		default:
			f.known[key] = text
		}
	}
	text, err := json.MarshalIndent(f.known, "", "\t")
	if err != nil {
		return err
	}
	// A link is kept: what it points to is replaced.
	path := f.path()
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return replaceFile(path, text)
}

func replaceFile(path string, text []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	if _, err := tmp.Write(text); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
