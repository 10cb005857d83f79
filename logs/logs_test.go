package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/jsonlog"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }

// both selects everything.
func both() core.LogOptions { return core.LogOptions{Stdout: true, Stderr: true, Tail: -1} }

func newLogs(t testing.TB) *Logs {
	l := New(slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func newWriter(t testing.TB, path string, options jsonlog.Options) *jsonlog.Writer {
	t.Helper()
	w, err := jsonlog.Open(path, options)
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

// say writes the lines from..to-1, one a second; every third goes to stderr.
func say(t testing.TB, w *jsonlog.Writer, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := w.Append(n%3 == 2, at(n), fmt.Appendf(nil, "%d\n", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, l *Logs, path string, options core.LogOptions) string {
	t.Helper()
	r, err := l.Read(t.Context(), path, options, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	var lines []string
	for {
		line, err := r.Next()
		if err == io.EOF {
			return strings.Join(lines, " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(string(line.Line)))
	}
}

func numbers(from, to int) string {
	var all []string
	for n := from; n < to; n++ {
		all = append(all, fmt.Sprint(n))
	}
	return strings.Join(all, " ")
}

func TestSelections(t *testing.T) {
	t.Parallel()
	const total = 5000 // some 100 KB a file: more than one chunk
	for name, file := range map[string]jsonlog.Options{
		"one file":              {},
		"five rotated files":    {MaxSize: 90 << 10, MaxFiles: 5},
		"five compressed files": {MaxSize: 90 << 10, MaxFiles: 5, Compress: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log")
			w := newWriter(t, path, file)
			say(t, w, 0, total)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			l := newLogs(t)
			for _, test := range []struct {
				name    string
				options func(*core.LogOptions)
				want    string
			}{
				{"everything", func(*core.LogOptions) {}, numbers(0, total)},
				{"nothing of the end", func(o *core.LogOptions) { o.Tail = 0 }, ""},
				{"the last", func(o *core.LogOptions) { o.Tail = 1 }, numbers(total-1, total)},
				{"the last 3000", func(o *core.LogOptions) { o.Tail = 3000 }, numbers(total-3000, total)},
				{"all but one from the end", func(o *core.LogOptions) { o.Tail = total - 1 }, numbers(1, total)},
				{"exactly all from the end", func(o *core.LogOptions) { o.Tail = total }, numbers(0, total)},
				{"more than there is", func(o *core.LogOptions) { o.Tail = total * 2 }, numbers(0, total)},
				{"since the middle", func(o *core.LogOptions) { o.Since = at(2345) }, numbers(2345, total)},
				{"since the first", func(o *core.LogOptions) { o.Since = at(0) }, numbers(0, total)},
				{"since the end", func(o *core.LogOptions) { o.Since = at(total) }, ""},
				{"until the middle", func(o *core.LogOptions) { o.Until = at(2345) }, numbers(0, 2346)},
				{"a window", func(o *core.LogOptions) { o.Since, o.Until = at(10), at(12) }, "10 11 12"},
				{"since and the last", func(o *core.LogOptions) { o.Since, o.Tail = at(4000), 10 }, numbers(total-10, total)},
				{"only stderr of the last", func(o *core.LogOptions) { o.Stdout, o.Tail = false, 6 }, "4994 4997"},
				{"only stdout of the first", func(o *core.LogOptions) { o.Stderr, o.Until = false, at(5) }, "0 1 3 4"},
			} {
				options := both()
				test.options(&options)
				if got := read(t, l, path, options); got != test.want {
					t.Errorf("%s: got %.60q…, %d bytes, want %.60q…, %d bytes", test.name, got, len(got), test.want, len(test.want))
				}
			}
		})
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	w := newWriter(t, path, jsonlog.Options{Attrs: map[string]string{"tag": "web"}})
	if err := errors.Join(w.Append(true, noon, []byte("part")), w.Append(true, noon, []byte("end\n")), w.Close()); err != nil {
		t.Fatal(err)
	}
	options := both()
	options.Details = true
	r, err := newLogs(t).Read(t.Context(), path, options, nil)
	if err != nil {
		t.Fatal(err)
	}
	line, err := r.Next()
	if err != nil || !line.Partial || !line.Stderr || !line.Time.Equal(noon) || line.Attrs["tag"] != "web" || string(line.Line) != "part" {
		t.Errorf("the first is %+v, %v", line, err)
	}
	line, err = r.Next()
	if err != nil || line.Partial || string(line.Line) != "end\n" {
		t.Errorf("the second is %+v, %v", line, err)
	}
	for range 2 {
		if _, err = r.Next(); err != io.EOF {
			t.Errorf("the end is %v", err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestGarbageIsPassedOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	record := func(n int) string {
		return string(jsonlog.NewEncoder(nil).Append(nil, false, at(n), fmt.Appendf(nil, "%d\n", n)))
	}
	content := record(0) + "\n{\"log\":\"torn" + "\n" + record(1) + strings.Repeat("x", longest*2+readSize/2) + "\n" + "\x00\xff\n" + record(2) + record(3)[:20]
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLogs(t)
	if got := read(t, l, path, both()); got != "0 1 2" {
		t.Errorf("got %q", got)
	}
	options := both()
	options.Since = at(2)
	if got := read(t, l, path, options); got != "2" {
		t.Errorf("since gives %q", got)
	}
}

func TestNoLog(t *testing.T) {
	t.Parallel()
	l := newLogs(t)
	folder := t.TempDir()
	if got := read(t, l, filepath.Join(folder, "log"), both()); got != "" {
		t.Errorf("got %q", got)
	}
	if _, err := l.Read(t.Context(), "", both(), nil); err == nil || err.Error() != "configured logging driver does not support reading" {
		t.Errorf("no path gives %v", err)
	}
	if _, err := l.Read(t.Context(), folder, both(), nil); err == nil {
		t.Error("a folder is read as a log")
	}
}

// follower collects what a follow gives, in a goroutine.
type follower struct {
	lines chan string
	err   error // valid once lines is closed
}

func follow(ctx context.Context, t *testing.T, l *Logs, path string, options core.LogOptions, done <-chan struct{}) *follower {
	t.Helper()
	options.Follow = true
	r, err := l.Read(ctx, path, options, done)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{lines: make(chan string, 10000)}
	go func() {
		defer close(f.lines)
		for {
			line, err := r.Next()
			if err != nil {
				f.err = errors.Join(err, r.Close())
				return
			}
			f.lines <- strings.TrimSpace(string(line.Line))
		}
	}()
	return f
}

func (f *follower) expect(t *testing.T, from, to int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for n := from; n < to; n++ {
		select {
		case line, ok := <-f.lines:
			if !ok || line != fmt.Sprint(n) {
				t.Fatalf("got %q (%v, %v), want %d", line, ok, f.err, n)
			}
		case <-deadline:
			t.Fatalf("line %d does not come", n)
		}
	}
}

func (f *follower) expectEnd(t *testing.T, want error) {
	t.Helper()
	select {
	case line, ok := <-f.lines:
		if ok || !errors.Is(f.err, want) {
			t.Fatalf("got %q, %v, want the end with %v", line, f.err, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the follow does not end")
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]jsonlog.Options{
		"one file":         {},
		"rotated files":    {MaxSize: 4000, MaxFiles: 4},
		"compressed files": {MaxSize: 4000, MaxFiles: 4, Compress: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log")
			l := newLogs(t)
			done := make(chan struct{})
			early := follow(t.Context(), t, l, path, both(), done)
			w := newWriter(t, path, file)
			say(t, w, 0, 10)
			early.expect(t, 0, 10)
			options := both()
			options.Tail = 3
			late := follow(t.Context(), t, l, path, options, done)
			late.expect(t, 7, 10)
			for n := 10; n < 1000; n += 30 {
				say(t, w, n, n+30)
				early.expect(t, n, n+30)
				late.expect(t, n, n+30)
			}
			say(t, w, 1000, 1010)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			close(done)
			for _, f := range []*follower{early, late} {
				f.expect(t, 1000, 1010)
				f.expectEnd(t, io.EOF)
			}
		})
	}
}

func TestFollowEnds(t *testing.T) {
	t.Parallel()
	l := newLogs(t)
	path := filepath.Join(t.TempDir(), "log")
	say(t, newWriter(t, path, jsonlog.Options{}), 0, 3)

	ctx, cancel := context.WithCancel(t.Context())
	f := follow(ctx, t, l, path, both(), nil)
	f.expect(t, 0, 3)
	cancel()
	f.expectEnd(t, context.Canceled)

	options := both()
	options.Until = time.Now().Add(50 * time.Millisecond)
	f = follow(t.Context(), t, l, path, options, nil)
	f.expect(t, 0, 3)
	f.expectEnd(t, io.EOF)

	options.Until = at(1)
	f = follow(t.Context(), t, l, path, options, nil)
	f.expect(t, 0, 2)
	f.expectEnd(t, io.EOF)
}

func TestFollowOfACutFile(t *testing.T) {
	t.Parallel()
	l := newLogs(t)
	path := filepath.Join(t.TempDir(), "log")
	w := newWriter(t, path, jsonlog.Options{})
	say(t, w, 0, 50)
	done := make(chan struct{})
	f := follow(t.Context(), t, l, path, both(), done)
	f.expect(t, 0, 50)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	say(t, w, 50, 53)
	f.expect(t, 50, 53)
	close(done)
	f.expectEnd(t, io.EOF)
}

func BenchmarkRead(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	w := newWriter(b, path, jsonlog.Options{})
	line := []byte(strings.Repeat("a line of a log ", 6) + "...\n")
	const lines = 200000
	for n := range lines {
		if err := w.Append(false, noon.Add(time.Duration(n)*time.Microsecond), line); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	l := newLogs(b)
	b.SetBytes(lines * int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := l.Read(b.Context(), path, both(), nil)
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestFollowOfLinesOfOneMoment(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]jsonlog.Options{
		"rotated away while nobody looks":        {MaxSize: 2000, MaxFiles: 3},
		"rotated away, compressed":               {MaxSize: 2000, MaxFiles: 3, Compress: true},
		"rotated, all of it kept":                {MaxSize: 2000, MaxFiles: 1000},
		"rotated and compressed, all of it kept": {MaxSize: 2000, MaxFiles: 1000, Compress: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "c-json.log")
			w := newWriter(t, path, options)
			const last = 500
			write := func(from, to int) {
				for n := from; n <= to; n++ {
					if err := w.Append(false, noon, fmt.Appendf(nil, "%d\n", n)); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			write(1, 3)
			follow, done := both(), make(chan struct{})
			follow.Follow = true
			reader, err := newLogs(t).Read(t.Context(), path, follow, done)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			var got []string
			next := func() bool {
				line, err := reader.Next()
				if errors.Is(err, io.EOF) {
					return false
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, strings.TrimSpace(string(line.Line)))
				return true
			}
			for len(got) < 3 && next() {
			}
			write(4, last)
			close(done)
			for next() {
			}
			if len(got) == 0 || got[len(got)-1] != fmt.Sprint(last) {
				t.Fatalf("the last line is not there: %v", got)
			}
			// What the reader held when it was rotated away comes still; then what was deleted is missing, once.
			gaps := 0
			for i := 1; i < len(got); i++ {
				before, _ := strconv.Atoi(got[i-1])
				if n, _ := strconv.Atoi(got[i]); n != before+1 {
					if gaps++; n <= before {
						gaps = last
					}
				}
			}
			if gaps > 1 || gaps > 0 && options.MaxFiles == 1000 {
				t.Errorf("lines are missing, or come twice: %v", got)
			}
			if options.MaxFiles == 1000 && len(got) != last {
				t.Errorf("%d lines of %d", len(got), last)
			}
		})
	}
}
