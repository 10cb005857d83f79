package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func TestDetachReader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		typed, want string
		detached    bool
	}{
		"text passes":                              {"hello", "hello", false},
		"the keys in a row detach":                 {"ab\x10\x11cd", "ab", true},
		"a beginning alone passes when more comes": {"a\x10b", "a\x10b", false},
		"a beginning at the end passes":            {"a\x10", "a\x10", false},
		"a beginning twice, then the rest":         {"\x10\x10\x11", "\x10", true},
	} {
		for chunks, wrap := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader} {
			got, err := io.ReadAll(NewDetachReader(wrap(strings.NewReader(c.typed)), []byte{0x10, 0x11}))
			if string(got) != c.want || errors.Is(err, ErrDetached) != c.detached {
				t.Errorf("%s, %s: %q, %v", name, chunks, got, err)
			}
		}
	}
}

func TestParseDetachKeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "\x10\x11", "a,b": "ab", "ctrl-a": "\x01", "ctrl-@": "\x00", "ctrl-[": "\x1b", "ctrl-_,x": "\x1fx"} {
		if got, err := ParseDetachKeys(text); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := ParseDetachKeys("ctrl-1"); err == nil || err.Error() != "invalid detach keys (ctrl-1): unknown character: 'ctrl-1'" {
		t.Errorf("error %v", err)
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	frames := "\x01\x00\x00\x00\x00\x00\x00\x03out" + "\x02\x00\x00\x00\x00\x00\x00\x03err" + "\x01\x00\x00\x00\x00\x00\x00\x00"
	if err := Split(&out, &errs, iotest.OneByteReader(strings.NewReader(frames))); err != nil || out.String() != "out" || errs.String() != "err" {
		t.Errorf("%q %q %v", out.String(), errs.String(), err)
	}
	for name, bad := range map[string]string{
		"an unknown stream":  "\x09\x00\x00\x00\x00\x00\x00\x01x",
		"a frame cut off":    "\x01\x00\x00\x00\x00\x00\x00\x09x",
		"a header cut off":   "\x01\x00",
		"the daemon's own":   "\x03\x00\x00\x00\x00\x00\x00\x02no",
		"a length that lies": "\x01\x00\x00\x00\xff\xff\xff\xffx",
	} {
		if err := Split(io.Discard, io.Discard, strings.NewReader(bad)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// calls counts writes.
type calls struct {
	bytes.Buffer
	n int
}

func (c *calls) Write(p []byte) (int, error) { c.n++; return c.Buffer.Write(p) }

func TestSplitKeepsOrderAndWritesLittle(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var src, wantOut, wantErr bytes.Buffer
	for i := range 5000 {
		payload := bytes.Repeat([]byte{byte(i)}, random.IntN(200))
		if i%500 == 0 {
			payload = bytes.Repeat([]byte{byte(i)}, 100_000)
		}
		stream, want := byte(frameStdout), &wantOut
		if i%100 == 7 {
			stream, want = frameStderr, &wantErr
		}
		src.Write(binary.BigEndian.AppendUint32([]byte{stream, 0, 0, 0}, uint32(len(payload))))
		src.Write(payload)
		want.Write(payload)
	}
	for name, reader := range map[string]io.Reader{
		"at once": bytes.NewReader(src.Bytes()), "byte by byte": iotest.OneByteReader(bytes.NewReader(src.Bytes())),
		"with the end": iotest.DataErrReader(bytes.NewReader(src.Bytes())), "in halves": iotest.HalfReader(bytes.NewReader(src.Bytes())),
	} {
		var out, errs calls
		if err := Split(&out, &errs, reader); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(out.Bytes(), wantOut.Bytes()) || !bytes.Equal(errs.Bytes(), wantErr.Bytes()) {
			t.Errorf("%s: what comes out is not what went in", name)
		}
		if name == "at once" && out.n > 150 {
			t.Errorf("%d writes for 5000 frames", out.n)
		}
	}
	var out bytes.Buffer
	if err := Split(&out, nil, strings.NewReader("\x01\x00\x00\x00\x00\x00\x00\x01a\x03\x00\x00\x00\x00\x00\x00\x02no")); err == nil || out.String() != "a" {
		t.Errorf("before an error came %q, %v", out.String(), err)
	}
}

func TestProgressInAPipeIsPlain(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := Progress(strings.NewReader(`{"status":"Pulling from library/x","id":"latest"}
{"status":"Downloading","progressDetail":{"current":1,"total":2},"id":"aa"}
{"status":"Pull complete","progressDetail":{},"id":"aa"}
{"stream":"text"}
{"errorDetail":{"message":"broken"},"error":"broken"}
`), NewOut(&out), nil)
	if err == nil || err.Error() != "broken" {
		t.Errorf("error %v", err)
	}
	if want := "latest: Pulling from library/x\naa: Pull complete\ntext"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
