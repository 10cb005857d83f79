package peer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want Config
		fail string
	}{
		"a name that says it all":      {"name=podman", Config{Name: "podman", Kind: Podman, CLI: "podman"}, ""},
		"docker gets its usual socket": {"name=docker", Config{Name: "docker", Kind: Docker, CLI: "docker", Host: "unix:///var/run/docker.sock"}, ""},
		"everything": {`name=d,kind=docker,cli=/bin/docker,host=unix:///a.sock,pid=/a.pid,prefix="sh -c ""x, y",env.A=b=c`,
			Config{Name: "d", Kind: Docker, CLI: "/bin/docker", Host: "unix:///a.sock", PidFile: "/a.pid", Prefix: "sh -c x, y", Env: map[string]string{"A": "b=c"}}, ""},
		"a bare runtime":       {"name=crun", Config{Name: "crun", Kind: Bare, CLI: "crun"}, ""},
		"no kind":              {"name=other", Config{}, "kind must be"},
		"no name":              {"kind=docker", Config{}, "no name"},
		"an unknown key":       {"name=docker,colour=red", Config{}, `unknown key "colour"`},
		"no value":             {"name", Config{}, "is not key=value"},
		"an open quotation":    {`name=docker,prefix="x`, Config{}, "not closed"},
		"an empty environment": {"name=docker,env.=x", Config{}, "unknown key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse(test.text)
			if test.fail != "" {
				if err == nil || !strings.Contains(err.Error(), test.fail) {
					t.Fatalf("got %v, want an error with %q", err, test.fail)
				}
				return
			}
			if test.want.Env == nil {
				test.want.Env = map[string]string{}
			}
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestLoadReadsAFileOfPeers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "peers.json")
	if err := os.WriteFile(path, []byte(`[{"name":"podman"},{"name":"b","kind":"berth","host":"unix:///b.sock"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := Load(path)
	if err != nil || len(list) != 2 || list[0].Kind != Podman || list[1].CLI != "berth" {
		t.Errorf("got %+v, %v", list, err)
	}
	if err := os.WriteFile(path, []byte(`{`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file: %v", err)
	}
}

func TestInstalledNamesAllThatAMachineMayHave(t *testing.T) {
	t.Parallel()
	var names []string
	for _, p := range Installed() {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "docker podman runc crun" {
		t.Errorf("got %q", got)
	}
}

func TestMissingToleratesAPrefix(t *testing.T) {
	t.Parallel()
	if (Config{CLI: "/nonexistent/x"}).Missing() == "" {
		t.Error("a command that does not exist is not missing")
	}
	if (Config{CLI: "/nonexistent/x", Prefix: "sh"}).Missing() != "" {
		t.Error("a command behind a prefix can't be looked for before")
	}
}

func TestEditSpecMakesItRunTrueOnTheRootfs(t *testing.T) {
	t.Parallel()
	for network, want := range map[string]int{"none": 2, "host": 1} {
		path := filepath.Join(t.TempDir(), "config.json")
		text := `{"ociVersion":"1.0.2","process":{"terminal":true,"args":["sh"],"cwd":"/"},"root":{"path":"rootfs","readonly":true},"linux":{"namespaces":[{"type":"pid"},{"type":"network"}],"maskedPaths":["/proc/kcore"]}}`
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := editSpec(path, "/rootfs", network); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var spec struct {
			Version string `json:"ociVersion"`
			Process struct {
				Terminal bool     `json:"terminal"`
				Args     []string `json:"args"`
				Cwd      string   `json:"cwd"`
			} `json:"process"`
			Root  struct{ Path string } `json:"root"`
			Linux struct {
				Namespaces  []map[string]string `json:"namespaces"`
				MaskedPaths []string            `json:"maskedPaths"`
			} `json:"linux"`
		}
		if err := json.Unmarshal(data, &spec); err != nil {
			t.Fatal(err)
		}
		if spec.Version != "1.0.2" || spec.Process.Terminal || strings.Join(spec.Process.Args, " ") != "/bin/true" || spec.Process.Cwd != "/" ||
			spec.Root.Path != "/rootfs" || len(spec.Linux.Namespaces) != want || len(spec.Linux.MaskedPaths) != 1 {
			t.Errorf("%s: got %s", network, data)
		}
	}
}

func TestLastLinesFitIntoACell(t *testing.T) {
	t.Parallel()
	if got := LastLines("a\nb\nc\nd\n"); got != "b / c / d" {
		t.Errorf("got %q", got)
	}
	if got := LastLines(strings.Repeat("x", 1000)); len(got) != 400 {
		t.Errorf("got %d bytes", len(got))
	}
}
