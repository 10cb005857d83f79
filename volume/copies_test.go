package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

// disk gives a folder on a file system of its own, in a file.
func disk(t *testing.T, size string, mkfs ...string) string {
	t.Helper()
	needsRoot(t)
	image, folder := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	for _, command := range [][]string{
		{"truncate", "-s", size, image}, append(mkfs, image), {"mount", "-o", "loop", image, folder},
	} {
		if said, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", command, err, said)
		}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Errorf("unmount %s: %v", folder, err)
		}
	})
	return folder
}

// write puts a file into a volume.
func write(t *testing.T, v core.Volume, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(v.Mountpoint, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// holds checks the content of a file of a volume.
func holds(t *testing.T, v core.Volume, name, content string) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(v.Mountpoint, name)); err != nil || string(got) != content {
		t.Errorf("%s of %s holds %.20q, %v", name, v.Name, got, err)
	}
}

func TestSnapshotsShareContentWhereTheFileSystemCan(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	for _, test := range []struct {
		kind   string
		shared bool
		make   func(t *testing.T) string
	}{
		{"btrfs", true, func(t *testing.T) string { return disk(t, "256M", "mkfs.btrfs", "-q") }},
		{"xfs", true, func(t *testing.T) string { return disk(t, "320M", "mkfs.xfs", "-q", "-m", "reflink=1") }},
		{"ext4", false, func(t *testing.T) string { return disk(t, "64M", "mkfs.ext4", "-q") }},
	} {
		t.Run(test.kind, func(t *testing.T) {
			t.Parallel()
			vs := open(t, test.make(t))
			data := create(t, vs, core.Volume{Name: "data"})
			write(t, data, "big", big)
			write(t, data, "empty", "")
			if err := os.Truncate(filepath.Join(data.Mountpoint, "empty"), 8<<20); err != nil { // a hole
				t.Fatal(err)
			}
			var said []string
			progress := func(p core.Progress) { said = append(said, p.Status) }
			made, err := vs.Snapshot(t.Context(), "data", "one", progress)
			if err != nil || made.Size < 1<<20 {
				t.Fatalf("%+v, %v", made, err)
			}
			last := said[len(said)-1]
			if !strings.HasPrefix(last, "Snapshot complete: 2 files, ") || strings.Contains(last, "shared") != test.shared {
				t.Errorf("it says %q", last)
			}
			clone, err := vs.Clone(t.Context(), "data", "", "clone", nil)
			if err != nil {
				t.Fatal(err)
			}
			// What is shared is not shared any more once one of them changes.
			write(t, data, "big", "changed")
			holds(t, clone, "big", big)
			if err := vs.Rollback(t.Context(), "data", "one", nil); err != nil {
				t.Fatal(err)
			}
			holds(t, data, "big", big)
			info, err := os.Stat(filepath.Join(clone.Mountpoint, "empty"))
			if err != nil || info.Size() != 8<<20 || info.Sys().(*syscall.Stat_t).Blocks > 16 {
				t.Errorf("a file without content: %+v, %v", info.Sys(), err)
			}
		})
	}
}

func TestACopyThatEndsEarlyLeavesNothing(t *testing.T) {
	t.Parallel()
	root := disk(t, "32M", "mkfs.ext4", "-q", "-m", "0")
	vs := open(t, root)
	data := create(t, vs, core.Volume{Name: "data"})
	write(t, data, "big", strings.Repeat("x", 18<<20))
	verbs := map[string]func(ctx context.Context) error{
		"snapshot": func(ctx context.Context) error {
			_, err := vs.Snapshot(ctx, "data", "one", nil)
			return err
		},
		"clone": func(ctx context.Context) error {
			_, err := vs.Clone(ctx, "data", "", "twin", nil)
			return err
		},
		"import": func(ctx context.Context) error {
			r, w := io.Pipe()
			go func() { w.CloseWithError(vs.Export(ctx, "data", "", w)) }()
			_, _, err := vs.Import(ctx, "data", r, true)
			return errors.Join(err, r.Close())
		},
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for verb, do := range verbs {
		if err := do(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("%s for somebody who has gone: %v", verb, err)
		}
		if err := do(t.Context()); !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), verb) {
			t.Errorf("%s on a full disk: %v", verb, err)
		}
	}
	holds(t, data, "big", strings.Repeat("x", 18<<20))
	if left := leftOf(root); len(left) != 2 {
		t.Errorf("%v is left", left)
	}
	if err := vs.Remove(t.Context(), "data", false); err != nil {
		t.Error(err)
	}
}

// leftOf lists what is in the folders of volumes but snapshots/, and what lies beside them.
func leftOf(root string) (left []string) {
	for _, pattern := range []string{"/.[a-z]*", "/*/_*", "/*/*.json", "/*/snapshots/*"} {
		found, err := filepath.Glob(root + pattern)
		if err != nil {
			panic(err)
		}
		left = append(left, found...)
	}
	return left
}

func TestWhatIsCopiedIsNotTakenAway(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	vs := open(t, t.TempDir())
	data := create(t, vs, core.Volume{Name: "data"})
	write(t, data, "file", "old")
	if _, err := vs.Snapshot(t.Context(), "data", "one", nil); err != nil {
		t.Fatal(err)
	}
	// An export whose reader does not read: it is under way until the test lets it end.
	r, w := io.Pipe()
	exported := make(chan error, 1)
	go func() {
		err := vs.Export(t.Context(), "data", "", w)
		exported <- errors.Join(err, w.Close())
	}()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for verb, do := range map[string]func() error{
		"remove":                 func() error { return vs.Remove(t.Context(), "data", true) },
		"rollback":               func() error { return vs.Rollback(t.Context(), "data", "one", nil) },
		"remove snapshot one of": func() error { return vs.RemoveSnapshot(t.Context(), "data", "one") },
		"rename": func() error {
			_, err := vs.Rename(t.Context(), "data", "other")
			return err
		},
	} {
		if err := do(); !errdefs.IsConflict(err) || err.Error() != verb+" data: volume is being copied" {
			t.Errorf("%s during an export: %v", verb, err)
		}
	}
	if _, err := vs.Mount(t.Context(), "data", "c1"); err != nil {
		t.Errorf("a container that starts during an export: %v", err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error(err)
	}
	if err := <-exported; err != nil {
		t.Error(err)
	}
}

func TestAVolumeThatIsWrittenToIsCopiedAsItIs(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	vs := open(t, t.TempDir())
	data := create(t, vs, core.Volume{Name: "data"})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := filepath.Join(data.Mountpoint, fmt.Sprint(i%50))
			_ = os.WriteFile(name, []byte("x"), 0o600) // whatever is there
			_ = os.RemoveAll(name)
			_ = os.Mkdir(name, 0o700)
			_ = os.Symlink("x", name+"/x")
			_ = os.RemoveAll(name)
		}
	}()
	for i := range 100 {
		if _, err := vs.Snapshot(t.Context(), "data", fmt.Sprintf("s%d", i), nil); err != nil {
			t.Fatal(err)
		}
		if err := vs.Export(t.Context(), "data", "", io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
}

func TestATarRestoresTheVolumeItself(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	vs := open(t, t.TempDir())
	data := create(t, vs, core.Volume{Name: "data"})
	write(t, data, "file", "text")
	for _, err := range []error{
		os.Chown(data.Mountpoint, 5, 6), os.Chmod(data.Mountpoint, 0o2750), os.Chmod(data.Mountpoint+"/file", 0o4711),
		syscall.Setxattr(data.Mountpoint+"/file", "user.colour", []byte("red"), 0), syscall.Mkfifo(data.Mountpoint+"/pipe", 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var first, second bytes.Buffer
	if err := vs.Export(t.Context(), "data", "", &first); err != nil {
		t.Fatal(err)
	}
	if _, isNew, err := vs.Import(t.Context(), "copy", bytes.NewReader(first.Bytes()), false); err != nil || !isNew {
		t.Fatal(isNew, err)
	}
	if err := vs.Export(t.Context(), "copy", "", &second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the export of an import is another tar")
	}
	for cut := 0; cut < first.Len()-2*512; cut += 256 {
		_, _, err := vs.Import(t.Context(), "cut", bytes.NewReader(first.Bytes()[:cut]), false)
		if err == nil {
			t.Fatalf("the first %d of %d bytes were taken for all", cut, first.Len())
		}
	}
	if _, err := vs.Lookup(t.Context(), "cut"); !errdefs.IsNotFound(err) {
		t.Errorf("a volume of half a tar: %v", err)
	}
}
