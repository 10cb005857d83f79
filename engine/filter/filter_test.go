package filter_test

import (
	"context"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/filter"
)

func never(ref string) (time.Time, error) { return time.Time{}, core.NoSuchContainer(ref) }

// stock has two images, one built on the other.
type stock struct{}

func (stock) Lookup(_ context.Context, ref string, _ core.Platform) (core.Image, error) {
	switch ref {
	case "debian":
		return core.Image{ID: "sha256:base", DiffIDs: []string{"a"}}, nil
	case "sha256:feed":
		return core.Image{ID: "sha256:feed", DiffIDs: []string{"a", "b"}}, nil
	case "stranger":
		return core.Image{ID: "sha256:other", DiffIDs: []string{"a", "c"}}, nil
	}
	return core.Image{}, core.NoSuchImage(ref)
}

func TestContainers(t *testing.T) {
	t.Parallel()
	web := &core.Container{
		ID: "abc123", Name: "web-1", ImageID: "sha256:feed",
		Config:    core.Config{Image: "nginx:latest", Labels: map[string]string{"tier": "front"}, ExposedPorts: []core.Port{{Number: 80, Protocol: core.TCP}}},
		Endpoints: map[string]*core.Endpoint{"back": {NetworkID: "net1"}},
		Mounts:    []core.Mount{{Type: core.MountVolume, Name: "data", Destination: "/data"}},
		Published: []core.PublishedPort{{Port: core.Port{Number: 80, Protocol: core.TCP}, HostPort: 8080}},
		State:     core.State{Status: core.StatusRunning, Health: &core.Health{Status: core.HealthHealthy}},
	}
	for _, test := range []struct {
		key, value string
		want       bool
	}{
		{"name", "web", true}, {"name", "^/web-1$", true}, {"name", "^web$", false}, {"name", "db", false},
		{"id", "abc", true}, {"id", "bc", false},
		{"label", "tier", true}, {"label", "tier=front", true}, {"label", "tier=back", false},
		{"status", "running", true}, {"status", "exited", false},
		{"health", "healthy", true}, {"health", "none", false},
		{"ancestor", "nginx", true}, {"ancestor", "nginx:latest", true}, {"ancestor", "feed", true}, {"ancestor", "redis", false}, {"ancestor", "debian", true}, {"ancestor", "stranger", false},
		{"network", "back", true}, {"network", "net1", true}, {"network", "front", false},
		{"volume", "data", true}, {"volume", "/data", true}, {"volume", "/other", false},
		{"publish", "8080", true}, {"publish", "8000-9000/tcp", true}, {"publish", "8080/udp", false}, {"publish", "80", false},
		{"expose", "80", true}, {"expose", "81", false},
		{"exited", "0", false}, {"is-task", "true", false}, {"is-task", "false", true},
	} {
		match, err := filter.Containers(t.Context(), core.ContainerListOptions{Filters: core.Filters{test.key: {test.value}}}, never, stock{})
		if err != nil {
			t.Errorf("%s=%s: %v", test.key, test.value, err)
			continue
		}
		if got := match(web); got != test.want {
			t.Errorf("%s=%s: %v, want %v", test.key, test.value, got, test.want)
		}
	}
	for _, bad := range []core.Filters{{"colour": {"red"}}, {"status": {"asleep"}}, {"exited": {"x"}}, {"health": {"odd"}}} {
		if _, err := filter.Containers(t.Context(), core.ContainerListOptions{Filters: bad}, never, stock{}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := filter.Containers(t.Context(), core.ContainerListOptions{Filters: core.Filters{"before": {"nobody"}}}, never, stock{}); !errdefs.IsNotFound(err) {
		t.Errorf("before a container that is not there: %v", err)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	event := core.Event{Type: "container", Action: "health_status: healthy", ID: "abc", Attributes: map[string]string{"name": "web", "image": "nginx", "tier": "front"}}
	// What happens to a network is no event of the container in it.
	connect := core.Event{Type: "network", Action: "connect", ID: "def", Attributes: map[string]string{"container": "abc"}}
	if filter.Event(connect, core.Filters{"container": {"abc"}}) {
		t.Error("the event of a network is taken for one of a container")
	}
	for _, test := range []struct {
		filters core.Filters
		want    bool
	}{
		{nil, true},
		{core.Filters{"event": {"health_status"}}, true},
		{core.Filters{"event": {"start", "health_status: healthy"}}, true},
		{core.Filters{"event": {"start"}}, false},
		{core.Filters{"type": {"container"}, "container": {"web"}}, true},
		{core.Filters{"type": {"image"}}, false},
		{core.Filters{"image": {"nginx"}}, true},
		{core.Filters{"label": {"tier=back"}}, false},
	} {
		if got := filter.Event(event, test.filters); got != test.want {
			t.Errorf("%v: %v, want %v", test.filters, got, test.want)
		}
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	match, err := filter.Prune(core.Filters{"until": {"1h"}, "label": {"a"}, "label!": {"keep"}})
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	for _, test := range []struct {
		created time.Time
		labels  map[string]string
		want    bool
	}{
		{old, map[string]string{"a": ""}, true},
		{time.Now(), map[string]string{"a": ""}, false},
		{old, nil, false},
		{old, map[string]string{"a": "", "keep": ""}, false},
	} {
		if got := match(test.created, test.labels); got != test.want {
			t.Errorf("%v: %v, want %v", test.labels, got, test.want)
		}
	}
}

// FuzzFilters makes conditions of whatever a client gives, and applies them: none may panic, and what is refused is the
// client's mistake.
func FuzzFilters(f *testing.F) {
	for _, seed := range [][2]string{
		{"name", "^/web"}, {"name", "(("}, {"name", "a{1000}{1000}"}, {"label", "=x"}, {"label!", "a=b"}, {"publish", "80-70/udp"}, {"expose", "0-99999/"}, {"until", "-1.5"},
		{"until", "1e300"}, {"exited", "99999999999999999999"}, {"ancestor", ":latest"}, {"ancestor", "@sha256:"}, {"before", ""}, {"health", "none"}, {"event", "exec_start: "}, {"container", "/"},
	} {
		f.Add(seed[0], seed[1], "")
	}
	c := &core.Container{
		ID: "abc123", Name: "web-1", ImageID: "sha256:feed", Published: []core.PublishedPort{{Port: core.Port{Number: 80, Protocol: core.TCP}, HostPort: 8080}},
		Config: core.Config{Image: "nginx:latest", Labels: map[string]string{"": "x"}, ExposedPorts: []core.Port{{Number: 80, Protocol: core.TCP}}},
	}
	f.Fuzz(func(t *testing.T, key, value, other string) {
		filters := core.Filters{key: {value}}
		if other != "" {
			filters[key] = append(filters[key], other)
		}
		match, err := filter.Containers(t.Context(), core.ContainerListOptions{All: true, Filters: filters}, never, stock{})
		if err == nil {
			match(c)
		} else if !errdefs.IsInvalidArgument(err) && !errdefs.IsNotFound(err) {
			t.Errorf("%s=%q,%q of a list: %v", key, value, other, err)
		}
		prune, err := filter.Prune(filters)
		if err == nil {
			prune(time.Now(), c.Config.Labels)
		} else if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s=%q,%q of a prune: %v", key, value, other, err)
		}
		if _, err := filter.Flag(filters, key, true); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s=%q,%q as a flag: %v", key, value, other, err)
		}
		filter.Event(core.Event{Type: "container", Action: "exec_start: sh", ID: "abc123", Attributes: map[string]string{"name": "web-1"}}, filters)
	})
}
