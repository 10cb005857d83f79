package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// record is the socket of a genuine Docker. With it, the tests whose names begin with TestGolden write down what that
// engine answers instead of comparing what ours does; see testdata/README.md.
var record = flag.String("record", "", "record the golden files from the genuine Docker that listens on this `socket`")

// peer is an engine that is asked over its socket: ours, or the genuine one that is recorded.
type peer struct {
	*testing.T
	socket string
	client *http.Client
}

func newPeer(t *testing.T, socket string) *peer {
	p := &peer{T: t, socket: socket}
	p.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

// reply is an answer of a peer.
type reply struct {
	status int
	kind   string // content type without parameters
	body   []byte
}

// ask makes a request; a body is JSON, or a reader's bytes.
func (p *peer) ask(method, path string, body any) reply {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), limit)
	defer cancel()
	var content io.Reader
	kind := "application/json"
	switch body := body.(type) {
	case nil:
	case io.Reader:
		content, kind = body, "application/x-tar"
	default:
		data, err := json.Marshal(body)
		if err != nil {
			p.Fatal(err)
		}
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, content)
	if err != nil {
		p.Fatal(err)
	}
	if content != nil {
		request.Header.Set("Content-Type", kind)
	}
	answer, err := p.client.Do(request)
	if err != nil {
		p.Fatal(err)
	}
	data, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		p.Fatalf("%s %s: %v", method, path, err)
	}
	kind, _, _ = strings.Cut(answer.Header.Get("Content-Type"), ";")
	return reply{answer.StatusCode, kind, data}
}

// must makes a request that has to succeed; its answer goes into value unless that is nil.
func (p *peer) must(method, path string, body, value any) {
	p.Helper()
	got := p.ask(method, path, body)
	if got.status >= http.StatusBadRequest {
		p.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
	}
	if value != nil {
		if err := json.Unmarshal(got.body, value); err != nil {
			p.Fatalf("%s %s: %v in %s", method, path, err, got.body)
		}
	}
}

// await reads a stream of lines until one holds the text.
func (p *peer) await(path, text string) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		p.Fatal(err)
	}
	answer, err := p.client.Do(request)
	if err != nil {
		p.Fatal(err)
	}
	defer answer.Body.Close()
	var seen bytes.Buffer
	if _, err := io.Copy(untilText{&seen, text}, answer.Body); !errors.Is(err, errSeen) {
		p.Fatalf("%s: no %q: %v %s", path, text, err, &seen)
	}
}

// untilText keeps what is written and says errSeen once the text is in it.
type untilText struct {
	seen *bytes.Buffer
	text string
}

var errSeen = errors.New("the text was seen")

func (u untilText) Write(b []byte) (int, error) {
	u.seen.Write(b)
	if strings.Contains(u.seen.String(), u.text) {
		return 0, errSeen
	}
	return len(b), nil
}

// shapes are the JSON types that were seen at each path.
type shapes map[string]map[string]bool

// IDs differ from run to run.
var (
	longID  = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	shortID = regexp.MustCompile(`\b[0-9a-f]{12}\b`)
)

// withoutIDs has words in place of them.
func withoutIDs(text string) string {
	return shortID.ReplaceAllString(longID.ReplaceAllString(text, "ID"), "SHORT")
}

// add notes the type of a value and of all that it holds.
func (s shapes) add(path string, value any) {
	kind := ""
	switch v := value.(type) {
	case nil:
		kind = "null"
	case bool:
		kind = "bool"
	case float64:
		kind = "number"
	case string:
		kind = "string"
	case []any:
		kind = "array"
		if len(v) == 0 {
			kind = "[]"
		}
		for _, element := range v {
			s.add(path+"[]", element)
		}
	case map[string]any:
		kind = "object"
		if len(v) == 0 {
			kind = "{}"
		}
		for key, element := range v {
			s.add(path+"."+longID.ReplaceAllString(key, "ID"), element)
		}
	}
	if s[path] == nil {
		s[path] = map[string]bool{}
	}
	s[path][kind] = true
}

// lines are the shapes as text, by path.
func (s shapes) lines() map[string]string {
	lines := make(map[string]string, len(s))
	for path, kinds := range s {
		lines[path] = strings.Join(slices.Sorted(maps.Keys(kinds)), "|")
	}
	return lines
}

// shapeOf describes an answer: status and content type, and of JSON the type at each path, of an error its sentence.
func shapeOf(t *testing.T, r reply) map[string]string {
	t.Helper()
	lines := map[string]string{"status": fmt.Sprint(r.status, " ", r.kind)}
	if r.status >= http.StatusBadRequest {
		var refusal struct{ Message string }
		if err := json.Unmarshal(r.body, &refusal); err != nil {
			t.Errorf("an error that is no JSON: %v in %s", err, r.body)
		}
		lines["message"] = withoutIDs(refusal.Message)
		return lines
	}
	if r.kind != "application/json" {
		return lines
	}
	seen := shapes{}
	for values := json.NewDecoder(bytes.NewReader(r.body)); ; {
		var value any
		err := values.Decode(&value)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("%v in %s", err, r.body)
			break
		}
		seen.add("", value)
	}
	maps.Copy(lines, seen.lines())
	return lines
}

// golden are the sections of a golden file: each has lines "path: what".
type golden map[string]map[string]string

func goldenPath(name string) string { return filepath.Join("testdata", name) }

// base is the section that a section of an older version is written as the difference from; "": it stands alone.
func base(section string) string {
	version, title, _ := strings.Cut(section, " ")
	if version == newest || !strings.HasPrefix(version, "v1.") {
		return ""
	}
	return newest + " " + title
}

// newest is the version whose answers are written in full.
const newest = "v1.51"

// absent stands for a line that the newest version has and an older one has not.
const absent = "absent"

// write keeps what the genuine engine answered.
func (g golden) write(t *testing.T, name string) {
	t.Helper()
	var text strings.Builder
	for _, section := range slices.Sorted(maps.Keys(g)) {
		fmt.Fprintf(&text, "-- %s --\n", section)
		in := g[base(section)]
		for _, path := range slices.Sorted(maps.Keys(g[section])) {
			if what := g[section][path]; in[path] != what {
				fmt.Fprintf(&text, "%s: %s\n", path, what)
			}
		}
		for _, path := range slices.Sorted(maps.Keys(in)) {
			if g[section][path] == "" {
				fmt.Fprintf(&text, "%s: %s\n", path, absent)
			}
		}
	}
	if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(goldenPath(name), []byte(text.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// readGolden reads a file that write has written.
func readGolden(t *testing.T, name string) golden {
	t.Helper()
	data, err := os.ReadFile(goldenPath(name))
	if err != nil {
		t.Fatal(err)
	}
	g, section := golden{}, ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if title, ok := strings.CutPrefix(line, "-- "); ok {
			section = strings.TrimSuffix(title, " --")
			g[section] = map[string]string{}
			continue
		}
		path, what, _ := strings.Cut(line, ": ")
		g[section][path] = what
	}
	for section, lines := range g {
		whole := maps.Clone(g[base(section)])
		if whole == nil {
			continue
		}
		maps.Copy(whole, lines)
		maps.DeleteFunc(whole, func(_, what string) bool { return what == absent })
		g[section] = whole
	}
	return g
}

// differences lists, section by section, what is not as it should be.
func differences(got, want golden) (lines []string) {
	for _, section := range slices.Sorted(maps.Keys(want)) {
		for _, path := range slices.Sorted(maps.Keys(want[section])) {
			ours, there := got[section][path]
			switch theirs := want[section][path]; {
			case !there:
				lines = append(lines, fmt.Sprintf("%s: %s: missing, Docker has %s", section, path, theirs))
			case ours != theirs:
				lines = append(lines, fmt.Sprintf("%s: %s: %s, Docker has %s", section, path, ours, theirs))
			}
		}
		for _, path := range slices.Sorted(maps.Keys(got[section])) {
			if _, there := want[section][path]; !there {
				lines = append(lines, fmt.Sprintf("%s: %s: %s, Docker has none", section, path, got[section][path]))
			}
		}
	}
	for section := range got {
		if want[section] == nil {
			lines = append(lines, section+": not recorded")
		}
	}
	return lines
}

// accepted are differences that stay, and why.
type accepted struct {
	lines  string // a regular expression for what differences gives
	reason string
}

// notYet marks, in place of an answer, what Berth refuses with 501: it is not compared.
const notYet = "Berth does not have"

// compare reports the differences that nobody has accepted. Some of those that are depend on the host: its kernel,
// whether its engine was configured.
func compare(t *testing.T, got, want golden, stay []accepted) {
	t.Helper()
	patterns := make([]*regexp.Regexp, len(stay))
	for i, a := range stay {
		patterns[i] = regexp.MustCompile(a.lines)
	}
	for section, lines := range got {
		if refusal, isRefusal := lines["message"]; isRefusal && strings.HasPrefix(refusal, notYet) {
			t.Logf("not compared: %s: %s", section, refusal)
			delete(got, section)
			delete(want, section)
		}
	}
	for _, line := range differences(got, want) {
		if !slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(line) }) {
			t.Error(line)
		}
	}
}
