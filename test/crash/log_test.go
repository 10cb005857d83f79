package crash

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const numberLogs = 220

// TestALogServerHearsAllWhileTheDaemonDiesAgainAndAgain: the shim sends, so it makes no difference.
func TestALogServerHearsAllWhileTheDaemonDiesAgainAndAgain(t *testing.T) {
	t.Parallel()
	d, bin := begin(t, numberLogs)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const lines = 20_000
	heard := make(chan error, 1)
	go func() { heard <- listen(listener, lines) }()
	// The second half is said when a daemon has died already.
	create := map[string]any{
		"Image": "busybox", "Cmd": []string{"sh", "-c", fmt.Sprintf("mkfifo /go; seq 1 %d; read x </go; seq %d %d; exit 6", lines/2, lines/2+1, lines)},
		"HostConfig": map[string]any{"LogConfig": map[string]any{
			"Type": "syslog", "Config": map[string]string{"syslog-address": "tcp://" + listener.Addr().String(), "cache-compress": "false"},
		}},
	}
	if err := errors.Join(
		d.Do(http.MethodPost, "/containers/create?name=sys", create, nil),
		d.Do(http.MethodPost, "/containers/sys/start", nil, nil),
	); err != nil {
		t.Fatal(err)
	}
	again(t, d, nil)
	var exec struct{ ID string }
	if err := errors.Join(
		d.Do(http.MethodPost, "/containers/sys/exec", map[string]any{"Cmd": []string{"sh", "-c", "echo go >/go"}}, &exec),
		d.Do(http.MethodPost, "/exec/"+exec.ID+"/start", map[string]any{"Detach": true}, nil),
	); err != nil {
		t.Fatal(err)
	}
	again(t, d, nil)
	if code := waitFor(t, d, "sys"); code != 6 {
		t.Errorf("exit code %d, want 6", code)
	}
	select {
	case err := <-heard:
		if err != nil {
			t.Errorf("what the log server heard: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the log server does not hear all")
	}
	if output, err := logs(d, bin, "sys"); err != nil {
		t.Error(err)
	} else if err := counts(output, lines); err != nil {
		t.Errorf("the copy of the log: %v", err)
	}
}

// listen reads messages of one connection that end with the numbers from 1 to n.
func listen(listener net.Listener, n int) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i := 1; i <= n; i++ {
		line, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if !strings.HasSuffix(line, fmt.Sprintf("]: %d\n", i)) {
			return fmt.Errorf("message %d is %q", i, line)
		}
	}
	return nil
}
