package wire

import (
	"encoding/base64"
	"net/url"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func TestVersions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		ok   bool
		err  string
	}{
		{"1.40", true, ""},
		{"1.56", true, ""},
		{"1.39", true, "client version 1.39 is too old. Minimum supported API version is 1.40, please upgrade your client to a newer version"},
		{"1.57", true, "client version 1.57 is too new. Maximum supported API version is 1.56"},
		{"0.9", true, "client version 0.9 is too old. Minimum supported API version is 1.40, please upgrade your client to a newer version"},
		{"1", false, ""},
		{"", false, ""},
		{"1.", false, ""},
		{"1.4x", false, ""},
		{"-1.44", false, ""},
		{"1.44.1", false, ""},
		{"99999999999999999999.1", false, ""},
	}
	for _, test := range tests {
		v, ok := ParseVersion(test.text)
		if ok != test.ok {
			t.Errorf("%q: ok is %t", test.text, ok)
		}
		if !ok {
			continue
		}
		if err := v.Check(); text(err) != test.err {
			t.Errorf("%q: %v", test.text, err)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestPlatforms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want core.Platform
		err  string
	}{
		{"", core.Platform{}, ""},
		{"linux/amd64", core.Platform{OS: "linux", Architecture: "amd64"}, ""},
		{"linux/arm64/v8", core.Platform{OS: "linux", Architecture: "arm64"}, ""},
		{"linux/arm/7", core.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, ""},
		{"LINUX/x86_64", core.Platform{OS: "linux", Architecture: "amd64"}, ""},
		{"aarch64", core.Platform{OS: "linux", Architecture: "arm64"}, ""},
		{"linux", core.Platform{OS: "linux", Architecture: runtime.GOARCH}, ""},
		{"windows(10.0.17763)/amd64", core.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763"}, ""},
		{"linux/a b", core.Platform{}, `"a b" is an invalid component of "linux/a b": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument`},
		{"/", core.Platform{}, `"" is an invalid component of "/": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument`},
	}
	for _, test := range tests {
		got, err := ParsePlatform(test.text)
		if got != test.want || text(err) != test.err {
			t.Errorf("%q: %+v, %v", test.text, got, err)
		}
	}
	if p, err := DecodePlatform(`{"os":"linux","architecture":"arm64","variant":"v8"}`); err != nil || p != (core.Platform{OS: "linux", Architecture: "arm64"}) {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"{", `{"os":"linux"}`, `{"variant":"v8"}`, `[]`, `{"os":1}`} {
		if _, err := DecodePlatform(bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want time.Time
		bad  bool
	}{
		{"", time.Time{}, false},
		{"0", time.Time{}, false},
		{"1700000000", time.Unix(1700000000, 0), false},
		{"1700000000.5", time.Unix(1700000000, 500_000_000), false},
		{"1700000000.000000001", time.Unix(1700000000, 1), false},
		{"1700000000.1234567891", time.Unix(1700000000, 123_456_789), false},
		{"2026-01-02T03:04:05Z", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), false},
		{"soon", time.Time{}, true},
		{"1.x", time.Time{}, true},
		{"99999999999999", time.Time{}, true},
	}
	for _, test := range tests {
		got, err := DecodeTime(test.text)
		if !got.Equal(test.want) || (err != nil) != test.bad {
			t.Errorf("%q: %v, %v", test.text, got, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	const document = `{"username":"me","password":"s~~?crét"}`
	want := core.RegistryAuth{Username: "me", Password: "s~~?crét"}
	for _, encoding := range []*base64.Encoding{base64.URLEncoding, base64.RawURLEncoding, base64.StdEncoding, base64.RawStdEncoding} {
		if got := DecodeAuth(encoding.EncodeToString([]byte(document))); got == nil || *got != want {
			t.Errorf("got %+v", got)
		}
	}
	joined := base64.URLEncoding.EncodeToString([]byte(`{"auth":"` + base64.StdEncoding.EncodeToString([]byte("me:s~~?crét")) + `"}`))
	if got := DecodeAuth(joined); got == nil || *got != want {
		t.Errorf("joined: %+v", got)
	}
	for _, nothing := range []string{"", "e30=", "not base64 at all!", base64.URLEncoding.EncodeToString([]byte("{"))} {
		if got := DecodeAuth(nothing); got != nil {
			t.Errorf("%q: %+v", nothing, got)
		}
	}
	several := base64.URLEncoding.EncodeToString([]byte(`{"a":` + document + `}`))
	if got := DecodeAuths(several); len(got) != 1 || got["a"] != want {
		t.Errorf("several: %+v", got)
	}
}

func TestCreateGivesOldClientsWhatTheyExpect(t *testing.T) {
	t.Parallel()
	const mac = "02:42:ac:11:00:02"
	tests := []struct {
		name, body string
		version    int
		check      func(core.CreateRequest) bool
		warning    string
		err        string
	}{
		{"a MAC address of the container moves to its network", `{"Image":"a","MacAddress":"` + mac + `"}`, 43,
			func(r core.CreateRequest) bool { return r.Endpoints["bridge"].WantMAC.String() == mac }, "", ""},
		{"since 1.44 with a warning", `{"Image":"a","MacAddress":"` + mac + `"}`, 44,
			func(r core.CreateRequest) bool { return r.Endpoints["bridge"].WantMAC.String() == mac },
			"The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.", ""},
		{"since 1.52 not at all", `{"Image":"a","MacAddress":"` + mac + `"}`, 52,
			func(r core.CreateRequest) bool { return r.Endpoints == nil }, "", ""},
		{"a MAC address that fits no network", `{"Image":"a","MacAddress":"` + mac + `","HostConfig":{"NetworkMode":"host"}}`, 43, nil, "", "conflicting options: mac-address and the network mode"},
		{"two MAC addresses", `{"Image":"a","MacAddress":"` + mac + `","NetworkingConfig":{"EndpointsConfig":{"bridge":{"MacAddress":"02:00:00:00:00:01"}}}}`, 44, nil, "", "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty"},
		{"the default network has a name", `{"Image":"a","HostConfig":{"NetworkMode":"default"},"NetworkingConfig":{"EndpointsConfig":{"default":{"Aliases":["x"]}}}}`, 56,
			func(r core.CreateRequest) bool {
				return r.Host.NetworkMode == "bridge" && r.Endpoints["bridge"].Aliases[0] == "x"
			}, "", ""},
		{"a network that is null", `{"Image":"a","NetworkingConfig":{"EndpointsConfig":{"back":null}}}`, 56,
			func(r core.CreateRequest) bool { return r.Endpoints["back"] != nil }, "", ""},
		{"several networks, before they could be", `{"Image":"a","NetworkingConfig":{"EndpointsConfig":{"b":{},"a":{}}}}`, 43, nil, "", "Container cannot be created with multiple network endpoints: a, b"},
		{"an empty list of bindings means any port", `{"Image":"a","HostConfig":{"PortBindings":{"80/tcp":[]}}}`, 51,
			func(r core.CreateRequest) bool {
				return len(r.Host.PortBindings[core.Port{Number: 80, Protocol: core.TCP}]) == 1
			}, "", ""},
		{"then with a warning", `{"Image":"a","HostConfig":{"PortBindings":{"80/tcp":[]}}}`, 52,
			func(r core.CreateRequest) bool { return len(r.Host.PortBindings) == 1 },
			"Following container port(s) have an empty list of port-bindings: 80/tcp. Starting with API 1.53, such bindings will be discarded.", ""},
		{"then nothing", `{"Image":"a","HostConfig":{"PortBindings":{"80/tcp":[]}}}`, 53,
			func(r core.CreateRequest) bool { return len(r.Host.PortBindings) == 0 }, "", ""},
		{"read-only binds were not recursive", `{"Image":"a","HostConfig":{"Mounts":[{"Type":"bind","ReadOnly":true}]}}`, 43,
			func(r core.CreateRequest) bool { return r.Host.MountSpecs[0].Bind.ReadOnlyNonRecursive }, "", ""},
		{"an image mount, before there were any", `{"Image":"a","HostConfig":{"Mounts":[{"Type":"image"}]}}`, 47, nil, "", `Mount type "Image" needs API v1.48 or newer`},
		{"a subpath, before there were any", `{"Image":"a","HostConfig":{"Mounts":[{"Type":"volume","VolumeOptions":{"Subpath":"x"}}]}}`, 44, nil, "", "VolumeOptions.Subpath needs API v1.45 or newer"},
		{"limits that are none", `{"Image":"a","HostConfig":{"PidsLimit":-1,"MemorySwappiness":-1}}`, 56,
			func(r core.CreateRequest) bool { return r.Host.PidsLimit == nil && r.Host.MemorySwappiness == nil }, "", ""},
		{"null among the limits", `{"Image":"a","HostConfig":{"Ulimits":[null,{"Name":"nofile","Soft":1,"Hard":2}],"BlkioWeightDevice":[null]}}`, 56,
			func(r core.CreateRequest) bool { return len(r.Host.Ulimits) == 1 && len(r.Host.BlkioWeightDevice) == 0 }, "", ""},
		{"a command alone", `{"Cmd":["sh"]}`, 56, func(r core.CreateRequest) bool { return r.Config.Cmd[0] == "sh" }, "", ""},
		{"an entrypoint in one word", `{"Image":"a","Entrypoint":"sh"}`, 56, func(r core.CreateRequest) bool { return reflect.DeepEqual(r.Config.Entrypoint, []string{"sh"}) }, "", ""},
		{"no masked paths", `{"Image":"a","HostConfig":{"MaskedPaths":[],"ReadonlyPaths":null}}`, 56,
			func(r core.CreateRequest) bool { return r.Host.MaskedPaths != nil && r.Host.ReadonlyPaths == nil }, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			request, warnings, err := DecodeCreate([]byte(test.body), Version{1, test.version})
			if text(err) != test.err || strings.Join(warnings, "\n") != test.warning {
				t.Fatalf("error %v, warnings %q", err, warnings)
			}
			if test.check != nil && !test.check(request) {
				t.Errorf("got %+v", request)
			}
		})
	}
}

func TestUptimeIsSaidInDockersWords(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	tests := []struct {
		want  string
		state core.State
	}{
		{"Created", core.State{Status: core.StatusCreated}},
		{"Up Less than a second", core.State{Status: core.StatusRunning, StartedAt: now}},
		{"Up 1 second", core.State{Status: core.StatusRunning, StartedAt: ago(time.Second)}},
		{"Up About a minute", core.State{Status: core.StatusRunning, StartedAt: ago(90 * time.Second)}},
		{"Up 59 minutes", core.State{Status: core.StatusRunning, StartedAt: ago(59*time.Minute + 59*time.Second)}},
		{"Up About an hour (Paused)", core.State{Status: core.StatusPaused, StartedAt: ago(time.Hour)}},
		{"Up 47 hours (health: starting)", core.State{Status: core.StatusRunning, StartedAt: ago(47 * time.Hour), Health: &core.Health{Status: core.HealthStarting}}},
		{"Up 13 days (unhealthy)", core.State{Status: core.StatusRunning, StartedAt: ago(13 * 24 * time.Hour), Health: &core.Health{Status: core.HealthUnhealthy}}},
		{"Exited (137) 2 weeks ago", core.State{Status: core.StatusExited, ExitCode: 137, StartedAt: ago(900 * time.Hour), FinishedAt: ago(15 * 24 * time.Hour)}},
		{"Exited (0) 3 months ago", core.State{Status: core.StatusExited, StartedAt: ago(9000 * time.Hour), FinishedAt: ago(100 * 24 * time.Hour)}},
		{"Exited (0) 2 years ago", core.State{Status: core.StatusExited, StartedAt: ago(90000 * time.Hour), FinishedAt: ago(800 * 24 * time.Hour)}},
		{"Restarting (1) 2 seconds ago", core.State{Status: core.StatusRestarting, ExitCode: 1, FinishedAt: ago(2 * time.Second)}},
		{"Removal In Progress", core.State{Status: core.StatusRemoving}},
		{"Dead", core.State{Status: core.StatusDead}},
	}
	for _, test := range tests {
		if got := uptime(&test.state, now); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// FuzzDecoders feeds every decoder: none may panic, and what it refuses is the client's mistake.
func FuzzDecoders(f *testing.F) {
	for _, seed := range []string{
		"", "null", "{}", "[]", `"x"`, "0", "{", `{"Image":1}`, `{"Cmd":{}}`, `{"Cmd":"a","HostConfig":null}`,
		`{"Image":"a","HostConfig":{"PortBindings":{"80/tcp":null},"Mounts":[{}],"Ulimits":[null]},"NetworkingConfig":{"EndpointsConfig":{"x":null}}}`,
		`{"Name":"n","IPAM":{"Config":[{"Subnet":"10.0.0.0/8","Gateway":"::1"}]}}`, `{"Container":"c","EndpointConfig":null}`,
		`{"label":{"a":true}}`, `{"label":["a"]}`, "1.5", "linux/arm64/v8", "1e9", "-1.-1", "eyJ1c2VybmFtZSI6Im1lIn0=",
		"t=a&ulimits=[null]&buildargs={}", `{"auth":"Og=="}`, `{"ClusterVolumeSpec":{}}`, `{"Detach":1}`, `{"MacAddress":"zz","Image":"a"}`,
	} {
		f.Add(seed, uint8(4))
	}
	f.Fuzz(func(t *testing.T, s string, minor uint8) {
		version := Version{1, 40 + int(minor)%17}
		body := []byte(s)
		var errs []error
		note := func(err error) { errs = append(errs, err) }
		_, _, err := DecodeCreate(body, version)
		note(err)
		_, err = DecodeUpdate(body, version)
		note(err)
		_, err = DecodeExec(body, version)
		note(err)
		_, err = DecodeExecStart(body, version)
		note(err)
		_, err = DecodeNetwork(body, version)
		note(err)
		_, _, err = DecodeConnect(body, version)
		note(err)
		_, _, err = DecodeDisconnect(body)
		note(err)
		_, err = DecodeVolume(body)
		note(err)
		_, err = DecodeLogin(body)
		note(err)
		_, err = DecodeFilters(s)
		note(err)
		_, err = ParsePlatform(s)
		note(err)
		_, err = DecodePlatform(s)
		note(err)
		_, err = DecodeTime(s)
		note(err)
		if query, err := url.ParseQuery(s); err == nil {
			_, err = DecodeBuild(query)
			note(err)
		}
		DecodeAuth(s)
		DecodeAuths(s)
		for _, err := range errs {
			if err != nil && !errdefs.IsInvalidArgument(err) && !errdefs.IsNotImplemented(err) {
				t.Errorf("%q: %v is our fault", s, err)
			}
		}
	})
}
