package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"

	"github.com/berth-engine/berth/core"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is when the golden files were asked for.
var now = time.Unix(1_800_000_000, 0).UTC()

func goldenView() core.ContainerView {
	c := filled[core.Container]()
	c.ID, c.Name, c.Dir = "0123456789abcdef", "web", "/var/lib/berth/containers/0123456789abcdef"
	c.Config.ExposedPorts = []core.Port{{Number: 53, Protocol: core.UDP}, {Number: 80, Protocol: core.TCP}}
	c.Published = []core.PublishedPort{{Port: core.Port{Number: 80, Protocol: core.TCP}, HostIP: c.Published[0].HostIP, HostPort: 8080}}
	c.Host.PortBindings = map[core.Port][]core.PortBinding{{Number: 80, Protocol: core.TCP}: {{HostPort: "8080"}}}
	c.State.Status, c.State.StartedAt = core.StatusRunning, now.Add(-3*time.Minute)
	c.Host.NetworkMode, c.Host.LogConfig.Type = "bridge", "json-file"
	c.Endpoints = map[string]*core.Endpoint{"bridge": c.Endpoints["a key"], "back": {NetworkID: "n2"}}
	return core.ContainerView{Container: &c, ExecIDs: []core.ExecID{"e1"}, SizeRw: 100, SizeRoot: 2000, ImageName: "busybox", Image: goldenImage().Image}
}

func goldenImage() core.ImageUsage {
	img := filled[core.ImageUsage]()
	img.Config = core.Config{Env: []string{"A=b"}, Cmd: []string{"sh"}, ExposedPorts: []core.Port{{Number: 80, Protocol: core.TCP}}}
	return img
}

// The golden files show an answer whole in the newest version, and what differs, step by step, in older ones.
func TestAnswersAreShownAsEachVersionDoes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer func(Version) any
		shape  any // moby's type: the newest answer must fit into it
	}{
		{"container-inspect", func(v Version) any { return ContainerInspect(goldenView(), v) }, &container.InspectResponse{}},
		{"container-list", func(v Version) any { return ContainerList([]core.ContainerView{goldenView()}, v, now) }, &[]container.Summary{}},
		{"container-stats", func(v Version) any {
			return ContainerStats(filled[core.StatsSample](), filled[core.StatsSample](), v)
		}, &container.StatsResponse{}},
		{"exec-inspect", func(Version) any {
			e := filled[core.Exec]()
			e.Running = false
			return ExecInspect(e)
		}, &container.ExecInspectResponse{}},
		{"image-inspect", func(v Version) any { return ImageInspect(goldenImage().Image, v, false) }, nil}, // Parent is Docker's own addition
		{"image-list", func(v Version) any { return ImageList([]core.ImageUsage{goldenImage(), {}}, v, false) }, &[]image.Summary{}},
		{"image-list-manifests", func(v Version) any { return ImageList([]core.ImageUsage{goldenImage()}, v, true) }, &[]image.Summary{}},
		{"image-history", func(Version) any { return ImageHistory([]core.ImageHistory{filled[core.ImageHistory](), {}}) }, &[]image.HistoryResponseItem{}},
		{"network-inspect", func(v Version) any { return NetworkInspect(filled[core.NetworkView](), v) }, &inspectedNetwork{}},
		{"network-list", func(v Version) any { return NetworkList([]core.NetworkView{filled[core.NetworkView](), {}}, v) }, &[]network.Summary{}},
		{"volume-list", func(Version) any { return VolumeList([]core.Volume{filled[core.Volume](), {}}) }, &volume.ListResponse{}},
		{"event", func(v Version) any { shape, _ := Event(filled[core.Event](), v); return shape }, &events.Message{}},
		{"event-container", func(v Version) any {
			shape, _ := Event(core.Event{Type: "container", Action: "start", ID: "c1", Attributes: map[string]string{"image": "busybox"}, Time: now}, v)
			return shape
		}, &events.Message{}},
		{"info", func(v Version) any { return Info(filled[core.Info](), Build{Version: "1.2.3"}, v, now) }, &system.Info{}},
		{"disk-usage", func(v Version) any {
			return DiskUsage(goldenUsage(), []string{UsageImages, UsageContainers, UsageVolumes, UsageBuildCache}, false, true, v, now)
		}, &system.DiskUsage{}},
		{"disk-usage-verbose", func(v Version) any {
			return DiskUsage(goldenUsage(), []string{UsageVolumes, UsageBuildCache}, true, false, v, now)
		}, &system.DiskUsage{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var text bytes.Buffer
			newer := flat(t, test.answer(MaxVersion))
			fmt.Fprintf(&text, "== %s\n", MaxVersion)
			for _, path := range slices.Sorted(maps.Keys(newer)) {
				fmt.Fprintf(&text, "%s = %s\n", path, newer[path])
			}
			for minor := MaxVersion.Minor - 1; minor >= MinVersion.Minor; minor-- {
				older := flat(t, test.answer(Version{1, minor}))
				if changes := changes(older, newer); changes != "" {
					fmt.Fprintf(&text, "\n== up to 1.%d\n%s", minor, changes)
				}
				newer = older
			}
			compareGolden(t, test.name, text.Bytes())
			if test.shape != nil {
				data, err := json.Marshal(test.answer(MaxVersion))
				if err != nil {
					t.Fatal(err)
				}
				dec := json.NewDecoder(bytes.NewReader(data))
				dec.DisallowUnknownFields()
				if err := dec.Decode(test.shape); err != nil {
					t.Errorf("the answer is no %T: %v", test.shape, err)
				}
			}
		})
	}
}

func goldenUsage() core.DiskUsage {
	return core.DiskUsage{
		Images:     []core.ImageUsage{goldenImage()},
		Containers: []core.ContainerView{goldenView()},
		Volumes:    []core.VolumeUsage{filled[core.VolumeUsage](), {RefCount: -1, Size: -1}},
		BuildCache: []core.BuildCacheRecord{filled[core.BuildCacheRecord](), {ID: "unused", Size: 9}},
		LayersSize: 77,
	}
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run with -update and read the difference):\n%s", path, got)
	}
}

// flat lists every value of an answer by its path.
func flat(t *testing.T, answer any) map[string]string {
	t.Helper()
	data, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	flatten("", value, out)
	return out
}

func flatten(path string, value any, out map[string]string) {
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			flatten(path+"."+key, child, out)
		}
		if len(v) == 0 {
			out[path] = "{}"
		}
	case []any:
		for i, child := range v {
			flatten(path+"["+strconv.Itoa(i)+"]", child, out)
		}
		if len(v) == 0 {
			out[path] = "[]"
		}
	case string:
		out[path] = strconv.Quote(v)
	default:
		out[path] = fmt.Sprint(v)
	}
}

// changes lists what an older answer has more, less or otherwise.
func changes(older, newer map[string]string) string {
	var lines []string
	for path, value := range older {
		if newer[path] != value {
			lines = append(lines, path+" = "+value+"\n")
		}
	}
	for path := range newer {
		if _, ok := older[path]; !ok {
			lines = append(lines, path+" is missing\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
