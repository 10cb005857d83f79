package config

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/moby/moby/api/types/registry"
)

// IndexServer is the key under which credentials of Docker Hub are kept.
const IndexServer = "https://index.docker.io/v1/"

// tokenUser is the user name with which credential helpers mark an identity token.
const tokenUser = "<token>"

// Credentials finds the credentials for a registry by its host name (or IndexServer); empty ones when there are none.
func (f *File) Credentials(ctx context.Context, server string) (registry.AuthConfig, error) {
	if helper := f.helperFor(server); helper != "" {
		return helperGet(ctx, helper, server)
	}
	entry, ok := f.Auths[server]
	if !ok {
		// Old files have whole addresses as keys.
		for key, candidate := range f.Auths {
			if hostOf(key) == hostOf(server) {
				entry, ok = candidate, true
				break
			}
		}
	}
	if !ok {
		return registry.AuthConfig{ServerAddress: server}, nil
	}
	auth := registry.AuthConfig{ServerAddress: server, IdentityToken: entry.IdentityToken, RegistryToken: entry.RegistryToken}
	if entry.Auth != "" {
		user, password, err := decodeAuth(entry.Auth)
		if err != nil {
			return auth, fmt.Errorf("credentials of %s in %s: %w", server, f.path(), err)
		}
		auth.Username, auth.Password = user, password
	}
	return auth, nil
}

// All gives the credentials of every registry that is known, for builds.
func (f *File) All(ctx context.Context) (map[string]registry.AuthConfig, error) {
	all := map[string]registry.AuthConfig{}
	servers := map[string]bool{}
	for server := range f.Auths {
		servers[server] = true
	}
	for server := range f.CredentialHelpers {
		servers[server] = true
	}
	for server := range servers {
		auth, err := f.Credentials(ctx, server)
		if err != nil {
			return nil, err
		}
		if auth.Username != "" || auth.IdentityToken != "" || auth.RegistryToken != "" {
			all[server] = auth
		}
	}
	return all, nil
}

// Store keeps credentials: with the helper that is configured for the server, else in the file. It reports whether the
// password is now in the file, where who can read the file can read it.
func (f *File) Store(ctx context.Context, auth registry.AuthConfig) (plain bool, err error) {
	server := auth.ServerAddress
	if f.Auths == nil {
		f.Auths = map[string]Auth{}
	}
	if helper := f.helperFor(server); helper != "" {
		if err := helperStore(ctx, helper, auth); err != nil {
			return false, err
		}
		f.Auths[server] = Auth{}
		return false, f.Save()
	}
	entry := Auth{IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken}
	if auth.IdentityToken == "" {
		entry.Auth = base64.StdEncoding.EncodeToString([]byte(auth.Username + ":" + auth.Password))
	} else {
		entry.Auth = base64.StdEncoding.EncodeToString([]byte(auth.Username + ":"))
	}
	f.Auths[server] = entry
	return true, f.Save()
}

// Erase forgets the credentials of a server; known reports whether there were any.
func (f *File) Erase(ctx context.Context, server string) (known bool, err error) {
	for key := range f.Auths {
		if key == server || hostOf(key) == hostOf(server) {
			known = true
			delete(f.Auths, key)
		}
	}
	if helper := f.helperFor(server); helper != "" {
		if _, err := runHelper(ctx, helper, "erase", []byte(server)); err != nil && !errors.Is(err, errNoCredentials) {
			return known, err
		}
	}
	if !known {
		return false, nil
	}
	return true, f.Save()
}

func (f *File) helperFor(server string) string {
	if helper, ok := f.CredentialHelpers[server]; ok {
		return helper
	}
	if helper, ok := f.CredentialHelpers[hostOf(server)]; ok {
		return helper
	}
	return f.CredentialsStore
}

func decodeAuth(text string) (user, password string, err error) {
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", "", err
	}
	user, password, ok := strings.Cut(string(plain), ":")
	if !ok || user == "" {
		return "", "", errors.New("invalid auth configuration file")
	}
	return user, strings.Trim(password, "\x00"), nil
}

func hostOf(server string) string {
	server = strings.TrimPrefix(strings.TrimPrefix(server, "http://"), "https://")
	host, _, _ := strings.Cut(server, "/")
	return host
}

var errNoCredentials = errors.New("credentials not found in native keychain")

type helperCredentials struct {
	ServerURL, Username, Secret string
}

func helperGet(ctx context.Context, helper, server string) (registry.AuthConfig, error) {
	auth := registry.AuthConfig{ServerAddress: server}
	out, err := runHelper(ctx, helper, "get", []byte(server))
	if errors.Is(err, errNoCredentials) {
		return auth, nil
	}
	if err != nil {
		return auth, err
	}
	var found helperCredentials
	if err := json.Unmarshal(out, &found); err != nil {
		return auth, fmt.Errorf("docker-credential-%s: %w", helper, err)
	}
	if found.Username == tokenUser {
		auth.IdentityToken = found.Secret
	} else {
		auth.Username, auth.Password = found.Username, found.Secret
	}
	return auth, nil
}

func helperStore(ctx context.Context, helper string, auth registry.AuthConfig) error {
	c := helperCredentials{ServerURL: auth.ServerAddress, Username: auth.Username, Secret: auth.Password}
	if auth.IdentityToken != "" {
		c.Username, c.Secret = tokenUser, auth.IdentityToken
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = runHelper(ctx, helper, "store", text)
	return err
}

// runHelper follows the protocol of docker-credential-helpers: a verb, a text on standard input, an answer on standard
// output, where a failure's sentence goes too.
func runHelper(ctx context.Context, helper, verb string, input []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "docker-credential-"+helper, verb)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	text := strings.TrimSpace(string(out))
	if text == errNoCredentials.Error() {
		return nil, errNoCredentials
	}
	var exit *exec.ExitError
	if text == "" && errors.As(err, &exit) {
		text = strings.TrimSpace(string(exit.Stderr))
	}
	return nil, fmt.Errorf("error getting credentials - err: %w, out: `%s`", err, text)
}
