package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/config"
)

// testOrgan is an organ on folders of its own, with the events that it told.
type testOrgan struct {
	*Organ
	t      *testing.T
	root   string
	mu     sync.Mutex
	events []string
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("unpacking layers sets owners and whiteouts, which takes root")
	}
}

func newTestOrgan(t *testing.T) *testOrgan {
	t.Helper()
	needRoot(t)
	return openTestOrgan(t, t.TempDir())
}

func openTestOrgan(t *testing.T, root string) *testOrgan {
	t.Helper()
	o := &testOrgan{t: t, root: root}
	organ, err := New(t.Context(), Options{
		Root: filepath.Join(root, "image"), LayersRoot: filepath.Join(root, "layers"),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Events: func(e core.Event) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.events = append(o.events, e.Action+" "+e.Attributes["name"])
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Organ = organ
	t.Cleanup(func() { o.shut() })
	return o
}

// shut closes the organ once.
func (o *testOrgan) shut() {
	if o.Organ == nil {
		return
	}
	if err := o.Organ.Close(); err != nil {
		o.t.Error(err)
	}
	o.Organ = nil
}

// load loads an archive and gives what was printed.
func (o *testOrgan) load(archive []byte) (string, error) {
	var out strings.Builder
	err := o.Transfers().Load(o.t.Context(), bytes.NewReader(archive), core.Platform{}, false, func(p core.Progress) { out.WriteString(p.Stream) })
	return out.String(), err
}

func (o *testOrgan) mustLoad(archive []byte) {
	o.t.Helper()
	if _, err := o.load(archive); err != nil {
		o.t.Fatal(err)
	}
}

func (o *testOrgan) lookup(ref string) core.Image {
	o.t.Helper()
	image, err := o.Images().Lookup(o.t.Context(), ref, core.Platform{})
	if err != nil {
		o.t.Fatal(err)
	}
	return image
}

func (o *testOrgan) tag(source, target string) {
	o.t.Helper()
	if err := o.Catalog().Tag(o.t.Context(), source, target); err != nil {
		o.t.Fatal(err)
	}
}

// blobCount collects garbage and counts the blobs and snapshots that remain.
func (o *testOrgan) blobCount() (blobs, snapshots int) {
	o.t.Helper()
	if err := o.gc.collect(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	err := o.content.Walk(o.context(o.t.Context()), func(content.Info) error { blobs++; return nil })
	if err != nil {
		o.t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(o.root, "image/snapshots/snapshots"))
	if err != nil {
		o.t.Fatal(err)
	}
	return blobs, len(entries)
}

// member is a file of a test archive.
type member struct {
	name, content, link string
	kind                byte
	size                int64 // for a header that lies
}

func file(name, content string) member {
	return member{name: name, content: content, kind: tar.TypeReg}
}

func tarOf(t *testing.T, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		header := &tar.Header{Name: m.name, Typeflag: m.kind, Linkname: m.link, Mode: 0o755, Size: int64(len(m.content))}
		if m.size != 0 {
			header.Size = m.size
		}
		if m.kind == tar.TypeChar {
			header.Devmajor, header.Devminor = 1, 3
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil && !strings.Contains(err.Error(), "missed writing") {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil && !strings.Contains(err.Error(), "missed writing") {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sum(data []byte) string {
	hash := sha256.Sum256(data)
	return hex.EncodeToString(hash[:])
}

func configOf(platform ocispec.Platform, layers ...[]byte) config.File {
	file := config.File{Platform: platform}
	file.Config.Cmd = []string{"/bin/true"}
	file.Config.Env = []string{"A=1"}
	file.Config.Labels = map[string]string{"maker": "test"}
	file.Config.ExposedPorts = map[string]struct{}{"80/tcp": {}, "nonsense": {}}
	file.RootFS.Type = "layers"
	for i, layer := range layers {
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, digest.FromBytes(layer))
		file.History = append(file.History, ocispec.History{CreatedBy: fmt.Sprintf("step %d", i)}, ocispec.History{CreatedBy: "ENV A=1", EmptyLayer: true})
	}
	return file
}

func host() ocispec.Platform { return ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH} }

func toJSON(t *testing.T, value any) string {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// dockerManifest is one image in docker save's manifest.json.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerArchive is what docker save wrote before version 25.
func dockerArchive(t *testing.T, tags []string, layers ...[]byte) []byte {
	t.Helper()
	config := toJSON(t, configOf(host(), layers...))
	manifest := dockerManifest{Config: sum([]byte(config)) + ".json", RepoTags: tags}
	members := []member{file(manifest.Config, config)}
	for i, layer := range layers {
		name := fmt.Sprintf("%064d/layer.tar", i)
		manifest.Layers = append(manifest.Layers, name)
		members = append(members, file(fmt.Sprintf("%064d/VERSION", i), "1.0"), file(name, string(layer)))
	}
	members = append(members, file("manifest.json", toJSON(t, []dockerManifest{manifest})), file("repositories", "{}"))
	return tarOf(t, members...)
}

// layout builds an OCI layout: its blobs by digest.
type layout struct {
	t     *testing.T
	blobs map[string]string
	index ocispec.Index
}

func newLayout(t *testing.T) *layout { return &layout{t: t, blobs: map[string]string{}} }

func (l *layout) add(mediaType, data string) ocispec.Descriptor {
	hex := sum([]byte(data))
	l.blobs[hex] = data
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.NewDigestFromEncoded("sha256", hex), Size: int64(len(data))}
}

// image adds an image of uncompressed layers for a platform.
func (l *layout) image(platform ocispec.Platform, layers ...[]byte) ocispec.Descriptor {
	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{}}
	manifest.SchemaVersion = 2
	manifest.Config = l.add(ocispec.MediaTypeImageConfig, toJSON(l.t, configOf(platform, layers...)))
	for _, layer := range layers {
		manifest.Layers = append(manifest.Layers, l.add(ocispec.MediaTypeImageLayer, string(layer)))
	}
	desc := l.add(ocispec.MediaTypeImageManifest, toJSON(l.t, manifest))
	desc.Platform = &platform
	return desc
}

// list adds an index of images.
func (l *layout) list(images ...ocispec.Descriptor) ocispec.Descriptor {
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: images}
	index.SchemaVersion = 2
	return l.add(ocispec.MediaTypeImageIndex, toJSON(l.t, index))
}

func (l *layout) name(desc ocispec.Descriptor, name string) {
	desc.Annotations = map[string]string{"io.containerd.image.name": name}
	l.index.Manifests = append(l.index.Manifests, desc)
}

func (l *layout) tar() []byte {
	members := []member{file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), file("index.json", toJSON(l.t, l.index))}
	for hex, data := range l.blobs {
		members = append(members, file("blobs/sha256/"+hex, data))
	}
	return tarOf(l.t, members...)
}

// simple is an archive of one image with one file, which differs by its content.
func simple(t *testing.T, tag, content string) []byte {
	t.Helper()
	return dockerArchive(t, []string{tag}, tarOf(t, file("hello", content)))
}

func containerID(n int) core.ContainerID { return core.ContainerID(fmt.Sprintf("%064x", n)) }

func wantError(t *testing.T, err error, sentence string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), sentence) {
		t.Fatalf("got error %v, want one with %q", err, sentence)
	}
}

func background(t *testing.T) context.Context { return context.WithoutCancel(t.Context()) }
