package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
)

// stopped is the view of a container that does not run: a root file system, and a folder of the host beside it.
func stopped(t *testing.T) (v core.FilesView, base string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root")
	}
	base = t.TempDir()
	for _, folder := range []string{"lower/etc", "lower/data", "upper", "work", "over", "host/deep"} {
		if err := os.MkdirAll(filepath.Join(base, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"lower/etc/passwd": "sailor:x:7:8::/:/bin/sh\n", "host/file": "of the host"} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	options := []string{"lowerdir=" + base + "/lower", "upperdir=" + base + "/upper", "workdir=" + base + "/work"}
	return core.FilesView{Container: "c1", Root: []core.FSMount{{Type: "overlay", Source: "overlay", Options: options}}, Over: base + "/over"}, base
}

func open(t *testing.T, v core.FilesView) *View {
	t.Helper()
	view, err := Open(v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { view.Close() })
	return view
}

func bind(source, target string, options ...string) core.FSMount {
	return core.FSMount{Type: "bind", Source: source, Target: target, Options: append([]string{"rbind"}, options...)}
}

// tarOf gives a tar of one file.
func tarOf(t *testing.T, view *View, from string) *bytes.Buffer {
	t.Helper()
	var buffer bytes.Buffer
	if err := view.Pack(t.Context(), from, &buffer); err != nil {
		t.Fatal(err)
	}
	return &buffer
}

func TestAViewShowsWhatIsMountedAndTheHostNothing(t *testing.T) {
	t.Parallel()
	v, base := stopped(t)
	if err := os.Symlink("/etc", base+"/lower/link"); err != nil {
		t.Fatal(err)
	}
	v.Mounts = []core.FSMount{bind(base+"/host", "/data"), bind(base+"/host", "/new/place", "ro"), bind(base+"/host/file", "/link/file"), bind(base+"/host", "/../../up"), bind(base+"/gone", "/gone")}
	view := open(t, v)
	if table, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(table), base) {
		t.Errorf("the host sees the mounts of the view (%v):\n%s", err, table)
	}
	for path, want := range map[string]bool{"/data/file": true, "/new/place/file": true, "/etc/file": true, "/up/file": true, "/etc/passwd": true, "/host/file": false, base + "/host/file": false, "/data/../../../../.." + base + "/host/file": false} {
		if _, err := view.Stat(path); (err == nil) != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	file := tarOf(t, view, "/etc/passwd").Bytes()
	if err := view.Unpack(t.Context(), "/data", bytes.NewReader(file), core.ExtractOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(base + "/host/passwd"); err != nil {
		t.Error(err)
	}
	if err := view.Unpack(t.Context(), "/new/place", bytes.NewReader(file), core.ExtractOptions{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("into what is read-only: %v", err)
	}
	var all bytes.Buffer
	if err := view.Export(t.Context(), &all); err != nil || bytes.Contains(all.Bytes(), []byte("of the host")) || !bytes.Contains(all.Bytes(), []byte("etc/passwd")) {
		t.Errorf("the export has what is mounted: %v", err)
	}
	if err := view.Close(); err != nil {
		t.Error(err)
	}
}

func TestAReadOnlyRootIsNotWrittenThroughALinkInAVolume(t *testing.T) {
	t.Parallel()
	v, base := stopped(t)
	if err := os.Symlink("/", base+"/host/top"); err != nil {
		t.Fatal(err)
	}
	v.ReadOnly, v.Mounts = true, []core.FSMount{bind(base+"/host", "/data")}
	view := open(t, v)
	file := tarOf(t, view, "/etc/passwd").Bytes()
	if err := view.Unpack(t.Context(), "/data/top", bytes.NewReader(file), core.ExtractOptions{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("the error is %v", err)
	}
	if err := view.Unpack(t.Context(), "/data", bytes.NewReader(file), core.ExtractOptions{}); err != nil {
		t.Error(err)
	}
}

func TestNoDeviceIsOpenedThroughAView(t *testing.T) {
	t.Parallel()
	v, base := stopped(t)
	if err := unix.Mknod(base+"/lower/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Skipf("no device can be made here: %v", err)
	}
	view := open(t, v)
	fd, err := unix.Openat(int(view.root.Fd()), "null", unix.O_RDONLY, 0)
	if !errors.Is(err, unix.EACCES) {
		t.Errorf("the error is %v", err)
	}
	if err == nil {
		unix.Close(fd)
	}
}

func TestLinksAreFollowedInsideTheContainer(t *testing.T) {
	t.Parallel()
	v, base := stopped(t)
	for name, target := range map[string]string{"abs": "/etc", "rel": "data/../etc", "up": "../../../../../etc", "broken": "/no/where", "circle": "circle", "chain": "abs/passwd", "dir": base + "/host"} {
		if err := os.Symlink(target, base+"/lower/"+name); err != nil {
			t.Fatal(err)
		}
	}
	view := open(t, v)
	for path, want := range map[string]string{
		"/abs": "/etc", "/rel": "/etc", "/up": "/etc", "/broken": "/no/where", "/chain": "/etc/passwd", "/abs/../data": "/data", "/abs/passwd": "/etc/passwd",
		"/dir": base + "/host", "/none/x": "/none/x", "/": "/", "/../..": "/",
	} {
		if got, err := view.Evaluate(path); err != nil || got != want {
			t.Errorf("%s leads to %q (%v), want %q", path, got, err, want)
		}
	}
	if _, err := view.Evaluate("/circle"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("in a circle: %v", err)
	}
	for path, isLink := range map[string]bool{"/abs": true, "/abs/": false, "/abs/.": false} {
		if stat, err := view.Stat(path); err != nil || stat.Mode&os.ModeSymlink != 0 != isLink || isLink && stat.LinkTarget != "/etc" {
			t.Errorf("%s: %+v (%v)", path, stat, err)
		}
	}
}

func TestOwnersAreLookedUpInTheContainer(t *testing.T) {
	t.Parallel()
	v, base := stopped(t)
	view := open(t, v)
	file := tarOf(t, view, "/etc/passwd").Bytes()
	for user, want := range map[string][2]uint32{"sailor": {7, 8}, "7": {7, 8}, "9": {9, 0}, "sailor:3": {7, 3}} {
		if err := view.Unpack(t.Context(), "/data", bytes.NewReader(file), core.ExtractOptions{User: &user}); err != nil {
			t.Error(err)
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(base+"/upper/data/passwd", &st); err != nil || st.Uid != want[0] || st.Gid != want[1] {
			t.Errorf("%s: it belongs to %d:%d (%v)", user, st.Uid, st.Gid, err)
		}
	}
	nobody := "nobody-knows"
	if err := view.Unpack(t.Context(), "/data", bytes.NewReader(file), core.ExtractOptions{User: &nobody}); err == nil || !strings.Contains(err.Error(), "unable to find user nobody-knows") {
		t.Errorf("the error is %v", err)
	}
}

func TestAProcessThatIsNotTheContainersIsNotLookedInto(t *testing.T) {
	t.Parallel()
	v, _ := stopped(t)
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	// This process is alive, but not in the control group of the container: its number was the container's once.
	for name, pid := range map[string]int{"one that has ended": ended.Process.Pid, "another's": os.Getpid(), "the host's first": 1} {
		v.PID = pid
		if view, err := Open(v); !errors.Is(err, ErrEnded) {
			t.Errorf("%s: %v, %v", name, view, err)
		}
	}
}

func TestWhatIsMountedIsNeitherReplacedNorEmptied(t *testing.T) {
	t.Parallel()
	v, base := stopped(t)
	v.Mounts = []core.FSMount{bind(base+"/host", "/data/volume"), bind(base+"/host/file", "/etc/passwd")}
	view := open(t, v)
	for folder, name := range map[string]string{"/": "data", "/data": "volume", "/etc": "passwd"} {
		var buffer bytes.Buffer
		w := tar.NewWriter(&buffer)
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o600}), w.Close()); err != nil {
			t.Fatal(err)
		}
		if err := view.Unpack(t.Context(), folder, &buffer, core.ExtractOptions{}); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("%s in %s: the error is %v", name, folder, err)
		}
	}
	for _, path := range []string{"/data/volume/file", "/etc/passwd"} {
		if stat, err := view.Stat(path); err != nil || stat.Size != int64(len("of the host")) {
			t.Errorf("%s is %+v (%v)", path, stat, err)
		}
	}
}
