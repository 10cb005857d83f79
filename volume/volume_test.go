package volume

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/quota"
	"github.com/berth-engine/berth/linux/tree"
)

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
}

func open(t *testing.T, root string) *Volumes {
	t.Helper()
	vs, err := New(root, quota.New(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return vs
}

func create(t *testing.T, vs *Volumes, v core.Volume) core.Volume {
	t.Helper()
	made, err := vs.Create(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestNames(t *testing.T) {
	t.Parallel()
	vs := open(t, t.TempDir())
	const invalid = ` includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`
	for name, want := range map[string]string{
		"x/y":                    `create x/y: "x/y"` + invalid,
		"..":                     `create ..: ".."` + invalid,
		"-x":                     `create -x: "-x"` + invalid,
		"a\x00b":                 "create a\x00b: \"a\\x00b\"" + invalid,
		"x":                      "create x: volume name is too short, names should be at least two alphanumeric characters",
		"Data_1.old-2":           "",
		strings.Repeat("x", 256): "create " + strings.Repeat("x", 256) + ": volume name is too long, it has 256 characters and may have 255",
	} {
		_, err := vs.Create(t.Context(), core.Volume{Name: name})
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want || !errdefs.IsInvalidArgument(err)) {
			t.Errorf("%q gives %v", name, err)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	vs := open(t, t.TempDir())
	for name, test := range map[string]struct {
		options map[string]string
		want    string
	}{
		"unknown":          {map[string]string{"colour": "red"}, `create v1: invalid option: "colour"`},
		"o alone":          {map[string]string{"o": "ro", "type": "tmpfs"}, `create v1: missing required option: "device"`},
		"type alone":       {map[string]string{"type": "tmpfs"}, `create v1: missing required option: "device"`},
		"device alone":     {map[string]string{"device": "x"}, `create v1: missing required option: "type"`},
		"a size, no quota": {map[string]string{"size": "1g"}, "create v1: quota size requested but no quota support"},
	} {
		_, err := vs.Create(t.Context(), core.Volume{Name: "v1", Options: test.options})
		if err == nil || err.Error() != test.want {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if _, err := vs.Create(t.Context(), core.Volume{Name: "v1", Driver: "moon"}); !errdefs.IsNotFound(err) ||
		err.Error() != `create v1: error looking up volume plugin moon: plugin "moon" not found` {
		t.Errorf("an unknown driver gives %v", err)
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	vs := open(t, root)
	v := create(t, vs, core.Volume{Name: "data", Labels: map[string]string{"a": "b"}})
	if again := create(t, vs, core.Volume{Name: "data"}); again.Created != v.Created || again.Labels["a"] != "b" {
		t.Errorf("a second creation gives %+v", again)
	}
	if _, err := vs.Create(t.Context(), core.Volume{Name: "data", Options: map[string]string{"type": "tmpfs", "device": "x"}}); !errdefs.IsConflict(err) {
		t.Errorf("other options give %v", err)
	}
	anonymous := create(t, vs, core.Volume{})
	if !anonymous.Anonymous || len(anonymous.Name) != 64 {
		t.Errorf("without a name: %+v", anonymous)
	}
	path, err := vs.Mount(t.Context(), "data", "c1")
	if err != nil || path != v.Mountpoint {
		t.Fatal(path, err)
	}
	if err := vs.Remove(t.Context(), "data", false); !errdefs.IsConflict(err) || err.Error() != "remove data: volume is in use - [c1]" {
		t.Errorf("removing a used volume gives %v", err)
	}
	if err := errors.Join(os.WriteFile(path+"/file", []byte("12345"), 0o600), os.Link(path+"/file", path+"/link"), os.Symlink("/etc", path+"/etc")); err != nil {
		t.Fatal(err)
	}
	if size, err := vs.Size(t.Context(), "data"); err != nil || size != 5+4 {
		t.Errorf("size %d, %v", size, err)
	}
	vs = open(t, root) // as after a restart
	if list, err := vs.List(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("after a restart: %v, %v", list, err)
	}
	if got, err := vs.Lookup(t.Context(), "data"); err != nil || got.Labels["a"] != "b" || !got.Created.Equal(v.Created) || got.Mountpoint != path {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
	for _, name := range []string{"data", anonymous.Name} {
		if err := errors.Join(vs.Unmount(t.Context(), name, "c1"), vs.Remove(t.Context(), name, false)); err != nil {
			t.Error(err)
		}
	}
	if err := vs.Remove(t.Context(), "data", false); !errdefs.IsNotFound(err) || err.Error() != "get data: no such volume" {
		t.Errorf("removing twice gives %v", err)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

func TestLeftoversOfACrash(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	vs := open(t, root)
	create(t, vs, core.Volume{Name: "torn"})
	create(t, vs, core.Volume{Name: "half"})
	create(t, vs, core.Volume{Name: "filled"})
	for _, err := range []error{
		os.WriteFile(root+"/torn/volume.json", []byte("{"), 0o600),
		os.Remove(root + "/half/_data"),
		os.MkdirAll(root+"/.trash-1/_data/x", 0o700),
		os.MkdirAll(root+"/filled/_filling/x", 0o700),
		os.MkdirAll(root+"/foreign/of somebody", 0o700),
		os.WriteFile(root+"/metadata.db", nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	list, err := open(t, root).List(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "filled" || list[1].Name != "torn" || list[1].Created.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	left, err := filepath.Glob(root + "/*/*")
	if hidden, _ := filepath.Glob(root + "/.*"); err != nil || len(left) != 5 || len(hidden) != 0 {
		t.Errorf("%v %v is left, %v", left, hidden, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	vs := open(t, t.TempDir())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if _, err := vs.Create(t.Context(), core.Volume{Name: "shared"}); err != nil {
					t.Error(err)
				}
				if err := vs.Remove(t.Context(), "shared", false); err != nil && !errdefs.IsNotFound(err) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func TestSource(t *testing.T) {
	t.Parallel()
	vs, folder := open(t, t.TempDir()), t.TempDir()
	missing, file := folder+"/a/b", folder+"/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := vs.Source(t.Context(), missing, false); err == nil || !errdefs.IsInvalidArgument(err) ||
		err.Error() != `invalid mount config for type "bind": bind source path does not exist: `+missing {
		t.Errorf("a missing source gives %v", err)
	}
	if err := errors.Join(vs.Source(t.Context(), missing, true), vs.Source(t.Context(), missing, false), vs.Source(t.Context(), file, true)); err != nil {
		t.Error(err)
	}
	if err := vs.Source(t.Context(), file+"/x", true); err == nil || !strings.HasPrefix(err.Error(), "error while creating mount source path '"+file+"/x': ") {
		t.Errorf("a path below a file gives %v", err)
	}
}

func TestPropagation(t *testing.T) {
	t.Parallel()
	needsRoot(t)
	vs := open(t, t.TempDir())
	top := filepath.Join(t.TempDir(), "a mount")
	if err := os.MkdirAll(top, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", top, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(top, 0); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(top, "folder")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(top)
	if err != nil {
		t.Fatal(err)
	}
	is := "path " + path + " is mounted on " + real + " but it is not a "
	for _, test := range []struct {
		how                       uintptr
		rprivate, rslave, rshared string
	}{
		{syscall.MS_PRIVATE, "", is + "shared or slave mount", is + "shared mount"},
		{syscall.MS_SHARED, "", "", ""},
		{syscall.MS_PRIVATE, "", is + "shared or slave mount", is + "shared mount"},
	} {
		if err := syscall.Mount("", top, "", test.how, ""); err != nil {
			t.Fatal(err)
		}
		for propagation, want := range map[string]string{"": "", "rprivate": test.rprivate, "slave": test.rslave, "rslave": test.rslave, "shared": test.rshared, "rshared": test.rshared} {
			got := ""
			if err := vs.Propagates(t.Context(), path, propagation); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s on a mount of kind %#x: %q, want %q", propagation, test.how, got, want)
			}
		}
	}
}

func TestMountedVolumes(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	root := t.TempDir()
	vs := open(t, root)
	v := create(t, vs, core.Volume{Name: "memory", Options: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7"}})
	t.Cleanup(func() {
		if err := tree.Unmount(v.Mountpoint); err != nil {
			t.Error(err)
		}
	})
	for _, by := range []core.ContainerID{"c1", "c2", "c2"} {
		if _, err := vs.Mount(t.Context(), "memory", by); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(v.Mountpoint)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 7 {
		t.Errorf("not mounted as asked: %+v, %v", info, err)
	}
	vs = open(t, root) // a daemon that restarts takes the mount over
	if _, err := vs.Mount(t.Context(), "memory", "c2"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := vs.Unmount(t.Context(), "memory", "c2"); err != nil {
			t.Fatal(err)
		}
		if mounted, err := tree.IsMount(v.Mountpoint); err != nil || mounted {
			t.Errorf("still mounted: %v, %v", mounted, err)
		}
	}
	if err := vs.Remove(t.Context(), "memory", false); err != nil {
		t.Error(err)
	}
	host := t.TempDir()
	if err := os.WriteFile(host+"/here", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	v = create(t, vs, core.Volume{Name: "bound", Options: map[string]string{"type": "none", "device": host, "o": "bind"}})
	if _, err := vs.Mount(t.Context(), "bound", "c1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(v.Mountpoint + "/here"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(vs.Unmount(t.Context(), "bound", "c1"), vs.Remove(t.Context(), "bound", false)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(host + "/here"); err != nil {
		t.Errorf("the removal went into the bound folder: %v", err)
	}
	create(t, vs, core.Volume{Name: "broken", Options: map[string]string{"type": "none", "device": host + "/missing", "o": "bind"}})
	if _, err := vs.Mount(t.Context(), "broken", "c1"); err == nil || !strings.Contains(err.Error(), "failed to mount local volume: mount") {
		t.Errorf("a missing device gives %v", err)
	}
	create(t, vs, core.Volume{Name: "secret", Options: map[string]string{"type": "nosuch", "device": "//127.0.0.1/x", "o": "username=me,password=swordfish,rw"}})
	if _, err := vs.Mount(t.Context(), "secret", "c1"); err == nil || strings.Contains(err.Error(), "swordfish") || !strings.Contains(err.Error(), "username=me,password=********") {
		t.Errorf("a mount with a password gives %v", err)
	}
}

// image makes the layers of a root file system: in the lower one what an image has, in the upper one a change.
func image(t *testing.T) []core.FSMount {
	t.Helper()
	base := t.TempDir()
	lower, upper := base+"/lower", base+"/upper"
	for _, err := range []error{
		os.MkdirAll(lower+"/data/sub/deep", 0o750),
		os.MkdirAll(lower+"/empty", 0o700),
		os.WriteFile(lower+"/data/file", []byte("lower"), 0o640),
		os.Link(lower+"/data/file", lower+"/data/sub/link"),
		os.Symlink("/data/sub", lower+"/alias"),
		os.Symlink("../../../../../../../../etc/hostname", lower+"/data/escape"),
		os.Symlink("../../../../../../../..", lower+"/up"),
		os.Chown(lower+"/data", 12, 34),
		os.Lchown(lower+"/data/escape", 5, 6),
		os.Chown(lower+"/data/sub", 56, 78),
		syscall.Chmod(lower+"/data/sub", 0o2775),
		syscall.Mkfifo(lower+"/data/pipe", 0o622),
		syscall.Mknod(lower+"/data/null", syscall.S_IFCHR|0o666, 1<<8|3),
		syscall.Setxattr(lower+"/data/file", "trusted.berth", []byte("x"), 0),
		os.WriteFile(lower+"/data/sparse", nil, 0o600),
		os.Truncate(lower+"/data/sparse", 64<<20),
		os.MkdirAll(upper+"/data", 0o700),
		os.Chown(upper+"/data", 12, 34),
		os.WriteFile(upper+"/data/new", []byte("upper"), 0o4755),
		os.Chmod(upper+"/data/new", 0o4755|fs.ModeSetuid),
		os.Mkdir(base+"/work", 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return []core.FSMount{{Type: "overlay", Source: "overlay", Options: []string{"index=off", "workdir=" + base + "/work", "upperdir=" + upper, "lowerdir=" + lower}}}
}

func fillNew(t *testing.T, vs *Volumes, name string, root []core.FSMount, destination string) (core.Volume, error) {
	t.Helper()
	v := create(t, vs, core.Volume{Name: name})
	return v, vs.Fill(t.Context(), name, root, destination)
}

func TestFill(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	vs, root := open(t, t.TempDir()), image(t)
	v, err := fillNew(t, vs, "copy", root, "/alias/../../data")
	if err != nil {
		t.Fatal(err)
	}
	stat := func(name string) *syscall.Stat_t {
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(v.Mountpoint, name), &st); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return &st
	}
	for name, want := range map[string]struct{ mode, uid, gid uint32 }{
		".":      {syscall.S_IFDIR | 0o700, 12, 34},
		"file":   {syscall.S_IFREG | 0o640, 0, 0},
		"new":    {syscall.S_IFREG | 0o4755, 0, 0},
		"sub":    {syscall.S_IFDIR | 0o2775, 56, 78},
		"escape": {syscall.S_IFLNK | 0o777, 5, 6},
		"pipe":   {syscall.S_IFIFO | 0o600, 0, 0},
		"null":   {syscall.S_IFCHR | 0o644, 0, 0},
	} {
		st := stat(name)
		if name == "pipe" || name == "null" {
			st.Mode, want.mode = st.Mode&syscall.S_IFMT, want.mode&syscall.S_IFMT // the rest depends on the umask
		}
		if st.Mode != want.mode || st.Uid != want.uid || st.Gid != want.gid {
			t.Errorf("%s is %o of %d:%d", name, st.Mode, st.Uid, st.Gid)
		}
	}
	if stat("file").Ino != stat("sub/link").Ino {
		t.Error("a hard link became a file of its own")
	}
	if st := stat("sparse"); st.Size != 64<<20 || st.Blocks > 100 {
		t.Errorf("the hole became %d blocks of %d bytes", st.Blocks, st.Size)
	}
	if st := stat("null"); st.Rdev != 1<<8|3 {
		t.Errorf("the device is %x", st.Rdev)
	}
	value := make([]byte, 10)
	if n, err := syscall.Getxattr(v.Mountpoint+"/file", "trusted.berth", value); err != nil || string(value[:n]) != "x" {
		t.Errorf("the attribute is %q, %v", value, err)
	}
	if content, err := os.ReadFile(v.Mountpoint + "/new"); err != nil || string(content) != "upper" {
		t.Errorf("%q, %v", content, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(v.Mountpoint)); err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(table, []byte(filepath.Dir(v.Mountpoint))) {
		t.Errorf("a mount is left (%v)", err)
	}
}

func TestFillKeepsWhatIsThere(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	vs, root := open(t, t.TempDir()), image(t)
	for _, destination := range []string{"/missing", "/empty"} {
		v, err := fillNew(t, vs, "nothing"+destination[1:], root, destination)
		if empty, emptyErr := isEmpty(v.Mountpoint); err != nil || emptyErr != nil || !empty {
			t.Errorf("%s gives %v, %v", destination, err, emptyErr)
		}
	}
	if _, err := fillNew(t, vs, "file", root, "/data/file"); err == nil || err.Error() != "cannot mount volume over existing file, file exists /data/file" {
		t.Errorf("a file gives %v", err)
	}
	if v, err := fillNew(t, vs, "escape", root, "/up/etc"); err != nil {
		t.Error(err)
	} else if empty, err := isEmpty(v.Mountpoint); err != nil || !empty {
		t.Errorf("the host's files came in (%v)", err)
	}
	v := create(t, vs, core.Volume{Name: "used"})
	if err := os.WriteFile(v.Mountpoint+"/mine", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := vs.Fill(t.Context(), "used", root, "/data"); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(v.Mountpoint); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	// A container that has the empty volume open must see what another one brings.
	v = create(t, vs, core.Volume{Name: "open"})
	if _, err := vs.Mount(t.Context(), "open", "c1"); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(v.Mountpoint)
	if err != nil {
		t.Fatal(err)
	}
	if err := vs.Fill(t.Context(), "open", root, "/data"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(v.Mountpoint)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the folder was replaced under a container (%v)", err)
	}
}
