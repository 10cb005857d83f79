package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWriteFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		old  string
		mode os.FileMode
		sync bool
	}{
		{"a new file gets the content and the mode", "", 0o600, false},
		{"an old file is replaced", "before", 0o644, false},
		{"a durable write does the same", "before", 0o777, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			path := filepath.Join(folder, "file")
			if test.old != "" {
				if err := os.WriteFile(path, []byte(test.old), 0o400); err != nil {
					t.Fatal(err)
				}
			}
			if err := WriteFile(path, []byte("after"), test.mode, test.sync); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || string(got) != "after" {
				t.Fatalf("read %q, %v", got, err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != test.mode {
				t.Fatalf("mode %v, %v", info.Mode(), err)
			}
			expectEntries(t, folder, 1)
		})
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "taken")
	if err := os.MkdirAll(filepath.Join(path, "child"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("x"), 0o600, false); err == nil {
		t.Fatal("a folder was replaced by a file")
	}
	expectEntries(t, folder, 1)
	if err := WriteFile(filepath.Join(folder, "missing", "file"), nil, 0o600, false); !os.IsNotExist(err) {
		t.Fatalf("a missing folder gives %v", err)
	}
}

func expectEntries(t *testing.T, folder string, want int) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != want {
		t.Fatalf("%d entries in the folder, want %d (%v)", len(entries), want, err)
	}
}
