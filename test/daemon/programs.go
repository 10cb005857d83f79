package daemon

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Programs gives the folder of our binaries: BERTH_BIN where it is set, else one into which they are built now. It
// skips the test where containers can't be had.
func Programs(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("containers need root")
	}
	if bin := os.Getenv("BERTH_BIN"); bin != "" {
		return bin
	}
	bin := t.TempDir()
	build := exec.Command("make", "-C", "../..", "build", "BIN="+bin)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	return bin
}

// RootFS makes the tar of a small root file system out of the machine's static busybox, and skips the test where
// there is none. It has the users root and sailor (1000).
func RootFS(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("the package busybox-static is not installed")
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := elf.NewFile(bytes.NewReader(program)); err != nil {
		t.Fatal(err)
	} else if libraries, err := parsed.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Skip("busybox is not static here: the package busybox-static is needed")
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	add := func(header tar.Header, data []byte) {
		header.Size = int64(len(data))
		if err := archive.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"bin/", "etc/", "root/", "home/", "var/", "usr/"} {
		add(tar.Header{Name: folder, Mode: 0o755, Typeflag: tar.TypeDir}, nil)
	}
	add(tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir}, nil)
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nsailor:x:1000:1000::/home:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nsailor:x:1000:\n"))
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			add(tar.Header{Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777, Typeflag: tar.TypeSymlink}, nil)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "busybox.tar")
	if err := os.WriteFile(path, content.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
