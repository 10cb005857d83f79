package engine_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/object"
)

// copying is a volume organ that notes what it is asked for.
type copying struct {
	object.CopyPort
	note func(words ...string) error
}

func (c copying) Snapshot(_ context.Context, name, tag string, _ core.ProgressFunc) (core.VolumeSnapshot, error) {
	return core.VolumeSnapshot{Tag: tag}, c.note("snapshot", name, tag)
}

func (c copying) Rename(_ context.Context, name, as string) (core.Volume, error) {
	return core.Volume{Name: as}, c.note("rename", name, as)
}

func (c copying) Export(_ context.Context, name, _ string, w io.Writer) error {
	_, err := io.WriteString(w, "a tar")
	if err == nil {
		err = c.note("export", name)
	}
	return err
}

// verbs are the calls since the test began that say something of copies and pauses.
func verbs(w *world) []string {
	return slices.DeleteFunc(w.calls.List(), func(call string) bool {
		return !strings.HasPrefix(call, "runtime pause") && !strings.HasPrefix(call, "runtime resume") && !strings.HasPrefix(call, "snapshot") && !strings.HasPrefix(call, "rename")
	})
}

func TestOnlyWhoRunsAndHasTheVolumeIsPausedForASnapshot(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		pause bool
		fails bool
		want  []string
	}{
		{"paused meanwhile", true, false, []string{"runtime pause", "snapshot data one", "runtime resume"}},
		{"thawed after a failure, too", true, true, []string{"runtime pause", "snapshot data one", "runtime resume"}},
		{"not at all", false, false, []string{"snapshot data one"}},
	} {
		w := newWorld(t)
		with := func(volume string) func(*core.CreateRequest) {
			return func(r *core.CreateRequest) { r.Host.Binds = []string{volume + ":/data"} }
		}
		w.create(t, "user", with("data"))
		w.create(t, "stopped", with("data"))
		w.create(t, "other", with("else"))
		for _, name := range []string{"user", "other"} {
			if err := w.Lifecycle.Start(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		if test.fails {
			w.calls.Fail("snapshot data one", core.Internal("no room"))
		}
		copies := object.NewCopies(w.Volumes, copying{note: w.calls.Note}, w.Lifecycle, object.Packing{})
		_, err := copies.Snapshot(t.Context(), "data", "one", test.pause, nil)
		if (err != nil) != test.fails || !slices.Equal(verbs(w), test.want) {
			t.Errorf("%s: %q, %v", test.name, verbs(w), err)
		}
		if err := copies.Rename(t.Context(), "data", "new"); !errdefs.IsConflict(err) || !strings.HasPrefix(err.Error(), "rename data: volume is in use - [") {
			t.Errorf("a name that containers refer to was changed: %v", err)
		}
		if err := copies.Rename(t.Context(), "nothing", "new"); !errdefs.IsNotFound(err) {
			t.Errorf("nothing was renamed: %v", err)
		}
	}
}

// TestAPauseForACopyEndsWithTheDaemon and one of the user's stays.
func TestAPauseForACopyEndsWithTheDaemon(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		pause  func(w *world) error
		status core.Status
	}{
		{"for a copy", func(w *world) error { return w.Lifecycle.Freeze(t.Context(), "web") }, core.StatusRunning},
		{"by the user", func(w *world) error { return w.Lifecycle.Pause(t.Context(), "web") }, core.StatusPaused},
		{"by the user, after one for a copy", func(w *world) error {
			for _, do := range []func(context.Context, string) error{w.Lifecycle.Freeze, w.Lifecycle.Unpause, w.Lifecycle.Pause} {
				if err := do(t.Context(), "web"); err != nil {
					return err
				}
			}
			return nil
		}, core.StatusPaused},
	} {
		first := newWorld(t)
		id := first.create(t, "web", nil)
		if err := first.Lifecycle.Start(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		if err := test.pause(first); err != nil {
			t.Fatal(err)
		}
		second := boot(t, first.calls, first.records, first.layers, []core.Adopted{{Container: id, PID: 4711, Paused: true}})
		view, err := second.Containers.Inspect(t.Context(), "web", false)
		if err != nil || view.State.Status != test.status {
			t.Errorf("%s: it is %s, want %s (%v)", test.name, view.State.Status, test.status, err)
		}
	}
}

// slow is a compressor that holds back what it is given until it is closed.
type slow struct {
	bytes.Buffer
	to io.Writer
}

func (s *slow) Close() error {
	_, err := s.to.Write(s.Bytes())
	return err
}

func TestABrokenExportIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		w := newWorld(t)
		if _, err := w.Volumes.Create(t.Context(), core.Volume{Name: "data"}); err != nil {
			t.Fatal(err)
		}
		if fails {
			w.calls.Fail("export data", core.Internal("the disk is gone"))
		}
		copies := object.NewCopies(w.Volumes, copying{note: w.calls.Note}, w.Lifecycle, object.Packing{
			Compress: func(to io.Writer, _ string) (io.WriteCloser, error) { return &slow{to: to}, nil },
		})
		var out bytes.Buffer
		err := copies.Export(t.Context(), "data", "", "gzip", &out)
		if want := map[bool]string{false: "a tar", true: ""}[fails]; (err != nil) != fails || out.String() != want {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
}
