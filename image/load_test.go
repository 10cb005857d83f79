package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/ulikunitz/xz"

	"github.com/berth-engine/berth/core"
)

func TestLoadedImageIsFoundByEveryName(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	out, err := o.load(simple(t, "app:1", "one"))
	if err != nil {
		t.Fatal(err)
	}
	if out != "Loaded image: app:1\n" {
		t.Errorf("printed %q", out)
	}
	image := o.lookup("app:1")
	if strings.Join(image.RepoTags, " ") != "app:1" || strings.Join(image.RepoDigests, " ") != "app@"+string(image.ID) {
		t.Errorf("names are %v and %v", image.RepoTags, image.RepoDigests)
	}
	if image.Config.Cmd[0] != "/bin/true" || len(image.Config.ExposedPorts) != 1 || image.Size == 0 || len(image.RawConfig) == 0 {
		t.Errorf("the image is incomplete: %+v", image)
	}
	for _, ref := range []string{
		"docker.io/library/app:1", "app:1@" + string(image.ID), "app@" + string(image.ID), string(image.ID),
		image.ID.Short(), string(image.ID)[:19], image.ConfigDigest, image.ConfigDigest[7:19],
	} {
		if found := o.lookup(ref); found.ID != image.ID {
			t.Errorf("%s is %s", ref, found.ID)
		}
	}
	for ref, sentence := range map[string]string{
		"app": "No such image: app:latest", "app:2": "No such image: app:2", "0123456789ab": "No such image: 0123456789ab:latest",
		"": "invalid reference format", "sha256:0000": "No such image: sha256:0000",
	} {
		_, err := o.Images().Lookup(t.Context(), ref, core.Platform{})
		wantError(t, err, sentence)
	}
	_, err = o.Images().Lookup(t.Context(), "app:1", core.Platform{OS: "linux", Architecture: "s390x"})
	if !errdefs.IsNotFound(err) {
		t.Errorf("another platform: %v", err)
	}
	steps, err := o.Catalog().History(t.Context(), "app:1", core.Platform{})
	if err != nil || len(steps) != 2 || steps[0].CreatedBy != "ENV A=1" || steps[0].ID != string(image.ID) || steps[1].ID != "<missing>" || steps[1].Size == 0 {
		t.Errorf("history is %+v, %v", steps, err)
	}
	if got := strings.Join(o.events, ","); got != "load "+string(image.ID) {
		t.Errorf("events were %q", got)
	}
}

func TestLoadReadsEveryCompression(t *testing.T) {
	t.Parallel()
	pack := map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
	}
	for name, newWriter := range pack {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newTestOrgan(t)
			var packed bytes.Buffer
			w, err := newWriter(&packed)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(simple(t, "app:1", "one")); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			o.mustLoad(packed.Bytes())
			o.lookup("app:1")
			_, err = o.load(packed.Bytes()[:packed.Len()/2])
			if err == nil {
				t.Error("half of it was loaded without an error")
			}
		})
	}
}

func TestLayersThatRepeatAreLinks(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	layer := tarOf(t, file("hello", "x"))
	config := toJSON(t, configOf(host(), layer, layer))
	o.mustLoad(tarOf(t,
		file("config.json", config), file("a/layer.tar", string(layer)), member{name: "b/layer.tar", link: "../a/layer.tar", kind: tar.TypeSymlink},
		file("manifest.json", toJSON(t, []dockerManifest{{Config: "config.json", RepoTags: []string{"app:1"}, Layers: []string{"a/layer.tar", "b/layer.tar"}}})),
	))
	if image := o.lookup("app:1"); len(image.DiffIDs) != 2 {
		t.Errorf("layers are %v", image.DiffIDs)
	}
}

func TestLayoutOfSeveralPlatformsLoadsTheHosts(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	l := newLayout(t)
	other := ocispec.Platform{OS: "linux", Architecture: "s390x"}
	l.name(l.list(l.image(other, tarOf(t, file("s390x", ""))), l.image(host(), tarOf(t, file("native", "")))), "docker.io/library/multi:1")
	o.mustLoad(l.tar())
	if image := o.lookup("multi:1"); image.Platform.Architecture != host().Architecture || image.MediaType != ocispec.MediaTypeImageIndex {
		t.Errorf("the image is %s, %s", image.Platform, image.MediaType)
	}
	image, err := o.Images().Lookup(t.Context(), "multi:1", core.Platform{OS: "linux", Architecture: "s390x"})
	if err != nil || image.Platform.Architecture != "s390x" {
		t.Errorf("asked for s390x: %s, %v", image.Platform, err)
	}
}

func TestSavedImagesLoadElsewhereUnchanged(t *testing.T) {
	t.Parallel()
	from, to := newTestOrgan(t), newTestOrgan(t)
	from.mustLoad(simple(t, "app:1", "one"))
	from.mustLoad(simple(t, "app:2", "two"))
	from.mustLoad(simple(t, "other:1", "three"))
	id := from.lookup("other:1").ID
	var saved bytes.Buffer
	if err := from.Transfers().Save(t.Context(), []string{"app", id.Short()}, core.Platform{}, &saved); err != nil {
		t.Fatal(err)
	}
	out, err := to.load(saved.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Loaded image: app:1\n", "Loaded image: app:2\n", "Loaded image ID: " + string(id) + "\n"} {
		if !strings.Contains(out, line) {
			t.Errorf("%q does not say %q", out, line)
		}
	}
	if to.lookup("app:2").ID != from.lookup("app:2").ID {
		t.Error("the image changed its ID")
	}
	if !bytes.Contains(saved.Bytes(), []byte("manifest.json")) {
		t.Error("older Dockers find no manifest.json")
	}
	wantError(t, from.Transfers().Save(t.Context(), []string{"none:1"}, core.Platform{}, io.Discard), "No such image: none:1")
}

func TestBadArchivesLeaveNothing(t *testing.T) {
	t.Parallel()
	layer := tarOf(t, file("hello", "x"))
	config := toJSON(t, configOf(host(), layer))
	manifest := toJSON(t, []dockerManifest{{Config: "c.json", RepoTags: []string{"app:1"}, Layers: []string{"l.tar"}}})
	good := simple(t, "app:1", "one")
	wrong := newLayout(t)
	wrong.name(wrong.image(host(), layer), "app:1")
	for hex := range wrong.blobs {
		if wrong.blobs[hex] == string(layer) {
			wrong.blobs[hex] = string(tarOf(t, file("hello", "y")))
		}
	}
	cases := map[string]struct {
		archive  []byte
		sentence string
	}{
		"garbage is no archive":                     {bytes.Repeat([]byte("garbage "), 1000), "not a tar archive"},
		"nothing is no image":                       {tarOf(t), "unrecognized image format"},
		"a tar of files is no image":                {tarOf(t, file("etc/passwd", "root")), "unrecognized image format"},
		"a truncated archive is damaged":            {good[:len(good)/2], "damaged"},
		"a config that is no JSON":                  {tarOf(t, file("c.json", "{"), file("l.tar", string(layer)), file("manifest.json", manifest)), "not valid"},
		"a config of the wrong type":                {tarOf(t, file("c.json", `{"config":7,"rootfs":[]}`), file("l.tar", string(layer)), file("manifest.json", manifest)), "not valid"},
		"a manifest.json that is no JSON":           {tarOf(t, file("manifest.json", "[")), "not valid JSON"},
		"a layer that is not there":                 {tarOf(t, file("c.json", config), file("manifest.json", manifest)), `no file "l.tar"`},
		"a layer that is something else":            {tarOf(t, file("c.json", config), file("l.tar", string(tarOf(t, file("evil", "")))), file("manifest.json", manifest)), "the image's configuration says"},
		"a layer that is no tar":                    {tarOf(t, file("c.json", toJSON(t, configOf(host(), []byte("no tar at all")))), file("l.tar", "no tar at all"), file("manifest.json", manifest)), "failed to register layer"},
		"more layers than the config has":           {tarOf(t, file("c.json", toJSON(t, configOf(host()))), file("l.tar", string(layer)), file("manifest.json", manifest)), "its manifest has 1 layers"},
		"an invalid name":                           {tarOf(t, file("c.json", config), file("l.tar", string(layer)), file("manifest.json", strings.Replace(manifest, "app:1", "UPPER:1", 1))), "invalid name"},
		"a blob whose digest is wrong":              {wrong.tar(), "does not match its digest"},
		"a layer that names a file outside":         {tarOf(t, file("c.json", config), file("manifest.json", strings.Replace(manifest, "l.tar", "../../../etc/passwd", 1))), "no file"},
		"links that go around in circles":           {tarOf(t, file("c.json", config), member{name: "l.tar", link: "m.tar", kind: tar.TypeSymlink}, member{name: "m.tar", link: "l.tar", kind: tar.TypeSymlink}, file("manifest.json", manifest)), "no file"},
		"a header that promises more than there is": {tarOf(t, member{name: "big", kind: tar.TypeReg, size: 1 << 40}), ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newTestOrgan(t)
			_, err := o.load(c.archive)
			wantError(t, err, c.sentence)
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("the error has the wrong class: %v", err)
			}
			if list, err := o.Images().List(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("left images: %v, %v", list, err)
			}
			if blobs, snapshots := o.blobCount(); blobs != 0 || snapshots != 0 {
				t.Errorf("left %d blobs and %d snapshots", blobs, snapshots)
			}
		})
	}
}

func TestLayersStayInsideTheirRoot(t *testing.T) {
	t.Parallel()
	cases := map[string][]member{
		"a path with dots":                 {file("../../escaped", "x")},
		"an absolute path":                 {file("/escaped", "x")},
		"a link out and a file through it": {{name: "out", link: "../../..", kind: tar.TypeSymlink}, file("out/escaped", "x")},
		"an absolute link and a file":      {{name: "out", link: "/", kind: tar.TypeSymlink}, file("out/tmp/berth-escaped", "x")},
		"a hard link to a file outside":    {{name: "passwd", link: "../../../../../../etc/hostname", kind: tar.TypeLink}},
		"a whiteout of the parent":         {file("dir/.wh...", "")},
		"a device that is overwritten":     {{name: "null", kind: tar.TypeChar}, file("null", "x")},
	}
	for name, members := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newTestOrgan(t)
			// An error is as good as a file that stayed inside.
			if _, err := o.load(dockerArchive(t, []string{"app:1"}, tarOf(t, members...))); err == nil {
				o.lookup("app:1")
			} else if !errdefs.IsInvalidArgument(err) {
				t.Errorf("the error has the wrong class: %v", err)
			}
			for _, path := range []string{"/escaped", "/tmp/berth-escaped", filepath.Join(o.root, "escaped"), filepath.Join(o.root, "image/escaped")} {
				if _, err := os.Lstat(path); err == nil {
					t.Errorf("%s was written", path)
				}
			}
			snapshots := filepath.Join(o.root, "image/snapshots/snapshots")
			for _, pattern := range []string{"escaped", "*/escaped"} {
				if found, err := filepath.Glob(filepath.Join(snapshots, pattern)); err != nil || len(found) != 0 {
					t.Errorf("written outside of a layer: %v, %v", found, err)
				}
			}
		})
	}
}
