package engine_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/berth-engine/berth/core"
)

func TestPublishedPortsOfAContainerChangeOrStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	http := core.Port{Number: 80, Protocol: core.TCP}
	w.create(t, "web", func(r *core.CreateRequest) {
		r.Host.PortBindings = map[core.Port][]core.PortBinding{http: {{HostPort: "8080"}}}
	})
	change := func(come, gone string) error {
		_, err := w.Containers.Update(t.Context(), "web", core.UpdateRequest{
			Publish:   map[core.Port][]core.PortBinding{http: {{HostPort: come}}},
			Unpublish: map[core.Port][]core.PortBinding{http: {{HostPort: gone}}},
		})
		return err
	}
	expect := func(what, bindings, published string) {
		t.Helper()
		all, err := w.records.All(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		view, err := w.Containers.Inspect(t.Context(), "web", false)
		if err != nil {
			t.Fatal(err)
		}
		for where, c := range map[string]*core.Container{"record": all[0], "view": view.Container} {
			if got := fmt.Sprint(c.Host.PortBindings[http]); got != bindings {
				t.Errorf("%s: bindings in the %s: %s, want %s", what, where, got, bindings)
			}
			if got := fmt.Sprint(c.Published); got != published {
				t.Errorf("%s: published in the %s: %s, want %s", what, where, got, published)
			}
		}
	}
	if err := change("8081", "8080"); err != nil {
		t.Fatal(err)
	}
	expect("before it runs", "[{invalid IP 8081}]", "[]")
	if err := w.Lifecycle.Start(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if err := change("8082", "8081"); err != nil {
		t.Fatal(err)
	}
	running := "[{80/tcp invalid IP 8082}]"
	expect("while it runs", "[{invalid IP 8082}]", running)
	if err := change("8083", "8081"); err == nil {
		t.Error("a binding that is not there was unpublished")
	}
	expect("after nonsense", "[{invalid IP 8082}]", running)
	// The disk is full: what the network organ did is undone.
	w.calls.Fail("record save", errors.New("no space left"))
	if err := change("8083", "8082"); err == nil {
		t.Error("the change was not recorded, and nobody was told")
	}
	w.calls.Fail("record save", nil)
	expect("after a full disk", "[{invalid IP 8082}]", running)
	w.calls.Fail("sandbox publish", errors.New("port is already allocated"))
	if err := change("8083", "8082"); err == nil {
		t.Error("a port that is taken was published")
	}
	expect("after a port that is taken", "[{invalid IP 8082}]", running)
}
