package devices_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/runtime/devices"
)

const described = `{"cdiVersion": "0.6.0", "kind": "%s", "devices": [
	{"name": "0", "containerEdits": {"env": ["ZERO=1"]}}, {"name": "1", "containerEdits": {"env": ["ONE=1"]}},
	{"name": "all", "containerEdits": {"env": ["ALL=1"], "mounts": [{"hostPath": "/etc", "containerPath": "/card"}]}}
]}`

func folder(t *testing.T, kinds ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, kind := range kinds {
		name := strings.ReplaceAll(kind, "/", "-") + ".json"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Replace(described, "%s", kind, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDevicesAreFoundByName(t *testing.T) {
	t.Parallel()
	gpu := [][]string{{"gpu"}}
	for _, test := range []struct {
		name    string
		kinds   []string
		request core.DeviceRequest
		env     string // of the container
		err     string
	}{
		{"a device of a vendor", []string{"vendor.com/card"}, core.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"vendor.com/card=1"}}, "ONE=1", ""},
		{"all GPUs", []string{"nvidia.com/gpu"}, core.DeviceRequest{Count: -1, Capabilities: gpu}, "ALL=1", ""},
		{"two GPUs", []string{"nvidia.com/gpu"}, core.DeviceRequest{Count: 2, Capabilities: gpu}, "ZERO=1 ONE=1", ""},
		{"a GPU by number", []string{"amd.com/gpu"}, core.DeviceRequest{DeviceIDs: []string{"1"}, Capabilities: gpu}, "ONE=1", ""},
		{"a GPU by its whole name", []string{"amd.com/gpu"}, core.DeviceRequest{DeviceIDs: []string{"amd.com/gpu=0"}, Capabilities: gpu}, "ZERO=1", ""},
		{"a GPU of a driver", []string{"nvidia.com/gpu", "amd.com/gpu"}, core.DeviceRequest{Driver: "amd", Count: 1}, "ZERO=1", ""},
		{"none", nil, core.DeviceRequest{Count: -1, Capabilities: gpu}, "", `could not select device driver "" with capabilities: [[gpu]]`},
		{"a GPU that can cook", []string{"nvidia.com/gpu"}, core.DeviceRequest{Count: 1, Capabilities: [][]string{{"gpu", "cook"}}}, "", `could not select device driver "" with capabilities: [[gpu cook]]`},
		{"a driver that nobody knows", []string{"nvidia.com/gpu"}, core.DeviceRequest{Driver: "luck"}, "", `could not select device driver "luck" with capabilities: []`},
		{"a device that nobody described", []string{"vendor.com/card"}, core.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"vendor.com/card=7"}}, "", "CDI device injection failed: unresolvable CDI devices vendor.com/card=7"},
		{"a number of devices by name", nil, core.DeviceRequest{Driver: "cdi", Count: 1}, "", "unexpected count in CDI device request"},
		{"options of devices by name", nil, core.DeviceRequest{Driver: "cdi", Options: map[string]string{"a": "b"}}, "", "unexpected options in CDI device request"},
		{"a number and names", []string{"nvidia.com/gpu"}, core.DeviceRequest{Count: 1, DeviceIDs: []string{"0"}, Capabilities: gpu}, "", "cannot set both Count and DeviceIDs on device request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spec := &specs.Spec{Process: &specs.Process{}}
			err := devices.Inject([]string{folder(t, test.kinds...)}, spec, []core.DeviceRequest{test.request})
			if test.err != "" {
				if !errdefs.IsInvalidArgument(err) || err.Error() != test.err {
					t.Errorf("got  %v\nwant %s", err, test.err)
				}
				return
			}
			if err != nil || !slices.Equal(spec.Process.Env, strings.Fields(test.env)) {
				t.Errorf("%q %v, want %s", spec.Process.Env, err, test.env)
			}
		})
	}
	if err := devices.Inject(nil, nil, []core.DeviceRequest{{Driver: "cdi"}}); err == nil || err.Error() != `could not select device driver "cdi" with capabilities: []` {
		t.Errorf("with the feature off: %v", err)
	}
}
