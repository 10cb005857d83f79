package forward

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// unpackValue reads a value of MessagePack, as far as log drivers write it.
func unpackValue(in *bufio.Reader) (any, error) {
	kind, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	number := func(size int) uint64 {
		var b [8]byte
		if _, rerr := io.ReadFull(in, b[8-size:]); rerr != nil && err == nil {
			err = rerr
		}
		return binary.BigEndian.Uint64(b[:])
	}
	text := func(n uint64) (any, error) {
		b := make([]byte, n)
		_, rerr := io.ReadFull(in, b)
		return string(b), rerr
	}
	list := func(n uint64) (any, error) {
		var all []any
		for range n {
			v, err := unpackValue(in)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return all, nil
	}
	pairs := func(n uint64) (any, error) {
		all := map[string]any{}
		for range n {
			key, err := unpackValue(in)
			if err != nil {
				return nil, err
			}
			if all[key.(string)], err = unpackValue(in); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	switch {
	case kind&0xe0 == 0xa0:
		return text(uint64(kind & 0x1f))
	case kind&0xf0 == 0x90:
		return list(uint64(kind & 0x0f))
	case kind&0xf0 == 0x80:
		return pairs(uint64(kind & 0x0f))
	}
	switch kind {
	case 0xd9:
		return text(number(1))
	case 0xda:
		return text(number(2))
	case 0xdb:
		return text(number(4))
	case 0xdd:
		return list(number(4))
	case 0xde:
		return pairs(number(2))
	case 0xce:
		return number(4), err
	case 0xd7:
		if number(1) != 0 {
			return nil, fmt.Errorf("another extension")
		}
		return time.Unix(int64(number(4)), int64(number(4))), err
	}
	return nil, fmt.Errorf("unknown kind %x", kind)
}

// entry reads the next message that has one entry or more.
func messageOf(t *testing.T, in *bufio.Reader) (tag string, entries []any, options map[string]any) {
	t.Helper()
	v, err := unpackValue(in)
	must(t, err)
	m := v.([]any)
	return m[0].(string), m[1].([]any), m[2].(map[string]any)
}

func TestFluentdEntries(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]string{"seconds": nil, "nanoseconds": {"fluentd-sub-second-precision=true"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := listen(t, "tcp", "127.0.0.1:0")
			f := open(t, plan(t, "fluentd", append(options, "fluentd-address="+s.address, "tag=docker.{{.Name}}", "labels=com.example.tier", "env-regex=^COL")...))
			in := s.accept()
			want := any(uint64(noon.Unix()))
			if options != nil {
				want = noon
			}
			lines := []string{"hello", "", strings.Repeat("long ", 2000), strings.Repeat("p", longest)}
			var got []any
			for i, line := range lines {
				feed := "\n"
				if i == 3 {
					feed = ""
				}
				must(t, f.Append(i == 1, noon, []byte(line+feed)))
			}
			must(t, f.Append(false, noon, []byte("end\n")))
			for len(got) < 5 {
				tag, entries, options := messageOf(t, in)
				if tag != "docker.web" || options["size"] != uint64(len(entries)) {
					t.Errorf("tag %q, options %v", tag, options)
				}
				got = append(got, entries...)
			}
			for i, line := range append(lines, "end") {
				at, entry := got[i].([]any)[0], got[i].([]any)[1].(map[string]any)
				if moment, ok := at.(time.Time); ok && !moment.Equal(noon) || !ok && at != want {
					t.Errorf("time %v", at)
				}
				source := "stdout"
				if i == 1 {
					source = "stderr"
				}
				if entry["log"] != line || entry["source"] != source || entry["container_name"] != "/web" || entry["container_id"] != strings.Repeat("ab", 32) ||
					entry["com.example.tier"] != "front" || entry["COLOR"] != "blue" {
					t.Errorf("entry %d: %.200v", i, entry)
				}
				if partial := i >= 3; (entry["partial_message"] == "true") != partial || partial && (entry["partial_ordinal"] != fmt.Sprint(i-2) || entry["partial_last"] != fmt.Sprint(i == 4)) {
					t.Errorf("entry %d: %.200v", i, entry)
				}
			}
		})
	}
}

func TestFluentdSendsAgainWhatWasNotAcknowledged(t *testing.T) {
	t.Parallel()
	s := listen(t, "tcp", "127.0.0.1:0")
	f := open(t, plan(t, "fluentd", "fluentd-address="+s.address, "fluentd-request-ack=true", "fluentd-retry-wait=10ms"))
	conn := s.connection()
	must(t, f.Append(false, noon, []byte("first\n")))
	_, entries, options := messageOf(t, bufio.NewReader(conn))
	if chunk, ok := options["chunk"].(string); !ok || !base64Text.MatchString(chunk) || len(entries) != 1 {
		t.Errorf("options %v", options)
	}
	must(t, conn.Close()) // without a word
	conn = s.connection()
	_, again, options := messageOf(t, bufio.NewReader(conn))
	if fmt.Sprint(again) != fmt.Sprint(entries) {
		t.Errorf("got %v, want %v once more", again, entries)
	}
	answer := appendText(appendText([]byte{0x81}, "ack"), options["chunk"].(string))
	_, err := conn.Write(answer)
	must(t, err)
	must(t, f.Append(false, noon, []byte("second\n")))
	if _, entries, _ := messageOf(t, bufio.NewReader(conn)); !strings.Contains(fmt.Sprint(entries), "log:second") {
		t.Errorf("after the acknowledgement comes %v", entries)
	}
	must(t, conn.Close()) // the last one need not wait for an answer that never comes
	s.stop()
}

func TestFluentdThatComesLater(t *testing.T) {
	t.Parallel()
	s := listen(t, "tcp", "127.0.0.1:0")
	s.stop()
	f := open(t, plan(t, "fluentd", "fluentd-address="+s.address, "fluentd-async=true", "fluentd-retry-wait=10ms", "fluentd-buffer-limit=10"))
	for n := range 100 {
		must(t, f.Append(false, noon, fmt.Appendf(nil, "%d\n", n)))
	}
	s.start()
	in := s.accept()
	_, entries, _ := messageOf(t, in)
	if !strings.Contains(fmt.Sprint(entries[0]), "log:0 ") {
		t.Errorf("the first is %v", entries[0])
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dropped == 0 && f.logger != nil && len(f.waiting.ends) > 10 {
		t.Errorf("%d wait, none was dropped", len(f.waiting.ends))
	}
}

func TestFluentdGivesUpAfterSoManyRetries(t *testing.T) {
	t.Parallel()
	s := listen(t, "tcp", "127.0.0.1:0")
	f := open(t, plan(t, "fluentd", "fluentd-address="+s.address, "fluentd-max-retries=2", "fluentd-retry-wait=1ms"))
	s.connection()
	f.mu.Lock()
	gone := f.link.(*entries)
	f.mu.Unlock()
	s.stop()
	for _, err := gone.Write(nil); err == nil; _, err = gone.Write(nil) {
		must(t, t.Context().Err())
	}
	line := append(bytes.Repeat([]byte("x"), 16000), '\n')
	for range 1000 { // more than the buffer holds: without giving up this would not end
		must(t, f.Append(false, noon, line))
	}
}
