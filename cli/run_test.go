package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// fakeDaemon answers on a UNIX socket like a daemon in which every container prints two words, repeats its input, and
// ends with a chosen code.
type fakeDaemon struct {
	host       string
	exit       int
	tooNew     bool   // refuses versions above 1.44
	startError string // what a start is refused with
	missing    bool   // the image is missing until it is pulled
	tty        bool

	mu       sync.Mutex // guards what follows
	requests []string
	created  map[string]any
	pulled   bool
	waiting  bool
	attached net.Conn
	ended    chan struct{}
}

func startDaemon(t *testing.T, d *fakeDaemon) *fakeDaemon {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	d.host, d.ended = "unix://"+path, make(chan struct{})
	server := &http.Server{Handler: d}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })
	return d
}

var versioned = regexp.MustCompile(`^/v(1\.\d+)(/.*)$`)

func (d *fakeDaemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	version, path := "", r.URL.Path
	if m := versioned.FindStringSubmatch(path); m != nil {
		version, path = m[1], m[2]
	}
	d.mu.Lock()
	d.requests = append(d.requests, r.Method+" "+path)
	d.mu.Unlock()
	w.Header().Set("Api-Version", "1.56")
	if d.tooNew {
		w.Header().Set("Api-Version", "1.44")
		if version == "1.56" {
			refuse(w, 400, "client version 1.56 is too new. Maximum supported API version is 1.44")
			return
		}
	}
	switch {
	case path == "/containers/create":
		d.create(w, r)
	case path == "/images/create":
		d.mu.Lock()
		d.pulled = true
		d.mu.Unlock()
		fmt.Fprintln(w, `{"status":"Pulling from library/x","id":"latest"}`)
	case strings.HasSuffix(path, "/attach"), path == "/exec/e1/start":
		d.attach(w, r, path == "/exec/e1/start")
	case strings.HasSuffix(path, "/wait"):
		d.wait(w)
	case strings.HasSuffix(path, "/start"):
		d.start(w)
	case path == "/containers/c/exec":
		io.WriteString(w, `{"Id":"e1"}`)
	case path == "/exec/e1/json":
		fmt.Fprintf(w, `{"ID":"e1","Running":false,"ExitCode":%d}`, d.exit)
	case path == "/containers/json":
		io.WriteString(w, listing)
	default:
		refuse(w, 404, "page not found")
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	text, err := json.Marshal(map[string]string{"message": message})
	if err != nil {
		panic(err)
	}
	w.Write(text)
}

func (d *fakeDaemon) create(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.missing && !d.pulled {
		refuse(w, 404, "No such image: x:latest")
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&d.created); err != nil {
		refuse(w, 400, err.Error())
		return
	}
	w.WriteHeader(201)
	io.WriteString(w, `{"Id":"c0ffee","Warnings":["mind the gap"]}`)
}

func (d *fakeDaemon) attach(w http.ResponseWriter, r *http.Request, exec bool) {
	// What a request says belongs to the request: the streams begin behind it.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(err)
	}
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	kind := "multiplexed"
	if d.tty {
		kind = "raw"
	}
	fmt.Fprintf(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.%s-stream\r\nApi-Version: 1.56\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", kind)
	d.mu.Lock()
	d.attached = conn
	d.mu.Unlock()
	if exec {
		d.speak(conn, buffered)
	}
}

func frame(stream byte, text string) string {
	return string([]byte{stream, 0, 0, 0, 0, 0, 0, byte(len(text))}) + text
}

// speak prints, repeats the input to its end, and closes.
func (d *fakeDaemon) speak(conn net.Conn, in io.Reader) {
	io.WriteString(conn, frame(1, "out\n")+frame(2, "err\n"))
	if text, err := io.ReadAll(in); err == nil && len(text) > 0 {
		io.WriteString(conn, frame(1, string(text)))
	}
	conn.Close()
}

func (d *fakeDaemon) wait(w http.ResponseWriter) {
	d.mu.Lock()
	d.waiting = true
	d.mu.Unlock()
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	<-d.ended
	fmt.Fprintf(w, `{"StatusCode":%d}`, d.exit)
}

func (d *fakeDaemon) start(w http.ResponseWriter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.startError != "" {
		refuse(w, 400, d.startError)
		return
	}
	if conn := d.attached; conn != nil {
		if !d.waiting {
			panic("started before the wait was registered: its end could be missed")
		}
		go func() {
			d.speak(conn, conn)
			close(d.ended)
		}()
	}
	w.WriteHeader(204)
}

const listing = `[{"Id":"0123456789abcdef","Names":["/web"],"Image":"nginx","Command":"nginx -g daemon off;","Created":1,
"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"0.0.0.0","PrivatePort":90,"PublicPort":90,"Type":"tcp"},
{"IP":"0.0.0.0","PrivatePort":91,"PublicPort":91,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"}],"State":"running","Status":"Up 3 minutes (healthy)"}]`

type result struct {
	code     int
	out, err string
}

func berth(t *testing.T, d *fakeDaemon, in string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	all := append([]string{"--config", t.TempDir(), "-H", d.host}, args...)
	code := Run(context.Background(), Options{Args: all, In: strings.NewReader(in), Out: &out, Err: &errs, Version: "test"})
	return result{code, out.String(), errs.String()}
}

func TestRunFlows(t *testing.T) {
	const help = "\n\nRun 'berth run --help' for more information\n"
	for name, c := range map[string]struct {
		daemon *fakeDaemon
		in     string
		args   []string
		want   result
	}{
		"output, errors and exit code are the container's": {&fakeDaemon{exit: 7}, "", []string{"run", "x"}, result{7, "out\n", "WARNING: mind the gap\nerr\n"}},
		"input is passed on":                {&fakeDaemon{}, "in\n", []string{"run", "-i", "x", "cat", "-n"}, result{0, "out\nin\n", "WARNING: mind the gap\nerr\n"}},
		"detached: the ID and nothing else": {&fakeDaemon{}, "", []string{"run", "-d", "x"}, result{0, "c0ffee\n", "WARNING: mind the gap\n"}},
		"a missing image is pulled": {&fakeDaemon{missing: true}, "", []string{"run", "x"},
			result{0, "out\n", "Unable to find image 'x:latest' locally\nlatest: Pulling from library/x\nWARNING: mind the gap\nerr\n"}},
		"a missing image that must not be pulled": {&fakeDaemon{missing: true}, "", []string{"run", "--pull", "never", "x"},
			result{125, "", "berth: Error response from daemon: No such image: x:latest" + help}},
		"an older daemon is spoken to in its version": {&fakeDaemon{tooNew: true}, "", []string{"run", "x"}, result{0, "out\n", "WARNING: mind the gap\nerr\n"}},
		"a program that is not there is 127": {&fakeDaemon{startError: `exec: "foo": executable file not found in $PATH`}, "", []string{"run", "x", "foo"},
			result{127, "", "WARNING: mind the gap\nberth: Error response from daemon: exec: \"foo\": executable file not found in $PATH" + help}},
		"a program that can't be executed is 126": {&fakeDaemon{startError: `exec: "/etc": permission denied`}, "", []string{"run", "x"},
			result{126, "", "WARNING: mind the gap\nberth: Error response from daemon: exec: \"/etc\": permission denied" + help}},
		"another failure of a start is 125": {&fakeDaemon{startError: "no room"}, "", []string{"run", "x"},
			result{125, "", "WARNING: mind the gap\nberth: Error response from daemon: no room" + help}},
		"a terminal needs a terminal": {&fakeDaemon{}, "", []string{"run", "-it", "x"},
			result{125, "", "berth: cannot attach stdin to a TTY-enabled container because stdin is not a terminal" + help}},
		"restart and rm conflict": {&fakeDaemon{}, "", []string{"run", "--rm", "--restart", "always", "x"},
			result{125, "", "berth: conflicting options: cannot specify both --restart and --rm" + help}},
		"exec has streams and exit code": {&fakeDaemon{exit: 3}, "in", []string{"exec", "-i", "c", "sh"}, result{3, "out\nin", "err\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := startDaemon(t, c.daemon)
			if got := berth(t, d, c.in, c.args...); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestARunIsFourRequests(t *testing.T) {
	d := startDaemon(t, &fakeDaemon{})
	if got := berth(t, d, "", "run", "--rm", "x"); got.code != 0 {
		t.Fatal(got)
	}
	if len(d.requests) != 4 || d.requests[0] != "POST /containers/create" || d.requests[3] != "POST /containers/c0ffee/start" {
		t.Errorf("%q", d.requests)
	}
}

func TestCreateSendsWhatTheFlagsSay(t *testing.T) {
	d := startDaemon(t, &fakeDaemon{})
	cid := filepath.Join(t.TempDir(), "cid")
	got := berth(t, d, "", "create", "--cidfile", cid, "-e", "A=1", "-p", "8080:80/udp", "-m", "64m", "--cpus", "0.5", "--init", "--network", "back",
		"--network-alias", "db", "-v", "/a:/b", "--tmpfs", "/t:size=1m", "--entrypoint", "", "x", "-flag", "of it")
	if got.code != 0 || got.out != "c0ffee\n" {
		t.Fatal(got)
	}
	if text, err := os.ReadFile(cid); err != nil || string(text) != "c0ffee" {
		t.Errorf("cidfile %q, %v", text, err)
	}
	text, err := json.Marshal(d.created)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"Env":["A=1"]`, `"80/udp":[{"HostIp":"","HostPort":"8080"}]`, `"Memory":67108864`, `"NanoCpus":500000000`, `"Init":true`,
		`"NetworkMode":"back"`, `"Aliases":["db"]`, `"Binds":["/a:/b"]`, `"Tmpfs":{"/t":"size=1m"}`, `"Entrypoint":[""]`, `"Cmd":["-flag","of it"]`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
}

func TestList(t *testing.T) {
	d := startDaemon(t, &fakeDaemon{})
	const ports = "0.0.0.0:90-91->90-91/tcp, 443/tcp, 0.0.0.0:8080->80/tcp"
	if got := berth(t, d, "", "ps", "--format", "{{.ID}} {{.Names}} {{.Ports}}"); got.out != "0123456789ab web "+ports+"\n" {
		t.Errorf("%+v", got)
	}
	if got := berth(t, d, "", "ps", "-q", "--no-trunc"); got.out != "0123456789abcdef\n" {
		t.Errorf("%+v", got)
	}
	if got := berth(t, d, "", "ps"); !strings.HasPrefix(got.out, "CONTAINER ID   IMAGE     COMMAND                  CREATED        STATUS ") ||
		!strings.Contains(got.out, `"nginx -g daemon off;"`) && !strings.Contains(got.out, `"nginx -g daemon of…"`) {
		t.Errorf("%+v", got)
	}
	if got := berth(t, d, "", "container", "ls", "--json"); !strings.Contains(got.out, `"Status":"Up 3 minutes (healthy)"`) || strings.Count(got.out, "\n") != 1 {
		t.Errorf("%+v", got)
	}
}

func TestMistakes(t *testing.T) {
	d := startDaemon(t, &fakeDaemon{})
	for name, c := range map[string]struct {
		args []string
		want result
	}{
		"an unknown command has suggestions": {[]string{"rum"}, result{1, "", "berth: unknown command: berth rum\n\nDid you mean this?\n  berth rm\n  berth rmi\n  berth run\n\nRun 'berth --help' for more information\n"}},
		"an unknown flag too":                {[]string{"ps", "--quit"}, result{125, "", "unknown flag: --quit\n\nDid you mean --quiet?\n\nUsage:  berth ps [OPTIONS]\n\nRun 'berth ps --help' for more information\n"}},
		"too few arguments":                  {[]string{"rename", "a"}, result{1, "", "berth: 'berth rename' requires 2 arguments\n\nUsage:  berth rename CONTAINER NEW_NAME\n\nRun 'berth rename --help' for more information\n"}},
		"an unknown command of a group":      {[]string{"volume", "lst"}, result{1, "", "berth: unknown command: berth volume lst\n\nDid you mean this?\n  berth volume ls\n\nRun 'berth volume --help' for more information\n"}},
		"several failures are all told":      {[]string{"rm", "a", "b"}, result{1, "", "Error response from daemon: page not found\nError response from daemon: page not found\n"}},
	} {
		if got := berth(t, d, "", c.args...); got != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, c.want)
		}
	}
	gone := &fakeDaemon{host: "unix://" + filepath.Join(t.TempDir(), "none.sock")}
	if got := berth(t, gone, "", "ps"); got.code != 1 || !strings.HasPrefix(got.err, "Cannot connect to the Docker daemon at "+gone.host+". Is the docker daemon running?\n") {
		t.Errorf("%+v", got)
	}
}

func TestContexts(t *testing.T) {
	dir := t.TempDir()
	d := startDaemon(t, &fakeDaemon{})
	do := func(args ...string) result {
		var out, errs bytes.Buffer
		code := Run(context.Background(), Options{Args: append([]string{"--config", dir}, args...), In: strings.NewReader(""), Out: &out, Err: &errs})
		return result{code, out.String(), errs.String()}
	}
	t.Setenv("BERTH_HOST", "")
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("DOCKER_CONTEXT", "")
	if got := do("context", "create", "far", "--description", "away", "--docker", "host="+d.host); got.code != 0 || got.out != "far\n" {
		t.Fatal(got)
	}
	if got := do("context", "create", "far"); got.code != 1 || got.err != "context \"far\" already exists\n" {
		t.Error(got)
	}
	if got := do("context", "use", "far"); got.out != "far\n" || got.err != "Current context is now \"far\"\n" {
		t.Error(got)
	}
	if got := do("ps", "-q"); got.out != "0123456789ab\n" {
		t.Error(got)
	}
	if got := do("context", "ls", "--format", "{{.Name}} {{.Current}}"); got.out != "default false\nfar true\n" {
		t.Error(got)
	}
	if got := do("context", "rm", "far"); got.code != 1 || got.err != "context \"far\" is in use, set -f flag to force remove\n" {
		t.Error(got)
	}
	if got := do("context", "rm", "-f", "far"); got.out != "far\n" {
		t.Error(got)
	}
	if got := do("context", "show"); got.out != "default\n" {
		t.Error(got)
	}
}

// An interrupt while a command lasts ends it in order; where nobody listened, it would end this test.
func TestAnInterruptEndsWhatLasts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/wait") {
			if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(l) }()
	defer func() { server.Close(); <-done }()
	var out, errs bytes.Buffer
	code := Run(t.Context(), Options{Args: []string{"-H", "unix://" + path, "wait", "web"}, In: strings.NewReader(""), Out: &out, Err: &errs, Version: "1"})
	if code != 130 || out.Len()+errs.Len() > 0 {
		t.Errorf("code %d, %q %q", code, out.String(), errs.String())
	}
}

// Completions are wanted by themselves, in the list of all commands, and not when a command is run.
func TestCompletionsAreThereWhenTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{"completion bash": "__start_berth", "--help": "  completion ", "__complete netw": "network", "__complete compl": "completion"} {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), Options{Args: strings.Fields(args), In: strings.NewReader(""), Out: &out, Err: &errs, Version: "1"}); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: code %d, %.200q, %q", args, code, out.String(), errs.String())
		}
	}
}
