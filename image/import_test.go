package image

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func TestImportMakesAnImageOfATree(t *testing.T) {
	t.Parallel()
	root := tarOf(t, file("hello", "imported"))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(root); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, stream := range map[string][]byte{"plain": root, "gzip": packed.Bytes()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newTestOrgan(t)
			id, err := o.Transfers().Import(t.Context(), bytes.NewReader(stream), core.ImportRequest{Ref: "tree", Message: "mine", Changes: []string{`CMD ["/hello"]`, "ENV A=b"}})
			if err != nil {
				t.Fatal(err)
			}
			image := o.lookup("tree:latest")
			if image.ID != id || image.Comment != "mine" || image.Config.Cmd[0] != "/hello" || image.DiffIDs[0] != "sha256:"+sum(root) {
				t.Errorf("the image is %+v", image)
			}
			o.create(containerID(1), "tree")
			if got := contentOf(t, mounted(t, o.mounts(containerID(1)))+"/hello"); got != "imported" {
				t.Errorf("the file says %q", got)
			}
		})
	}
}

func TestImportOfBadDataLeavesNothing(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	good := tarOf(t, file("hello", "x"))
	for name, c := range map[string]struct {
		stream  []byte
		request core.ImportRequest
	}{
		"garbage":            {[]byte(strings.Repeat("garbage ", 1000)), core.ImportRequest{Ref: "a"}},
		"broken gzip":        {append([]byte{0x1f, 0x8b, 0x08}, "broken"...), core.ImportRequest{Ref: "a"}},
		"an invalid name":    {good, core.ImportRequest{Ref: "UPPER"}},
		"a digest as a name": {good, core.ImportRequest{Ref: "a@sha256:" + sum(good)}},
		"an invalid change":  {good, core.ImportRequest{Ref: "a", Changes: []string{"RUN rm -rf /"}}},
	} {
		_, err := o.Transfers().Import(t.Context(), bytes.NewReader(c.stream), c.request)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if blobs, snapshots := o.blobCount(); blobs != 0 || snapshots != 0 {
		t.Errorf("left %d blobs and %d snapshots", blobs, snapshots)
	}
}
