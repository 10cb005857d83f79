package overlay

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-engine/berth/core"
)

// kinds are the letters of `docker diff`.
var kinds = map[core.ChangeKind]string{core.ChangeAdd: "A", core.ChangeModify: "C", core.ChangeDelete: "D"}

// ship is an overlay with something below, mounted where a test can change it as a container would.
type ship struct {
	t      *testing.T
	upper  Upper
	merged string
}

func newShip(t *testing.T) *ship {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root")
	}
	base := t.TempDir()
	s := &ship{t: t, merged: base + "/merged"}
	for _, folder := range []string{"lower", "lowest", "upper", "work", "merged", "lower/etc", "lower/data", "lower/data/sub", "lower/same", "lowest/old"} {
		if err := os.Mkdir(filepath.Join(base, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"lower/etc/passwd", "lower/etc/group", "lower/data/one", "lower/data/sub/two", "lower/same/f", "lowest/old/f"} {
		if err := os.WriteFile(filepath.Join(base, file), []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lower := "lowerdir=" + base + "/lower:" + base + "/lowest"
	options := []string{lower, "upperdir=" + base + "/upper", "workdir=" + base + "/work", "index=off", "metacopy=off", "redirect_dir=off"}
	if err := syscall.Mount("overlay", s.merged, "overlay", 0, strings.Join(options, ",")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(s.merged, 0); err != nil {
			t.Error(err)
		}
	})
	s.upper = Upper{Path: base + "/upper", Below: []core.FSMount{{Type: "overlay", Source: "overlay", Options: []string{lower}}}, Over: base + "/work"}
	return s
}

func (s *ship) changes() string {
	s.t.Helper()
	list, err := s.upper.Changes(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	var lines []string
	for _, change := range list {
		lines = append(lines, kinds[change.Kind]+" "+change.Path)
	}
	return strings.Join(lines, ", ")
}

// layer lists the layer: kind and name of each entry.
func (s *ship) layer() string {
	s.t.Helper()
	var buffer bytes.Buffer
	any, err := s.upper.Pack(s.t.Context(), &buffer)
	if err != nil {
		s.t.Fatal(err)
	}
	var lines []string
	for r := tar.NewReader(&buffer); ; {
		header, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			s.t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%c:%s", header.Typeflag, header.Name))
	}
	if any != (len(lines) > 0) {
		s.t.Errorf("it reports that there are changes: %t", any)
	}
	return strings.Join(lines, ", ")
}

func TestChangesAreThoseOfAContainer(t *testing.T) {
	t.Parallel()
	write := func(name, content string) func(string) error {
		return func(root string) error { return os.WriteFile(root+"/"+name, []byte(content), 0o644) }
	}
	remove := func(name string) func(string) error {
		return func(root string) error { return os.RemoveAll(root + "/" + name) }
	}
	mkdir := func(name string) func(string) error {
		return func(root string) error { return os.Mkdir(root+"/"+name, 0o755) }
	}
	tests := []struct {
		name           string
		do             []func(root string) error
		changes, layer string
	}{
		{"nothing", nil, "", ""},
		{"a new file", []func(string) error{write("new", "x")}, "A /new", "0:new"},
		{"a new folder with something in it", []func(string) error{mkdir("n"), write("n/f", "x")}, "A /n, A /n/f", "5:n/, 0:n/f"},
		{"a changed file", []func(string) error{write("etc/passwd", "changed")}, "C /etc, C /etc/passwd", "5:etc/, 0:etc/passwd"},
		{"a file deep down", []func(string) error{write("data/sub/new", "x")}, "C /data, C /data/sub, A /data/sub/new", "5:data/, 5:data/sub/, 0:data/sub/new"},
		{"a removed file", []func(string) error{remove("etc/passwd")}, "C /etc, D /etc/passwd", "5:etc/, 0:etc/.wh.passwd"},
		{"a removed folder", []func(string) error{remove("data")}, "D /data", "0:.wh.data"},
		{"a new file that is gone again", []func(string) error{write("etc/new", "x"), remove("etc/new")}, "", ""},
		{"a folder replaced by one with less in it", []func(string) error{remove("data"), mkdir("data"), write("data/three", "x")},
			"C /data, D /data/one, D /data/sub, A /data/three", "5:data/, 0:data/.wh.one, 0:data/.wh.sub, 0:data/three"},
		{"a folder replaced by a file", []func(string) error{remove("data"), write("data", "x")}, "C /data", "0:data"},
		{"a file replaced by a folder", []func(string) error{remove("etc/passwd"), mkdir("etc/passwd"), write("etc/passwd/f", "x")},
			"C /etc, C /etc/passwd, A /etc/passwd/f", "5:etc/, 5:etc/passwd/, 0:etc/passwd/f"},
		{"a mode", []func(string) error{func(root string) error { return os.Chmod(root+"/data", 0o700) }}, "C /data", "5:data/"},
		{"an owner", []func(string) error{func(root string) error { return os.Chown(root+"/same/f", 5, 5) }}, "C /same, C /same/f", "5:same/, 0:same/f"},
		{"an owner and back", []func(string) error{func(root string) error {
			return errors.Join(os.Chown(root+"/same/f", 5, 5), os.Chown(root+"/same/f", 0, 0))
		}}, "", ""},
		{"a file of the lowest layer", []func(string) error{remove("old/f")}, "C /old, D /old/f", "5:old/, 0:old/.wh.f"},
		{"a link and a pipe", []func(string) error{
			func(root string) error { return os.Symlink("/etc", root+"/l") },
			func(root string) error { return syscall.Mkfifo(root+"/p", 0o600) },
		}, "A /l, A /p", "2:l, 6:p"},
		{"a hard link to a file of the image", []func(string) error{func(root string) error { return os.Link(root+"/same/f", root+"/same/g") }},
			"C /same, A /same/g", "5:same/, 0:same/g"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newShip(t)
			for _, do := range test.do {
				if err := do(s.merged); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.changes(); got != test.changes {
				t.Errorf("the changes are\n%s, want\n%s", got, test.changes)
			}
			if got := s.layer(); got != test.layer {
				t.Errorf("the layer is\n%s, want\n%s", got, test.layer)
			}
		})
	}
}

func TestPlacesToMountOnDoNotCountWhileTheyAreEmpty(t *testing.T) {
	t.Parallel()
	s := newShip(t)
	s.upper.Ignore = func(path string, folder bool) bool {
		return folder && path == "/proc" || !folder && slices.Contains([]string{"/etc/hosts", "/etc/hostname"}, path)
	}
	if err := errors.Join(os.Mkdir(s.merged+"/proc", 0o755), os.WriteFile(s.merged+"/etc/hosts", nil, 0o644), os.WriteFile(s.merged+"/etc/hostname", []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if got, want := s.changes(), "C /etc, A /etc/hostname"; got != want {
		t.Errorf("the changes are %s, want %s", got, want)
	}
}
