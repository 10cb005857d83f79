package tarball

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// contents lists a tar: kind, name, content or target.
func contents(t *testing.T, raw []byte) string {
	t.Helper()
	var lines []string
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		header, err := r.Next()
		if err == io.EOF {
			return strings.Join(lines, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line := string(header.Typeflag) + ":" + header.Name
		if header.Linkname != "" {
			line += ">" + header.Linkname
		}
		if len(content) > 0 {
			line += "=" + string(content)
		}
		lines = append(lines, line)
	}
}

func TestPackNamesEntriesAsDockerDoes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, do := range []func() error{
		func() error { return os.Mkdir(h.root+"/to/d", 0o755) },
		func() error { return os.WriteFile(h.root+"/to/d/f", []byte("x"), 0o644) },
		func() error { return os.Link(h.root+"/to/d/f", h.root+"/to/d/g") },
		func() error { return os.Symlink("/to/d", h.root+"/to/l") },
		func() error { return os.Symlink(h.outside, h.root+"/to/out") },
		func() error { return syscall.Mkfifo(h.root+"/to/d/pipe", 0o600) },
		func() error { // of which no tar can tell
			l, err := net.Listen("unix", h.root+"/to/d/s")
			t.Cleanup(func() { l.Close() })
			return err
		},
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	inside := func(name string) string {
		return "5:" + name + "/ 0:" + name + "/f=x 1:" + name + "/g>" + name + "/f 6:" + name + "/pipe"
	}
	for path, want := range map[string]string{
		"/to/d":           inside("d"),
		"/to/d/":          inside("d"),
		"/to/d/.":         inside("."),
		"/to/l":           "2:l>/to/d",
		"/to/l/":          inside("l"),
		"/to/l/.":         inside("."),
		"/to/l/f":         "0:f=x",
		"/to/d/../d/f":    "0:f=x",
		"/to/out":         "2:out>" + h.outside,
		"/to/d/pipe":      "6:pipe",
		"/":               "5:/ 5:/to/ 5:/to/d/ 0:/to/d/f=x 1:/to/d/g>/to/d/f 6:/to/d/pipe 2:/to/l>/to/d 2:/to/out>" + h.outside,
		"/to/out/secret":  "",
		"/to/out/":        "",
		"/to/d/f/":        "",
		"/to/none":        "",
		"/../outside/":    "",
		"/to/../../to/l":  "2:l>/to/d",
		"/to/l/../../to/": "5:to/ 5:to/d/ 0:to/d/f=x 1:to/d/g>to/d/f 6:to/d/pipe 2:to/l>/to/d 2:to/out>" + h.outside,
	} {
		var buffer bytes.Buffer
		err := Pack(t.Context(), h.top, path, &buffer)
		if want == "" {
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
				t.Errorf("%s: the error is %v", path, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if got := contents(t, buffer.Bytes()); got != want {
			t.Errorf("%s gives\n%s, want\n%s", path, got, want)
		}
	}
}

func TestPackAllLeavesTheFolderItselfOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var buffer bytes.Buffer
	if err := PackAll(t.Context(), h.top, &buffer); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, buffer.Bytes()); got != "5:to/" {
		t.Errorf("it gives %s", got)
	}
}

func TestWhatIsPackedComesBackTheSame(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	content := tarOf(t, folder("a"), regular("a/f", "x"), hard("a/g", "a/f"), link("a/l", "../f"),
		tar.Header{Typeflag: tar.TypeReg, Name: "a/s", Mode: 0o6751, Uid: 3, Gid: 4, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}})
	if err := Unpack(t.Context(), h.top, "to", bytes.NewReader(content), Options{}); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	if err := Pack(t.Context(), h.top, "/to/a", &packed); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.root+"/again", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(t.Context(), h.top, "again", &packed, Options{}); err != nil {
		t.Fatal(err)
	}
	if before, after := listing(t, h.root+"/to"), listing(t, h.root+"/again"); before != after {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	value := make([]byte, 64)
	if n, err := syscall.Getxattr(h.root+"/again/a/s", "security.capability", value); err != nil || n != 20 {
		t.Errorf("its capabilities are %x (%v)", value[:max(n, 0)], err)
	}
}

// The file is cut while it is being read.
func TestAFileThatBecomesShorterIsFilledUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const size = 1 << 20
	name := h.root + "/to/f"
	if err := os.WriteFile(name, bytes.Repeat([]byte("x"), size), 0o644); err != nil {
		t.Fatal(err)
	}
	cut := &cutter{name: name}
	if err := Pack(t.Context(), h.top, "/to/f", cut); err != nil {
		t.Fatal(err)
	}
	got := contents(t, cut.Bytes())
	if len(got) != len("0:f=")+size || !strings.HasSuffix(got, "\x00") {
		t.Errorf("%d bytes arrive", len(got))
	}
}

// cutter truncates a file at the first write.
type cutter struct {
	bytes.Buffer
	name string
	done bool
}

func (c *cutter) Write(p []byte) (int, error) {
	if !c.done {
		c.done = true
		if err := os.Truncate(c.name, 10); err != nil {
			return 0, err
		}
	}
	return c.Buffer.Write(p)
}

// TestPackingWhileLinksAreSwapped packs hundreds of times while somebody swaps a folder with a link to the outside.
func TestPackingWhileLinksAreSwapped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if err := errors.Join(os.Mkdir(h.root+"/to/d", 0o755), os.WriteFile(h.root+"/to/d/secret", []byte("inside"), 0o644), os.Symlink(h.outside, h.root+"/to/l")); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- swap(h.root+"/to/d", h.root+"/to/l", stop) }()
	for i := range 300 {
		var buffer bytes.Buffer
		err := Pack(t.Context(), h.top, []string{"/to/d/secret", "/to/d/.", "/to"}[i%3], &buffer)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			t.Error(err)
		}
		if err == nil && strings.Contains(contents(t, buffer.Bytes()), "=secret") {
			t.Fatal("the secret was packed")
		}
		err = Unpack(t.Context(), h.top, "/to/d", bytes.NewReader(tarOf(t, regular("secret", "inside"), regular("new", "x"))), Options{})
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	h.untouched()
}

// swap exchanges two names until it is told to stop.
func swap(a, b string, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
			return err
		}
	}
}
