package compat

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"testing"
)

// pinned is a genuine client: a nested module that names its version, and how it is built.
type pinned struct {
	folder  string // of the nested module
	module  string
	program string // package
	flags   []string
}

// built remembers the clients of this run of the tests, so that tests side by side build them once.
var built = sync.OnceValues(func() (paths [2]string, err error) {
	for i, p := range []pinned{
		// docker/cli has no go.mod of its own; without this it would be compiled as the Go of ten years ago.
		{"clients", "github.com/docker/cli", "github.com/docker/cli/cmd/docker", []string{"-gcflags=github.com/docker/cli/...=-lang=go1.26"}},
		{"buildx", "github.com/docker/buildx", "github.com/docker/buildx/cmd/buildx", nil},
	} {
		if paths[i], err = p.build(); err != nil {
			return paths, err
		}
	}
	return paths, nil
})

// build gives the path of the program. It is kept in the user's cache folder, under a name that says what it was made
// of: cold it takes a minute or two.
func (p pinned) build() (string, error) {
	list, err := os.ReadFile(filepath.Join(p.folder, "go.mod"))
	if err != nil {
		return "", err
	}
	version := regexp.MustCompile(regexp.QuoteMeta(p.module) + ` (v[0-9.]+)`).FindSubmatch(list)
	if version == nil {
		return "", errors.New(p.folder + "/go.mod does not name " + p.module)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(list, runtime.Version()...))
	kept := filepath.Join(cache, "berth-test", filepath.Base(p.program)+"-"+string(version[1])+"-"+hex.EncodeToString(sum[:4]))
	if _, err := os.Stat(kept); err == nil {
		return kept, nil
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(kept), "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	args := append([]string{"build", "-mod=mod", "-o", filepath.Join(fresh, "program"),
		"-ldflags=-s -w -X github.com/docker/cli/cli/version.Version=" + string(version[1][1:])}, p.flags...)
	build := exec.Command("go", append(args, p.program)...)
	build.Dir = p.folder
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if output, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(err, errors.New(string(output)))
	}
	return kept, os.Rename(filepath.Join(fresh, "program"), kept)
}

// clients gives the path of the docker CLI, and a folder of settings of its own for it, in which buildx is a plugin.
func clients(t *testing.T) (docker, config string) {
	t.Helper()
	paths, err := built()
	if err != nil {
		t.Fatalf("build the genuine clients: %v", err)
	}
	config = t.TempDir()
	plugins := filepath.Join(config, "cli-plugins")
	if err := errors.Join(os.Mkdir(plugins, 0o755), os.Symlink(paths[1], filepath.Join(plugins, "docker-buildx"))); err != nil {
		t.Fatal(err)
	}
	return paths[0], config
}
