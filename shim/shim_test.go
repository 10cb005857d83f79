//go:build cgo

package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/lib/jsonlog"
	"github.com/berth-engine/berth/shim/wire"
)

func TestFreeze(t *testing.T) {
	t.Parallel()
	busy, broken := errors.New("cgroup: "+freezeFailed), errors.New("broken")
	for name, tc := range map[string]struct {
		answers []error // the last one goes on for ever
		want    error
		tries   int
	}{
		"at once":                       {[]error{nil}, nil, 1},
		"when processes stop to appear": {[]error{busy, busy, nil}, nil, 3},
		"never":                         {[]error{busy}, busy, freezes},
		"another reason is final":       {[]error{broken}, broken, 1},
		"another reason, later":         {[]error{busy, broken}, broken, 2},
	} {
		tries := 0
		err := freeze(func() error {
			tries++
			return tc.answers[min(tries, len(tc.answers))-1]
		})
		if !errors.Is(err, tc.want) || tries != tc.tries {
			t.Errorf("%s: %v after %d tries, want %v after %d", name, err, tries, tc.want, tc.tries)
		}
	}
}

func TestDetachKeys(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sequence string
		reads    []string
		out      string
		detach   bool
	}{
		"no sequence":                      {"", []string{"a\x10\x11"}, "a\x10\x11", false},
		"the sequence at once":             {"\x10\x11", []string{"ab\x10\x11cd"}, "ab", true},
		"the sequence in two reads":        {"\x10\x11", []string{"ab\x10", "\x11"}, "ab", true},
		"a beginning that goes on":         {"\x10\x11", []string{"\x10", "x"}, "\x10x", false},
		"the beginning twice":              {"\x10\x11", []string{"\x10\x10\x11"}, "\x10", true},
		"a beginning is held back":         {"\x10\x11", []string{"a\x10"}, "a", false},
		"a sequence of one key":            {"\x01", []string{"a\x01b"}, "a", true},
		"a sequence of letters, in vain":   {"abc", []string{"ab", "ab", "x"}, "ababx", false},
		"a sequence of letters, in pieces": {"abc", []string{"a", "b", "c"}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := detachKeys{sequence: []byte(tc.sequence)}
			var out strings.Builder
			detach := false
			for _, r := range tc.reads {
				data, d := k.filter([]byte(r))
				out.Write(data)
				detach = detach || d
			}
			if out.String() != tc.out || detach != tc.detach {
				t.Errorf("%q %v", out.String(), detach)
			}
		})
	}
}

func TestLinesAreLoggedWholeOrInParts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", longestLine+10)
	for name, tc := range map[string]struct {
		writes []string
		lines  []string
	}{
		"lines":                      {[]string{"a\nb\n"}, []string{`"a\n"`, `"b\n"`}},
		"a line in two writes":       {[]string{"a", "b\n"}, []string{`"ab\n"`}},
		"an end without a line feed": {[]string{"a\nb"}, []string{`"a\n"`, `"b"`}},
		"a very long line":           {[]string{long + "\n"}, []string{`"` + long[:longestLine] + `"`, `"xxxxxxxxxx\n"`}},
		"a line that just fits":      {[]string{long[:longestLine-1], "\n"}, []string{`"` + long[:longestLine-1] + `\n"`}},
		"nothing":                    {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log")
			log, err := jsonlog.Open(path, jsonlog.Options{})
			if err != nil {
				t.Fatal(err)
			}
			l := lineLog{streams: &streams{log: log}}
			for _, w := range tc.writes {
				l.write([]byte(w), false)
			}
			l.end()
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(string(data)) {
				text, _ := strings.CutPrefix(line, `{"log":`)
				text, _, _ = strings.Cut(text, `,"stream"`)
				got = append(got, text)
			}
			if strings.Join(got, "|") != strings.Join(tc.lines, "|") {
				t.Errorf("%d lines: %.200q", len(got), got)
			}
		})
	}
}

func TestOnlyAStreamOfSmallPiecesIsGathered(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(time.Hour) // close to the next piece, however slow the machine is
	var p pace
	for range paceStreak - 1 {
		p.last = soon
		p.keep(100)
	}
	if p.timer != nil {
		t.Error("the beginning of a stream was held up")
	}
	for range 2 * paceStreak {
		p.last = soon
		p.keep(paceEnough)
	}
	if p.timer != nil {
		t.Error("large pieces were held up")
	}
	p.busy, p.last = 1, soon
	if p.keep(100); p.timer != nil || p.busy != 0 {
		t.Error("a busy machine rests")
	}
	p.last = soon
	if p.keep(100); p.timer == nil {
		t.Error("small pieces are not gathered")
	}
	p.last = time.Now().Add(-2 * paceClose)
	if p.keep(100); p.streak != 1 {
		t.Errorf("after a pause the streak is %d", p.streak)
	}
}

func TestUsersAreFoundInTheImageOnly(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	outside := filepath.Join(t.TempDir(), "passwd")
	for path, text := range map[string]string{
		outside:                        "evil:x:666:666::/:\n",
		filepath.Join(root, "passwd2"): "web:x:33:34::/srv:/bin/sh\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	etc := filepath.Join(root, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	passwd := filepath.Join(etc, "passwd")
	link := func(target string) {
		_ = os.Remove(passwd)
		if err := os.Symlink(target, passwd); err != nil {
			t.Fatal(err)
		}
	}
	link("/passwd2") // absolute: inside the image
	if u, _, err := lookup(root, wire.Who{User: "web"}); err != nil || u.UID != 33 || u.GID != 34 {
		t.Errorf("%+v %v", u, err)
	}
	link(outside)
	if u, _, err := lookup(root, wire.Who{User: "evil"}); err == nil {
		t.Errorf("found outside of the image: %+v", u)
	}
	link("/dev/zero")
	if u, _, err := lookup(root, wire.Who{User: "12:13"}); err != nil || u.UID != 12 || u.GID != 13 {
		t.Errorf("%+v %v", u, err)
	}
	if _, _, err := lookup(root, wire.Who{User: "4294967296"}); err == nil {
		t.Error("a number that is too big is a user")
	}
}
