package files

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	for argument, want := range map[string][2]string{
		"box:/path": {"box", "/path"}, "box:path": {"box", "path"}, "box:": {"box", ""}, "/a:b": {"", "/a:b"}, "./a:b": {"", "./a:b"},
		"../a:b": {"", "../a:b"}, "file": {"", "file"}, "-": {"", "-"}, "a/b:/c": {"a/b", "/c"}, "box:/a:b": {"box", "/a:b"},
	} {
		if container, path := split(argument); container != want[0] || path != want[1] {
			t.Errorf("%s is taken for %q %q", argument, container, path)
		}
	}
}

func TestRouteKeepsDockersRules(t *testing.T) {
	t.Parallel()
	file, folder := resource{path: "/s/f", exists: true}, resource{path: "/s/d", exists: true, isDir: true}
	content := resource{path: "/s/d/.", exists: true, isDir: true}
	followed := resource{path: "/else/x", exists: true, name: "f"}
	isFile, isFolder := resource{path: "/t/x", exists: true}, resource{path: "/t/x", exists: true, isDir: true}
	for _, test := range []struct {
		name           string
		source, target resource
		folder, as     string
		err            error
	}{
		{"a file into a folder", file, isFolder, "/t/x", "f", nil},
		{"a file over a file", file, isFile, "/t", "x", nil},
		{"a file to a new name", file, resource{path: "/t/new"}, "/t", "new", nil},
		{"a file into a folder that is not there", file, resource{path: "/t/new/"}, "", "", errNoFolder},
		{"a file into the content of a folder that is not there", file, resource{path: "/t/new/."}, "", "", errNoFolder},
		{"a folder into a folder", folder, isFolder, "/t/x", "d", nil},
		{"a folder over a file", folder, isFile, "", "", errIntoFile},
		{"a folder to a new name", folder, resource{path: "/t/new"}, "/t", "new", nil},
		{"a folder to a new name with a slash", folder, resource{path: "/t/new/"}, "/t", "new", nil},
		{"the content of a folder into a folder", content, isFolder, "/t/x", ".", nil},
		{"the content of a folder to a new name", content, resource{path: "/t/new"}, "/t", "new", nil},
		{"a link that was followed into a folder", followed, isFolder, "/t/x", "f", nil},
		{"a link that was followed to a new name", followed, resource{path: "/t/new"}, "/t", "new", nil},
	} {
		folder, as, err := route(test.source, test.target)
		if folder != test.folder || as != test.as || !errors.Is(err, test.err) {
			t.Errorf("%s: into %q as %q, %v", test.name, folder, as, err)
		}
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ from, to, name, want string }{
		{"d", "new", "d/", "new/"}, {"d", "new", "d/f", "new/f"}, {"d", "new", "dd/f", "dd/f"}, {"d", "d", "d/f", "d/f"}, {".", "new", "./f", "new/f"},
		{".", ".", "./f", "./f"}, {"", "new", "/bin/f", "new/bin/f"}, {"", "", "/bin/f", "bin/f"}, {"f", "g", "f", "g"},
	} {
		if got := rename(test.from, test.to)(test.name); got != test.want {
			t.Errorf("%+v gives %q", test, got)
		}
	}
}

// archive makes a tar; the Linkname of a file is its content.
func archive(t *testing.T, entries ...tar.Header) io.Reader {
	t.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, header := range entries {
		content := ""
		if header.Typeflag == tar.TypeReg {
			content, header.Linkname = header.Linkname, ""
		}
		header.Size, header.Mode = int64(len(content)), 0o755
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
	return &buffer
}

func TestNoArchiveWritesOutsideOfItsFolder(t *testing.T) {
	t.Parallel()
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: "x"} }
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	hard := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
	}
	for _, test := range []struct {
		name    string
		entries []tar.Header
		err     string // "": none
		left    string // a file that is there then
	}{
		{"a name that goes up", []tar.Header{file("../secret")}, "leads out of", ""},
		{"a name that goes up in the middle", []tar.Header{file("a/../../secret")}, "leads out of", ""},
		{"an absolute name", []tar.Header{file("/f")}, "", "f"},
		{"a name below a link to the outside", []tar.Header{link("l", "OUT"), file("l/secret")}, "path escapes from parent", ""},
		{"a file over a link to the outside", []tar.Header{link("l", "OUT/secret"), file("l")}, "", "l"},
		{"a hard link to the outside", []tar.Header{hard("l", "../out/secret"), file("l")}, "leads out of", ""},
		{"a hard link through a link", []tar.Header{link("l", "OUT"), hard("g", "l/secret")}, "path escapes from parent", ""},
		{"a file below a link inside", []tar.Header{{Typeflag: tar.TypeDir, Name: "d"}, link("l", "d"), file("l/f")}, "", "d/f"},
		{"no name", []tar.Header{file(""), file("f")}, "", "f"},
		{"an unknown kind", []tar.Header{{Typeflag: 'Q', Name: "q"}}, "unhandled tar header type", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			out, in := base+"/out", base+"/in"
			if err := errors.Join(os.Mkdir(out, 0o755), os.Mkdir(in, 0o755), os.WriteFile(out+"/secret", []byte("secret"), 0o600)); err != nil {
				t.Fatal(err)
			}
			for i, entry := range test.entries {
				if entry.Typeflag == tar.TypeSymlink {
					test.entries[i].Linkname = strings.ReplaceAll(entry.Linkname, "OUT", out)
				}
			}
			err := unpack(archive(t, test.entries...), in, false, func(name string) string { return name })
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("the error is %v, want %q", err, test.err)
			}
			if content, err := os.ReadFile(filepath.Join(in, test.left)); test.left != "" && (err != nil || string(content) != "x") {
				t.Errorf("%s is %q (%v)", test.left, content, err)
			}
			entries, err := os.ReadDir(out)
			content, rerr := os.ReadFile(out + "/secret")
			if err != nil || rerr != nil || len(entries) != 1 || string(content) != "secret" {
				t.Errorf("outside there is %v, %q", entries, content)
			}
		})
	}
}

func TestWhatIsPackedIsUnpackedTheSame(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	if err := errors.Join(
		os.MkdirAll(base+"/from/sub", 0o750), os.WriteFile(base+"/from/sub/f", []byte("content"), 0o640), os.Link(base+"/from/sub/f", base+"/from/g"),
		os.Symlink("sub/f", base+"/from/l"), os.Mkdir(base+"/to", 0o755),
	); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	size, err := pack(&packed, base+"/from", "from")
	if err != nil || size != 7 {
		t.Fatalf("%d bytes, %v", size, err)
	}
	if err := unpack(&packed, base+"/to", true, rename("from", "copy")); err != nil {
		t.Fatal(err)
	}
	one, oneErr := os.Stat(base + "/to/copy/sub/f")
	two, twoErr := os.Stat(base + "/to/copy/g")
	if oneErr != nil || twoErr != nil || !os.SameFile(one, two) || one.Mode() != 0o640 || one.Size() != 7 {
		t.Errorf("%v %v %v %v", one, two, oneErr, twoErr)
	}
	if target, err := os.Readlink(base + "/to/copy/l"); err != nil || target != "sub/f" {
		t.Errorf("the link leads to %q (%v)", target, err)
	}
	if info, err := os.Stat(base + "/to/copy/sub"); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("the folder is %v (%v)", info, err)
	}
}
