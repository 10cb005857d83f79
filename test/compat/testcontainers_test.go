package compat

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTestcontainersGo builds and runs the tests of the nested module containers.
func TestTestcontainersGo(t *testing.T) {
	t.Parallel()
	s := newSuite(t, 8)
	s.buildRedis(t)
	s.buildPostgres(t)
	program := filepath.Join(t.TempDir(), "containers.test")
	build := exec.Command("go", "test", "-c", "-mod=readonly", "-o", program, ".")
	build.Dir = "containers"
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	command := exec.Command(program, "-test.v", "-test.parallel=4")
	command.Dir = "containers"
	s.outside(t, command)
}
