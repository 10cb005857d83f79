package tool

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// server answers on a loopback port until the test ends.
func server(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := answerHTTP(conn); err != nil {
					t.Log(err) // the client hung up in the middle, as clients do
				}
			}()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().String()
}

func TestRequestsCountsAnswersAndAsksAtLeastOnce(t *testing.T) {
	t.Parallel()
	address := server(t)
	once, err := Requests(address, time.Now().Add(-time.Second))
	if err != nil || once.Requests != 1 {
		t.Errorf("after its time: %+v, %v", once, err)
	}
	many, err := Requests(address, time.Now().Add(20*time.Millisecond))
	if err != nil || many.Requests < 2 || many.Bytes != many.Requests*int64(len(smallAnswer)) {
		t.Errorf("got %+v, %v", many, err)
	}
}

func TestReceiveReadsUntilItsTimeIsOver(t *testing.T) {
	t.Parallel()
	got, err := receive(server(t), time.Now().Add(50*time.Millisecond))
	if err != nil || got.Bytes < 1<<20 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRequestsOfNobodyFail(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	if _, err := Requests(address, time.Now()); err == nil {
		t.Error("no error")
	}
}

func TestRunKnowsItsTools(t *testing.T) {
	t.Parallel()
	if found, _ := Run([]string{"-quick"}); found {
		t.Error("a flag is no tool")
	}
	if found, _ := Run(nil); found {
		t.Error("nothing is no tool")
	}
	if found, err := Run([]string{"lines", "-n=0"}); !found || err != nil {
		t.Errorf("lines: %t, %v", found, err)
	}
}

func TestALogLineHas100Bytes(t *testing.T) {
	t.Parallel()
	if line := LogLine(); len(line) != LineLength || line[LineLength-1] != '\n' {
		t.Errorf("got %q", line)
	}
}

func TestNameserverIsTheFirst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("# nameserver 1.1.1.1\nsearch x\nnameserver 127.0.0.11\nnameserver 10.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := nameserver(path); err != nil || got != "127.0.0.11:53" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAnAnswerMustBeOne(t *testing.T) {
	t.Parallel()
	message := func(id uint16, flags uint16, answers uint16) []byte {
		m := binary.BigEndian.AppendUint16(nil, id)
		m = binary.BigEndian.AppendUint16(m, flags)
		m = binary.BigEndian.AppendUint16(m, 1)
		return binary.BigEndian.AppendUint16(m, answers)
	}
	pad := func(m []byte) []byte { return append(m, 0, 0, 0, 0) }
	for name, test := range map[string]struct {
		message []byte
		good    bool
	}{
		"an answer with a record": {pad(message(7, 0x8180, 1)), true},
		"another question's":      {pad(message(8, 0x8180, 1)), false},
		"the question itself":     {pad(message(7, 0x0100, 1)), false},
		"no such name":            {pad(message(7, 0x8183, 0)), false},
		"no record":               {pad(message(7, 0x8180, 0)), false},
		"cut off":                 {message(7, 0x8180, 1), false},
	} {
		if err := checkAnswer(test.message, 7); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := string(question("a.bc", 7)); got != "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01" {
		t.Errorf("question: %q", got)
	}
}
