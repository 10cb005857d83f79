package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/layers"
)

// mounted mounts a container's root file system where the test can look into it, and unmounts it at the end.
func mounted(t *testing.T, mounts []core.FSMount) string {
	t.Helper()
	target := t.TempDir()
	for _, m := range mounts {
		if err := syscall.Mount(m.Source, target, m.Type, 0, strings.Join(m.Options, ",")); err != nil {
			t.Fatalf("mount %+v: %v", m, err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(target, 0); err != nil {
				t.Error(err)
			}
		})
	}
	return target
}

func (o *testOrgan) create(id core.ContainerID, ref string) {
	o.t.Helper()
	if err := o.Layers().Create(o.t.Context(), id, o.lookup(ref)); err != nil {
		o.t.Fatal(err)
	}
}

func (o *testOrgan) mounts(id core.ContainerID) []core.FSMount {
	o.t.Helper()
	mounts, err := o.Layers().Mounts(o.t.Context(), id)
	if err != nil {
		o.t.Fatal(err)
	}
	return mounts
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func contentOf(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestContainersWriteIntoLayersOfTheirOwn(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	lower := tarOf(t, file("kept", "kept"), file("gone", "gone"), file("changed", "old"))
	upper := tarOf(t, file(".wh.gone", ""), file("changed", "new"))
	o.mustLoad(dockerArchive(t, []string{"app:1"}, lower, upper))
	o.create(containerID(1), "app:1")
	o.create(containerID(1), "app:1") // twice is harmless
	o.create(containerID(2), "app:1")
	one, two := mounted(t, o.mounts(containerID(1))), mounted(t, o.mounts(containerID(2)))
	if contentOf(t, one+"/kept") != "kept" || contentOf(t, one+"/changed") != "new" {
		t.Error("layers are in the wrong order")
	}
	if _, err := os.Stat(one + "/gone"); !os.IsNotExist(err) {
		t.Errorf("a whiteout has no effect: %v", err)
	}
	write(t, one+"/mine", strings.Repeat("x", 100_000))
	if _, err := os.Stat(two + "/mine"); !os.IsNotExist(err) {
		t.Errorf("the other container sees it: %v", err)
	}
	rw, root, err := o.Layers().Usage(t.Context(), containerID(1))
	if err != nil || rw < 100_000 || root == 0 || root > rw {
		t.Errorf("usage is %d and %d, %v", rw, root, err)
	}
	if info, err := os.Stat(one); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the root folder is %v, %v", info.Mode(), err)
	}
}

func TestImageOutlivesItsNamesWhileAContainerStandsOnIt(t *testing.T) {
	t.Parallel()
	needRoot(t)
	root := t.TempDir()
	o := openTestOrgan(t, root)
	o.mustLoad(simple(t, "app:1", "one"))
	o.create(containerID(1), "app:1")
	if _, err := o.Images().Delete(t.Context(), "app:1", true, true); err != nil {
		t.Fatal(err)
	}
	if blobs, snapshots := o.blobCount(); blobs == 0 || snapshots != 1 {
		t.Fatalf("left %d blobs and %d snapshots", blobs, snapshots)
	}
	o.shut()
	o = openTestOrgan(t, root)
	if ids, err := o.Layers().List(t.Context()); err != nil || len(ids) != 1 {
		t.Fatalf("after a restart layers are %v, %v", ids, err)
	}
	if blobs, _ := o.blobCount(); blobs == 0 {
		t.Error("after a restart the content was collected")
	}
	if got := contentOf(t, mounted(t, o.mounts(containerID(1)))+"/hello"); got != "one" {
		t.Errorf("the file says %q", got)
	}
	if err := o.Layers().Remove(t.Context(), containerID(1)); err != nil {
		t.Fatal(err)
	}
	if err := o.Layers().Remove(t.Context(), containerID(1)); err != nil {
		t.Errorf("removing twice: %v", err)
	}
	if blobs, snapshots := o.blobCount(); blobs != 0 || snapshots != 0 {
		t.Errorf("without the container %d blobs and %d snapshots are left", blobs, snapshots)
	}
	if links, err := os.ReadDir(filepath.Join(root, "image/l")); err != nil || len(links) != 0 {
		t.Errorf("links are left: %v, %v", links, err)
	}
	if _, err := o.Layers().Mounts(t.Context(), containerID(1)); !errdefs.IsNotFound(err) {
		t.Errorf("mounts of what is gone: %v", err)
	}
}

func TestCreateUnpacksAnImageThatIsNotUnpacked(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "app:1", "one"))
	image := o.lookup("app:1")
	if err := o.snapshotter.Remove(o.context(t.Context()), layers.ChainOf(image.DiffIDs).String()); err != nil {
		t.Fatal(err)
	}
	o.forgetParsed()
	o.create(containerID(1), "app:1")
	if got := contentOf(t, mounted(t, o.mounts(containerID(1)))+"/hello"); got != "one" {
		t.Errorf("the file says %q", got)
	}
}

func TestImageWithoutLayersCanBeMounted(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(dockerArchive(t, []string{"scratch:1"}))
	o.create(containerID(1), "scratch:1")
	write(t, mounted(t, o.mounts(containerID(1)))+"/mine", "x")
	o.blobCount()
}

func TestAsManyLayersAsDockerAllowsCanBeMounted(t *testing.T) {
	t.Parallel()
	needRoot(t)
	var layers [][]byte
	for i := range 127 {
		layers = append(layers, tarOf(t, file(fmt.Sprintf("file%d", i), "x"), file("last", fmt.Sprint(i))))
	}
	root, err := os.MkdirTemp("/tmp", "b")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	o := openTestOrgan(t, root)
	o.mustLoad(dockerArchive(t, []string{"deep:1"}, layers...))
	o.create(containerID(1), "deep:1")
	target := mounted(t, o.mounts(containerID(1)))
	if contentOf(t, target+"/file0") != "x" || contentOf(t, target+"/last") != "126" {
		t.Error("layers are missing or in the wrong order")
	}

	// Where the data root usually is, mount(2) takes them all in one page.
	options := strings.ReplaceAll(strings.Join(o.mounts(containerID(1))[0].Options, ","), root, "/var/lib/berth")
	if len(options) >= 4096 {
		t.Errorf("the options of the mount are %d bytes long", len(options))
	}
}

func TestHalfMadeLayersAreListedAndRemoved(t *testing.T) {
	t.Parallel()
	needRoot(t)
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "layers", string(containerID(7)), "upper"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "layers", layers.TrashName, "old/upper"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := openTestOrgan(t, root)
	ids, err := o.Layers().List(t.Context())
	if err != nil || len(ids) != 1 || ids[0] != containerID(7) {
		t.Fatalf("layers are %v, %v", ids, err)
	}
	if err := o.Layers().Remove(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	for _, id := range []core.ContainerID{"", "..", "a/b", ".trash"} {
		if err := o.Layers().Remove(t.Context(), id); !errdefs.IsInvalidArgument(err) {
			t.Errorf("removing %q: %v", id, err)
		}
	}
}
