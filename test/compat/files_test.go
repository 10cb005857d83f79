package compat

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// copying is the flow of `docker cp`, diff, commit and export.
func copying(c *cli) {
	folder := c.t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o640)); err != nil {
			c.t.Fatal(err)
		}
		return path
	}
	read := func(name, want string) {
		c.t.Helper()
		if content, err := os.ReadFile(filepath.Join(folder, name)); err != nil || string(content) != want {
			c.t.Errorf("%s is %q (%v), want %q", name, content, err, want)
		}
	}
	file := write("file", "hello\n")
	write("tree/sub/leaf", "leaf\n")
	if err := os.Symlink("sub", filepath.Join(folder, "tree/link")); err != nil {
		c.t.Fatal(err)
	}
	c.run("run", "-d", "--name", "cp-box", "-v", "cp-data:/data", "-v", folder+":/fixed:ro", "busybox", "sleep", "1000")
	for _, state := range []string{"running", "paused", "exited"} {
		switch state {
		case "paused":
			c.run("pause", "cp-box")
		case "exited":
			c.run("unpause", "cp-box")
			c.run("stop", "-t", "0", "cp-box")
		}
		c.want(state, "inspect", "-f", "{{.State.Status}}", "cp-box")
		c.run("cp", file, "cp-box:/tmp/"+state)
		c.run("cp", "cp-box:/tmp/"+state, filepath.Join(folder, state))
		read(state, "hello\n")
		c.run("cp", filepath.Join(folder, "tree"), "cp-box:/data/"+state)
		c.run("cp", "cp-box:/data/"+state+"/.", filepath.Join(folder, "of-"+state))
		read("of-"+state+"/sub/leaf", "leaf\n")
		c.run("cp", "-L", "cp-box:/data/"+state+"/link", filepath.Join(folder, "followed-"+state))
		read("followed-"+state+"/leaf", "leaf\n")
		c.fails(1, "mounted volume is marked read-only", "cp", file, "cp-box:/fixed/new")
		c.fails(1, "Could not find the file /none in container cp-box", "cp", "cp-box:/none", folder)
		c.fails(1, "cannot copy directory", "cp", filepath.Join(folder, "tree"), "cp-box:/tmp/"+state)
	}
	if packed := c.feed("", "cp", "cp-box:/data/exited/sub", "-"); !strings.Contains(packed.stdout, "sub/leaf") {
		c.t.Errorf("to standard output: %d bytes, %s", len(packed.stdout), packed.stderr)
	}
	tarred, err := exec.Command("tar", "-C", filepath.Join(folder, "tree"), "-c", ".").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	if got := c.feed(string(tarred), "cp", "-", "cp-box:/home"); got.code != 0 {
		c.t.Errorf("from standard input: %s", got.stderr)
	}
	c.run("start", "cp-box")
	c.want("leaf", "exec", "cp-box", "cat", "/home/sub/leaf")
	c.has([]string{"C /tmp\n", "A /tmp/running", "A /tmp/paused\n", "C /home\n", "A /home/sub/leaf\n", "A /data"}, "diff", "cp-box")
	c.run("commit", "-a", "me", "-m", "why", "-c", "CMD cat /home/sub/leaf", "-c", "ENV A=1", "-c", "LABEL l=m", "cp-box", "cp-made:1")
	c.want("leaf", "run", "--rm", "cp-made:1")
	c.want("me why [A=1] m", "image", "inspect", "-f", `{{.Author}} {{.Comment}} {{slice .Config.Env 1}} {{index .Config.Labels "l"}}`, "cp-made:1")
	c.run("commit", "--no-pause", "cp-box", "cp-made:2")
	exported := filepath.Join(folder, "all.tar")
	c.run("export", "-o", exported, "cp-box")
	names, err := exec.Command("tar", "-tf", exported).Output()
	if err != nil || !strings.Contains(string(names), "home/sub/leaf\n") || strings.Contains(string(names), "data/exited") {
		c.t.Errorf("the export holds %d bytes of names (%v)", len(names), err)
	}
	c.run("rm", "-f", "-v", "cp-box")
	c.run("rmi", "cp-made:1", "cp-made:2")
	c.run("volume", "rm", "cp-data")
}

// packOne makes a tar of one file.
func packOne(t *testing.T, name, content string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Uid: 5, Gid: 6, Size: int64(len(content))})
	if err == nil {
		_, err = io.WriteString(w, content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// unpackOne gives the first file of a tar.
func unpackOne(r io.Reader) (*tar.Header, string, error) {
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if err != nil {
			return nil, "", err
		}
		if header.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(archive)
			return header, string(content), err
		}
	}
}

// files is what testcontainers and others do: files into a container before it starts, and out of it afterwards.
func (k *kit) files() {
	id := k.create("cat /etc/given; echo made >/home/made; exec sleep 1000", func(c *container.Config) { c.User = "sailor" })
	in := client.CopyToContainerOptions{DestinationPath: "/etc", Content: bytes.NewReader(packOne(k.T, "given", "given"))}
	_, err := k.c.CopyToContainer(k.ctx, id, in)
	k.must(err)
	out := func(path, want string) *tar.Header {
		k.Helper()
		got, err := k.c.CopyFromContainer(k.ctx, id, client.CopyFromContainerOptions{SourcePath: path})
		k.must(err)
		header, content, err := unpackOne(got.Content)
		k.must(errors.Join(err, got.Content.Close()))
		if content != want || got.Stat.Name != filepath.Base(path) || got.Stat.Size != int64(len(want)) {
			k.Errorf("%s is %q, and is said to be %+v", path, content, got.Stat)
		}
		return header
	}
	if header := out("/etc/given", "given"); header.Name != "given" || header.Uid != 5 || header.Gid != 6 {
		k.Errorf("it comes back as %+v", header)
	}
	in.Content, in.CopyUIDGID = bytes.NewReader(packOne(k.T, "mine", "mine")), true
	_, err = k.c.CopyToContainer(k.ctx, id, in)
	k.must(err)
	if header := out("/etc/mine", "mine"); header.Uid != 1000 || header.Gid != 1000 {
		k.Errorf("it belongs to %d:%d", header.Uid, header.Gid)
	}
	_, err = k.c.ContainerStart(k.ctx, id, client.ContainerStartOptions{})
	k.must(err)
	stat, err := k.c.ContainerStatPath(k.ctx, id, client.ContainerStatPathOptions{Path: "/bin/sh"})
	k.must(err)
	if stat.Stat.LinkTarget != "/bin/busybox" || stat.Stat.Mode&os.ModeSymlink == 0 {
		k.Errorf("/bin/sh is said to be %+v", stat.Stat)
	}
	changes, err := k.c.ContainerDiff(k.ctx, id, client.ContainerDiffOptions{})
	k.must(err)
	if got := fmt.Sprint(changes.Changes); !strings.Contains(got, "{1 /etc/given}") && !strings.Contains(got, "{A /etc/given}") {
		k.Errorf("the changes are %s", got)
	}
	for _, bad := range []struct {
		path string
		is   func(error) bool
	}{{"/none", errdefs.IsNotFound}, {"/etc/given/x", errdefs.IsInvalidArgument}} {
		if _, err := k.c.CopyFromContainer(k.ctx, id, client.CopyFromContainerOptions{SourcePath: bad.path}); !bad.is(err) {
			k.Errorf("%s: the error is %v", bad.path, err)
		}
	}
	in.DestinationPath, in.Content = "/etc/given", bytes.NewReader(packOne(k.T, "x", "x"))
	if _, err := k.c.CopyToContainer(k.ctx, id, in); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "extraction point is not a directory") {
		k.Errorf("into a file: the error is %v", err)
	}
}

// TestCopiesInEveryCompression sends what Docker takes.
func TestCopiesInEveryCompression(t *testing.T) {
	t.Parallel()
	s := newSuite(t, 10)
	c, err := client.New(client.WithHost(s.d.Host()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	k := &kit{t, c, t.Context()}
	id := k.create("true", nil)
	for _, program := range []string{"cat", "gzip", "bzip2", "xz", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Logf("%s is not installed", program)
			continue
		}
		command := exec.Command(program)
		command.Stdin = bytes.NewReader(packOne(t, "of-"+program, program))
		packed, err := command.Output()
		k.must(err)
		_, err = c.CopyToContainer(k.ctx, id, client.CopyToContainerOptions{DestinationPath: "/home", Content: bytes.NewReader(packed)})
		k.must(err)
		got, err := c.CopyFromContainer(k.ctx, id, client.CopyFromContainerOptions{SourcePath: "/home/of-" + program})
		k.must(err)
		_, content, err := unpackOne(got.Content)
		k.must(errors.Join(err, got.Content.Close()))
		if content != program {
			t.Errorf("%s: it is %q", program, content)
		}
	}
}

// TestCopiesStayInsideWhileAContainerSwapsLinks copies hundreds of times from and to a path at which the container
// swaps a folder with a link to a folder of the host, by its absolute path and by many times "..".
func TestCopiesStayInsideWhileAContainerSwapsLinks(t *testing.T) {
	t.Parallel()
	s := newSuite(t, 11)
	c, err := client.New(client.WithHost(s.d.Host()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	k := &kit{t, c, t.Context()}
	host := t.TempDir() // its path exists on the host only
	if err := os.WriteFile(filepath.Join(host, "secret"), []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 20)
	id := k.create(`mkdir -p /s/d; echo inside >/s/d/secret; ln -s `+host+` /s/a; ln -s `+up+host+` /s/b; ln -s /proc/1/root`+host+` /s/c; cd /s
echo ready
while true; do
	for link in a b c; do mv d x; mv $link d; mv d $link; mv x d; done
done`, nil)
	attached, err := c.ContainerAttach(k.ctx, id, client.ContainerAttachOptions{Stream: true, Stdout: true})
	k.must(err)
	defer attached.Close()
	_, err = c.ContainerStart(k.ctx, id, client.ContainerStartOptions{})
	k.must(err)
	if _, err := attached.Reader.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	inside := 0
	for i := range 200 {
		got, err := c.CopyFromContainer(k.ctx, id, client.CopyFromContainerOptions{SourcePath: []string{"/s/d/secret", "/s/d/", "/s/d/."}[i%3]})
		switch {
		case errdefs.IsNotFound(err) || errdefs.IsInvalidArgument(err): // at that moment
		case err != nil:
			t.Error(err)
		default:
			_, content, err := unpackOne(got.Content)
			if content == "inside\n" {
				inside++
			}
			if err == nil && strings.Contains(content, "of the host") {
				t.Fatal("a file of the host was read")
			}
			got.Content.Close()
		}
		_, err = c.CopyToContainer(k.ctx, id, client.CopyToContainerOptions{DestinationPath: "/s/d", Content: bytes.NewReader(packOne(t, fmt.Sprint("written", i%5), "x")), AllowOverwriteDirWithFile: i%2 == 0})
		if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) {
			t.Error(err)
		}
	}
	if inside == 0 {
		t.Error("not once was the container's own file there")
	}
	entries, err := os.ReadDir(host)
	if err != nil || len(entries) != 1 {
		t.Errorf("on the host there is now %v (%v)", entries, err)
	}
	if content, err := os.ReadFile(filepath.Join(host, "secret")); err != nil || string(content) != "of the host" {
		t.Errorf("the host's file is now %q (%v)", content, err)
	}
}
