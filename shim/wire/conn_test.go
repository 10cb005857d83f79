package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func pair(t *testing.T) (*Conn, *Conn) {
	t.Helper()
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := FileConn(a)
	if err != nil {
		t.Fatal(err)
	}
	cb, err := FileConn(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ca.Close(); cb.Close() })
	return ca, cb
}

func TestMessagesArriveWithTheirFiles(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	long := strings.Repeat("long ", 200_000)
	sent := make(chan error, 1)
	go func() {
		for i := range 20 {
			m := &Message{Seq: uint64(i), Container: "c", Exec: &Exec{Who: Who{User: long}}}
			files := []*os.File{file, file, file}[:i%4]
			if err := a.Send(m, files...); err != nil {
				sent <- err
				return
			}
		}
		sent <- a.Close()
	}()
	for i := range 20 {
		m, files, err := b.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Seq != uint64(i) || m.Exec == nil || m.Exec.Who.User != long || len(files) != i%4 {
			t.Fatalf("message %d: %d, %d files", i, m.Seq, len(files))
		}
		for _, f := range files {
			if _, err := f.WriteString("x"); err != nil {
				t.Error(err)
			}
			f.Close()
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if info, err := file.Stat(); err != nil || info.Size() != 30 {
		t.Errorf("%v %v", info.Size(), err)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"too long":         binary.BigEndian.AppendUint64(nil, (maxMessage+1)<<32),
		"files that lack":  binary.BigEndian.AppendUint64(nil, 2<<32|1),
		"no JSON":          append(binary.BigEndian.AppendUint64(nil, 2<<32), "{{"...),
		"half a header":    {0, 0, 0},
		"less than stated": append(binary.BigEndian.AppendUint64(nil, 9<<32), "{}"...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b, err := Pair()
			if err != nil {
				t.Fatal(err)
			}
			raw, err := net.FileConn(a)
			if err != nil {
				t.Fatal(err)
			}
			a.Close()
			conn, err := FileConn(b)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := raw.Write(data); err != nil {
				t.Fatal(err)
			}
			raw.Close()
			if m, _, err := conn.Receive(); err == nil {
				t.Errorf("%+v", m)
			}
		})
	}
}
