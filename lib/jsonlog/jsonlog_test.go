package jsonlog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 120, time.UTC)

func TestRecordsLookLikeDockers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		stderr bool
		time   time.Time
		attrs  map[string]string
		line   string
		want   string
	}{
		{"a line of stdout", false, noon, nil, "hello\n", `{"log":"hello\n","stream":"stdout","time":"2026-11-23T12:00:00.00000012Z"}`},
		{"a part of stderr", true, noon, nil, "hello", `{"log":"hello","stream":"stderr","time":"2026-11-23T12:00:00.00000012Z"}`},
		{"an even second in another zone", false, noon.Add(-120).In(time.FixedZone("", 3600)), nil, "x\n", `{"log":"x\n","stream":"stdout","time":"2026-11-23T12:00:00Z"}`},
		{"all that is special", false, noon, nil, "<a href=\"b\">&\\\t\r\x00\u2028é\xff\xc3\n",
			`{"log":"\u003ca href=\"b\"\u003e\u0026\\\u0009\r\u0000\u2028é\ufffd\ufffd\n","stream":"stdout","time":"2026-11-23T12:00:00.00000012Z"}`},
		{"attributes, sorted", false, noon, map[string]string{"tag": `a"}b`, "env": "x"}, "x\n",
			`{"log":"x\n","stream":"stdout","attrs":{"env":"x","tag":"a\"}b"},"time":"2026-11-23T12:00:00.00000012Z"}`},
		{"nothing", false, noon, nil, "", `{"log":"","stream":"stdout","time":"2026-11-23T12:00:00.00000012Z"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := NewEncoder(test.attrs).Append(nil, test.stderr, test.time, []byte(test.line))
			if string(got) != test.want+"\n" {
				t.Fatalf("wrote\n%s want\n%s", got, test.want)
			}
			var d Decoder
			if at, ok := d.Time(got); !ok || !at.Equal(test.time) {
				t.Errorf("Time gives %v, %v", at, ok)
			}
			quick, ok := d.decodeUsual(bytes.Clone(got))
			if !ok {
				t.Fatal("the usual form is not decoded quickly")
			}
			slow, err := decodeAny(got)
			if err != nil || !same(quick, slow) {
				t.Fatalf("quick %+v, slow %+v, %v", quick, slow, err)
			}
			if want := strings.ToValidUTF8(strings.ReplaceAll(test.line, "\xff\xc3", "\ufffd\ufffd"), ""); string(quick.Log) != want {
				t.Fatalf("read back %q", quick.Log)
			}
		})
	}
}

func same(a, b Record) bool {
	return a.Stderr == b.Stderr && a.Time.Equal(b.Time) && bytes.Equal(a.Log, b.Log) && maps.Equal(a.Attrs, b.Attrs)
}

func TestDecodeForeignRecords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, line, want string }{
		{"spaces and another order", `{ "stream": "stderr", "time": "2026-11-23T12:00:00+01:00", "log": "a\n" }`, "a\n"},
		{"all escapes", `{"log":"\/\b\f\t\u00e9\ud83d\ude00\ud83d-\udc00\n","stream":"stderr","time":"2026-11-23T11:00:00Z"}`, "/\b\f\té😀\ufffd-\ufffd\n"},
		{"a carriage return before the line feed", `{"log":"a","stream":"stderr","time":"2026-11-23T11:00:00Z"}` + "\r\n", "a"},
		{"a backslash at the end", `{"log":"a\\","stream":"stderr","time":"2026-11-23T11:00:00.000Z"}`, `a\`},
		{"a backslash and an n", `{"log":"a\\n","stream":"stderr","time":"2026-11-23T11:00:00Z"}`, `a\n`},
		{"unknown fields", `{"log":"a","stream":"stderr","more":{"x":1},"time":"2026-11-23T11:00:00Z"}`, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var d Decoder
			r, err := d.Decode([]byte(test.line))
			if err != nil || string(r.Log) != test.want || !r.Stderr || !r.Time.Equal(noon.Truncate(time.Hour).Add(-time.Hour)) {
				t.Fatalf("%+v %q, %v", r, r.Log, err)
			}
		})
	}
}

func TestDecodeGarbage(t *testing.T) {
	t.Parallel()
	good := string((&Encoder{}).Append(nil, false, noon, []byte("hello \"you\"\n")))
	lines := []string{"", "\n", "null", "{}", "[1]", "\x00\x00", `{"log":"x"}`, `{"log":"\q","stream":"stdout","time":"2026-11-23T11:00:00Z"}`,
		`{"log":"\u12","stream":"stdout","time":"2026-11-23T11:00:00Z"}`, `{"log":"a","stream":"stdout","time":"yesterday"}`,
		`{"log":"a","stream":"stdout","attrs":{"a":1},"time":"2026-11-23T11:00:00Z"}`, good + good}
	for i := range len(good) - 1 {
		lines = append(lines, good[:i])
	}
	for _, line := range lines[:len(lines)-1] {
		var d Decoder
		if r, err := d.Decode([]byte(line)); !errors.Is(err, ErrGarbage) {
			t.Errorf("%q gives %+v, %v", line, r, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"log":"\u00e9\n","stream":"stdout","attrs":{"a":"b"},"time":"2026-11-23T11:00:00.5Z"}`))
	f.Add([]byte(`{"log":"a\\","stream":"stdout","time":"2026-11-23T11:00:00.5Z"}`))
	f.Add([]byte(`{"log":"a\","stream":"stdout","time":"2026-11-23T11:00:00.5Z"}`))
	f.Add([]byte("{\"log\":\"a\x9f\",\"stream\":\"stdout\",\"time\":\"2026-11-23T11:00:00.5Z\"}"))
	f.Add([]byte(`{"log":"<a\u0026\u003c>\ufffd 0123456789","stream":"stderr","time":"2026-11-23T11:00:00Z"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		slow, slowErr := decodeAny(line)
		if !utf8.Valid(line) { // the quick way gives such bytes on as they are, which Append never writes
			slowErr = ErrGarbage
		}
		var d Decoder
		quick, ok := d.decodeUsual(bytes.Clone(line))
		if ok && slowErr == nil && !same(quick, slow) {
			t.Fatalf("quick %+v, slow %+v", quick, slow)
		}
		// After another record, and after itself, a line means the same.
		for _, before := range []string{`{"log":"x\n","stream":"stdout","time":"2026-11-23T11:00:00.5Z"}`, string(line)} {
			if _, err := d.Decode([]byte(before)); err != nil && before != string(line) {
				t.Fatal(err)
			}
			again, err := d.Decode(bytes.Clone(line))
			if utf8.Valid(line) && (err == nil) != (slowErr == nil || ok) || err == nil && slowErr == nil && !same(again, slow) || err == nil && ok && !same(again, quick) {
				t.Fatalf("again %+v, %v, slow %+v, %v", again, err, slow, slowErr)
			}
		}
		back := NewEncoder(nil).Append(nil, false, noon, line)
		var fields struct{ Log string }
		if err := json.Unmarshal(back, &fields); err != nil || fields.Log != string([]rune(string(line))) {
			t.Fatalf("%q was written as %s: %v", line, back, err)
		}
	})
}

func open(t *testing.T, path string, options Options) *Writer {
	t.Helper()
	w, err := Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func content(t *testing.T, path string) (lines []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		unpacker, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = io.ReadAll(unpacker); err != nil {
			t.Fatal(err)
		}
	}
	var d Decoder
	for line := range bytes.Lines(raw) {
		if r, err := d.Decode(line); err == nil {
			lines = append(lines, strings.TrimSuffix(string(r.Log), "\n"))
		}
	}
	return lines
}

func TestRotation(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		files int
		gz    bool
		want  map[string]string // by suffix of the file
	}{
		{"one file starts anew", 1, false, map[string]string{"": "4"}},
		{"three files keep the last", 3, false, map[string]string{"": "4", ".1": "3", ".2": "2"}},
		{"old ones are compressed", 3, true, map[string]string{"": "4", ".1.gz": "3", ".2.gz": "2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			path := filepath.Join(folder, "log")
			w := open(t, path, Options{MaxSize: 10, MaxFiles: test.files, Compress: test.gz})
			for _, line := range []string{"0", "1", "2", "3", "4"} {
				if err := w.Append(false, noon, []byte(line+"\n")); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if err := w.Append(false, noon, nil); !errors.Is(err, os.ErrClosed) {
				t.Errorf("a closed writer takes records: %v", err)
			}
			for suffix, want := range test.want {
				if got := content(t, path+suffix); strings.Join(got, " ") != want {
					t.Errorf("log%s holds %q", suffix, got)
				}
			}
			if entries, err := os.ReadDir(folder); err != nil || len(entries) != len(test.want) {
				t.Errorf("the folder holds %v, %v", entries, err)
			}
		})
	}
}

func TestWriterGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	record := NewEncoder(nil).Append(nil, false, noon, []byte("before\n"))
	if err := os.WriteFile(path, append(record, record[:20]...), 0o640); err != nil {
		t.Fatal(err)
	}
	w := open(t, path, Options{})
	if err := w.Append(false, noon, []byte("after\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); strings.Join(got, " ") != "before after" {
		t.Errorf("the log holds %q", got)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := open(t, filepath.Join(t.TempDir(), "log"), Options{})
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here:", err)
	}
	real := w.file
	w.file = full
	if err := errors.Join(w.Append(false, noon, []byte("lost\n")), w.Flush()); err == nil {
		t.Error("a full disk is no error")
	}
	w.file = real
	if err := errors.Join(full.Close(), w.Append(false, noon, []byte("kept\n")), w.Flush()); err != nil {
		t.Fatal(err)
	}
	if got := content(t, w.path); strings.Join(got, " ") != "kept" {
		t.Errorf("the log holds %q", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	line := []byte(strings.Repeat("a line of a log ", 6) + "...\n")
	w, err := Open(filepath.Join(b.TempDir(), "log"), Options{MaxSize: 20 << 20, MaxFiles: 3})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	now := noon
	for b.Loop() {
		now = now.Add(12345)
		if err := w.Append(false, now, line); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkDecode(b *testing.B) {
	line := []byte(strings.Repeat("a line of a log ", 6) + "...\n")
	record := NewEncoder(nil).Append(nil, false, noon, line)
	work := make([]byte, len(record))
	var d Decoder
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		copy(work, record)
		if _, err := d.Decode(work); err != nil {
			b.Fatal(err)
		}
	}
}
