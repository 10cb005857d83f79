package compat

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// modules gives the folder of the packages that node/package-lock.json pins. They are kept in the user's cache folder,
// under a name that says what they were made of; cold it takes a minute and a way to the registry of npm.
var modules = sync.OnceValues(func() (string, error) {
	var content []byte
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join("node", name))
		if err != nil {
			return "", err
		}
		content = append(content, data...)
	}
	sum := sha256.Sum256(content)
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	kept := filepath.Join(cache, "berth-test", "node-"+hex.EncodeToString(sum[:4]))
	if _, err := os.Stat(kept); err == nil {
		return filepath.Join(kept, "node_modules"), nil
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(kept), "npm-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := os.CopyFS(fresh, os.DirFS("node")); err != nil {
		return "", err
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = fresh
	if output, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, output)
	}
	if err := os.Rename(fresh, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return filepath.Join(kept, "node_modules"), nil
})

// TestNode runs the programs in the folder node: dockerode and testcontainers.
func TestNode(t *testing.T) {
	t.Parallel()
	s := newSuite(t, 7)
	packages, err := modules()
	if err != nil {
		t.Fatalf("%v: scripts/deps test installs nodejs and npm", err)
	}
	s.buildRedis(t)
	registry := startRegistry(t)
	for _, name := range []string{"dockerode", "testcontainers"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.outside(t, exec.Command("node", filepath.Join("node", name+".js")), "NODE_PATH="+packages, "REGISTRY="+registry)
		})
	}
}

// outside runs a program that has tests of its own against the daemon. What those skip is told.
func (s *suite) outside(t *testing.T, command *exec.Cmd, env ...string) {
	t.Helper()
	command.Env = append(append(os.Environ(), "DOCKER_HOST="+s.host, "DOCKER_CONFIG="+s.config,
		"TESTCONTAINERS_RYUK_DISABLED=true", "TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1", "HOME="+t.TempDir()), env...)
	timer := time.AfterFunc(5*limit, func() { _ = command.Process.Kill() }) // it has ended, or the test has failed
	defer timer.Stop()
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command.Args, " "), err, output)
	}
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, "# SKIP") || strings.Contains(line, "--- SKIP") || strings.Contains(line, notYet) {
			t.Log(strings.TrimSpace(line))
		}
	}
}
