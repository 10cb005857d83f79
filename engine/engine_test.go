package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/engine/enginetest"
)

// world is an engine on organs of memory.
type world struct {
	*engine.Engine
	calls     *enginetest.Calls
	runtime   *enginetest.Runtime
	sandboxes *enginetest.Sandboxes
	records   *enginetest.Records
	layers    *enginetest.Layers
	labels    *enginetest.Labels
}

func newWorld(t *testing.T) *world {
	t.Helper()
	calls := &enginetest.Calls{}
	return boot(t, calls, &enginetest.Records{Calls: calls}, &enginetest.Layers{Calls: calls}, nil)
}

// boot starts an engine on records and layers that may be those of an earlier one, on a host without SELinux.
func boot(t *testing.T, calls *enginetest.Calls, records *enginetest.Records, layers *enginetest.Layers, survivors []core.Adopted) *world {
	t.Helper()
	return bootOn(t, &enginetest.Labels{Calls: calls, Off: true}, calls, records, layers, survivors)
}

func bootOn(t *testing.T, labels *enginetest.Labels, calls *enginetest.Calls, records *enginetest.Records, layers *enginetest.Layers, survivors []core.Adopted) *world {
	t.Helper()
	var facts engine.Facts
	if !labels.Off {
		facts.Info.SecurityOptions = []string{core.HasSELinux}
	}
	w := &world{
		calls:     calls,
		runtime:   &enginetest.Runtime{Calls: calls, Survivors: survivors},
		sandboxes: &enginetest.Sandboxes{Calls: calls},
		records:   records,
		layers:    layers,
		labels:    labels,
	}
	images := enginetest.Images{"busybox": {ID: "sha256:1111", Config: core.Config{Cmd: []string{"sh"}, Env: []string{"PATH=/bin"}}}}
	volumes := &enginetest.Volumes{Calls: calls}
	w.Engine = engine.New(engine.Ports{
		Images: images, ImageStore: images, Layers: w.layers,
		Runtime: w.runtime, Terminals: w.runtime, Meter: w.runtime,
		Networks: enginetest.Networks{}, Sandboxes: w.sandboxes,
		Labels:  w.labels,
		Volumes: volumes, VolumeStore: volumes,
		Logs: enginetest.Logs{}, Records: w.records, Journal: &enginetest.Journal{}, Cache: enginetest.Cache{},
	}, engine.Options{
		Defaults: define.Defaults{ContainersDir: t.TempDir(), Log: core.LogConfig{Type: "json-file"}, Runtimes: []string{"berth"}},
		Facts:    facts,
	})
	w.runtime.OnExit = w.Lifecycle.Exited
	if err := w.Restore(context.Background()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) create(t *testing.T, name string, edit func(*core.CreateRequest)) core.ContainerID {
	t.Helper()
	request := core.CreateRequest{Name: name, Config: core.Config{Image: "busybox"}}
	if edit != nil {
		edit(&request)
	}
	id, _, err := w.Containers.Create(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (w *world) status(t *testing.T, ref string) core.Status {
	t.Helper()
	view, err := w.Containers.Inspect(t.Context(), ref, false)
	if err != nil {
		t.Fatal(err)
	}
	return view.State.Status
}

func TestAContainerLivesAndDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create(t, "web", nil)
	if got := w.status(t, "web"); got != core.StatusCreated {
		t.Fatalf("after create: %s", got)
	}
	wait, err := w.Lifecycle.Wait(t.Context(), "web", "next-exit")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Lifecycle.Start(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if err := w.Lifecycle.Start(t.Context(), "web"); !errdefs.IsNotModified(err) {
		t.Fatalf("a second start: %v, want not modified", err)
	}
	w.runtime.End(id, 7)
	if result := <-wait; result.Code != 7 || result.Err != nil {
		t.Fatalf("wait gave %+v", result)
	}
	view, err := w.Containers.Inspect(t.Context(), id.Short(), true)
	if err != nil {
		t.Fatal(err)
	}
	if view.State.Status != core.StatusExited || view.State.ExitCode != 7 || view.State.PID != 0 || view.SizeRoot != 2 {
		t.Fatalf("after the end: %+v", view.State)
	}
	if err := w.Containers.Remove(t.Context(), "web", core.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Containers.Inspect(t.Context(), "web", false); !errdefs.IsNotFound(err) || err.Error() != "No such container: web" {
		t.Fatalf("after remove: %v", err)
	}
	if left, _ := w.layers.List(t.Context()); len(left) != 0 {
		t.Fatalf("layers left: %v", left)
	}
}

func TestAStartThatFailsIsUndoneInReverse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "web", nil)
	w.calls.Fail("runtime start", enginetest.ErrPlanted)
	before := len(w.calls.List())
	err := w.Lifecycle.Start(t.Context(), "web")
	if !errors.Is(err, enginetest.ErrPlanted) {
		t.Fatalf("start: %v", err)
	}
	got := strings.Join(w.calls.List()[before:], ", ")
	want := "layer mounts, sandbox open, runtime start, runtime delete, sandbox close, record save"
	if got != want {
		t.Errorf("calls\n got %s\nwant %s", got, want)
	}
	view, err := w.Containers.Inspect(t.Context(), "web", false)
	if err != nil {
		t.Fatal(err)
	}
	if view.State.Status != core.StatusCreated || view.State.ExitCode != 128 || view.State.Error == "" {
		t.Errorf("state after the failure: %+v", view.State)
	}
	w.calls.Fail("runtime start", nil)
	if err := w.Lifecycle.Start(t.Context(), "web"); err != nil {
		t.Errorf("a start after a failed one: %v", err)
	}
}

func TestACreateThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.calls.Fail("record save", enginetest.ErrPlanted)
	request := core.CreateRequest{Name: "web", Config: core.Config{Image: "busybox", Volumes: map[string]struct{}{"/data": {}}}}
	if _, _, err := w.Containers.Create(t.Context(), request); !errors.Is(err, enginetest.ErrPlanted) {
		t.Fatalf("create: %v", err)
	}
	if left, _ := w.layers.List(t.Context()); len(left) != 0 {
		t.Errorf("layers left: %v", left)
	}
	volumes, err := w.Volumes.List(t.Context(), nil)
	if err != nil || len(volumes) != 0 {
		t.Errorf("volumes left: %v, %v", volumes, err)
	}
	w.calls.Fail("record save", nil)
	w.create(t, "web", nil) // the name is free again
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runtime.Deaf = true
	w.create(t, "web", nil)
	if err := w.Lifecycle.Start(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	zero := 0
	if err := w.Lifecycle.Stop(t.Context(), "web", core.StopOptions{Timeout: &zero}); err != nil {
		t.Fatal(err)
	}
	view, err := w.Containers.Inspect(t.Context(), "web", false)
	if err != nil || view.State.ExitCode != 137 {
		t.Fatalf("exit code %d, %v", view.State.ExitCode, err)
	}
	calls := w.calls.List()
	if !slices.Contains(calls, "runtime signal 15") || !slices.Contains(calls, "runtime signal 9") {
		t.Errorf("signals: %v", calls)
	}
}

func TestAContainerWithRemoveIsGoneWhenItsWaiterKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create(t, "once", func(r *core.CreateRequest) { r.Host.AutoRemove = true })
	wait, err := w.Lifecycle.Wait(t.Context(), "once", "removed")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Lifecycle.Start(t.Context(), "once"); err != nil {
		t.Fatal(err)
	}
	w.runtime.End(id, 3)
	if result := <-wait; result.Code != 3 {
		t.Fatalf("wait gave %+v", result)
	}
	if _, err := w.Containers.Inspect(t.Context(), "once", false); !errdefs.IsNotFound(err) {
		t.Fatalf("it is still there: %v", err)
	}
	for _, ref := range []string{"once", string(id)} { // too late by a moment
		late, err := w.Lifecycle.Wait(t.Context(), ref, "")
		if err != nil {
			t.Fatal(err)
		}
		if result := <-late; result.Code != 3 {
			t.Errorf("a wait that comes too late gave %+v", result)
		}
	}
	if _, err := w.Lifecycle.Wait(t.Context(), "never", ""); !errdefs.IsNotFound(err) {
		t.Errorf("a wait for what never was: %v", err)
	}
}

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create(t, "web", nil)
	_, _, err := w.Containers.Create(t.Context(), core.CreateRequest{Name: "web", Config: core.Config{Image: "busybox"}})
	want := `Conflict. The container name "/web" is already in use by container "` + string(id) + `". You have to remove (or rename) that container to be able to reuse that name.`
	if !errdefs.IsConflict(err) || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		policy core.RestartPolicy
		code   int
		want   core.Status
	}{
		{"no policy stays down", core.RestartPolicy{}, 1, core.StatusExited},
		{"on-failure stays down after success", core.RestartPolicy{Name: "on-failure"}, 0, core.StatusExited},
		{"on-failure comes back after failure", core.RestartPolicy{Name: "on-failure"}, 1, core.StatusRunning},
		{"always comes back after success", core.RestartPolicy{Name: "always"}, 0, core.StatusRunning},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.create(t, "web", func(r *core.CreateRequest) { r.Host.RestartPolicy = test.policy })
			events, err := w.System.Events(t.Context(), time.Now(), time.Time{}, core.Filters{"event": {"start", "die"}})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Lifecycle.Start(t.Context(), "web"); err != nil {
				t.Fatal(err)
			}
			w.runtime.End(id, test.code)
			wantEvents := []string{"start", "die"}
			if test.want == core.StatusRunning {
				wantEvents = append(wantEvents, "start")
			}
			for _, want := range wantEvents {
				if got := <-events; got.Action != want {
					t.Fatalf("event %s, want %s", got.Action, want)
				}
			}
			if got := w.status(t, "web"); got != test.want {
				t.Errorf("status %s, want %s", got, test.want)
			}
			zero := 0
			if err := w.Lifecycle.Stop(t.Context(), "web", core.StopOptions{Timeout: &zero}); err != nil && !errdefs.IsNotModified(err) {
				t.Fatal(err)
			}
			if got := w.status(t, "web"); got != core.StatusExited {
				t.Errorf("after stop: %s", got)
			}
		})
	}
}

func TestADaemonThatComesBackKnowsWhatHappened(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	lives := first.create(t, "lives", nil)
	died := first.create(t, "died", nil)
	lost := first.create(t, "lost", nil)
	never := first.create(t, "never", nil)
	for _, name := range []string{"lives", "died", "lost"} {
		if err := first.Lifecycle.Start(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	second := boot(t, first.calls, first.records, first.layers, []core.Adopted{
		{Container: lives, PID: 4711},
		{Container: died, Exit: &core.ExitStatus{Code: 9}},
		{Container: "stranger", PID: 5},
	})
	for _, want := range []struct {
		id     core.ContainerID
		status core.Status
		code   int
	}{
		{lives, core.StatusRunning, 0}, {died, core.StatusExited, 9}, {lost, core.StatusExited, 255}, {never, core.StatusCreated, 0},
	} {
		view, err := second.Containers.Inspect(t.Context(), string(want.id), false)
		if err != nil {
			t.Fatal(err)
		}
		if view.State.Status != want.status || view.State.ExitCode != want.code {
			t.Errorf("%s: %s (%d), want %s (%d)", view.Name, view.State.Status, view.State.ExitCode, want.status, want.code)
		}
	}
	if len(second.sandboxes.Restored) != 1 || second.sandboxes.Restored[0].PID != 4711 {
		t.Errorf("sandboxes restored: %+v", second.sandboxes.Restored)
	}
	wait, err := second.Lifecycle.Wait(t.Context(), "lives", "")
	if err != nil {
		t.Fatal(err)
	}
	second.runtime.End(lives, 0)
	if result := <-wait; result.Code != 0 {
		t.Errorf("the adopted container ended with %+v", result)
	}
}
