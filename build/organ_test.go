package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"

	"github.com/berth-engine/berth/core"
)

const testNamespace = "berth-test"

// organ is a Builder on stores of its own.
type organ struct {
	*Builder
	images  images.Store
	content content.Store
	ctx     context.Context // with the namespace, for looking into the stores
}

// newOrgan makes the stores that the image organ would bring, with a busybox image in them. It needs root, busybox and
// a berth-shim.
func newOrgan(t testing.TB) *organ {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("building needs root: mounts and namespaces")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox (package busybox-static) to make a base image of")
	}
	root := t.TempDir()
	snapshotter, err := overlay.NewSnapshotter(filepath.Join(root, "snapshots"))
	must(t, err)
	blobs, err := local.NewStore(filepath.Join(root, "content"))
	must(t, err)
	db, err := bolt.Open(filepath.Join(root, "meta.db"), 0o600, &bolt.Options{NoSync: true})
	must(t, err)
	mdb := metadata.NewDB(db, blobs, map[string]snapshots.Snapshotter{"overlayfs": snapshotter})
	must(t, mdb.Init(t.Context()))
	store := metadata.NewImageStore(mdb)
	options := Options{
		Root:           filepath.Join(root, "build"),
		Namespace:      testNamespace,
		Content:        mdb.ContentStore(),
		Snapshotter:    mdb.Snapshotter("overlayfs"),
		Images:         store,
		Leases:         metadata.NewLeaseManager(mdb),
		GarbageCollect: func(ctx context.Context) error { _, err := mdb.GarbageCollect(ctx); return err },
		CgroupParent:   "/berth-build-test",
		Run:            Shim(shimPath(t)),
	}
	b, err := New(options)
	must(t, err)
	o := &organ{Builder: b, images: store, content: mdb.ContentStore(), ctx: namespaces.WithNamespace(context.WithoutCancel(t.Context()), testNamespace)}
	t.Cleanup(func() {
		must(t, o.Close())
		must(t, snapshotter.Close())
		must(t, db.Close())
		groups, err := filepath.Glob("/sys/fs/cgroup/berth-build-test/buildkit")
		must(t, err)
		more, err := filepath.Glob("/sys/fs/cgroup/*/berth-build-test/buildkit")
		must(t, err)
		for _, group := range append(groups, more...) {
			must(t, os.Remove(group))
			must(t, os.Remove(filepath.Dir(group)))
		}
	})
	o.base(t, busybox)
	return o
}

// shimPath finds the berth-shim that make builds, or the one named by BERTH_SHIM.
func shimPath(t testing.TB) string {
	t.Helper()
	candidates := []string{os.Getenv("BERTH_SHIM"), "../bin/berth-shim"}
	for _, candidate := range candidates {
		path, err := filepath.Abs(candidate)
		must(t, err)
		if info, err := os.Stat(path); candidate != "" && err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	t.Skip("no berth-shim to run steps with: set BERTH_SHIM or run make")
	return ""
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// base makes docker.io/library/busybox:latest of the machine's static busybox.
func (o *organ) base(t testing.TB, busybox string) {
	t.Helper()
	binary, err := os.ReadFile(busybox)
	must(t, err)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, dir := range []string{"bin/", "etc/", "tmp/", "proc/", "sys/", "dev/"} {
		must(t, w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}))
	}
	must(t, w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(binary))}))
	_, err = w.Write(binary)
	must(t, err)
	for _, applet := range []string{"sh", "cat", "echo", "ls", "mkdir", "env", "id", "true", "false", "sleep", "ip", "ps", "grep", "touch", "rm", "pwd", "stat", "nslookup", "wget", "test"} {
		must(t, w.WriteHeader(&tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox"}))
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"
	must(t, w.WriteHeader(&tar.Header{Name: "etc/passwd", Mode: 0o644, Size: int64(len(passwd))}))
	_, err = io.WriteString(w, passwd)
	must(t, err)
	must(t, w.Close())

	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(layer.Bytes())
	must(t, err)
	must(t, z.Close())
	platform := platforms.Normalize(platforms.DefaultSpec())
	now := time.Unix(1700000000, 0).UTC()
	config, err := json.Marshal(ocispec.Image{
		Created: &now, Platform: ocispec.Platform{OS: platform.OS, Architecture: platform.Architecture},
		Config: ocispec.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: []string{"sh"}},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer.Bytes())}},
	})
	must(t, err)
	layerDesc := o.blob(t, ocispec.MediaTypeImageLayerGzip, packed.Bytes(), nil)
	configDesc := o.blob(t, ocispec.MediaTypeImageConfig, config, nil)
	manifest, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: configDesc, Layers: []ocispec.Descriptor{layerDesc},
	})
	must(t, err)
	target := o.blob(t, ocispec.MediaTypeImageManifest, manifest, map[string]string{
		"containerd.io/gc.ref.content.config": configDesc.Digest.String(),
		"containerd.io/gc.ref.content.l.0":    layerDesc.Digest.String(),
	})
	_, err = o.images.Create(o.ctx, images.Image{Name: "docker.io/library/busybox:latest", Target: target})
	must(t, err)
}

func (o *organ) blob(t testing.TB, mediaType string, data []byte, labels map[string]string) ocispec.Descriptor {
	t.Helper()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	must(t, content.WriteBlob(o.ctx, o.content, desc.Digest.String(), bytes.NewReader(data), desc, content.WithLabels(labels)))
	return desc
}

// built is what a build said and gave.
type built struct {
	id  core.ImageID
	out string
	aux []any
	err error
}

func (o *organ) build(t testing.TB, files map[string]string, options core.BuildOptions) built {
	t.Helper()
	return o.buildTar(t, makeTar(t, files), options)
}

func (o *organ) buildTar(t testing.TB, context io.Reader, options core.BuildOptions) built {
	t.Helper()
	var b built
	var out strings.Builder
	b.id, b.err = o.Build(t.Context(), context, options, func(p core.Progress) {
		out.WriteString(p.Stream)
		if p.Aux != nil {
			b.aux = append(b.aux, p.Aux)
		}
	})
	b.out = out.String()
	return b
}

func makeTar(t testing.TB, files map[string]string) io.Reader {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for name, text := range files {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(1600000000, 0)}))
		_, err := io.WriteString(w, text)
		must(t, err)
	}
	must(t, w.Close())
	return &buf
}

// config reads the configuration of an image.
func (o *organ) config(t testing.TB, id core.ImageID) ocispec.Image {
	t.Helper()
	target := ocispec.Descriptor{Digest: digest.Digest(id), MediaType: ocispec.MediaTypeImageManifest}
	data, err := content.ReadBlob(o.ctx, o.content, target)
	must(t, err)
	var manifest ocispec.Manifest
	must(t, json.Unmarshal(data, &manifest))
	data, err = content.ReadBlob(o.ctx, o.content, manifest.Config)
	must(t, err)
	var config ocispec.Image
	must(t, json.Unmarshal(data, &config))
	return config
}
