package forward

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-engine/berth/core/logopt"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 123456789, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long something that must happen may take.
const patience = 30 * time.Second

// plan is that of a container "web" with the given options.
func plan(t testing.TB, driver string, options ...string) *logopt.Plan {
	t.Helper()
	config := map[string]string{"cache-disabled": "true"}
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		config[key] = value
	}
	p, err := logopt.New(driver, "", "host", logopt.Facts{
		ContainerID: strings.Repeat("ab", 32), ContainerName: "/web", ContainerEntrypoint: "sh", ContainerArgs: []string{"-c", "x"},
		ContainerImageID: "sha256:" + strings.Repeat("cd", 32), ContainerImageName: "busybox", ContainerCreated: noon,
		ContainerLabels: map[string]string{"com.example.tier": "front"}, ContainerEnv: []string{"COLOR=blue"}, DaemonName: "docker", Config: config,
	})
	must(t, err)
	return &p
}

func open(t testing.TB, p *logopt.Plan) *Forwarder {
	t.Helper()
	f, err := New(t.Context(), p, nil, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

// server takes connections on a loopback address, and can be ended and started again.
type server struct {
	t        testing.TB
	network  string
	address  string
	listener net.Listener
	conns    chan net.Conn
	mu       sync.Mutex // guards open
	open     []net.Conn
}

func listen(t testing.TB, network, address string) *server {
	s := &server{t: t, network: network, address: address, conns: make(chan net.Conn, 100)}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *server) start() {
	l, err := net.Listen(s.network, s.address)
	must(s.t, err)
	s.listener, s.address = l, l.Addr().String()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open = append(s.open, conn)
			s.mu.Unlock()
			s.conns <- conn
		}
	}()
}

// stop ends the server with its connections.
func (s *server) stop() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.open {
		conn.Close()
	}
	s.open = nil
}

func (s *server) accept() *bufio.Reader {
	s.t.Helper()
	return bufio.NewReader(s.connection())
}

func (s *server) connection() net.Conn {
	s.t.Helper()
	select {
	case conn := <-s.conns:
		must(s.t, conn.SetDeadline(time.Now().Add(patience)))
		return conn
	case <-time.After(patience):
		s.t.Fatal("nobody connects")
		return nil
	}
}

// datagrams is a socket that takes packets.
func datagrams(t testing.TB, network, address string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	return conn
}

func packet(t testing.TB, conn net.PacketConn) []byte {
	t.Helper()
	buffer := make([]byte, 64<<10)
	n, _, err := conn.ReadFrom(buffer)
	must(t, err)
	return buffer[:n]
}

func TestSyslogFormats(t *testing.T) {
	t.Parallel()
	local := noon.Local()
	pid := fmt.Sprint(os.Getpid())
	for name, test := range map[string]struct {
		options []string
		want    string
	}{
		"by default":                       {nil, "<30>" + local.Format("Jan _2 15:04:05") + " abababababab[" + pid + "]: hello\n"},
		"rfc3164":                          {[]string{"syslog-format=rfc3164", "tag={{.Name}}/x"}, "<30>" + local.Format("Jan _2 15:04:05") + " host web/x[" + pid + "]: hello\n"},
		"rfc5424":                          {[]string{"syslog-format=rfc5424", "syslog-facility=local7"}, "<190>1 " + local.Format(time.RFC3339) + " host abababababab " + pid + " abababababab - hello\n"},
		"rfc5424 with microseconds":        {[]string{"syslog-format=rfc5424micro", "syslog-facility=0"}, "<6>1 " + local.Format("2006-01-02T15:04:05.000000Z07:00") + " host abababababab " + pid + " abababababab - hello\n"},
		"a number as facility, daemon's 3": {[]string{"syslog-facility=3"}, "<30>" + local.Format("Jan _2 15:04:05") + " abababababab[" + pid + "]: hello\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := datagrams(t, "udp", "127.0.0.1:0")
			f := open(t, plan(t, "syslog", append(test.options, "syslog-address=udp://"+conn.LocalAddr().String())...))
			must(t, f.Append(false, noon, []byte("\n"))) // an empty line is not logged
			must(t, f.Append(false, noon, []byte("hello\n")))
			if got := packet(t, conn); string(got) != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			must(t, f.Append(true, noon, []byte("oops\n")))
			if got := packet(t, conn); !bytes.HasSuffix(got, []byte("oops\n")) || bytes.HasPrefix(got, []byte(test.want[:4])) {
				t.Errorf("on stderr: %q", got)
			}
		})
	}
}

func TestSyslogOverSockets(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "log")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(dir, "stream")
			}
			s := listen(t, network, address)
			f := open(t, plan(t, "syslog", "syslog-address="+network+"://"+s.address))
			in := s.accept()
			for n := range 1000 {
				must(t, f.Append(false, noon, fmt.Appendf(nil, "line %d\n", n)))
			}
			for n := range 1000 {
				line, err := in.ReadString('\n')
				if err != nil || !strings.HasSuffix(line, fmt.Sprintf(": line %d\n", n)) {
					t.Fatalf("line %d is %q, %v", n, line, err)
				}
			}
		})
	}
	t.Run("unixgram", func(t *testing.T) {
		t.Parallel()
		conn := datagrams(t, "unixgram", filepath.Join(dir, "gram"))
		f := open(t, plan(t, "syslog", "syslog-address=unixgram://"+filepath.Join(dir, "gram")))
		for n := range 100 { // more than the socket queues: the sender waits
			must(t, f.Append(false, noon, fmt.Appendf(nil, "line %d\n", n)))
		}
		for n := range 100 {
			if got := packet(t, conn); !bytes.HasSuffix(got, fmt.Appendf(nil, ": line %d\n", n)) {
				t.Fatalf("line %d is %q", n, got)
			}
		}
	})
}

func TestAServerThatIsNotThereFailsTheStart(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	refused := "dial tcp " + address + ": connect: connection refused"
	for name, test := range map[string]struct {
		plan *logopt.Plan
		want string
	}{
		"syslog":          {plan(t, "syslog", "syslog-address=tcp://"+address), refused},
		"gelf":            {plan(t, "gelf", "gelf-address=tcp://"+address), "gelf: cannot connect to GELF endpoint: " + address + " " + refused},
		"fluentd":         {plan(t, "fluentd", "fluentd-address="+address), refused},
		"journald":        {&logopt.Plan{Remote: &logopt.Remote{Journald: &logopt.JournaldServer{Socket: "/nonexistent/socket"}}}, "journald is not enabled on this host"},
		"fluentd, async":  {plan(t, "fluentd", "fluentd-async=true", "fluentd-address="+address), ""},
		"syslog over udp": {plan(t, "syslog", "syslog-address=udp://"+address), ""},
	} {
		f, err := New(t.Context(), test.plan, nil, slog.New(slog.DiscardHandler))
		if text := fmt.Sprint(err); err != nil && text != test.want || err == nil && test.want != "" {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			must(t, f.Close())
		}
	}
}

func TestNothingIsLostWhenTheServerIsStartedAnew(t *testing.T) {
	t.Parallel()
	s := listen(t, "tcp", "127.0.0.1:0")
	f := open(t, plan(t, "syslog", "syslog-address=tcp://"+s.address))
	say := func(from, to int) {
		for n := from; n < to; n++ {
			must(t, f.Append(false, noon, fmt.Appendf(nil, "%d\n", n)))
		}
	}
	hear := func(in *bufio.Reader, from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			line, err := in.ReadString('\n')
			if err != nil || !strings.HasSuffix(line, fmt.Sprintf(": %d\n", n)) {
				t.Fatalf("%d is %q, %v", n, line, err)
			}
		}
	}
	in := s.accept()
	say(0, 100)
	hear(in, 0, 100)
	for round := range 3 {
		f.mu.Lock()
		gone := f.link.(*stream)
		f.mu.Unlock()
		s.stop()
		// The forwarder notices by itself; what is written from then on waits.
		for _, err := gone.Write(nil); err == nil; _, err = gone.Write(nil) {
			must(t, t.Context().Err())
		}
		say(100*(round+1), 100*(round+1)+50)
		s.start()
		say(100*(round+1)+50, 100*(round+2))
		hear(s.accept(), 100*(round+1), 100*(round+2))
	}
}

func TestABufferThatIsFull(t *testing.T) {
	t.Parallel()
	line := append(bytes.Repeat([]byte("x"), 1000), '\n')
	t.Run("drops what does not fit when it may not block", func(t *testing.T) {
		t.Parallel()
		s := listen(t, "tcp", "127.0.0.1:0")
		f := open(t, plan(t, "syslog", "syslog-address=tcp://"+s.address, "mode=non-blocking", "max-buffer-size=10k"))
		in := s.connection()
		for range 50_000 { // far more than sockets hold
			must(t, f.Append(false, noon, line))
		}
		f.mu.Lock()
		held := len(f.waiting.data)
		f.mu.Unlock()
		if held > 10<<10 {
			t.Errorf("%d bytes wait", held)
		}
		got := make(chan int, 1)
		go func() {
			all, err := io.ReadAll(in)
			if err != nil {
				t.Error(err)
			}
			got <- bytes.Count(all, []byte("\n"))
		}()
		must(t, f.Close())
		if n := <-got; n == 0 || n >= 50_000 {
			t.Errorf("%d of 50000 lines came", n)
		}
	})
	t.Run("makes the container wait for a slow server", func(t *testing.T) {
		t.Parallel()
		s := listen(t, "tcp", "127.0.0.1:0")
		f := open(t, plan(t, "syslog", "syslog-address=tcp://"+s.address))
		in := s.connection()
		done := make(chan error, 1)
		const lines = 20_000
		go func() {
			for range lines {
				if err := f.Append(false, noon, line); err != nil {
					done <- err
					return
				}
			}
			done <- f.Close()
		}()
		got, err := io.ReadAll(in)
		if err = errors.Join(err, <-done); err != nil || bytes.Count(got, []byte("\n")) != lines {
			t.Errorf("%d lines, %v", bytes.Count(got, []byte("\n")), err)
		}
	})
	t.Run("lets a container go on that ends while it waits", func(t *testing.T) {
		t.Parallel()
		s := listen(t, "tcp", "127.0.0.1:0")
		f := open(t, plan(t, "fluentd", "fluentd-address="+s.address))
		s.connection() // and nobody reads
		ended := make(chan error, 1)
		go func() {
			for {
				if err := f.Append(false, noon, line); err != nil {
					ended <- err
					return
				}
			}
		}()
		// It blocks once the buffer and the sockets are full.
		f.mu.Lock()
		for f.blocked == 0 {
			f.mu.Unlock()
			f.mu.Lock()
		}
		f.mu.Unlock()
		if !f.Behind() {
			t.Error("it is not said to be behind")
		}
		must(t, f.Close())
		if err := <-ended; !errors.Is(err, os.ErrClosed) {
			t.Errorf("the writer ends with %v", err)
		}
	})
}

func TestGELFDatagrams(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"gzip", "zlib", "none"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			conn := datagrams(t, "udp", "127.0.0.1:0")
			f := open(t, plan(t, "gelf", "gelf-address=udp://"+conn.LocalAddr().String(), "gelf-compression-type="+kind, "labels-regex=^com", "env=COLOR", "tag={{.ImageName}}"))
			// A line that can't be compressed much is cut into chunks.
			var long strings.Builder
			for n := range 3000 {
				fmt.Fprintf(&long, "%x,", n*n*7919)
			}
			for _, text := range []string{"he said \"hello\"", long.String()[:longest-1]} {
				must(t, f.Append(true, noon, []byte(text+"\n")))
				var m map[string]any
				must(t, json.Unmarshal(unpack(t, kind, message(t, conn)), &m))
				if m["short_message"] != text || m["level"] != 3.0 || m["timestamp"] != 1767355200.123 || m["version"] != "1.1" || m["host"] != "host" {
					t.Errorf("%.300v", m)
				}
				if m["_container_name"] != "web" || m["_command"] != "sh -c x" || m["_tag"] != "busybox" || m["_com.example.tier"] != "front" || m["_COLOR"] != "blue" {
					t.Errorf("fields %v", m)
				}
			}
		})
	}
}

// message puts the chunks of a GELF message together.
func message(t *testing.T, conn net.PacketConn) []byte {
	t.Helper()
	first := packet(t, conn)
	if !bytes.HasPrefix(first, []byte{0x1e, 0x0f}) {
		return first
	}
	pieces := make([][]byte, first[11])
	for n, p := 1, first; ; n++ {
		if !bytes.Equal(p[:10], first[:10]) || p[11] != first[11] || len(p) > chunkSize {
			t.Fatalf("chunk %d: % x, %d bytes", n, p[:12], len(p))
		}
		pieces[p[10]] = p[12:]
		if n == len(pieces) {
			return bytes.Join(pieces, nil)
		}
		p = packet(t, conn)
	}
}

func unpack(t *testing.T, kind string, data []byte) []byte {
	t.Helper()
	var in io.Reader = bytes.NewReader(data)
	var err error
	switch kind {
	case "gzip":
		in, err = gzip.NewReader(in)
	case "zlib":
		in, err = zlib.NewReader(in)
	}
	must(t, err)
	out, err := io.ReadAll(in)
	must(t, err)
	return out
}

func TestGELFOverTCP(t *testing.T) {
	t.Parallel()
	s := listen(t, "tcp", "127.0.0.1:0")
	f := open(t, plan(t, "gelf", "gelf-address=tcp://"+s.address))
	in := s.accept()
	for n := range 100 {
		must(t, f.Append(false, noon, fmt.Appendf(nil, "line %d\n", n)))
		data, err := in.ReadBytes(0)
		must(t, err)
		var m map[string]any
		if err := json.Unmarshal(data[:len(data)-1], &m); err != nil || m["short_message"] != fmt.Sprintf("line %d", n) || m["level"] != 6.0 {
			t.Fatalf("%q, %v", data, err)
		}
	}
}

func TestJournald(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "log")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	conn := datagrams(t, "unixgram", socket)
	p := plan(t, "journald", "labels=com.example.tier", "tag={{.Name}}")
	p.Remote.Journald.Socket = socket
	p.Remote.Journald.Fields["TEXT"] = "two\nlines"
	f := open(t, p)
	must(t, f.Append(true, noon, []byte("hello\r\n")))
	got := fields(t, packet(t, conn))
	for key, want := range map[string]string{
		"MESSAGE": "hello\r", "PRIORITY": "3", "CONTAINER_ID": "abababababab", "CONTAINER_ID_FULL": strings.Repeat("ab", 32), "CONTAINER_NAME": "web",
		"CONTAINER_TAG": "web", "SYSLOG_IDENTIFIER": "web", "IMAGE_NAME": "busybox", "COM_EXAMPLE_TIER": "front", "TEXT": "two\nlines",
		"SYSLOG_TIMESTAMP": noon.Format(time.RFC3339Nano), "CONTAINER_LOG_ORDINAL": "1",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	must(t, f.Append(false, noon, bytes.Repeat([]byte("y"), longest)))
	must(t, f.Append(false, noon, []byte("end\n")))
	first, second := fields(t, packet(t, conn)), fields(t, packet(t, conn))
	if first["CONTAINER_PARTIAL_MESSAGE"] != "true" || first["CONTAINER_PARTIAL_LAST"] != "false" || first["CONTAINER_PARTIAL_ORDINAL"] != "1" ||
		second["CONTAINER_PARTIAL_MESSAGE"] != "" || second["CONTAINER_PARTIAL_LAST"] != "true" || second["CONTAINER_PARTIAL_ID"] != first["CONTAINER_PARTIAL_ID"] {
		t.Errorf("parts %v, %v", first, second)
	}
}

// fields reads an entry of the journal.
func fields(t *testing.T, data []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		line := string(data[:end])
		data = data[end+1:]
		if key, value, ok := strings.Cut(line, "="); ok {
			all[key] = value
			continue
		}
		n := binary.LittleEndian.Uint64(data)
		all[line], data = string(data[8:8+n]), data[8+n+1:]
	}
	return all
}

func TestLinesBeforeAFile(t *testing.T) {
	t.Parallel()
	file := &notes{}
	f, err := New(t.Context(), &logopt.Plan{Buffer: 1 << 20}, file, slog.New(slog.DiscardHandler))
	must(t, err)
	must(t, errors.Join(f.Append(false, noon, []byte("one\n")), f.Append(true, noon, []byte("two")), f.Append(false, noon, []byte("\n")), f.Close()))
	want := []string{"false one\n", "true two", "false \n"}
	if fmt.Sprint(file.lines) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", file.lines, want)
	}
}

type notes struct{ lines []string }

func (n *notes) Append(stderr bool, at time.Time, line []byte) error {
	if !at.Equal(noon) {
		return errors.New("another time")
	}
	n.lines = append(n.lines, fmt.Sprint(stderr, " ", string(line)))
	return nil
}
func (n *notes) Flush() error { return nil }

var base64Text = regexp.MustCompile(`^[A-Za-z0-9+/]{22}==$`)
