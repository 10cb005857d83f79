package crash

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/lib/failpoint"
	"github.com/berth-engine/berth/test/daemon"
)

// numbers of the daemons of this file.
const (
	numberCopyStopped = 220 + iota
	numberCopyRunning
)

// TestADaemonThatDiesInACopyLeavesNoMount kills the daemon while it has the files of a container mounted.
func TestADaemonThatDiesInACopyLeavesNoMount(t *testing.T) {
	for _, test := range []struct {
		name    string
		number  int
		running bool
	}{{"of a container that does not run", numberCopyStopped, false}, {"of one that runs", numberCopyRunning, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, _ := begin(t, test.number)
			create := map[string]any{"Image": "busybox", "Cmd": []string{"sleep", "1000"}, "HostConfig": map[string]any{"Binds": []string{"hold:/hold", "memory:/memory"}}}
			steps := []error{
				d.Do(http.MethodPost, "/volumes/create", map[string]any{"Name": "memory", "DriverOpts": map[string]string{"type": "tmpfs", "device": "tmpfs"}}, nil),
				d.Do(http.MethodPost, "/containers/create?name=box", create, nil),
			}
			if test.running {
				steps = append(steps, d.Do(http.MethodPost, "/containers/box/start", nil, nil))
			}
			if err := errors.Join(append(steps, d.Stop(), d.Start(failpoint.Variable+"=files:with-view"))...); err != nil {
				t.Fatal(err)
			}
			if err := d.Do(http.MethodGet, "/containers/box/archive?path=/hold", nil, nil); err == nil {
				t.Error("the copy comes to its end")
			}
			select {
			case <-d.Died():
			case <-time.After(20 * time.Second):
				t.Fatal("the daemon survives")
			}
			if err := d.Kill(); err != nil {
				t.Fatal(err)
			}
			// A volume that is a file system of its own is mounted by the volume's rules; nothing else may be.
			for _, mount := range mounts(t, d) {
				if !strings.Contains(mount, "/volumes/memory/") {
					t.Errorf("after its death there is: %s", mount)
				}
			}
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			if left := mounts(t, d); !test.running && len(left) > 0 {
				t.Errorf("after its return there is: %s", left)
			}
			verb := "/containers/box/start"
			if test.running {
				verb = "/containers/box/restart?t=0"
			}
			if err := errors.Join(
				d.Do(http.MethodGet, "/containers/box/archive?path=/hold", nil, nil),
				d.Do(http.MethodPost, verb, nil, nil),
				d.Do(http.MethodGet, "/containers/box/archive?path=/memory", nil, nil),
			); err != nil {
				t.Error(err)
			}
		})
	}
}

// mounts lists those of the daemon that the host sees.
func mounts(t *testing.T, d *daemon.Daemon) (list []string) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, d.Root+"/") {
			list = append(list, line)
		}
	}
	return list
}
