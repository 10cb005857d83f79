package selinux

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/linux/tree"
)

// Labels are extended attributes, which root can set without SELinux too. What SELinux does with them, and which ones a
// policy hands out, is seen on the machine of test/vm.
const files, everybody = "system_u:object_r:container_file_t:s0:c1,c2", "system_u:object_r:container_file_t:s0"

func labelOf(t *testing.T, path string) string {
	t.Helper()
	value, err := tree.Attribute(path, attribute)
	if err != nil {
		return "none"
	}
	return strings.TrimRight(string(value), "\x00")
}

func TestRelabel(t *testing.T) {
	t.Parallel()
	l := &Labels{on: true}
	dir, outside := t.TempDir(), t.TempDir()
	none := labelOf(t, dir)
	for _, name := range []string{dir + "/top/a/b/file", outside + "/file"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link": outside, "file-link": outside + "/file", "dangling": "/nowhere"} {
		if err := os.Symlink(target, dir+"/top/"+name); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when, want string, names ...string) {
		t.Helper()
		for _, name := range names {
			if got := labelOf(t, filepath.Join(dir, name)); got != want {
				t.Errorf("%s: the label of %s is %q, want %q", when, name, got, want)
			}
		}
	}
	try := func(path string, shared bool) {
		t.Helper()
		if err := l.Relabel(path, files, shared); err != nil {
			t.Fatal(err)
		}
	}
	all := []string{"top", "top/a", "top/a/b", "top/a/b/file", "top/link", "top/file-link", "top/dangling"}
	try(dir+"/top", false)
	expect("private", files, all...)
	expect("private", none, ".")
	try(dir+"/top", true)
	expect("shared", everybody, all...)
	if got := labelOf(t, outside) + labelOf(t, outside+"/file"); got != none+none {
		t.Errorf("what a link leads to has %q", got)
	}
	try(dir+"/top", false)
	expect("private again", files, all...)
	if err := os.Symlink(dir+"/top/a", dir+"/way"); err != nil {
		t.Fatal(err)
	}
	try(dir+"/way", true)
	expect("by a link", everybody, "top/a", "top/a/b/file")
	expect("by a link", none, "way")
	try(dir+"/top/a/b/file", false)
	expect("a file", files, "top/a/b/file")
	expect("a file", everybody, "top/a/b")
}

func TestRelabelRefusesTheHostsOwnFolders(t *testing.T) {
	t.Parallel()
	l := &Labels{on: true}
	for _, path := range []string{"/", "/etc", "/usr/", "/var/../tmp"} {
		if err := l.Relabel(path, files, true); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "is not allowed") {
			t.Errorf("%s: the error is %v", path, err)
		}
	}
	if got := labelOf(t, "/etc"); got == everybody {
		t.Error("/etc has the label")
	}
}

// A container may swap folders for links while what it shares is being relabelled.
func TestRelabelStaysInsideWhileLinksAreSwapped(t *testing.T) {
	t.Parallel()
	l := &Labels{on: true}
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Mkdir(outside+"/a", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/top/d/a", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, dir+"/top/l"); err != nil {
		t.Fatal(err)
	}
	none := labelOf(t, outside)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := tree.Exchange(dir+"/top/d", dir+"/top/l"); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for i := range 2000 {
		if err := l.Relabel(dir+"/top", files, i%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	if got := []string{labelOf(t, outside), labelOf(t, outside+"/a")}; !slices.Equal(got, []string{none, none}) {
		t.Errorf("outside there is %q", got)
	}
}

func TestNobodyGetsALabelWithoutSELinux(t *testing.T) {
	t.Parallel()
	l := New(false)
	process, mount, err := l.Allot([]string{"type:svirt_t"})
	if process != "" || mount != "" || err != nil {
		t.Errorf("%q %q %v", process, mount, err)
	}
	like, err := l.Like("system_u:system_r:container_t:s0:c1,c2")
	if like != nil || err != nil {
		t.Errorf("%q %v", like, err)
	}
	if err := l.Keep("system_u:system_r:container_t:s0:c1,c2"); err != nil {
		t.Error(err)
	}
	l.Release("system_u:system_r:container_t:s0:c1,c2")
	dir := t.TempDir()
	none := labelOf(t, dir)
	if err := l.Relabel(dir, files, true); err != nil || labelOf(t, dir) != none {
		t.Errorf("the folder has %q (%v)", labelOf(t, dir), err)
	}
}
