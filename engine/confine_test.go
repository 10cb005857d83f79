package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/enginetest"
)

// labelled is an engine on a host with SELinux.
func labelled(t *testing.T) *world {
	t.Helper()
	calls := &enginetest.Calls{}
	return bootOn(t, &enginetest.Labels{Calls: calls}, calls, &enginetest.Records{Calls: calls}, &enginetest.Layers{Calls: calls}, nil)
}

// again starts an engine on what this one left, with SELinux or without.
func (w *world) again(t *testing.T, off bool) *world {
	t.Helper()
	return bootOn(t, &enginetest.Labels{Calls: w.calls, Off: off}, w.calls, w.records, w.layers, nil)
}

func (w *world) view(t *testing.T, ref string) core.ContainerView {
	t.Helper()
	view, err := w.Containers.Inspect(t.Context(), ref, false)
	if err != nil {
		t.Fatal(err)
	}
	return view
}

func TestLabels(t *testing.T) {
	t.Parallel()
	w := labelled(t)
	options := func(list ...string) func(*core.CreateRequest) {
		return func(r *core.CreateRequest) { r.Host.SecurityOpt = list }
	}
	w.create(t, "plain", nil)
	for name, test := range map[string]struct {
		edit    func(*core.CreateRequest)
		options []string // that its labels are made from
		shown   []string // as security options
	}{
		"nothing is named": {nil, nil, nil},
		"a type":           {options("label=type:svirt_apache_t"), []string{"type:svirt_apache_t"}, []string{"label=type:svirt_apache_t"}},
		"privileged":       {func(r *core.CreateRequest) { r.Host.Privileged = true }, []string{"disable"}, []string{"label=disable"}},
		"privileged, with a level": {func(r *core.CreateRequest) {
			r.Host.Privileged, r.Host.SecurityOpt = true, []string{"label=level:s0:c1"}
		},
			[]string{"level:s0:c1"}, []string{"label=level:s0:c1"}},
		"the host's processes": {func(r *core.CreateRequest) { r.Host.PidMode = "host" }, []string{"disable"}, []string{"label=disable"}},
		"the host's IPC":       {func(r *core.CreateRequest) { r.Host.IpcMode = "host" }, []string{"disable"}, []string{"label=disable"}},
		"another's IPC":        {func(r *core.CreateRequest) { r.Host.IpcMode = "container:plain" }, []string{"like:process-1"}, []string{"label=like:process-1"}},
		"another's processes":  {func(r *core.CreateRequest) { r.Host.PidMode = "container:plain" }, []string{"like:process-1"}, []string{"label=like:process-1"}},
		"another option with it": {func(r *core.CreateRequest) {
			r.Host.Privileged, r.Host.SecurityOpt = true, []string{"no-new-privileges"}
		}, []string{"disable"}, []string{"no-new-privileges", "label=disable"}},
		"both of the same": {func(r *core.CreateRequest) { r.Host.PidMode, r.Host.IpcMode = "container:plain", "container:plain" }, []string{"like:process-1"}, []string{"label=like:process-1"}},
	} {
		before := len(w.labels.Options)
		id := w.create(t, "", test.edit)
		if got := w.labels.Options[before:]; len(got) != 1 || !slices.Equal(got[0], test.options) {
			t.Errorf("%s: the labels are made from %q, want %q", name, got, test.options)
		}
		c := w.view(t, string(id))
		if !slices.Equal(c.Host.SecurityOpt, test.shown) || c.MountLabel == "" {
			t.Errorf("%s: the options are %q, want %q; the label of its files is %q", name, c.Host.SecurityOpt, test.shown, c.MountLabel)
		}
	}
	w.create(t, "other", nil)
	for name, edit := range map[string]func(*core.CreateRequest){
		"a bad option":     options("label=bad"),
		"two of different": func(r *core.CreateRequest) { r.Host.PidMode, r.Host.IpcMode = "container:plain", "container:other" },
	} {
		request := core.CreateRequest{Config: core.Config{Image: "busybox"}}
		edit(&request)
		if _, _, err := w.Containers.Create(t.Context(), request); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestLabelsAreKeptAndGivenBack(t *testing.T) {
	t.Parallel()
	w := labelled(t)
	w.create(t, "web", nil)
	w.create(t, "beside", func(r *core.CreateRequest) { r.Host.IpcMode = "container:web" })
	next := w.again(t, false)
	if got := next.view(t, "web").ProcessLabel; got != "process-1" || !slices.Contains(w.calls.List(), "label keep process-1") {
		t.Errorf("the next daemon has %q of %q", got, w.calls.List())
	}
	// The one beside has a label of its own here: the organ of memory does not share.
	for _, name := range []string{"web", "beside"} {
		if err := next.Containers.Remove(t.Context(), name, core.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, call := range []string{"label release process-1", "label release process-2"} {
		if !slices.Contains(w.calls.List(), call) {
			t.Errorf("no %q in %q", call, w.calls.List())
		}
	}
}

func TestALabelThatIsSharedIsGivenBackByTheLast(t *testing.T) {
	t.Parallel()
	w := labelled(t)
	names := []string{"first", "second"}
	for _, name := range names {
		w.create(t, name, nil)
		c := *w.view(t, name).Container
		c.ProcessLabel = "the same"
		if err := w.records.Save(t.Context(), &c, true); err != nil {
			t.Fatal(err)
		}
	}
	w = w.again(t, false)
	for i, name := range names {
		if err := w.Containers.Remove(t.Context(), name, core.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		if given := slices.Contains(w.calls.List(), "label release the same"); given != (i == 1) {
			t.Errorf("after %s was removed: given back is %t", name, given)
		}
	}
}

// A daemon may be started with SELinux and without it.
func TestLabelsFollowTheDaemonsSetting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(t, "web", nil)
	run := func(w *world, want string) {
		t.Helper()
		if err := w.Lifecycle.Start(t.Context(), "web"); err != nil {
			t.Fatal(err)
		}
		if got := w.view(t, "web"); got.ProcessLabel != want || w.runtime.Launched(got.ID).ProcessLabel != want {
			t.Errorf("it runs with %q, the record says %q, want %q", w.runtime.Launched(got.ID).ProcessLabel, got.ProcessLabel, want)
		}
		w.runtime.End(w.view(t, "web").ID, 0)
		wait, err := w.Lifecycle.Wait(t.Context(), "web", "not-running")
		if err != nil {
			t.Fatal(err)
		}
		<-wait
	}
	run(w, "")
	run(w.again(t, false), "process-1")
	run(w.again(t, true), "")
}

func TestWhatContainersShareOfTheHostIsRelabelled(t *testing.T) {
	t.Parallel()
	w := labelled(t)
	w.create(t, "web", func(r *core.CreateRequest) {
		r.Host.Binds = []string{"/src/plain:/a", "/src/for-all:/b:ro,z", "/src/own:/c:Z", "named:/d", "own:/e:Z"}
		r.Config.Volumes = map[string]struct{}{"/anonymous": {}}
	})
	if err := w.Lifecycle.Start(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, call := range w.calls.List() {
		if what, ok := strings.CutPrefix(call, "label files "); ok {
			if name, rest, _ := strings.Cut(what, " "); len(name) == 64 {
				what = "anonymous " + rest
			}
			got = append(got, what)
		}
	}
	slices.Sort(got)
	want := []string{
		"anonymous files-1 shared=true", "for-all files-1 shared=true", "hostname files-1 shared=true",
		"hosts files-1 shared=true", "named files-1 shared=true", "own files-1 shared=false",
		"own files-1 shared=false", "resolv.conf files-1 shared=true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("relabelled are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
