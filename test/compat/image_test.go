package compat

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func images(c *cli) {
	c.run("tag", "busybox", "im-ships/tender:v1")
	c.want("im-ships/tender:v1", "images", "--format", "{{.Repository}}:{{.Tag}}", "im-ships/tender")
	id := c.run("images", "-q", "--no-trunc", "im-ships/tender:v1")
	c.want(id, "image", "inspect", "-f", "{{.Id}}", "busybox")
	c.has([]string{"IMAGE ID", "im-ships/tender"}, "images", "--format", "table {{.ID}}\t{{.Repository}}", "--filter", "reference=im-ships/*")
	c.has([]string{`"Repository":"im-ships/tender"`}, "images", "--format", "json", "im-ships/tender")
	c.has([]string{"IMAGE", "CREATED BY"}, "history", "busybox")
	c.want("Untagged: im-ships/tender:v1", "rmi", "im-ships/tender:v1")
	c.fails(1, "No such image: im-ships/tender:v1", "rmi", "im-ships/tender:v1")
	// One that a container uses.
	c.run("import", "-m", "a message", c.rootfs, "im-used")
	c.run("create", "--name", "im-user", "im-used", "true")
	c.fails(1, "conflict: unable to delete", "rmi", c.run("images", "-q", "im-used"))
	c.run("rm", "im-user")
	c.has([]string{"Untagged: im-used:latest", "Deleted: sha256:"}, "rmi", "im-used")
}

func transfer(c *cli) {
	folder := c.t.TempDir()
	path := func(name string) string { return filepath.Join(folder, name) }
	c.run("tag", "busybox", "tr-one:a")
	c.run("tag", "busybox", "tr-one:b")
	c.run("save", "-o", path("both.tar"), "tr-one:a", "tr-one:b")
	c.run("rmi", "tr-one:a", "tr-one:b")
	c.has([]string{"Loaded image: tr-one:a", "Loaded image: tr-one:b"}, "load", "-i", path("both.tar"))
	c.want("ahoy", "run", "--rm", "tr-one:b", "echo", "ahoy")
	// Through pipes, compressed.
	packed, err := exec.Command("gzip", "-k", path("both.tar")).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%v: %s", err, packed)
	}
	c.run("rmi", "tr-one:a", "tr-one:b")
	zipped, err := os.ReadFile(path("both.tar.gz"))
	if err != nil {
		c.t.Fatal(err)
	}
	if got := c.feed(string(zipped), "load", "-q"); got.code != 0 || !strings.Contains(got.stdout, "Loaded image: tr-one:a") {
		c.t.Errorf("load from a pipe: %+v", got)
	}
	c.run("rmi", "tr-one:a", "tr-one:b")
	imported := c.run("import", "-c", "ENV SEA=west", "-c", `ENTRYPOINT ["/bin/sh", "-c"]`, c.rootfs, "tr-imported:v2")
	if !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(imported) {
		c.t.Errorf("import printed %q", imported)
	}
	c.want("west", "run", "--rm", "tr-imported:v2", "echo $SEA")
	c.run("rmi", "tr-imported:v2")
	garbage := filepath.Join(write(c.t, map[string]string{"g": "this is no archive"}), "g")
	if got := c.feed("", "load", "-i", garbage); got.code != 1 || got.stderr == "" {
		c.t.Errorf("load of garbage: %+v", got)
	}
	c.fails(1, "", "load", "-i", path("nowhere.tar"))
	c.fails(1, "No such image: tr-none", "save", "-o", path("none.tar"), "tr-none")
}

// startRegistry starts Debian's docker-registry on a free port of the loopback and gives its address.
func startRegistry(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("the package docker-registry is not installed")
	}
	// The port is free a moment before the registry takes it; it can't be handed an open socket.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(write(t, map[string]string{"config.yml": fmt.Sprintf(
		"version: 0.1\nlog: {level: info}\nstorage:\n  filesystem: {rootdirectory: %s}\nhttp: {addr: %q}\n", t.TempDir(), address)}), "config.yml")
	command := exec.Command(program, "serve", config)
	output, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		err := command.Process.Kill()
		<-drained
		_ = command.Wait() // it was killed
		if err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	})
	listening := make(chan struct{})
	go func() {
		defer close(drained)
		said := false
		for lines := bufio.NewScanner(output); lines.Scan(); {
			if !said && strings.Contains(lines.Text(), "listening on") {
				said = true
				close(listening)
			}
		}
	}()
	select {
	case <-listening:
	case <-drained:
		t.Fatal("the registry ends at once")
	}
	return address
}

func registry(c *cli) {
	there := startRegistry(c.t)
	name := there + "/fleet/tender"
	c.run("tag", "busybox", name+":v1")
	c.has([]string{"v1: digest: sha256:"}, "push", name+":v1")
	digest := c.run("image", "inspect", "-f", "{{index .RepoDigests 0}}", name+":v1")
	for _, d := range strings.Fields(c.run("image", "inspect", "-f", `{{join .RepoDigests " "}}`, name+":v1")) {
		if strings.HasPrefix(d, name) {
			digest = d
		}
	}
	if !strings.HasPrefix(digest, name+"@sha256:") {
		c.t.Errorf("the digest is %q", digest)
	}
	c.run("rmi", name+":v1")
	c.has([]string{"Digest: sha256:", "Status: Downloaded newer image for " + name + ":v1", name + ":v1"}, "pull", name+":v1")
	c.has([]string{"Status: Image is up to date for " + name + ":v1"}, "pull", name+":v1")
	c.run("rmi", name+":v1")
	c.want(digest, "pull", "-q", digest)
	c.want("ahoy", "run", "--rm", digest, "echo", "ahoy")
	c.run("rmi", digest)
	// run pulls what is not there, and says so on standard error.
	if got := c.feed("", "run", "--rm", name+":v1", "echo", "ahoy"); got.stdout != "ahoy\n" || !strings.Contains(got.stderr, "Unable to find image '"+name+":v1' locally") {
		c.t.Errorf("run of an image that is not there: %+v", got)
	}
	c.fails(1, "manifest unknown", "pull", name+":v2")
	c.fails(1, "An image does not exist locally with the tag", "push", there+"/no/such")
	c.run("tag", "busybox", name+":v2")
	c.run("push", "-q", "--all-tags", name)
	c.run("rmi", name+":v1", name+":v2")
	c.run("pull", "--all-tags", name)
	c.want("v1\nv2", "images", "--format", "{{.Tag}}", "--filter", "reference="+name, "--filter", "dangling=false")
	c.run("rmi", name+":v1", name+":v2")
	c.fails(1, "connection refused", "pull", "127.0.0.1:1/none")
	// A Dockerfile may stand on an image of the registry.
	c.run("build", "-q", "-t", "rg-built", write(c.t, map[string]string{"Dockerfile": "FROM " + name + ":v1\nRUN echo built >/x\n"}))
	c.want("built", "run", "--rm", "rg-built", "cat", "/x")
	c.run("rmi", "rg-built")
}
