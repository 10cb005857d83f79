package image

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
)

// startRegistry runs Debian's docker-registry on a free port and gives its address.
func startRegistry(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("Debian's docker-registry is not installed")
	}
	dir := t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.yml")
	write(t, config, fmt.Sprintf("version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", dir, address))
	command := exec.Command(binary, "serve", config)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := command.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = command.Wait() // it was killed: that is the error
	})
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "listening on") {
			go io.Copy(io.Discard, output)
			return address
		}
	}
	t.Fatalf("the registry did not start: %v", lines.Err())
	return ""
}

// transcript collects lines of progress.
type transcript struct {
	lines []string
	aux   []any
}

func (tr *transcript) add(p core.Progress) {
	if p.Aux != nil {
		tr.aux = append(tr.aux, p.Aux)
		return
	}
	if line := strings.TrimSpace(p.ID + " " + p.Status); len(tr.lines) == 0 || tr.lines[len(tr.lines)-1] != line {
		tr.lines = append(tr.lines, line)
	}
}

func (tr *transcript) has(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !slices.Contains(tr.lines, line) {
			t.Errorf("no line %q in:\n%s", line, strings.Join(tr.lines, "\n"))
		}
	}
}

func (o *testOrgan) pull(ref string, auth *core.RegistryAuth) (*transcript, error) {
	tr := &transcript{}
	return tr, o.Transfers().Pull(o.t.Context(), ref, core.Platform{}, false, auth, tr.add)
}

func (o *testOrgan) push(ref string, auth *core.RegistryAuth) (*transcript, error) {
	tr := &transcript{}
	return tr, o.Transfers().Push(o.t.Context(), ref, core.Platform{}, auth, tr.add)
}

func TestPushAndPullThroughARegistry(t *testing.T) {
	t.Parallel()
	from, to := newTestOrgan(t), newTestOrgan(t)
	registry := startRegistry(t)
	base, top := tarOf(t, file("hello", "base")), tarOf(t, file("hello", "top"))
	from.mustLoad(dockerArchive(t, []string{registry + "/me/app:1"}, base, top))
	image := from.lookup(registry + "/me/app:1")

	pushed, err := from.push(registry+"/me/app:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	pushed.has(t, "The push refers to repository ["+registry+"/me/app]", sum(base)[:12]+" Preparing", sum(top)[:12]+" Pushed",
		fmt.Sprintf("1: digest: %s size: %d", image.ID, image.ContentSize))
	if len(pushed.aux) != 1 || pushed.aux[0] != (PushResult{Tag: "1", Digest: string(image.ID), Size: image.ContentSize}) {
		t.Errorf("aux is %+v", pushed.aux)
	}
	again, err := from.push(registry+"/me/app:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	again.has(t, sum(top)[:12]+" Layer already exists")

	pulled, err := to.pull(registry+"/me/app:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	pulled.has(t, "1 Pulling from me/app", sum(base)[:12]+" Pulling fs layer", sum(base)[:12]+" Download complete", sum(top)[:12]+" Pull complete",
		"Digest: "+string(image.ID), "Status: Downloaded newer image for "+registry+"/me/app:1")
	pulled, err = to.pull(registry+"/me/app:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	pulled.has(t, sum(base)[:12]+" Already exists", "Status: Image is up to date for "+registry+"/me/app:1")
	if to.lookup(registry+"/me/app:1").ID != image.ID {
		t.Error("the image changed its ID on the way")
	}
	to.create(containerID(1), registry+"/me/app:1")
	if got := contentOf(t, mounted(t, to.mounts(containerID(1)))+"/hello"); got != "top" {
		t.Errorf("the file says %q", got)
	}

	// By digest, and every tag.
	third := newTestOrgan(t)
	byDigest := registry + "/me/app@" + string(image.ID)
	if _, err := third.pull(byDigest, nil); err != nil {
		t.Fatal(err)
	}
	if found := third.lookup(byDigest); len(found.RepoTags) != 0 || found.RepoDigests[0] != byDigest {
		t.Errorf("names are %v, %v", found.RepoTags, found.RepoDigests)
	}
	from.tag(registry+"/me/app:1", registry+"/me/app:2")
	if _, err := from.push(registry+"/me/app", nil); err != nil {
		t.Fatal(err)
	}
	if err := third.Transfers().Pull(t.Context(), registry+"/me/app", core.Platform{}, true, nil, nil); err != nil {
		t.Fatal(err)
	}
	third.lookup(registry + "/me/app:2")

	// A layer that another repository of the registry has is not sent again.
	to.tag(registry+"/me/app:1", registry+"/you/copy:1")
	mountedPush, err := to.push(registry+"/you/copy:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	mountedPush.has(t, sum(top)[:12]+" Mounted from me/app")
	from.tag(registry+"/me/app:1", registry+"/they/copy:1") // pushed from here, not pulled
	mountedPush, err = from.push(registry+"/they/copy:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	mountedPush.has(t, sum(top)[:12]+" Mounted from me/app")

	speaksDocker(t, to, registry)
}

// speaksDocker checks the sentences about what is not there.
func speaksDocker(t *testing.T, o *testOrgan, registry string) {
	t.Helper()
	for ref, sentence := range map[string]string{
		registry + "/me/none":  "manifest for " + registry + "/me/none:latest not found: manifest unknown",
		registry + "/me/app:9": "manifest for " + registry + "/me/app:9 not found: manifest unknown",
		"127.0.0.1:1/x":        `Get "https://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused`,
		"UPPER":                "repository name (library/UPPER) must be lowercase",
	} {
		_, err := o.pull(ref, nil)
		wantError(t, err, sentence)
	}
	_, err := o.push(registry+"/me/none", nil)
	wantError(t, err, "An image does not exist locally with the tag: "+registry+"/me/none")
}

func TestPullChoosesThePlatform(t *testing.T) {
	t.Parallel()
	from, to := newTestOrgan(t), newTestOrgan(t)
	registry := startRegistry(t)
	other := ocispec.Platform{OS: "linux", Architecture: "s390x"}
	l := newLayout(t)
	name := registry + "/multi:1"
	l.name(l.list(l.image(other, tarOf(t, file("s390x", ""))), l.image(host(), tarOf(t, file("native", "")))), name)
	from.mustLoad(l.tar())
	if _, err := from.push(name, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := to.pull(name, nil); err != nil {
		t.Fatal(err)
	}
	if image := to.lookup(name); image.Platform.Architecture != host().Architecture || image.ID != from.lookup(name).ID {
		t.Errorf("pulled %s, %s", image.Platform, image.ID)
	}
	// Only one platform is here: only that one can be pushed on.
	to.tag(name, registry+"/part:1")
	pushed, err := to.push(registry+"/part:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if part, ok := pushed.aux[len(pushed.aux)-1].(PushedPart); !ok || string(part.OriginalIndex.Digest) != string(to.lookup(name).ID) {
		t.Errorf("aux is %+v", pushed.aux)
	}
	err = to.Transfers().Pull(t.Context(), name, core.Platform{OS: "linux", Architecture: "riscv64"}, false, nil, nil)
	wantError(t, err, "no matching manifest for linux/riscv64 in the manifest list entries")
	if err := to.Transfers().Pull(t.Context(), name, core.Platform{OS: "linux", Architecture: "s390x"}, false, nil, nil); err != nil {
		t.Fatal(err)
	}
	image, err := to.Images().Lookup(t.Context(), name, core.Platform{OS: "linux", Architecture: "s390x"})
	if err != nil || image.Platform.Architecture != "s390x" {
		t.Errorf("looked up %s, %v", image.Platform, err)
	}
	if to.lookup(name).Platform.Architecture != host().Architecture {
		t.Error("the host's platform is not preferred any more")
	}
}

// fakeRegistry serves one image, app:1, and what a test wants to go wrong.
type fakeRegistry struct {
	*httptest.Server
	blobs    map[string]string
	manifest ocispec.Descriptor

	mu       sync.Mutex
	requests []string
	check    func(w http.ResponseWriter, r *http.Request) bool // false: it answered
}

func newFakeRegistry(t *testing.T, layers ...[]byte) *fakeRegistry {
	t.Helper()
	l := newLayout(t)
	f := &fakeRegistry{blobs: l.blobs, manifest: l.image(host(), layers...)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Server.Close)
	return f
}

func (f *fakeRegistry) name() string { return strings.TrimPrefix(f.URL, "http://") + "/app:1" }

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path+" "+r.Header.Get("Range"))
	f.mu.Unlock()
	if f.check != nil && !f.check(w, r) {
		return
	}
	_, last, _ := strings.Cut(r.URL.Path, "/app/")
	kind, reference, _ := strings.Cut(last, "/")
	if r.URL.Path == "/v2/" {
		return
	}
	if kind == "manifests" && reference == "1" {
		reference = string(f.manifest.Digest)
	}
	data, ok := f.blobs[strings.TrimPrefix(reference, "sha256:")]
	if !ok {
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
		return
	}
	if kind == "manifests" {
		w.Header().Set("Content-Type", f.manifest.MediaType)
		w.Header().Set("Docker-Content-Digest", reference)
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(data))
}
