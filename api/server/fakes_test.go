package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// journal is what all fakes share: what they were asked, and the error that they answer with.
type journal struct {
	mu    sync.Mutex
	calls []string
	err   error
	fatal any // a value to panic with

	attach  func(hijack core.Hijack) error
	wait    chan core.WaitResult
	lines   []core.LogLine
	follow  chan core.LogLine
	tty     bool
	steps   []core.Progress
	content string
	events  chan core.Event
	samples chan core.StatsSample
	view    core.ContainerView
}

func (j *journal) note(format string, args ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, fmt.Sprintf(format, args...))
	if j.fatal != nil {
		panic(j.fatal)
	}
	return j.err
}

func (j *journal) last() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.calls) == 0 {
		return ""
	}
	return j.calls[len(j.calls)-1]
}

type (
	fakeContainers struct{ *journal }
	fakeLifecycle  struct{ *journal }
	fakeConsoles   struct{ *journal }
	fakeExecs      struct{ *journal }
	fakeFiles      struct{ *journal }
	fakeImages     struct{ *journal }
	fakeTransfers  struct{ *journal }
	fakeNetworks   struct{ *journal }
	fakeVolumes    struct{ *journal }
	fakeCopies     struct{ *journal }
	fakeBuilds     struct{ *journal }
	fakeSystem     struct{ *journal }
)

func (f fakeContainers) Create(_ context.Context, r core.CreateRequest) (core.ContainerID, []string, error) {
	return "c1", []string{"careful"}, f.note("create %q image=%s cmd=%q platform=%s net=%s", r.Name, r.Config.Image, r.Config.Cmd, r.Platform, r.Host.NetworkMode)
}

func (f fakeContainers) Inspect(_ context.Context, ref string, size bool) (core.ContainerView, error) {
	return f.view, f.note("inspect %s size=%t", ref, size)
}

func (f fakeContainers) List(_ context.Context, o core.ContainerListOptions) ([]core.ContainerView, error) {
	return nil, f.note("list all=%t limit=%d size=%t filters=%v", o.All, o.Limit, o.Size, o.Filters)
}

func (f fakeContainers) Rename(_ context.Context, ref, name string) error {
	return f.note("rename %s %s", ref, name)
}

func (f fakeContainers) Remove(_ context.Context, ref string, o core.RemoveOptions) error {
	return f.note("remove %s %+v", ref, o)
}

func (f fakeContainers) Prune(_ context.Context, filters core.Filters) (core.Pruned, error) {
	return core.Pruned{Deleted: []string{"c1"}, Reclaimed: 7}, f.note("prune %v", filters)
}

func (f fakeContainers) Update(_ context.Context, ref string, r core.UpdateRequest) (core.UpdateResult, error) {
	if r.Ports() {
		return core.UpdateResult{Bindings: r.Publish}, f.note("update %s publish=%v unpublish=%v", ref, r.Publish, r.Unpublish)
	}
	return core.UpdateResult{}, f.note("update %s memory=%d policy=%v", ref, r.Resources.Memory, r.Policy)
}

func (f fakeLifecycle) Start(_ context.Context, ref string) error { return f.note("start %s", ref) }

func (f fakeLifecycle) Stop(_ context.Context, ref string, o core.StopOptions) error {
	return f.note("stop %s signal=%q timeout=%s", ref, o.Signal, pointed(o.Timeout))
}

func (f fakeLifecycle) Restart(_ context.Context, ref string, o core.StopOptions) error {
	return f.note("restart %s signal=%q timeout=%s", ref, o.Signal, pointed(o.Timeout))
}

func (f fakeLifecycle) Kill(_ context.Context, ref, signal string) error {
	return f.note("kill %s %s", ref, signal)
}

func (f fakeLifecycle) Pause(_ context.Context, ref string) error   { return f.note("pause %s", ref) }
func (f fakeLifecycle) Unpause(_ context.Context, ref string) error { return f.note("unpause %s", ref) }

func (f fakeLifecycle) Wait(_ context.Context, ref, condition string) (<-chan core.WaitResult, error) {
	return f.wait, f.note("wait %s %s", ref, condition)
}

func pointed(n *int) string {
	if n == nil {
		return "default"
	}
	return fmt.Sprint(*n)
}

func (f fakeConsoles) Attach(_ context.Context, ref string, o core.AttachOptions, hijack core.Hijack) error {
	if err := f.note("attach %s %+v", ref, o); err != nil {
		return err
	}
	return f.attach(hijack)
}

func (f fakeConsoles) Resize(_ context.Context, ref string, h, w uint) error {
	return f.note("resize %s %d %d", ref, h, w)
}

func (f fakeConsoles) Logs(_ context.Context, ref string, o core.LogOptions) (core.LogReader, bool, error) {
	err := f.note("logs %s tail=%d follow=%t since=%d until=%d", ref, o.Tail, o.Follow, o.Since.UnixNano(), o.Until.UnixNano())
	return &fakeLog{lines: f.lines, follow: f.follow}, f.tty, err
}

func (f fakeConsoles) Top(_ context.Context, ref, args string) ([]string, [][]string, error) {
	return []string{"PID"}, [][]string{{"1"}}, f.note("top %s %q", ref, args)
}

func (f fakeConsoles) Stats(_ context.Context, ref string) (core.StatsSample, error) {
	return <-f.samples, f.note("stats %s", ref)
}

type fakeLog struct {
	lines  []core.LogLine
	follow chan core.LogLine
}

func (l *fakeLog) Next() (core.LogLine, error) {
	if len(l.lines) > 0 {
		line := l.lines[0]
		l.lines = l.lines[1:]
		return line, nil
	}
	if line, ok := <-l.follow; ok {
		return line, nil
	}
	return core.LogLine{}, io.EOF
}

func (l *fakeLog) Buffered() bool { return len(l.lines) > 0 }

func (l *fakeLog) Close() error { return nil }

func (f fakeExecs) Create(_ context.Context, container string, s core.ExecSpec) (core.ExecID, error) {
	return "e1", f.note("exec %s %q tty=%t", container, s.Cmd, s.Tty)
}

func (f fakeExecs) Start(_ context.Context, id string, o core.ExecStartOptions, hijack core.Hijack) error {
	if err := f.note("exec start %s %+v", id, o); err != nil || o.Detach {
		return err
	}
	return f.attach(hijack)
}

func (f fakeExecs) Inspect(_ context.Context, id string) (core.Exec, error) {
	return core.Exec{ID: core.ExecID(id), Spec: core.ExecSpec{Cmd: []string{"sh", "-c"}}}, f.note("exec inspect %s", id)
}

func (f fakeExecs) Resize(_ context.Context, id string, h, w uint) error {
	return f.note("exec resize %s %d %d", id, h, w)
}

func (f fakeFiles) Stat(_ context.Context, ref, path string) (core.PathStat, error) {
	return core.PathStat{Name: "f", Size: 3, Mode: 0o644}, f.note("stat %s %s", ref, path)
}

func (f fakeFiles) Archive(_ context.Context, ref, path string, head func(core.PathStat) (io.Writer, error), _ func()) error {
	if err := f.note("archive %s %s", ref, path); err != nil {
		return err
	}
	w, err := head(core.PathStat{Name: "f", Size: 3, Mode: 0o644})
	if err == nil {
		_, err = io.WriteString(w, "a tar")
	}
	return err
}

func (f fakeFiles) Extract(_ context.Context, ref, path string, o core.ExtractOptions, asUser bool, r io.Reader, _ func()) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return f.note("extract %s %s keep=%t user=%t %s", ref, path, o.KeepKinds, asUser, content)
}

func (f fakeFiles) Changes(_ context.Context, ref string) ([]core.Change, error) {
	return []core.Change{{Path: "/a", Kind: core.ChangeDelete}}, f.note("changes %s", ref)
}

func (f fakeFiles) Export(_ context.Context, ref string, w io.Writer, _ func()) error {
	if err := f.note("export %s", ref); err != nil {
		return err
	}
	_, err := io.WriteString(w, "a tar")
	return err
}

func (f fakeFiles) Commit(_ context.Context, r core.CommitRequest) (core.ImageID, error) {
	user := "the container's"
	if r.Config != nil {
		user = r.Config.User
	}
	return "sha256:abc", f.note("commit %s %s by %s: %s %q user=%s pause=%t", r.Container, r.Ref, r.Author, r.Comment, r.Changes, user, !r.NoPause)
}

func (f fakeImages) List(_ context.Context, o core.ImageListOptions) ([]core.ImageUsage, error) {
	return nil, f.note("images all=%t shared=%t filters=%v", o.All, o.SharedSize, o.Filters)
}

func (f fakeImages) Inspect(_ context.Context, ref string, p core.Platform) (core.Image, error) {
	return core.Image{}, f.note("image %s platform=%s", ref, p)
}

func (f fakeImages) History(_ context.Context, ref string, p core.Platform) ([]core.ImageHistory, error) {
	return nil, f.note("history %s platform=%s", ref, p)
}

func (f fakeImages) Tag(_ context.Context, source, target string) error {
	return f.note("tag %s %s", source, target)
}

func (f fakeImages) Remove(_ context.Context, ref string, force, prune bool) ([]core.ImageDelete, error) {
	return []core.ImageDelete{{Untagged: ref}}, f.note("rmi %s force=%t prune=%t", ref, force, prune)
}

func (f fakeImages) Prune(_ context.Context, filters core.Filters) (core.Pruned, error) {
	return core.Pruned{}, f.note("images prune %v", filters)
}

// work plays the steps of a long work.
func (j *journal) work(progress core.ProgressFunc) {
	for _, step := range j.steps {
		progress(step)
	}
}

func (f fakeTransfers) Pull(_ context.Context, ref string, p core.Platform, all bool, auth *core.RegistryAuth, progress core.ProgressFunc) error {
	f.work(progress)
	return f.note("pull %s platform=%s all=%t auth=%s", ref, p, all, user(auth))
}

func (f fakeTransfers) Push(_ context.Context, ref string, p core.Platform, auth *core.RegistryAuth, progress core.ProgressFunc) error {
	f.work(progress)
	return f.note("push %s platform=%s auth=%s", ref, p, user(auth))
}

func user(auth *core.RegistryAuth) string {
	if auth == nil {
		return "nobody"
	}
	return auth.Username + ":" + auth.Password
}

func (f fakeTransfers) Load(_ context.Context, r io.Reader, p core.Platform, quiet bool, progress core.ProgressFunc) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	f.work(progress)
	return f.note("load %s platform=%s quiet=%t", content, p, quiet)
}

func (f fakeTransfers) Save(_ context.Context, refs []string, p core.Platform, w io.Writer) error {
	if _, err := io.WriteString(w, f.content); err != nil && f.content != "" {
		return err
	}
	return f.note("save %v platform=%s", refs, p)
}

func (f fakeTransfers) Import(_ context.Context, r io.Reader, o core.ImportRequest) (core.ImageID, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	return "sha256:abc", f.note("import %s %+v", content, o)
}

func (f fakeTransfers) Login(_ context.Context, auth core.RegistryAuth) (string, string, error) {
	return "Login Succeeded", "token", f.note("login %s %s", auth.Username, auth.ServerAddress)
}

func (f fakeNetworks) List(_ context.Context, filters core.Filters) ([]core.NetworkView, error) {
	return nil, f.note("networks %v", filters)
}

func (f fakeNetworks) Inspect(_ context.Context, ref string) (core.NetworkView, error) {
	return core.NetworkView{}, f.note("network %s", ref)
}

func (f fakeNetworks) Create(_ context.Context, n core.Network) (core.NetworkID, error) {
	return "n1", f.note("network create %s %s v4=%t v6=%t pools=%d", n.Name, n.Driver, n.EnableIPv4, n.EnableIPv6, len(n.IPAM.Pools))
}

func (f fakeNetworks) Remove(_ context.Context, ref string) error {
	return f.note("network rm %s", ref)
}

func (f fakeNetworks) Update(_ context.Context, ref string, update core.NetworkUpdate) error {
	return f.note("network update %s %v", ref, update)
}

func (f fakeNetworks) Connect(_ context.Context, ref, container string, e core.Endpoint) error {
	return f.note("connect %s %s %v %s", ref, container, e.Aliases, e.IPv4)
}

func (f fakeNetworks) Disconnect(_ context.Context, ref, container string, force bool) error {
	return f.note("disconnect %s %s %t", ref, container, force)
}

func (f fakeNetworks) Prune(_ context.Context, filters core.Filters) (core.Pruned, error) {
	return core.Pruned{}, f.note("networks prune %v", filters)
}

func (f fakeVolumes) List(_ context.Context, filters core.Filters) ([]core.Volume, error) {
	return nil, f.note("volumes %v", filters)
}

func (f fakeVolumes) Inspect(_ context.Context, name string) (core.Volume, error) {
	return core.Volume{Name: name}, f.note("volume %s", name)
}

func (f fakeVolumes) Create(_ context.Context, v core.Volume) (core.Volume, error) {
	return v, f.note("volume create %s %s %v %v", v.Name, v.Driver, v.Options, v.Labels)
}

func (f fakeVolumes) Remove(_ context.Context, name string, force bool) error {
	return f.note("volume rm %s %t", name, force)
}

func (f fakeVolumes) Prune(_ context.Context, filters core.Filters) (core.Pruned, error) {
	return core.Pruned{}, f.note("volumes prune %v", filters)
}

func (f fakeCopies) Export(_ context.Context, name, tag, format string, _ io.Writer) error {
	return f.note("export %s tag=%s %s", name, tag, format)
}

func (f fakeCopies) Import(_ context.Context, name string, r io.Reader, replace bool) (core.Volume, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return core.Volume{}, err
	}
	return core.Volume{Name: name}, f.note("import %s %s %t", name, content, replace)
}

func (f fakeCopies) Clone(_ context.Context, name, tag, as string, pause bool, progress core.ProgressFunc) (core.Volume, error) {
	progress(core.Progress{ID: as, Status: "Copying", Current: 1, Total: 2})
	return core.Volume{Name: as}, f.note("clone %s tag=%s %s %t", name, tag, as, pause)
}

func (f fakeCopies) Rename(_ context.Context, name, as string) error {
	return f.note("volume rename %s %s", name, as)
}

func (f fakeCopies) Snapshot(_ context.Context, name, tag string, pause bool, _ core.ProgressFunc) (core.VolumeSnapshot, error) {
	return core.VolumeSnapshot{Tag: tag}, f.note("snapshot %s %s %t", name, tag, pause)
}

func (f fakeCopies) Snapshots(_ context.Context, name string) ([]core.VolumeSnapshot, error) {
	return nil, f.note("snapshots %s", name)
}

func (f fakeCopies) Rollback(_ context.Context, name, tag string, _ core.ProgressFunc) error {
	return f.note("rollback %s %s", name, tag)
}

func (f fakeCopies) RemoveSnapshot(_ context.Context, name, tag string) error {
	return f.note("snapshot rm %s %s", name, tag)
}

func (f fakeBuilds) Build(_ context.Context, r io.Reader, o core.BuildOptions, progress core.ProgressFunc) (core.ImageID, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	f.work(progress)
	return "sha256:abc", f.note("build %s tags=%v target=%s nocache=%t args=%d auth=%d", content, o.Tags, o.Target, o.NoCache, len(o.BuildArgs), len(o.Auth))
}

func (f fakeBuilds) Cancel(_ context.Context, id string) error { return f.note("build cancel %s", id) }

func (f fakeBuilds) Usage(context.Context) ([]core.BuildCacheRecord, error) {
	return nil, f.note("usage")
}

func (f fakeBuilds) Prune(_ context.Context, all bool, keep int64, filters core.Filters) (core.Pruned, error) {
	return core.Pruned{}, f.note("build prune all=%t keep=%d %v", all, keep, filters)
}

func (f fakeBuilds) ServeGRPC(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "grpc") }
func (f fakeBuilds) ServeSession(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "session")
}

func (f fakeSystem) Info(context.Context) (core.Info, error) {
	return core.Info{ID: "me"}, f.note("info")
}

func (f fakeSystem) DiskUsage(_ context.Context, types []string) (core.DiskUsage, error) {
	return core.DiskUsage{LayersSize: 5}, f.note("df %v", types)
}

func (f fakeSystem) Events(_ context.Context, since, until time.Time, filters core.Filters) (<-chan core.Event, error) {
	return f.events, f.note("events since=%d until=%d %v", since.UnixNano(), until.UnixNano(), filters)
}

// daemon is a server on fakes.
func daemon(t testing.TB) (*journal, *httptest.Server) {
	t.Helper()
	j := &journal{
		follow: make(chan core.LogLine), events: make(chan core.Event, 8), wait: make(chan core.WaitResult, 1),
		samples: make(chan core.StatsSample, 8),
		view:    core.ContainerView{Container: &core.Container{ID: "c1", Name: "web"}, SizeRw: -1, SizeRoot: -1},
	}
	close(j.follow)
	options := Options{
		Containers: fakeContainers{j}, Lifecycle: fakeLifecycle{j}, Consoles: fakeConsoles{j}, Execs: fakeExecs{j}, Files: fakeFiles{j},
		Images: fakeImages{j}, Transfers: fakeTransfers{j}, Networks: fakeNetworks{j}, Volumes: fakeVolumes{j}, VolumeCopies: fakeCopies{j},
		Builds: fakeBuilds{j}, System: fakeSystem{j},
		Build:  wire.Build{Version: "1.2.3"},
		Logger: slog.New(slog.DiscardHandler),
	}
	s := New(options)
	s.router = newRouter(routes(options, time.Millisecond))
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	return j, ts
}

// ask sends a request and reads the answer whole.
func ask(t *testing.T, ts *httptest.Server, method, path, body string, headers ...string) (int, string, http.Header) {
	t.Helper()
	request, err := http.NewRequest(method, ts.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := ts.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer), response.Header
}
