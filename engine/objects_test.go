package engine_test

import (
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func TestWhatAContainerNeedsStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "web", func(r *core.CreateRequest) { r.Host.Binds = []string{"data:/data", "/logs"} })
	if err := w.Volumes.Remove(t.Context(), "data", true); !errdefs.IsConflict(err) {
		t.Errorf("a volume in use was removed: %v", err)
	}
	if err := w.Lifecycle.Start(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"busybox", "sha256:1111"} {
		if _, err := w.Images.Remove(t.Context(), ref, ref == "sha256:1111", false); !errdefs.IsConflict(err) {
			t.Errorf("the image of a running container was removed by %s: %v", ref, err)
		}
	}
	if pruned, err := w.Containers.Prune(t.Context(), nil); err != nil || len(pruned.Deleted) != 0 {
		t.Errorf("pruned %v, %v", pruned.Deleted, err)
	}
	if err := w.Containers.Remove(t.Context(), "web", core.RemoveOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("a running container was removed: %v", err)
	}
	if err := w.Containers.Remove(t.Context(), "web", core.RemoveOptions{Force: true, Volumes: true}); err != nil {
		t.Fatal(err)
	}
	volumes, err := w.Volumes.List(t.Context(), nil)
	if err != nil || len(volumes) != 1 || volumes[0].Name != "data" {
		t.Errorf("volumes after rm -v: %v, %v", volumes, err)
	}
	if err := w.Volumes.Remove(t.Context(), "data", false); err != nil {
		t.Error(err)
	}
	if err := w.Volumes.Remove(t.Context(), "data", true); err != nil {
		t.Errorf("a forced removal of what is not there: %v", err)
	}
}

func TestNetworksOfAContainerChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "web", nil)
	if err := w.Networks.Remove(t.Context(), "bridge"); !errdefs.IsPermissionDenied(err) {
		t.Errorf("the default network was removed: %v", err)
	}
	if err := w.Networks.Connect(t.Context(), "back", "web", core.Endpoint{Aliases: []string{"www"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Networks.Connect(t.Context(), "back", "web", core.Endpoint{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("connected twice: %v", err)
	}
	if err := w.Networks.Connect(t.Context(), "missing", "web", core.Endpoint{}); !errdefs.IsNotFound(err) {
		t.Errorf("connected to nothing: %v", err)
	}
	view, err := w.Containers.Inspect(t.Context(), "web", false)
	if err != nil || view.Endpoints["back"] == nil || view.Endpoints["back"].Aliases[0] != "www" {
		t.Fatalf("endpoints %v, %v", view.Endpoints, err)
	}
	if err := w.Networks.Disconnect(t.Context(), "back", "web", false); err != nil {
		t.Fatal(err)
	}
	if err := w.Networks.Disconnect(t.Context(), "back", "web", false); !errdefs.IsPermissionDenied(err) {
		t.Errorf("disconnected twice: %v", err)
	}
}

func TestEventsAreReplayedThenFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	w.create(t, "one", nil)
	events, err := w.System.Events(t.Context(), began, time.Time{}, core.Filters{"type": {"container"}, "event": {"create"}})
	if err != nil {
		t.Fatal(err)
	}
	w.create(t, "two", nil)
	for _, want := range []string{"one", "two"} {
		if got := <-events; got.Attributes["name"] != want {
			t.Errorf("event of %q, want %q", got.Attributes["name"], want)
		}
	}
	past, err := w.System.Events(t.Context(), began, time.Now(), core.Filters{"event": {"create"}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range past {
		n++
	}
	if n != 2 {
		t.Errorf("%d events until now, want 2", n)
	}
}
