package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
)

// member is a file of an archive.
type member struct{ name, content string }

func tarOf(f *testing.F, members ...member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: m.name, Size: int64(len(m.content)), Mode: 0o644}); err != nil {
			f.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	return b.Bytes()
}

// FuzzRead takes archives apart that a client sends to be loaded: none may make the daemon panic, and what is refused is
// the client's mistake.
func FuzzRead(f *testing.F) {
	layout := member{"oci-layout", `{"imageLayoutVersion":"1.0.0"}`}
	f.Add(tarOf(f, layout, member{"index.json", `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}]}`},
		member{"blobs/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", ""}))
	f.Add(tarOf(f, layout, member{"index.json", `{"manifests":[{"digest":"x"}]}`}, member{"blobs/sha256/zz", "x"}))
	f.Add(tarOf(f, member{"manifest.json", `[{"Config":"c.json","RepoTags":["a:b",""],"Layers":["l.tar"]}]`}, member{"c.json", `{"rootfs":{"diff_ids":[]}}`}, member{"l.tar", ""}))
	f.Add(tarOf(f, member{"manifest.json", `[{"Config":"../../c.json","Layers":null}]`}, member{"repositories", "{}"}))
	f.Add(tarOf(f, member{"manifest.json", "null"}))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd})
	cut := tarOf(f, layout, member{"blob", strings.Repeat("x", 2000)})
	f.Add(cut[:1700]) // in the middle of a member
	var squeezed bytes.Buffer
	w := gzip.NewWriter(&squeezed)
	if _, err := w.Write(cut); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	broken := squeezed.Bytes()
	broken[len(broken)/2] ^= 0x55
	f.Add(broken)
	store, err := local.NewStore(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	s := &Store{Content: store, Protect: func(context.Context, digest.Digest) error { return nil }}
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, err := s.Read(t.Context(), bytes.NewReader(content))
		if err != nil && !errdefs.IsInvalidArgument(err) && !errdefs.IsNotFound(err) || err == nil && len(entries) == 0 {
			t.Errorf("%d images, %v", len(entries), err)
		}
	})
}
