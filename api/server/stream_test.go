package server

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/berth-engine/berth/core"
)

func jsonUnmarshal(s string, into any) error { return json.Unmarshal([]byte(s), into) }

// dial sends a raw request and gives the connection.
func dial(t *testing.T, ts *httptest.Server, request string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", ts.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// head reads the head of an answer.
func readHead(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", head.String(), err)
		}
		head.WriteString(line)
		if line == "\r\n" {
			return head.String()
		}
	}
}

// echo is an attachment that answers every line, and checks what it was given.
func echo(t *testing.T, framed bool) func(core.Hijack) error {
	return func(hijack core.Hijack) error {
		streams, err := hijack(framed)
		if err != nil {
			return err
		}
		if _, ok := streams.Conn.(*net.TCPConn); !ok {
			t.Errorf("the connection is a %T: its descriptor can't be handed over", streams.Conn)
		}
		if streams.Framed != framed {
			t.Errorf("framed is %t", streams.Framed)
		}
		in := bufio.NewScanner(io.MultiReader(strings.NewReader(string(streams.Early)), streams.Conn))
		for in.Scan() {
			fmt.Fprintf(streams.Conn, "you said %s\n", in.Text())
		}
		return streams.Conn.Close()
	}
}

func TestAttachTakesTheConnectionOver(t *testing.T) {
	t.Parallel()
	const upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
	tests := []struct {
		name, version, headers string
		framed                 bool
		status, contentType    string
	}{
		{"with an upgrade, framed", "1.44", upgrade, true, "HTTP/1.1 101 UPGRADED", "application/vnd.docker.multiplexed-stream"},
		{"with an upgrade, of a terminal", "1.44", upgrade, false, "HTTP/1.1 101 UPGRADED", "application/vnd.docker.raw-stream"},
		{"with an upgrade, framed, before there was a name for it", "1.41", upgrade, true, "HTTP/1.1 101 UPGRADED", "application/vnd.docker.raw-stream"},
		{"without an upgrade", "1.44", "", true, "HTTP/1.1 200 OK", "application/vnd.docker.raw-stream"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			j, ts := daemon(t)
			j.attach = echo(t, test.framed)
			conn, r := dial(t, ts, "POST /v"+test.version+"/containers/web/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n"+test.headers+"\r\nearly\n")
			head := readHead(t, r)
			if !strings.HasPrefix(head, test.status+"\r\nContent-Type: "+test.contentType+"\r\n") || !strings.Contains(head, "Api-Version: 1.56\r\n") {
				t.Errorf("head: %s", head)
			}
			if _, err := io.WriteString(conn, "late\n"); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			output, err := io.ReadAll(r)
			if err != nil || string(output) != "you said early\nyou said late\n" {
				t.Errorf("output %q, error %v", output, err)
			}
		})
	}
}

func TestAnAttachThatFailsBeforeTheHijackHasAStatus(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	j.err = core.NoSuchContainer("web")
	_, r := dial(t, ts, "POST /containers/web/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	if head := readHead(t, r); !strings.HasPrefix(head, "HTTP/1.1 404") {
		t.Errorf("head: %s", head)
	}
}

func TestAnExecThatFailsAfterTheHijackIsToldInItsOutput(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	j.attach = func(hijack core.Hijack) error {
		if _, err := hijack(true); err != nil {
			return err
		}
		return core.Invalid("no such file")
	}
	_, r := dial(t, ts, "POST /exec/e1/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
	readHead(t, r)
	output, err := io.ReadAll(r)
	if want := "\x01\x00\x00\x00\x00\x00\x00\x0eno such file\r\n"; err != nil || string(output) != want {
		t.Errorf("output %q, want %q, error %v", output, want, err)
	}
}

func TestAttachOverAWebsocket(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	j.attach = func(hijack core.Hijack) error {
		streams, err := hijack(true)
		if err != nil {
			return err
		}
		go func() { // the runtime carries on after Attach has returned
			defer streams.Conn.Close()
			buffer := make([]byte, 64)
			n, err := streams.Conn.Read(buffer)
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(streams.Conn, "you said %s", buffer[:n])
		}()
		return nil
	}
	conn, err := websocket.Dial("ws"+strings.TrimPrefix(ts.URL, "http")+"/containers/web/attach/ws?stream=1&stdin=1", "", ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	output, err := io.ReadAll(conn)
	if err != nil || string(output) != "you said hello" {
		t.Errorf("output %q, error %v", output, err)
	}
	if status, answer, _ := ask(t, ts, "GET", "/containers/web/attach/ws", ""); status != 400 {
		t.Errorf("without an upgrade: %d %s", status, answer)
	}
}

func TestWaitSendsItsHeadBeforeTheContainerEnds(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	response, err := ts.Client().Post(ts.URL+"/containers/web/wait?condition=removed", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 200 || j.last() != "wait web removed" {
		t.Fatalf("status %d, call %q", response.StatusCode, j.last())
	}
	j.wait <- core.WaitResult{Code: 3, Err: errors.New("gone")} // only now
	answer, err := io.ReadAll(response.Body)
	if want := `{"Error":{"Message":"gone"},"StatusCode":3}` + "\n"; err != nil || string(answer) != want {
		t.Errorf("answer %s, error %v", answer, err)
	}
}

func TestLogsAreSentAsTheyCome(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	j.follow = make(chan core.LogLine)
	response, err := http.Get(ts.URL + "/containers/web/logs?stdout=1&stderr=1&follow=1&timestamps=1&details=1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); got != multiplexedStream {
		t.Errorf("content type %s", got)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	const stamp = "2026-01-02T03:04:05.000000006Z "
	buffer := make([]byte, 256)
	for _, step := range []struct {
		line core.LogLine
		want string
	}{
		{core.LogLine{Line: []byte("one\n"), Time: at, Attrs: map[string]string{"b": "x y", "a": "1"}}, "\x01\x00\x00\x00\x00\x00\x00\x2d" + stamp + "a=1,b=x+y one\n"},
		{core.LogLine{Line: []byte("half "), Time: at, Partial: true}, "\x01\x00\x00\x00\x00\x00\x00\x25" + stamp + " half "},
		{core.LogLine{Line: []byte("err\n"), Time: at, Stderr: true}, "\x02\x00\x00\x00\x00\x00\x00\x24" + stamp + " err\n"},
		{core.LogLine{Line: []byte("rest\n"), Time: at}, "\x01\x00\x00\x00\x00\x00\x00\x05rest\n"},
	} {
		j.follow <- step.line
		n, err := io.ReadFull(response.Body, buffer[:len(step.want)])
		if err != nil || string(buffer[:n]) != step.want {
			t.Fatalf("got %q, want %q, error %v", buffer[:n], step.want, err)
		}
	}
	close(j.follow)
	if rest, err := io.ReadAll(response.Body); err != nil || len(rest) > 0 {
		t.Errorf("rest %q, error %v", rest, err)
	}
}

func TestLogsOfATerminalAreNotFramed(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	j.tty, j.lines = true, []core.LogLine{{Line: []byte("a\n")}, {Line: []byte("b\n")}}
	status, answer, header := ask(t, ts, "GET", "/containers/web/logs?stdout=1", "")
	if status != 200 || answer != "a\nb\n" || header.Get("Content-Type") != rawStream {
		t.Errorf("%d %q %s", status, answer, header.Get("Content-Type"))
	}
}

func TestEventsAreSentAsTheyHappen(t *testing.T) {
	t.Parallel()
	event := core.Event{Type: "container", Action: "start", ID: "c1", Attributes: map[string]string{"image": "busybox"}, Time: time.Unix(5, 7)}
	const today = `{"Type":"container","Action":"start","Actor":{"ID":"c1","Attributes":{"image":"busybox"}},"scope":"local","time":5,"timeNano":5000000007}`
	tests := []struct {
		path, accept, contentType, line string
	}{
		{"/v1.56/events?since=1.5", "", "application/json", today},
		{"/v1.56/events?since=1.5", "application/json-seq", "application/json-seq", "\x1e" + today},
		{"/v1.56/events?since=1.5", "text/html, application/x-ndjson;q=1", "application/x-ndjson", today},
		{"/v1.51/events?since=1.5", "application/json-seq", "application/json", `{"status":"start","id":"c1","from":"busybox",` + today[1:]},
	}
	for _, test := range tests {
		t.Run(test.path+" "+test.accept, func(t *testing.T) {
			t.Parallel()
			j, ts := daemon(t)
			request, err := http.NewRequest("GET", ts.URL+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Accept", test.accept)
			response, err := ts.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if got := response.Header.Get("Content-Type"); got != test.contentType || !strings.HasPrefix(j.last(), "events since=1500000000 ") {
				t.Errorf("content type %s, call %s", got, j.last())
			}
			r := bufio.NewReader(response.Body)
			for range 2 {
				j.events <- event
				if line, err := r.ReadString('\n'); err != nil || line != test.line+"\n" {
					t.Errorf("line %q, want %q, error %v", line, test.line, err)
				}
			}
			close(j.events)
			if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
				t.Errorf("rest %q, error %v", rest, err)
			}
		})
	}
}

func TestProgressIsLinesOfJSON(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	j.steps = []core.Progress{
		{Status: "Pulling from library/busybox", ID: "latest"},
		{Status: "Downloading", ID: "abc", Current: 1, Total: 2},
		{Status: "Digest: sha256:1"},
		{Stream: "Step 1\n"},
		{Aux: map[string]string{"ID": "x"}},
		{Aux: []byte("trace"), AuxID: "moby.buildkit.trace"},
	}
	j.err = core.Internal("disk full")
	status, answer, header := ask(t, ts, "POST", "/images/create?fromImage=busybox&tag=latest", "",
		"X-Registry-Auth", base64.URLEncoding.EncodeToString([]byte(`{"username":"me","password":"secret"}`)))
	want := `{"status":"Pulling from library/busybox","progressDetail":{},"id":"latest"}
{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"abc"}
{"status":"Digest: sha256:1"}
{"stream":"Step 1\n"}
{"aux":{"ID":"x"}}
{"id":"moby.buildkit.trace","aux":"dHJhY2U="}
{"errorDetail":{"message":"disk full"},"error":"disk full"}
`
	if status != 200 || answer != want || header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", status, answer)
	}
	if !strings.HasSuffix(j.last(), "auth=me:secret") {
		t.Errorf("call %s", j.last())
	}
}

func TestAnErrorBeforeTheFirstLineHasAStatus(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/images/create?fromImage=a&tag=b", "/images/a/push?tag=b", "/images/load", "/build"} {
		j, ts := daemon(t)
		j.err = core.NotFound("no such thing")
		if status, answer, _ := ask(t, ts, "POST", path, ""); status != 404 || unquote(answer) != "no such thing" {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	j, ts := daemon(t)
	j.err = core.NoSuchImage("a")
	if status, answer, _ := ask(t, ts, "GET", "/images/a/get", ""); status != 404 {
		t.Errorf("save: %d %s", status, answer)
	}
}

func TestATarThatBreaksOffIsNoWholeAnswer(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	j.content, j.err = strings.Repeat("x", 10_000), core.Internal("disk")
	response, err := http.Get(ts.URL + "/images/a/get")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("the client took half a tar for a whole one")
	}
}

func TestAQuietBuildEndsWithItsImage(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	j.steps = []core.Progress{{Aux: map[string]string{"ID": "sha256:abc"}}}
	want := `{"aux":{"ID":"sha256:abc"}}` + "\n" + `{"stream":"sha256:abc\n"}` + "\n"
	if _, answer, _ := ask(t, ts, "POST", "/build?q=1", "tar"); answer != want {
		t.Errorf("answer %s", answer)
	}
}

func TestStatsComeOnceTwiceOrForever(t *testing.T) {
	t.Parallel()
	sample := func(cpu uint64) core.StatsSample {
		return core.StatsSample{ID: "c1", Name: "web", Stats: core.Stats{Read: time.Unix(int64(cpu), 0), CPUTotal: cpu}}
	}
	type shown struct {
		Name     string
		CPUStats struct {
			CPUUsage struct {
				TotalUsage uint64 `json:"total_usage"`
			} `json:"cpu_usage"`
		} `json:"cpu_stats"`
		PreCPUStats struct {
			CPUUsage struct {
				TotalUsage uint64 `json:"total_usage"`
			} `json:"cpu_usage"`
		} `json:"precpu_stats"`
	}
	tests := []struct {
		query     string
		samples   []core.StatsSample
		cpu, prev uint64
	}{
		{"stream=0&one-shot=1", []core.StatsSample{sample(4)}, 4, 0},
		{"stream=0", []core.StatsSample{sample(4), sample(9)}, 9, 4},
		{"stream=0", []core.StatsSample{{Name: "web"}}, 0, 0},
	}
	for _, test := range tests {
		j, ts := daemon(t)
		for _, s := range test.samples {
			j.samples <- s
		}
		_, answer, _ := ask(t, ts, "GET", "/containers/web/stats?"+test.query, "")
		var got shown
		if err := jsonUnmarshal(answer, &got); err != nil || got.Name != "/web" || got.CPUStats.CPUUsage.TotalUsage != test.cpu || got.PreCPUStats.CPUUsage.TotalUsage != test.prev {
			t.Errorf("%s: %s (%v)", test.query, answer, err)
		}
	}

	j, ts := daemon(t)
	j.samples <- sample(1)
	response, err := http.Get(ts.URL + "/containers/web/stats")
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(response.Body)
	for i := range uint64(4) {
		var got shown
		if err := dec.Decode(&got); err != nil || got.CPUStats.CPUUsage.TotalUsage != i+1 || got.PreCPUStats.CPUUsage.TotalUsage != i {
			t.Fatalf("sample %d: %+v (%v)", i, got, err)
		}
		j.samples <- sample(i + 2)
	}
	response.Body.Close()
	close(j.samples)
}
