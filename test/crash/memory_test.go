package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/berth-engine/berth/test/daemon"
)

// host is a control group that stands for a machine: its memory is all that the daemon, the shims and the containers
// below it have.
type host struct {
	t    *testing.T
	name string
}

const memory = "/sys/fs/cgroup/memory" // of cgroup v1; that of v2 is looked at by test/vm

func newHost(t *testing.T, bytes int64) host {
	t.Helper()
	if _, err := os.Stat(filepath.Join(memory, "memory.limit_in_bytes")); errors.Is(err, fs.ErrNotExist) {
		t.Skip("no memory controller of cgroup v1")
	}
	h := host{t, fmt.Sprintf("berth-test-host-%d", os.Getpid())}
	for _, part := range []string{"daemon", "containers"} {
		if err := os.MkdirAll(filepath.Join(memory, h.name, part), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"} { // without swap there is no second
		err := os.WriteFile(filepath.Join(memory, h.name, file), strconv.AppendInt(nil, bytes, 10), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Cleanup(h.remove)
	return h
}

// remove takes the group away when nothing runs in it, with what containers have left of their own in other controllers.
func (h host) remove() {
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + h.name)
	for _, group := range groups {
		err = errors.Join(err, filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && path != group {
				if err := syscall.Rmdir(path); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				return fs.SkipDir
			}
			return err
		}), syscall.Rmdir(group))
	}
	if err != nil {
		h.t.Error(err)
	}
}

// move puts the daemon and its shims into the machine; what they start is in it from the beginning.
func (h host) move(d *daemon.Daemon) {
	h.t.Helper()
	for _, pid := range append(d.Processes(), d.PID()) {
		err := os.WriteFile(filepath.Join(memory, h.name, "daemon", "cgroup.procs"), strconv.AppendInt(nil, int64(pid), 10), 0)
		if err != nil && !errors.Is(err, syscall.ESRCH) { // a shim that was let go
			h.t.Fatal(err)
		}
	}
}

// TestAHostOutOfMemory fills the memory of a machine again and again: those that take too much die, and are told of, the
// daemon, the shims and the others live.
func TestAHostOutOfMemory(t *testing.T) {
	t.Parallel()
	bin, rootfs := daemon.Programs(t), daemon.RootFS(t)
	d := daemon.New(t, daemon.Options{Bin: bin, Net: network, Number: numberMemory})
	h := newHost(t, 160<<20)
	t.Cleanup(d.Finish) // before the group is removed
	if err := errors.Join(d.Start(), d.Import(rootfs, "busybox")); err != nil {
		t.Fatal(err)
	}
	h.move(d)
	pid := d.PID()
	create := func(name string, command ...string) {
		t.Helper()
		if err := d.Do(http.MethodPost, "/containers/create?name="+name, map[string]any{
			"Image": "busybox", "Cmd": command, "HostConfig": map[string]any{"CgroupParent": "/" + h.name + "/containers", "NetworkMode": "none"},
		}, nil); err != nil {
			t.Fatal(err)
		}
	}
	start := func(name string) error { return d.Do(http.MethodPost, "/containers/"+name+"/start", nil, nil) }
	// Six that are small: no shim serves more.
	for i := range 6 {
		name := fmt.Sprintf("small%d", i)
		create(name, "sh", "-c", "trap 'echo alive' USR1; while true; do sleep 0.1; done")
		if err := start(name); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		name := fmt.Sprintf("greedy%d", i)
		create(name, "tail", "/dev/zero")
		if err := start(name); err != nil {
			t.Fatal(err)
		}
		if code := waitFor(t, d, name); code != 137 {
			t.Errorf("%s ended with %d", name, code)
		}
		if c := state(t, d, name); !c.State.OOMKilled {
			t.Errorf("%s: it is not told that memory ran out: %+v", name, c.State)
		}
		if err := d.Await("container", "oom", name); err != nil {
			t.Error(err)
		}
	}
	if d.PID() != pid || !daemon.Alive(pid) {
		t.Errorf("the daemon was %d and is %d", pid, d.PID())
	}
	for i := range 6 {
		name := fmt.Sprintf("small%d", i)
		if c := state(t, d, name); !c.State.Running || !daemon.Alive(c.State.Pid) {
			t.Errorf("%s: %+v", name, c.State)
		}
		// Its shim still writes what it says.
		since := time.Now()
		if err := errors.Join(d.Do(http.MethodPost, "/containers/"+name+"/kill?signal=USR1", nil, nil), d.Follow(name, since, "alive")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
