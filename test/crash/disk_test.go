package crash

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-engine/berth/test/daemon"
)

// TestAFullDisk fills the file system below a daemon: what needs room is refused with a sentence and leaves nothing, what
// needs none goes on, and the daemon stays up.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	bin, rootfs := daemon.Programs(t), daemon.RootFS(t)
	d := daemon.New(t, daemon.Options{Bin: bin, Net: network, Number: numberDisk})
	// Not below the daemon's root: processes with a mount there are taken for the daemon's, and shims of other daemons that
	// start meanwhile have this one too.
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(d.Root, "data")
	t.Cleanup(func() { leaveDisk(t, d, disk, data) })
	if err := os.Symlink(disk, data); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Start(), d.Import(rootfs, "busybox")); err != nil {
		t.Fatal(err)
	}
	if _, err := raw(d, http.MethodPost, "/volumes/held/import", version("old")); err != nil {
		t.Fatal(err)
	}
	launch(t, d, "before", "no", "sh", "-c", "echo ready; sleep 1000")
	ballast := filepath.Join(data, "ballast")
	fill(t, ballast)

	if err := d.Do(http.MethodPost, "/containers/create?name=refused", map[string]any{"Image": "busybox"}, nil); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("a container on a full disk: %v", err)
	}
	if err := d.Import(rootfs, "second"); err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("an image on a full disk: %v", err)
	}
	fullVolumes(t, d)
	if c := state(t, d, "before"); !c.State.Running || !daemon.Alive(c.State.Pid) {
		t.Errorf("the container that ran before: %+v", c.State)
	}
	for _, do := range []func() error{
		func() error { return run(d, "before", "true") },
		func() error { return d.Do(http.MethodPost, "/containers/before/stop?t=0", nil, nil) },
		func() error { return d.Do(http.MethodDelete, "/containers/before", nil, nil) },
	} {
		if err := do(); err != nil {
			t.Errorf("what needs no room: %v", err)
		}
	}
	again(t, d, nil)
	if all, err := containers(d); err != nil || len(all) != 0 {
		t.Errorf("after a restart on the full disk: %v, %v", all, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	launch(t, d, "refused", "no", "true")
	if code := waitFor(t, d, "refused"); code != 0 {
		t.Errorf("the container that was refused ends with %d when there is room", code)
	}
}

// fullVolumes tries what takes room with volumes: a sentence each, and nothing is left of it.
func fullVolumes(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	for path, body := range map[string][]byte{
		"/volumes/held/clone?name=twin": nil, "/volumes/held/snapshots?tag=one": nil, "/volumes/made/import": version("new"), "/volumes/held/import?replace=1": version("new"),
	} {
		said, err := raw(d, http.MethodPost, path, body)
		if !strings.Contains(fmt.Sprint(err, string(said)), "no space left on device") {
			t.Errorf("%s on a full disk: %s, %v", path, said, err)
		}
	}
	err := d.Do(http.MethodPost, "/volumes/create", map[string]string{"Name": "new"}, nil)
	if err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("a volume on a full disk: %v", err)
	}
	if err := wholeVolumes(d); err != nil {
		t.Error(err)
	}
	var volumes struct{ Volumes []struct{ Name string } }
	if err := d.Get("/volumes", &volumes); err != nil || len(volumes.Volumes) != 1 {
		t.Errorf("volumes on the full disk: %+v, %v", volumes, err)
	}
}

// fill writes until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; {
		if _, err := file.Write(make([]byte, size)); err == nil {
			continue
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		size /= 2
	}
}

// leaveDisk empties and stops the daemon and takes its file system away, but for what tells of its life, so that what is
// left can be looked for.
func leaveDisk(t *testing.T, d *daemon.Daemon, disk, data string) {
	if err := errors.Join(d.Empty(), d.Stop()); err != nil {
		t.Error(err)
	}
	journal, err := os.ReadFile(filepath.Join(data, "events.jsonl"))
	if err := errors.Join(err, syscall.Unmount(disk, 0), os.Remove(data), os.Mkdir(data, 0o711), os.WriteFile(filepath.Join(data, "events.jsonl"), journal, 0o600)); err != nil {
		t.Error(err)
	}
}
