package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-engine/berth/lib/id"
)

func TestSweepTakesEmptyCgroupsOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making cgroups needs root")
	}
	root := Mountpoint
	if !Unified() {
		root = filepath.Join(Mountpoint, "unified")
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			t.Skip("this host has no unified hierarchy to try it on")
		}
	}
	name := "sweep-" + id.New()[:8]
	inside := filepath.Join(root, name, "top", "a", "b")
	defer os.Remove(filepath.Join(root, name))
	if err := os.MkdirAll(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Sweep("/" + name + "/top"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, name, "top")); !os.IsNotExist(err) {
		t.Errorf("something is left: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, name)); err != nil {
		t.Errorf("what others share is gone: %v", err)
	}
	if err := Sweep("/" + name + "/top"); err != nil {
		t.Errorf("a second sweep: %v", err)
	}
}
