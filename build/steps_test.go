package build

import (
	"bytes"
	"context"
	"io"
	gofs "io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/berth-engine/berth/core"
)

func planOf(t *testing.T, dockerfile string, options core.BuildOptions) *plan {
	t.Helper()
	files, err := readTar(t.Context(), makeTar(t, map[string]string{"Dockerfile": dockerfile}), t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, files.Close()) })
	p, err := readPlan(files, options)
	must(t, err)
	return p
}

func TestStepsAreNumberedAsDockerDoes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, dockerfile, target string
		keys                     []string
	}{
		{"one stage", "FROM a\nENV X=1\nRUN x\nCOPY a b\n", "", []string{"stage-0 1", "", "stage-0 2", "stage-0 3"}},
		{"from scratch", "FROM scratch\nCOPY a b\nCMD x\n", "", []string{"", "stage-0 1", ""}},
		{"a stage on another", "FROM a AS x\nRUN x\nFROM x\nRUN y\n", "", []string{"x 1", "x 2", "", "stage-1 1"}},
		{"a stage nobody needs", "FROM a AS x\nRUN x\nFROM a\nRUN y\n", "", []string{"stage-1 1", "stage-1 2"}},
		{"a stage that is copied from", "ARG V\nFROM a AS x\nRUN x\nFROM a\nCOPY --from=x /a /a\n", "",
			[]string{"", "x 1", "x 2", "stage-1 1", "stage-1 2"}},
		{"a stage that is mounted", "FROM a AS x\nFROM a\nRUN --mount=from=x,target=/x y\n", "", []string{"x 1", "stage-1 1", "stage-1 2"}},
		{"a target by name", "FROM a AS x\nRUN x\nFROM x AS y\nRUN y\n", "X", []string{"x 1", "x 2"}},
		{"a target by number", "FROM a AS x\nRUN x\nFROM x AS y\nRUN y\n", "0", []string{"x 1", "x 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var keys []string
			for _, s := range planOf(t, test.dockerfile, core.BuildOptions{Target: test.target}).steps {
				keys = append(keys, s.key)
			}
			if !slices.Equal(keys, test.keys) {
				t.Errorf("the keys are %q, wanted %q", keys, test.keys)
			}
		})
	}
}

func TestBuiltinSyntaxNeedsNoRegistry(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]bool{
		"docker/dockerfile:1": true, "docker/dockerfile": true, "docker.io/docker/dockerfile:1.7": true, "docker/dockerfile:latest": true,
		"docker/dockerfile:1-labs": false, "docker/dockerfile-upstream:master": false, "me/frontend": false,
	} {
		if builtinSyntax(ref) != want {
			t.Errorf("builtinSyntax(%q) is not %v", ref, want)
		}
	}
	if p := planOf(t, "# syntax=me/frontend\nanything at all\n", core.BuildOptions{}); len(p.steps) != 0 || p.syntax != "" {
		t.Errorf("another language was understood as %+v", p)
	}
}

func TestVertexNamesNameSteps(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"[2/3] RUN x":                             "only 2",
		"[build  2/13] RUN x":                     "build 2",
		"[linux/amd64 2/3] RUN x":                 "only 2",
		"[linux/amd64 build 2/3] RUN x":           "build 2",
		"[linux/amd64->arm64 build 2/3] RUN x":    "build 2",
		"[internal] load build context":           "",
		"exporting to image":                      "",
		"[auth] library/busybox:pull token for x": "",
		"[": "",
	} {
		if got, _ := vertexKey(name, "only"); got != want {
			t.Errorf("vertexKey(%q) is %q, wanted %q", name, got, want)
		}
	}
}

// TestTranscriptKeepsTheOrderOfTheDockerfile lets two stages run at the same time.
func TestTranscriptKeepsTheOrderOfTheDockerfile(t *testing.T) {
	t.Parallel()
	p := planOf(t, "FROM a AS x\nRUN one\nFROM b\nRUN two\nCOPY --from=x /f /f\n", core.BuildOptions{})
	var out strings.Builder
	script := newTranscript(p, func(text string) { out.WriteString(text) })
	now := timestamppb.New(time.Unix(1, 0))
	vertex := func(digest, name string, done bool) *controlapi.StatusResponse {
		v := &controlapi.Vertex{Digest: "sha256:" + digest, Name: name, Started: now}
		if done {
			v.Completed = now
		}
		return &controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{v}}
	}
	log := func(digest, text string) *controlapi.StatusResponse {
		return &controlapi.StatusResponse{Logs: []*controlapi.VertexLog{{Vertex: "sha256:" + digest, Msg: []byte(text)}}}
	}
	for _, status := range []*controlapi.StatusResponse{
		vertex("b1", "[stage-1 1/3] FROM b", true),
		vertex("b2", "[stage-1 2/3] RUN two", false),
		log("b2", "two says\n"),
		vertex("a1", "[x 1/2] FROM a", true),
		vertex("a2", "[x 2/2] RUN one", false),
		log("a2", "one says\n"),
		vertex("b2", "[stage-1 2/3] RUN two", true),
		vertex("a2", "[x 2/2] RUN one", true),
	} {
		script.status(status)
	}
	script.finish()
	want := "Step 1/5 : FROM a AS x\n ---> a1\nStep 2/5 : RUN one\none says\n ---> a2\n" +
		"Step 3/5 : FROM b\n ---> b1\nStep 4/5 : RUN two\ntwo says\n ---> b2\nStep 5/5 : COPY --from=x /f /f\n ---> Using cache\n"
	if out.String() != want {
		t.Errorf("the transcript is\n%s\nwanted\n%s", out.String(), want)
	}
}

func TestTarFSWalksInOrder(t *testing.T) {
	t.Parallel()
	files, err := readTar(t.Context(), makeTar(t, map[string]string{
		"b/x": "1", "a.txt": "2", "a/y": "3", "/abs": "4", "./dot/z": "5", "a/sub/w": "6",
	}), t.TempDir())
	must(t, err)
	defer files.Close()
	collect := func(target string) (names []string) {
		must(t, files.Walk(context.Background(), target, func(path string, entry gofs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if path == "a/sub" {
				return gofs.SkipDir
			}
			names = append(names, path)
			return nil
		}))
		return names
	}
	if got, want := collect("/"), []string{"a", "a/y", "a.txt", "abs", "b", "b/x", "dot", "dot/z"}; !slices.Equal(got, want) {
		t.Errorf("the walk gave %q, wanted %q", got, want)
	}
	if got, want := collect("a"), []string{"a", "a/y"}; !slices.Equal(got, want) {
		t.Errorf("the walk of a folder gave %q, wanted %q", got, want)
	}
}

func TestPruneFilters(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name    string
		filters core.Filters
		keep    time.Duration
		filter  string
		err     string
	}{
		{name: "none"},
		{name: "a duration", filters: core.Filters{"until": {"24h"}}, keep: 24 * time.Hour},
		{name: "a moment", filters: core.Filters{"until": {"2026-01-01T00:00:00Z"}}, keep: 24 * time.Hour},
		{name: "a UNIX time", filters: core.Filters{"unused-for": {"1767225600"}}, keep: 24 * time.Hour},
		{name: "nonsense", filters: core.Filters{"until": {"soon"}}, err: `"until" filter expects a duration`},
		{name: "two values", filters: core.Filters{"until": {"1h", "2h"}}, err: "filters expect only one value"},
		{name: "a type", filters: core.Filters{"type": {"regular"}}, filter: "type==regular"},
		{name: "an ID", filters: core.Filters{"id": {"abc"}}, filter: "id~=abc"},
		{name: "unknown", filters: core.Filters{"x": {"y"}}, err: "invalid filter 'x'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var request controlapi.PruneRequest
			err := translate(test.filters, &request, now)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("the error is %v, wanted %q", err, test.err)
				}
				return
			}
			must(t, err)
			if time.Duration(request.KeepDuration) != test.keep || strings.Join(request.Filter, " ") != test.filter {
				t.Errorf("the request is %v", &request)
			}
		})
	}
}

func TestProvenanceThatNobodyAskedForIsLeftOut(t *testing.T) {
	t.Parallel()
	byItself := "mode=min,inline-only=true"
	for name, test := range map[string]struct {
		asked     string
		exporters []*controlapi.Exporter
		stays     bool
	}{
		"an image of buildx's default":  {byItself, []*controlapi.Exporter{{Type: exporterMoby}}, false},
		"one that was asked for":        {"mode=min", []*controlapi.Exporter{{Type: exporterMoby}}, true},
		"an image that is pushed":       {byItself, []*controlapi.Exporter{{Type: "image", Attrs: map[string]string{"push": "true"}}}, true},
		"an image, and a file of it":    {byItself, []*controlapi.Exporter{{Type: exporterMoby}, {Type: "oci"}}, true},
		"nothing but what is in caches": {byItself, nil, true},
	} {
		r := &controlapi.SolveRequest{FrontendAttrs: map[string]string{"attest:provenance": test.asked, "target": "x"}, Exporters: test.exporters}
		leaveUnsaid(r)
		if _, stays := r.FrontendAttrs["attest:provenance"]; stays != test.stays || r.FrontendAttrs["target"] != "x" {
			t.Errorf("%s: %v", name, r.FrontendAttrs)
		}
	}
}

// FuzzContext reads contexts and the Dockerfiles in them: none may make the daemon panic, and what is refused is the
// client's mistake.
func FuzzContext(f *testing.F) {
	for _, seed := range []map[string]string{
		{"Dockerfile": "FROM a AS b\nARG x=1\nRUN --mount=type=cache,target=/c <<END\nx\nEND\nFROM b\nCOPY --from=b . ."},
		{"dockerfile": "# syntax=docker/dockerfile:1\nFROM scratch\nONBUILD RUN x"}, {"Dockerfile": "# escape=`\nFROM x`\n"}, {"other": ""},
	} {
		content, err := io.ReadAll(makeTar(f, seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, "")
		f.Add(content[:len(content)/2], "b")
	}
	f.Add([]byte{0x1f, 0x8b, 8, 0}, "")
	f.Add([]byte("BZh9"), "")
	f.Add([]byte("\xfd7zXZ\x00"), "0")
	f.Fuzz(func(t *testing.T, content []byte, target string) {
		files, err := readTar(t.Context(), bytes.NewReader(content), t.TempDir())
		if err != nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("the context: %v", err)
			}
			return
		}
		defer files.Close()
		if _, err := readPlan(files, core.BuildOptions{Target: target}); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("the Dockerfile: %v", err)
		}
	})
}
