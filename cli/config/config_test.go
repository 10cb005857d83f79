package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/registry"
)

func TestCredentialsInTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if err := os.WriteFile(path, []byte(`{"auths":{"https://old.example.com/v1/":{"auth":"dTpw"}},"plugins":{"x":{"y":"z"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if auth, err := f.Credentials(t.Context(), "old.example.com"); err != nil || auth.Username != "u" || auth.Password != "p" {
		t.Errorf("a key that is a whole address: %+v, %v", auth, err)
	}
	plain, err := f.Store(t.Context(), registry.AuthConfig{Username: "me", Password: "a:b", ServerAddress: "new.example.com"})
	if err != nil || !plain {
		t.Fatal(plain, err)
	}
	if f, err = Load(dir); err != nil {
		t.Fatal(err)
	}
	if auth, err := f.Credentials(t.Context(), "new.example.com"); err != nil || auth.Username != "me" || auth.Password != "a:b" {
		t.Errorf("%+v, %v", auth, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), `"plugins"`) {
		t.Errorf("what others wrote is gone: %s, %v", text, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the file: %v, %v", info.Mode(), err)
	}
	if known, err := f.Erase(t.Context(), "new.example.com"); err != nil || !known {
		t.Errorf("%v, %v", known, err)
	}
	if known, err := f.Erase(t.Context(), "new.example.com"); err != nil || known {
		t.Errorf("%v, %v", known, err)
	}
}

func TestCredentialsOfAHelper(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\nread server\ncase $1 in\nget) case $server in known) echo '{\"ServerURL\":\"known\",\"Username\":\"<token>\",\"Secret\":\"s\"}';;\n" +
		"*) echo 'credentials not found in native keychain'; exit 1;; esac;;\nesac\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-test"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	f := &File{CredentialsStore: "test", dir: t.TempDir()}
	if auth, err := f.Credentials(t.Context(), "known"); err != nil || auth.IdentityToken != "s" || auth.Username != "" {
		t.Errorf("%+v, %v", auth, err)
	}
	if auth, err := f.Credentials(t.Context(), "other"); err != nil || auth.Username != "" {
		t.Errorf("%+v, %v", auth, err)
	}
	f.CredentialHelpers = map[string]string{"x": "missing-helper"}
	if _, err := f.Credentials(t.Context(), "x"); err == nil {
		t.Error("a helper that is not there was not missed")
	}
}

func TestContextFiles(t *testing.T) {
	t.Parallel()
	f := &File{dir: t.TempDir()}
	if _, err := f.Context("a1"); !errors.Is(err, ErrNoContext) || err.Error() != `context "a1": context not found` {
		t.Errorf("error %v", err)
	}
	if err := f.SaveContext(Context{Name: "a1", Description: "d", Host: "ssh://x", SkipVerify: true, CA: []byte("pem")}); err != nil {
		t.Fatal(err)
	}
	// The address of the folder is docker's: the hash of the name.
	meta := filepath.Join(f.dir, "contexts", "meta", "f55ff16f66f43360266b95db6f8fec01d76031054306ae4a4b380598f6cfd114", "meta.json")
	if text, err := os.ReadFile(meta); err != nil || string(text) != `{"Name":"a1","Metadata":{"Description":"d"},"Endpoints":{"docker":{"Host":"ssh://x","SkipTLSVerify":true}}}` {
		t.Errorf("%s, %v", text, err)
	}
	c, err := f.Context("a1")
	if err != nil || c.Host != "ssh://x" || string(c.CA) != "pem" || c.Description != "d" {
		t.Errorf("%+v, %v", c, err)
	}
	if list, err := f.Contexts(); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if err := f.RemoveContext("a1"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "default", "a", "-x", "a/b", "../x"} {
		if ValidateContextName(bad) == nil {
			t.Errorf("%q was taken for a name", bad)
		}
	}
}
