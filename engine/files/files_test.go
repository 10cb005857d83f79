package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

var errEnded = errors.New("ended")

// world is all that files stand on, made of memory.
type world struct {
	t     *testing.T
	files *Files

	mu    sync.Mutex // guards all below
	c     core.Container
	ended chan struct{}
	held  chan struct{} // has one token
	calls []string
	views int
	fail  error // of the next view

	pack func(ctx context.Context, w io.Writer) error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, ended: make(chan struct{}), held: make(chan struct{}, 1)}
	w.c = core.Container{ID: "c1", Name: "web", Dir: "/dir", State: core.State{Status: core.StatusExited}}
	w.files = New(Ports{
		Containers: w, Freezer: w, Layers: w, Images: w, Mounts: mounts{w}, Events: w, Logger: slog.New(slog.DiscardHandler),
		Open: w.open, Ended: func(err error) bool { return errors.Is(err, errEnded) },
		Decompress: func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil },
	})
	return w
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
}

func (w *world) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.calls, "; ")
}

func (w *world) Find(ref string) (*core.Container, <-chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ref != "web" && ref != "c1" {
		return nil, nil, core.NoSuchContainer(ref)
	}
	c := w.c
	return &c, w.ended, nil
}

func (w *world) Hold(_ context.Context, ref string) (*core.Container, func(), error) {
	c, _, err := w.Find(ref)
	if err != nil {
		return nil, nil, err
	}
	w.held <- struct{}{}
	return c, func() { <-w.held }, nil
}

func (w *world) Freeze(context.Context, string) error  { w.note("pause"); return nil }
func (w *world) Unpause(context.Context, string) error { w.note("unpause"); return nil }

func (w *world) Mounts(context.Context, core.ContainerID) ([]core.FSMount, error) {
	return []core.FSMount{{Type: "overlay"}}, nil
}

func (w *world) Changes(context.Context, core.ContainerID) ([]core.Change, error) {
	return []core.Change{{Path: "/x"}}, nil
}

func (w *world) Commit(_ context.Context, c core.Commit) (core.ImageID, error) {
	w.note("commit %s %s %s %q", c.ID, c.Image, c.Settings.User, c.CreatedBy)
	return "sha256:1", nil
}

func (w *world) Container(_ *core.Container, action string, more map[string]string) {
	w.note("event %s%s", action, more["imageRef"])
}

type mounts struct{ *world }

func (m mounts) Look(_ context.Context, c *core.Container) (list []core.FSMount, err error) {
	for _, mount := range c.Mounts {
		list = append(list, core.FSMount{Type: string(mount.Type), Source: "/from/" + mount.Name, Target: mount.Destination})
	}
	return list, nil
}

func (m mounts) LetGo(context.Context, *core.Container) error {
	m.note("let go")
	return nil
}

func (w *world) Volumes(_ *core.Container, action string) { w.note("%s", action) }

func (w *world) open(v core.FilesView) (View, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	targets := ""
	for _, m := range v.Mounts {
		targets += " " + m.Source + ">" + m.Target
	}
	w.calls = append(w.calls, fmt.Sprintf("open pid=%d root=%d%s", v.PID, len(v.Root), targets))
	if err := w.fail; err != nil {
		w.fail = nil
		// What the engine hears a moment later.
		w.c.State = core.State{Status: core.StatusExited}
		close(w.ended)
		return nil, err
	}
	w.views++
	if w.views > 1 {
		w.t.Error("two views of one container at the same time")
	}
	return &view{w}, nil
}

type view struct{ *world }

func (v *view) Stat(path string) (core.PathStat, error) {
	switch path {
	case "/none":
		return core.PathStat{}, &fs.PathError{Op: "lstat", Path: path, Err: syscall.ENOENT}
	case "/file/x":
		return core.PathStat{}, &fs.PathError{Op: "lstat", Path: path, Err: syscall.ENOTDIR}
	case "/file":
		return core.PathStat{Name: "file", Mode: 0o644}, nil
	}
	return core.PathStat{Name: path, Mode: fs.ModeDir | 0o755}, nil
}

func (v *view) Evaluate(path string) (string, error) {
	return strings.ReplaceAll(path, "/link", "/fixed"), nil
}

func (v *view) Pack(ctx context.Context, path string, w io.Writer) error {
	v.note("pack %s", path)
	if v.pack != nil {
		return v.pack(ctx, w)
	}
	return nil
}

func (v *view) Export(context.Context, io.Writer) error { v.note("export"); return nil }

func (v *view) Unpack(_ context.Context, folder string, _ io.Reader, o core.ExtractOptions) error {
	user := "none"
	if o.User != nil {
		user = *o.User
	}
	v.note("unpack %s keep=%t user=%s", folder, o.KeepKinds, user)
	return nil
}

func (v *view) Close() error {
	v.note("close")
	v.mu.Lock()
	defer v.mu.Unlock()
	v.views--
	return nil
}

func nowhere(core.PathStat) (io.Writer, error) { return io.Discard, nil }

func never() {}

func TestAViewHasWhatTheContainerHasMounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.c.Mounts = []core.Mount{
		{Type: core.MountVolume, Name: "v", Destination: "/v", RW: true}, {Type: core.MountBind, Source: "/src", Destination: "/b"},
		{Type: core.MountTmpfs, Destination: "/t", RW: true},
	}
	if _, err := w.files.Stat(t.Context(), "web", "/file"); err != nil {
		t.Fatal(err)
	}
	if got, want := w.said(), "open pid=0 root=1 /from/v>/v /from/>/b; mount; unmount; close; let go"; got != want {
		t.Errorf("for one that does not run: %s, want %s", got, want)
	}
	w.calls, w.c.State = nil, core.State{Status: core.StatusPaused, PID: 7}
	w.c.Mounts = append(w.c.Mounts, core.Mount{Type: core.MountBind, Destination: "/etc/hosts"})
	if _, err := w.files.Stat(t.Context(), "web", "/file"); err != nil {
		t.Fatal(err)
	}
	if got, want := w.said(), "open pid=7 root=0 >/v >/b >/t >/etc/hosts >/etc/resolv.conf >/etc/hostname; close"; got != want {
		t.Errorf("for one that runs: %s, want %s", got, want)
	}
}

func TestErrorsAreDockers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.c.Mounts = []core.Mount{{Destination: "/fixed", RW: false}, {Destination: "/fixed/free", RW: true}, {Type: core.MountTmpfs, Destination: "/memory", RW: true}}
	w.c.Host.ReadonlyRootfs = true
	extract := func(path string) func() error {
		return func() error {
			return w.files.Extract(t.Context(), "web", path, core.ExtractOptions{}, false, strings.NewReader(""), never)
		}
	}
	stat := func(ref, path string) func() error {
		return func() error { _, err := w.files.Stat(t.Context(), ref, path); return err }
	}
	for _, test := range []struct {
		name string
		do   func() error
		is   func(error) bool
		text string
	}{
		{"no container", stat("none", "/"), errdefs.IsNotFound, "No such container: none"},
		{"no file", stat("web", "none"), errdefs.IsNotFound, "Could not find the file none in container web"},
		{"below a file", stat("web", "/file/x"), errdefs.IsInvalidArgument, "not a directory"},
		{"into a file", extract("/file"), errdefs.IsInvalidArgument, "extraction point is not a directory"},
		{"into the root", extract("/"), errdefs.IsInvalidArgument, "container rootfs is marked read-only"},
		{"into a volume", extract("/fixed/deep"), errdefs.IsInvalidArgument, "mounted volume is marked read-only"},
		{"through a link into a volume", extract("/link"), errdefs.IsInvalidArgument, "mounted volume is marked read-only"},
		{"beside a volume", extract("/fixedly"), errdefs.IsInvalidArgument, "container rootfs is marked read-only"},
		{"into a volume in a volume", extract("/fixed/free/a"), nil, ""},
		{"into memory", extract("/memory"), nil, ""},
	} {
		err := test.do()
		if test.is == nil && err != nil || test.is != nil && (!test.is(err) || !strings.Contains(err.Error(), test.text)) {
			t.Errorf("%s: the error is %v, want %q", test.name, err, test.text)
		}
	}
	for status, want := range map[core.Status]string{core.StatusDead: "You cannot export container c1 which is Dead", core.StatusRemoving: "You cannot export container c1 which is being removed"} {
		w.c.State.Status = status
		if err := w.files.Export(t.Context(), "web", io.Discard, never); !errdefs.IsConflict(err) || err.Error() != want {
			t.Errorf("%s: the error is %v", status, err)
		}
	}
}

func TestPathsKeepWhatTheirEndsSay(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"/": "/", ".": "/.", "/.": "/.", "a": "/a", "/a/": "/a/", "/a//": "/a/", "/a/.": "/a/.", "/a/..": "/", "../../a": "/a", "/a/./b/.": "/a/b/.", "/a/./": "/a/",
		"/a.": "/a.",
	} {
		if got := absolute(given); got != want {
			t.Errorf("%q is taken for %q, want %q", given, got, want)
		}
	}
}

func TestOwnersAreTheContainersUserWhenAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.c.Config.User = "sailor"
	for _, asUser := range []bool{false, true} {
		if err := w.files.Extract(t.Context(), "web", "/a", core.ExtractOptions{KeepKinds: true}, asUser, strings.NewReader(""), never); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.said(); !strings.Contains(got, "unpack /a keep=true user=none; event extract-to-dir; unmount; close") || !strings.Contains(got, "unpack /a keep=true user=sailor; event extract-to-dir; unmount; close") {
		t.Error(got)
	}
}

func TestManyShareOneViewAndAStartWaitsForThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inside, finish := make(chan struct{}), make(chan struct{})
	w.pack = func(context.Context, io.Writer) error { inside <- struct{}{}; <-finish; return nil }
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if err := w.files.Archive(t.Context(), "web", "/", nowhere, never); err != nil {
				t.Error(err)
			}
		})
	}
	for range 5 {
		<-inside
	}
	idle := make(chan error, 1)
	go func() { idle <- w.files.Idle(t.Context(), "c1") }()
	select {
	case err := <-idle:
		t.Errorf("it is said to be idle: %v", err)
	default:
	}
	close(finish)
	if err := <-idle; err != nil {
		t.Error(err)
	}
	all.Wait()
	if got := w.said(); strings.Count(got, "open pid") != 1 || strings.Count(got, "close") != 1 {
		t.Error(got)
	}
	if err := w.files.Idle(t.Context(), "c1"); err != nil {
		t.Error(err)
	}
}

func TestACopyThatTakesTooLongIsBrokenOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.files.grace = time.Millisecond
	inside := make(chan struct{})
	w.pack = func(ctx context.Context, _ io.Writer) error { close(inside); <-ctx.Done(); return context.Cause(ctx) }
	cut := make(chan struct{})
	copied := make(chan error, 1)
	go func() { copied <- w.files.Archive(t.Context(), "web", "/", nowhere, func() { close(cut) }) }()
	<-inside
	if err := w.files.Idle(t.Context(), "c1"); err != nil {
		t.Error(err)
	}
	<-cut
	if err := <-copied; !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "can't wait for the copy any longer") {
		t.Errorf("the error is %v", err)
	}
}

func TestAContainerThatHasJustEndedIsLookedAtAsOneThatDoesNotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.c.State = core.State{Status: core.StatusRunning, PID: 7}
	w.fail = fmt.Errorf("view: %w", errEnded)
	if _, err := w.files.Stat(t.Context(), "web", "/file"); err != nil {
		t.Error(err)
	}
	if got := w.said(); !strings.HasPrefix(got, "open pid=7 root=0") || !strings.HasSuffix(got, "open pid=0 root=1; mount; unmount; close; let go") {
		t.Error(got)
	}
}

func TestACommitPausesWhatRuns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		status  core.Status
		noPause bool
		want    string
	}{
		{"running", core.StatusRunning, false, "pause; commit; event commit; unpause"},
		{"running, without a pause", core.StatusRunning, true, "commit; event commit"},
		{"paused already", core.StatusPaused, false, "commit; event commit"},
		{"stopped", core.StatusExited, false, "commit; event commit"},
	} {
		w := newWorld(t)
		w.c.State.Status, w.c.ImageID, w.c.Config = test.status, "sha256:0", core.Config{User: "me", Cmd: []string{"sleep", "1"}}
		id, err := w.files.Commit(t.Context(), core.CommitRequest{Container: "web", NoPause: test.noPause})
		if err != nil || id != "sha256:1" {
			t.Errorf("%s: %s, %v", test.name, id, err)
		}
		got := strings.ReplaceAll(w.said(), ` c1 sha256:0 me "sleep 1"`, "")
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	w := newWorld(t)
	w.c.Config.User = "me"
	if _, err := w.files.Commit(t.Context(), core.CommitRequest{Container: "web", Ref: "docker.io/library/a:latest", Config: &core.Config{User: "you"}}); err != nil {
		t.Fatal(err)
	}
	if got := w.said(); got != `commit c1  you ""; event commita:latest` {
		t.Error(got)
	}
}

func TestChangesAreTheLayers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	changes, err := w.files.Changes(t.Context(), "web")
	if err != nil || len(changes) != 1 {
		t.Errorf("%v, %v", changes, err)
	}
	w.c.State.Status = core.StatusRemoving
	if _, err := w.files.Changes(t.Context(), "web"); !errdefs.IsNotFound(err) {
		t.Errorf("of one that is gone: %v", err)
	}
	var out bytes.Buffer
	if err := w.files.Export(t.Context(), "web", &out, never); !errdefs.IsConflict(err) {
		t.Errorf("of one that is gone: %v", err)
	}
}
