package tarball

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

// when is a time without a fraction, as tars have it.
var when = time.Unix(1_500_000_000, 0)

// house is a folder that stands for a root file system, beside one with a secret that nobody may read or write from it.
type house struct {
	t             testing.TB
	root, outside string
	top           *os.File
}

func newHouse(t testing.TB) *house {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("giving files to others takes root")
	}
	base := t.TempDir()
	h := &house{t: t, root: filepath.Join(base, "root"), outside: filepath.Join(base, "outside")}
	for _, folder := range []string{h.root, h.outside, h.root + "/to"} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(h.outside+"/secret", []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	top, err := os.Open(h.root)
	if err != nil {
		t.Fatal(err)
	}
	h.top = top
	t.Cleanup(func() { top.Close() })
	return h
}

// untouched checks that what is outside is as it was.
func (h *house) untouched() {
	h.t.Helper()
	entries, err := os.ReadDir(h.outside)
	if err != nil || len(entries) != 1 {
		h.t.Errorf("outside there is now %v (%v)", entries, err)
	}
	if content, err := os.ReadFile(h.outside + "/secret"); err != nil || string(content) != "secret" {
		h.t.Errorf("the secret is now %q (%v)", content, err)
	}
	if info, err := os.Lstat(h.outside + "/secret"); err != nil || info.Mode() != 0o600 {
		h.t.Errorf("the secret's mode is now %v (%v)", info, err)
	}
}

// listing lists what is below a folder: kind and mode, owner, name, content or target.
func listing(t *testing.T, folder string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(folder, path)
		line := fmt.Sprintf("%v %s", info.Mode(), name)
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += "=" + string(content)
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += "->" + target
		}
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 0 || owner.Gid != 0 {
			line += fmt.Sprintf(" of %d:%d", owner.Uid, owner.Gid)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// entry is an entry of a tar; its Linkname is the content of a file.
func tarOf(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, header := range entries {
		content := ""
		if header.Typeflag == tar.TypeReg {
			content, header.Linkname = header.Linkname, ""
			header.Size = int64(len(content))
		}
		if header.Mode == 0 {
			header.Mode = 0o644
		}
		header.ModTime = when
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func regular(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content}
}

func folder(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}
}

func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func hard(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
}

func TestTarsStayInTheirFolderWhateverTheySay(t *testing.T) {
	t.Parallel()
	// OUT is replaced by the path of what is outside.
	tests := []struct {
		name    string
		entries []tar.Header
		keep    bool   // KeepKinds
		want    string // what is in the root afterwards
		err     string // "": none
	}{
		{"files and folders", []tar.Header{folder("a"), regular("a/f", "x")}, false, "drwxr-xr-x to\ndrwxr-xr-x to/a\n-rw-r--r-- to/a/f=x", ""},
		{"a folder that no entry makes", []tar.Header{regular("a/b/f", "x")}, false, "drwxr-xr-x to\ndrwxr-xr-x to/a\ndrwxr-xr-x to/a/b\n-rw-r--r-- to/a/b/f=x", ""},
		{"names that begin at the root", []tar.Header{regular("/etc/f", "x")}, false, "drwxr-xr-x to\ndrwxr-xr-x to/etc\n-rw-r--r-- to/etc/f=x", ""},
		{"a name that leads out", []tar.Header{regular("../f", "x")}, false, "drwxr-xr-x to", `invalid entry name "../f"`},
		{"a name that leads far out", []tar.Header{regular("a/../../../../../../../tmp/f", "x")}, false, "drwxr-xr-x to", "invalid entry name"},
		{"a name that leads out and back", []tar.Header{regular("../to/f", "x")}, false, "drwxr-xr-x to", "invalid entry name"},
		{"a name that goes up inside", []tar.Header{regular("a/../f", "x")}, false, "drwxr-xr-x to\n-rw-r--r-- to/f=x", ""},
		{"the folder itself", []tar.Header{{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700, Uid: 5}, regular("./f", "x")}, false, "drwxr-xr-x to\n-rw-r--r-- to/f=x", ""},
		{"no name", []tar.Header{regular("", "x"), regular("f", "y")}, false, "drwxr-xr-x to\n-rw-r--r-- to/f=y", ""},
		{"slashes only", []tar.Header{folder("///"), regular("f", "y")}, false, "drwxr-xr-x to\n-rw-r--r-- to/f=y", ""},
		{"a file below a link to the outside", []tar.Header{link("l", "OUT"), regular("l/f", "x")}, false, "Lrwxrwxrwx to/l->OUT", "no such file or directory"},
		{"a file below a link to the root", []tar.Header{link("l", "/"), regular("l/f", "x")}, false, "-rw-r--r-- f=x\ndrwxr-xr-x to\nLrwxrwxrwx to/l->/", ""},
		{"a file below a link that goes up too far", []tar.Header{link("l", "../../../../.."), regular("l/f", "x")}, false, "-rw-r--r-- f=x\ndrwxr-xr-x to\nLrwxrwxrwx to/l->../../../../..", ""},
		{"a file over a link to the outside", []tar.Header{link("l", "OUT/secret"), regular("l", "x")}, false, "drwxr-xr-x to\n-rw-r--r-- to/l=x", ""},
		{"a folder over a link to the outside", []tar.Header{link("l", "OUT"), folder("l"), regular("l/f", "x")}, false, "drwxr-xr-x to\ndrwxr-xr-x to/l\n-rw-r--r-- to/l/f=x", ""},
		{"a link in a circle", []tar.Header{link("l", "l"), regular("l/f", "x")}, false, "Lrwxrwxrwx to/l->l", "too many levels of symbolic links"},
		{"a hard link inside", []tar.Header{regular("f", "x"), hard("g", "f")}, false, "drwxr-xr-x to\n-rw-r--r-- to/f=x\n-rw-r--r-- to/g=x", ""},
		{"a hard link to the outside", []tar.Header{hard("g", "../../outside/secret")}, false, "drwxr-xr-x to", `invalid hardlink "g" -> "../../outside/secret"`},
		{"a hard link to an absolute path", []tar.Header{hard("g", "OUT/secret")}, false, "drwxr-xr-x to", "no such file or directory"},
		{"a hard link through a link to the outside", []tar.Header{link("l", "OUT"), hard("g", "l/secret")}, false, "Lrwxrwxrwx to/l->OUT", "no such file or directory"},
		{"a hard link to a link to the outside, written to", []tar.Header{link("l", "OUT/secret"), hard("g", "l"), regular("g", "x")}, false, "drwxr-xr-x to\n-rw-r--r-- to/g=x\nLrwxrwxrwx to/l->OUT/secret", ""},
		{"the mode of a hard link to a link to the outside", []tar.Header{link("l", "OUT/secret"), {Typeflag: tar.TypeLink, Name: "g", Linkname: "l", Mode: 0o777}}, false, "drwxr-xr-x to\nLrwxrwxrwx to/g->OUT/secret\nLrwxrwxrwx to/l->OUT/secret", ""},
		{"owners and the set-uid bit", []tar.Header{{Typeflag: tar.TypeReg, Name: "f", Mode: 0o4755, Uid: 12, Gid: 13}}, false, "drwxr-xr-x to\nurwxr-xr-x to/f= of 12:13", ""},
		{"an owner that nobody is", []tar.Header{{Typeflag: tar.TypeReg, Name: "f", Uid: 1 << 40, Format: tar.FormatPAX}}, false, "to/f=", "no file can belong to 1099511627776:0"},
		{"devices and pipes", []tar.Header{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}, {Typeflag: tar.TypeBlock, Name: "b", Devmajor: 7}, {Typeflag: tar.TypeFifo, Name: "p"}}, false, "drwxr-xr-x to\nDrw-r--r-- to/b\nDcrw-r--r-- to/null\nprw-r--r-- to/p", ""},
		{"a whiteout is a name like another", []tar.Header{regular("f", "x"), regular(".wh.f", "")}, false, "drwxr-xr-x to\n-rw-r--r-- to/.wh.f=\n-rw-r--r-- to/f=x", ""},
		{"a file for a folder", []tar.Header{folder("a"), regular("a/f", "x"), regular("a", "y")}, false, "drwxr-xr-x to\n-rw-r--r-- to/a=y", ""},
		{"a folder for a file", []tar.Header{regular("a", "y"), folder("a"), regular("a/f", "x")}, false, "drwxr-xr-x to\ndrwxr-xr-x to/a\n-rw-r--r-- to/a/f=x", ""},
		{"a file for a folder, which is to stay", []tar.Header{folder("a"), regular("a", "y")}, true, "drwxr-xr-x to/a", `cannot overwrite directory "a" with non-directory "/to"`},
		{"a folder for a file, which is to stay", []tar.Header{regular("a", "y"), folder("a")}, true, "-rw-r--r-- to/a=y", `cannot overwrite non-directory "a" with directory "/to"`},
		{"a file below a file", []tar.Header{regular("a", "y"), regular("a/f", "x")}, false, "-rw-r--r-- to/a=y", "not a directory"},
		{"a kind that nobody knows", []tar.Header{{Typeflag: 'Q', Name: "q"}}, false, "drwxr-xr-x to", "unhandled tar header type"},
		{"attributes of overlayfs", []tar.Header{{Typeflag: tar.TypeDir, Name: "d", Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.trusted.overlay.redirect": "/etc"}}}, false, "drwxr-xr-x to\ndrwxr-xr-x to/d", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			for i := range test.entries {
				if test.entries[i].Typeflag != tar.TypeReg {
					test.entries[i].Linkname = strings.ReplaceAll(test.entries[i].Linkname, "OUT", h.outside)
				}
			}
			err := Unpack(t.Context(), h.top, "/to", bytes.NewReader(tarOf(t, test.entries...)), Options{KeepKinds: test.keep})
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("the error is %v, want %q", err, test.err)
			}
			got, want := listing(t, h.root), strings.ReplaceAll(test.want, "OUT", h.outside)
			if got != want && (test.err == "" || !strings.Contains(got, want)) {
				t.Errorf("there is\n%s\nwant\n%s", got, want)
			}
			for _, name := range []string{"trusted.overlay.opaque", "trusted.overlay.redirect"} {
				if n, err := syscall.Getxattr(h.root+"/to/d", name, make([]byte, 10)); err == nil {
					t.Errorf("%s is set, with %d bytes", name, n)
				}
			}
			h.untouched()
		})
	}
}

// A container that moves the folder away in the middle of a copy would find a new one in its place.
func TestAFolderThatIsGoneIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, name := range []string{"f", "a/f"} {
		err := Unpack(t.Context(), h.top, "/gone", bytes.NewReader(tarOf(t, regular(name, "x"))), Options{})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if got := listing(t, h.root); got != "drwxr-xr-x to" {
		t.Errorf("there is\n%s", got)
	}
	h.untouched()
}

func TestBrokenTarsAreTheSendersFault(t *testing.T) {
	t.Parallel()
	whole := tarOf(t, regular("f", strings.Repeat("x", 4096)))
	for name, content := range map[string][]byte{
		"no tar":             bytes.Repeat([]byte("no tar at all "), 100),
		"the half of a tar":  whole[:2048],
		"a header cut off":   whole[:100],
		"a checksum changed": append([]byte("g"), whole[1:]...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			err := Unpack(t.Context(), h.top, "/to", bytes.NewReader(content), Options{})
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("the error is %v", err)
			}
			h.untouched()
		})
	}
}

func TestUnpackedFilesHaveTheirTimesAndTheGivenOwner(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	content := tarOf(t, folder("a"), regular("a/f", "x"), link("a/l", "f"))
	if err := Unpack(t.Context(), h.top, "to", bytes.NewReader(content), Options{Owner: &Owner{7, 8}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "a/f", "a/l"} {
		info, err := os.Lstat(filepath.Join(h.root, "to", name))
		if err != nil {
			t.Fatal(err)
		}
		owner := info.Sys().(*syscall.Stat_t)
		if !info.ModTime().Equal(when) || owner.Uid != 7 || owner.Gid != 8 {
			t.Errorf("%s is of %s and belongs to %d:%d", name, info.ModTime(), owner.Uid, owner.Gid)
		}
	}
}

func TestHolesStayHoles(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	content := "begin" + strings.Repeat("\x00", 4<<20) + "end"
	if err := Unpack(t.Context(), h.top, "to", bytes.NewReader(tarOf(t, regular("f", content), regular("zeros", strings.Repeat("\x00", 1<<20)))), Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"f": content, "zeros": strings.Repeat("\x00", 1<<20)} {
		if got, err := os.ReadFile(h.root + "/to/" + name); err != nil || string(got) != want {
			t.Errorf("%s has %d bytes and others than it should (%v)", name, len(got), err)
		}
	}
	info, err := os.Stat(h.root + "/to/f")
	if err != nil || info.Sys().(*syscall.Stat_t).Blocks*512 > 2<<20 {
		t.Errorf("it takes %d blocks (%v)", info.Sys().(*syscall.Stat_t).Blocks, err)
	}
}

func TestUnpackingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	gone := errors.New("the client is gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if err := Unpack(ctx, h.top, "to", bytes.NewReader(tarOf(t, regular("f", "x"))), Options{}); !errors.Is(err, gone) {
		t.Errorf("the error is %v", err)
	}
}

// FuzzUnpack looks for tars that write outside of the root, or make the daemon panic.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, link("l", "/../../outside"), regular("l/f", "x")))
	f.Add(tarOf(f, hard("g", "../../outside/secret"), regular("g", "x")))
	f.Add(tarOf(f, folder("a"), tar.Header{Typeflag: tar.TypeFifo, Name: "a/p"}, regular("../f", "x")))
	h := newHouse(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		h.t = t
		_ = Unpack(t.Context(), h.top, "/to", bytes.NewReader(content), Options{}) // most are refused
		h.untouched()
		entries, err := os.ReadDir(h.root)
		for _, entry := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(h.root, entry.Name())))
		}
		if err = errors.Join(err, os.Mkdir(h.root+"/to", 0o755)); err != nil {
			t.Fatal(err)
		}
	})
}
