package build

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/protobuf/proto"

	"github.com/berth-engine/berth/core"
)

// imageIDAux is what clients look for to learn the image's ID.
type imageIDAux struct {
	ID core.ImageID `json:"ID"`
}

// traced builds with BuildKit's own statuses as output, for clients that draw them themselves.
func traced(ctx context.Context, e *engine, request *controlapi.SolveRequest, progress core.ProgressFunc) (core.ImageID, error) {
	id, err := e.solve(ctx, request, func(status *controlapi.StatusResponse) error {
		encoded, err := proto.Marshal(status)
		if err != nil {
			return err
		}
		progress(core.Progress{AuxID: "moby.buildkit.trace", Aux: encoded})
		return nil
	})
	if err != nil {
		return "", explain(ctx, err)
	}
	progress(core.Progress{AuxID: "moby.image.id", Aux: imageIDAux{id}})
	return id, nil
}

// classic builds with Docker's classic text as output.
func classic(ctx context.Context, e *engine, request *controlapi.SolveRequest, p *plan, options core.BuildOptions, progress core.ProgressFunc) (core.ImageID, error) {
	var kept strings.Builder
	out := func(text string) { progress(core.Progress{Stream: text}) }
	if options.Quiet {
		out = func(text string) { kept.WriteString(text) }
	}
	t := newTranscript(p, out)
	id, err := e.solve(ctx, request, func(status *controlapi.StatusResponse) error {
		t.status(status)
		return nil
	})
	if err != nil {
		t.fail()
		if kept.Len() > 0 {
			progress(core.Progress{Stream: kept.String()}) // quiet about success only
		}
		return "", explain(ctx, err)
	}
	t.finish()
	progress(core.Progress{Aux: imageIDAux{id}})
	if options.Quiet {
		return id, nil // the API says the ID
	}
	out(fmt.Sprintf("Successfully built %s\n", id.Short()))
	names, err := tags(options.Tags)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		out(fmt.Sprintf("Successfully tagged %s\n", familiar(name)))
	}
	return id, nil
}

// familiar shortens a complete name to the way people write it.
func familiar(name string) string {
	if short, ok := strings.CutPrefix(name, "docker.io/library/"); ok {
		return short
	}
	return strings.TrimPrefix(name, "docker.io/")
}

// transcript tells a build in the order of its Dockerfile, although BuildKit does what it can at the same time: what
// belongs to a later step waits.
type transcript struct {
	steps []step
	only  string // the name of a stage that is alone
	out   func(string)
	at    int              // the step that is being told
	told  bool             // its heading is out
	work  map[string]*work // by key of a step
	owner map[string]*work // by digest of a vertex
	loose map[string]bool  // vertices of no step that were told of, by digest: when there is no plan
}

// work is what BuildKit told of a step.
type work struct {
	digest             string
	started, completed bool
	cached             bool
	failed             bool
	log                bytes.Buffer
}

func newTranscript(p *plan, out func(string)) *transcript {
	return &transcript{steps: p.steps, only: p.only, out: out, work: map[string]*work{}, owner: map[string]*work{}, loose: map[string]bool{}}
}

// status takes what is new and tells what it can.
func (t *transcript) status(status *controlapi.StatusResponse) {
	for _, v := range status.Vertexes {
		t.vertex(v)
	}
	for _, l := range status.Logs {
		w := t.owner[l.Vertex]
		switch {
		case w != nil:
			w.log.Write(l.Msg)
		case len(t.steps) == 0:
			t.out(string(l.Msg))
		}
	}
	t.tell(false)
}

func (t *transcript) vertex(v *controlapi.Vertex) {
	name := v.Name
	if v.ProgressGroup != nil && v.ProgressGroup.Name != "" {
		name = v.ProgressGroup.Name
	}
	key, ok := vertexKey(name, t.only)
	if !ok || len(t.steps) == 0 {
		if len(t.steps) == 0 && v.Started != nil && !t.loose[v.Digest] && !strings.HasPrefix(name, "[internal]") {
			t.loose[v.Digest] = true
			t.out(fmt.Sprintf(" ---> %s\n", name))
		}
		return
	}
	w := t.work[key]
	if w == nil {
		w = &work{digest: v.Digest}
		t.work[key] = w
	}
	t.owner[v.Digest] = w
	w.started = w.started || v.Started != nil
	w.completed = w.completed || v.Completed != nil
	w.cached = w.cached || v.Cached
	w.failed = w.failed || v.Error != ""
}

// tell goes on as far as the build has come. With everything it does not wait for steps that BuildKit never spoke of,
// since it knew their results.
func (t *transcript) tell(everything bool) {
	for t.at < len(t.steps) {
		s := t.steps[t.at]
		w := t.work[s.key]
		if s.key == "" {
			t.heading(s)
			t.next()
			continue
		}
		if w == nil {
			if !everything {
				t.heading(s)
				return
			}
			w = &work{cached: true, completed: true}
		}
		t.heading(s)
		if w.log.Len() > 0 {
			t.out(w.log.String())
			w.log.Reset()
		}
		if !w.completed && !everything {
			return
		}
		if w.failed {
			return
		}
		if w.cached && !strings.HasPrefix(s.text, "FROM ") {
			t.out(" ---> Using cache\n")
		}
		if w.digest != "" {
			t.out(" ---> " + short(w.digest) + "\n")
		}
		t.next()
	}
}

func (t *transcript) next() { t.at, t.told = t.at+1, false }

func (t *transcript) heading(s step) {
	if t.told {
		return
	}
	t.told = true
	t.out(fmt.Sprintf("Step %d/%d : %s\n", t.at+1, len(t.steps), s.text))
}

// finish tells the rest of a build that succeeded.
func (t *transcript) finish() { t.tell(true) }

// fail tells where a build failed: the step's heading and output, whatever was before it.
func (t *transcript) fail() {
	for i := t.at; i < len(t.steps); i++ {
		w := t.work[t.steps[i].key]
		if w == nil || !w.failed {
			continue
		}
		if i != t.at {
			t.at, t.told = i, false
		}
		t.heading(t.steps[i])
		t.out(w.log.String())
		w.log.Reset()
		return
	}
}

func short(digest string) string {
	_, hex, ok := strings.Cut(digest, ":")
	if !ok {
		hex = digest
	}
	return hex[:min(12, len(hex))]
}
