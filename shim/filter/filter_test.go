//go:build cgo

package filter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runc/libcontainer/configs"
)

func TestAKeptFilterIsTheCompiledOne(t *testing.T) {
	if builtWith() == "none" {
		t.Skip("built without seccomp")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root's own files are trusted")
	}
	profile := &configs.Seccomp{
		DefaultAction: configs.Errno,
		Syscalls:      []*configs.Syscall{{Name: "read", Action: configs.Allow}, {Name: "write", Action: configs.Allow}},
	}
	cache := filepath.Join(t.TempDir(), "cache")
	var one, two Filters
	first, err := one.Get(profile, cache)
	if err != nil {
		t.Fatal(err)
	}
	again, err := one.Get(profile, cache)
	if err != nil || again != first {
		t.Errorf("the same profile is another file: %v", err)
	}
	kept, err := filepath.Glob(filepath.Join(cache, "*.bpf"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v %v", kept, err)
	}
	want, err := os.ReadFile(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	program, err := decode(want)
	if err != nil || len(program.program)%8 != 0 || len(program.program) < 24 {
		t.Errorf("%d bytes, %v", len(program.program), err)
	}
	for name, spoil := range map[string]func() error{
		"others can write it": func() error { return os.Chmod(kept[0], 0o666) },
		"another's":           func() error { return os.Chown(kept[0], 1, 1) },
		"a flipped bit": func() error {
			bad := append([]byte(nil), want...)
			bad[len(bad)-1] ^= 1
			return os.WriteFile(kept[0], bad, 0o600)
		},
		"a link": func() error {
			if err := os.Rename(kept[0], kept[0]+"x"); err != nil {
				return err
			}
			return os.Symlink(kept[0]+"x", kept[0])
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, err := read(cache, kept[0]); err == nil {
			t.Errorf("%s: trusted", name)
		}
		if _, err := two.Get(profile, cache); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		two = Filters{}
		if got, err := os.ReadFile(kept[0]); err != nil || string(got) != string(want) {
			t.Errorf("%s: not made anew: %v", name, err)
		}
	}
}
