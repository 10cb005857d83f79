package define_test

import (
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

func TestTheUsersWordsLieOnTopOfTheImages(t *testing.T) {
	t.Parallel()
	image := core.Config{
		Env: []string{"PATH=/bin", "A=image"}, Cmd: []string{"serve"}, Entrypoint: []string{"/entry"},
		WorkingDir: "/srv", User: "www", Labels: map[string]string{"a": "1", "b": "2"}, StopSignal: "SIGQUIT",
		ExposedPorts: []core.Port{{Number: 80, Protocol: core.TCP}},
		Healthcheck:  &core.Healthcheck{Test: []string{"CMD", "check"}, Interval: time.Second},
	}
	for _, test := range []struct {
		name string
		user core.Config
		path string
		args []string
	}{
		{"nothing said: the image's entrypoint and command", core.Config{}, "/entry", []string{"serve"}},
		{"a command replaces the image's command", core.Config{Cmd: []string{"x"}}, "/entry", []string{"x"}},
		{"an entrypoint drops the image's command", core.Config{Entrypoint: []string{"/mine"}}, "/mine", nil},
		{"an empty entrypoint takes the image's away", core.Config{Entrypoint: []string{""}, Cmd: []string{"sh"}}, "sh", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			merged := define.Config(test.user, image)
			path, args, err := define.Command(&merged)
			if err != nil || path != test.path || !slices.Equal(args, test.args) {
				t.Errorf("got %q %q %v, want %q %q", path, args, err, test.path, test.args)
			}
		})
	}
	merged := define.Config(core.Config{
		Env: []string{"A=user"}, Labels: map[string]string{"a": "user"}, Healthcheck: &core.Healthcheck{Retries: 9},
	}, image)
	if want := []string{"A=user", "PATH=/bin"}; !slices.Equal(merged.Env, want) {
		t.Errorf("environment %q, want %q", merged.Env, want)
	}
	if diff := cmp.Diff(map[string]string{"a": "user", "b": "2"}, merged.Labels); diff != "" {
		t.Error(diff)
	}
	if h := merged.Healthcheck; h.Retries != 9 || h.Interval != time.Second || len(h.Test) != 2 {
		t.Errorf("health check %+v", h)
	}
	if image.Labels["a"] != "1" {
		t.Error("the image was written to")
	}
}

func TestBinds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		spec string
		want core.Mount
		err  string
	}{
		{spec: "/data", want: core.Mount{Type: core.MountVolume, Destination: "/data", RW: true}},
		{spec: "db:/data", want: core.Mount{Type: core.MountVolume, Name: "db", Destination: "/data", RW: true}},
		{spec: "/src:/dst:ro", want: core.Mount{Type: core.MountBind, Source: "/src", Destination: "/dst", Mode: "ro", Propagation: "rprivate"}},
		{spec: "/src/../a:/dst/", want: core.Mount{Type: core.MountBind, Source: "/a", Destination: "/dst", RW: true, Propagation: "rprivate"}},
		{spec: "/src:/dst:rw,rshared", want: core.Mount{Type: core.MountBind, Source: "/src", Destination: "/dst", Mode: "rw,rshared", RW: true, Propagation: "rshared"}},
		{spec: "db:/data:nocopy", want: core.Mount{Type: core.MountVolume, Name: "db", Destination: "/data", Mode: "nocopy", RW: true, NoCopy: true}},
		{spec: "", err: "invalid volume specification: ''"},
		{spec: "/a:/b:ro:x", err: "invalid volume specification: '/a:/b:ro:x'"},
		{spec: ":/b", err: "invalid volume specification: ':/b'"},
		{spec: "/a:/", err: "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"},
		{spec: "/a:/b:maybe", err: "invalid mode: maybe"},
		{spec: "/a:/b:nocopy", err: `invalid volume specification: '/a:/b:nocopy': invalid mount config for type "bind": field VolumeOptions must not be specified`},
		{spec: "db:/b:rshared", err: `invalid volume specification: 'db:/b:rshared': invalid mount config for type "volume": field BindOptions must not be specified`},
		{spec: "/a:/b:ro,rw", err: "invalid mode: ro,rw"},
		{spec: "/a:ro", err: "invalid volume specification: '/a:ro'"},
		{spec: "db:here", err: `invalid volume specification: 'db:here': invalid mount config for type "volume": invalid mount path: 'here' mount path must be absolute`},
	} {
		t.Run(test.spec, func(t *testing.T) {
			t.Parallel()
			got, err := define.Bind(test.spec)
			if test.err != "" {
				if !errdefs.IsInvalidArgument(err) || err.Error() != test.err {
					t.Errorf("error %v\nwant  %s", err, test.err)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	c := &core.Container{Config: core.Config{Hostname: "web", Tty: true, Env: []string{"PATH=/mine", "TERM", "A=b=c", "EMPTY=", "ALONE"}}}
	want := []string{"PATH=/mine", "HOSTNAME=web", "A=b=c", "EMPTY="}
	if got := define.Environment(c); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNetworksOfADefinition(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode  string
		asked []string
		want  []string
	}{
		{"default", nil, []string{"bridge"}},
		{"bridge", nil, []string{"bridge"}},
		{"none", nil, []string{"none"}},
		{"host", nil, []string{"host"}},
		{"back", nil, []string{"back"}},
		{"back", []string{"back", "front"}, []string{"back", "front"}},
		{"container:x", nil, nil},
	} {
		c := &core.Container{Host: core.HostConfig{NetworkMode: test.mode}, Endpoints: map[string]*core.Endpoint{}}
		for _, name := range test.asked {
			c.Endpoints[name] = nil
		}
		if err := define.Endpoints(c); err != nil {
			t.Errorf("%s: %v", test.mode, err)
		}
		var got []string
		for name, e := range c.Endpoints {
			if e == nil {
				t.Errorf("%s: endpoint %s is nil", test.mode, name)
			}
			got = append(got, name)
		}
		if slices.Sort(got); !slices.Equal(got, test.want) {
			t.Errorf("%s %q: got %q, want %q", test.mode, test.asked, got, test.want)
		}
	}
}
