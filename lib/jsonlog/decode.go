package jsonlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Record is one line of a log file.
type Record struct {
	Stderr bool
	Time   time.Time
	Log    []byte // with its line feed, unless it is a part of a longer line
	Attrs  map[string]string
}

// ErrGarbage says that a line of a log file is no record: torn by a crash, or written by somebody else.
var ErrGarbage = errors.New("not a record of a json-file log")

// Decoder turns lines into records. It remembers the last second it read, so that only the fraction of a time stamp
// is parsed anew. The zero value is ready. One goroutine at a time.
type Decoder struct {
	stamp  [19]byte
	second int64 // of stamp, when known
	known  bool

	rawAttrs []byte            // what attrs was made of: it is the same on every line of a container
	attrs    map[string]string // not changed once made

	// tail is what stood behind the text of the last record: the same on all lines that came from the container at once.
	// record is what it says.
	tail   []byte
	record Record
}

// head is what a line that Append writes begins with.
const head = `{"log":"`

// Decode reads one line of a log file, with or without its line feed. It works inside the line: line is changed, and
// the record's Log points into it; Attrs is shared between records. The form that Append writes is read quickly, any other JSON with the same fields
// slowly; what is neither gives ErrGarbage.
func (d *Decoder) Decode(line []byte) (Record, error) {
	if n := len(line) - len(d.tail); n > len(head) && len(d.tail) > 0 && string(line[n:]) == string(d.tail) && string(line[:len(head)]) == head {
		// A quote inside would end the text, and what follows would be no tail.
		if text := line[len(head):n]; bytes.IndexByte(text, '"') < 0 {
			if log, ok := unescape(text); ok {
				r := d.record
				r.Log = log
				return r, nil
			}
		}
	}
	if r, ok := d.decodeUsual(line); ok {
		return r, nil
	}
	return decodeAny(line)
}

// decodeUsual knows exactly the form that Append writes. It changes line only once all of it has been understood.
func (d *Decoder) decodeUsual(line []byte) (r Record, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(head))
	if !ok {
		return r, false
	}
	end := stringEnd(rest)
	if end < 0 {
		return r, false
	}
	text, tail := rest[:end], rest[end:]
	rest, ok = bytes.CutPrefix(rest[end:], []byte(`","stream":"std`))
	if !ok || len(rest) < 4 {
		return r, false
	}
	switch string(rest[:4]) {
	case `out"`:
	case `err"`:
		r.Stderr = true
	default:
		return r, false
	}
	rest = rest[4:]
	if attrs, found := bytes.CutPrefix(rest, []byte(`,"attrs":`)); found {
		n := objectEnd(attrs)
		if n < 0 {
			return r, false
		}
		if r.Attrs, ok = d.attributes(attrs[:n]); !ok {
			return r, false
		}
		rest = attrs[n:]
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"time":"`)); !ok {
		return r, false
	}
	stamp, after, ok := bytes.Cut(rest, []byte{'"'})
	if !ok || len(after) == 0 || after[0] != '}' || len(bytes.TrimSpace(after[1:])) > 0 {
		return r, false
	}
	if r.Time, ok = d.time(stamp); !ok {
		return r, false
	}
	d.tail, d.record = append(d.tail[:0], tail...), r
	r.Log, ok = unescape(text)
	return r, ok
}

func (d *Decoder) attributes(raw []byte) (map[string]string, bool) {
	if !bytes.Equal(raw, d.rawAttrs) {
		var attrs map[string]string
		if json.Unmarshal(raw, &attrs) != nil {
			return nil, false
		}
		d.rawAttrs, d.attrs = bytes.Clone(raw), attrs
	}
	return d.attrs, true
}

func decodeAny(line []byte) (Record, error) {
	var fields struct {
		Log    string            `json:"log"`
		Stream string            `json:"stream"`
		Time   time.Time         `json:"time"`
		Attrs  map[string]string `json:"attrs"`
	}
	if err := json.Unmarshal(line, &fields); err != nil || fields.Time.IsZero() {
		return Record{}, ErrGarbage
	}
	return Record{Stderr: fields.Stream == "stderr", Time: fields.Time, Log: []byte(fields.Log), Attrs: fields.Attrs}, nil
}

// stringEnd is the place of the quote that ends a JSON string whose inside s starts with; -1: none.
func stringEnd(s []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(s[from:], '"')
		if i < 0 {
			return -1
		}
		i += from
		slashes := 0
		for i-slashes > 0 && s[i-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
		from = i + 1
	}
}

// objectEnd is the length of the JSON object that s starts with; -1: none. Strings may contain braces.
func objectEnd(s []byte) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			n := stringEnd(s[i+1:])
			if n < 0 {
				return -1
			}
			i += n + 1
		}
	}
	return -1
}

// time parses a time stamp.
func (d *Decoder) time(stamp []byte) (time.Time, bool) {
	if len(stamp) < 20 || stamp[len(stamp)-1] != 'Z' {
		return slowTime(stamp)
	}
	fraction := stamp[19 : len(stamp)-1]
	nanos, ok := nanoseconds(fraction)
	if !ok {
		return slowTime(stamp)
	}
	if !d.known || string(d.stamp[:]) != string(stamp[:19]) {
		t, err := time.Parse("2006-01-02T15:04:05", string(stamp[:19]))
		if err != nil {
			return time.Time{}, false
		}
		d.known, d.second = true, t.Unix()
		copy(d.stamp[:], stamp)
	}
	return time.Unix(d.second, nanos).UTC(), true
}

func slowTime(stamp []byte) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, string(stamp))
	return t, err == nil
}

// nanoseconds reads "" and ".123456789" with one to nine digits.
func nanoseconds(fraction []byte) (n int64, ok bool) {
	if len(fraction) == 0 {
		return 0, true
	}
	if fraction[0] != '.' || len(fraction) == 1 || len(fraction) > 10 {
		return 0, false
	}
	for i := 1; i < 10; i++ {
		digit := byte('0')
		if i < len(fraction) {
			digit = fraction[i]
		}
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = n*10 + int64(digit-'0')
	}
	return n, true
}

// Time reads only the time stamp of a line, which it does not change.
func (d *Decoder) Time(line []byte) (time.Time, bool) {
	if i := bytes.LastIndex(line, []byte(`"time":"`)); i >= 0 {
		stamp, after, ok := bytes.Cut(line[i+len(`"time":"`):], []byte{'"'})
		if ok && len(after) > 0 && after[0] == '}' {
			return d.time(stamp)
		}
	}
	r, err := decodeAny(line)
	return r.Time, err == nil
}

// unescape resolves the escapes of a JSON string in place: the result is never longer. What is no valid string
// (a control character, a bad escape) is reported before anything was changed.
func unescape(s []byte) ([]byte, bool) {
	i := bytes.IndexByte(s, '\\')
	if i < 0 {
		return s, true
	}
	if i == len(s)-2 && s[i+1] == 'n' { // the usual line
		s[i] = '\n'
		return s[:i+1], true
	}
	if !escapesValid(s[i:]) {
		return s, false
	}
	out := s[:i]
	for i < len(s) {
		if s[i] != '\\' {
			next := bytes.IndexByte(s[i:], '\\')
			if next < 0 {
				next = len(s) - i
			}
			out = append(out, s[i:i+next]...)
			i += next
			continue
		}
		switch c := s[i+1]; c {
		case 'u':
			r, size := escapedRune(s[i:])
			out = utf8.AppendRune(out, r)
			i += size
		default:
			out = append(out, short[c])
			i += 2
		}
	}
	return out, true
}

// short are the escapes of two characters; 0: not one.
var short = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func escapesValid(s []byte) bool {
	for i := 0; ; {
		next := bytes.IndexByte(s[i:], '\\')
		if next < 0 {
			return true
		}
		i += next
		switch {
		case i+1 < len(s) && short[s[i+1]] != 0:
			i += 2
		case i+5 < len(s) && s[i+1] == 'u' && hexRune(s[i+2:i+6]) >= 0:
			i += 6
		default:
			return false
		}
	}
}

// escapedRune reads \uXXXX, or two of them that form a surrogate pair, and says how many bytes that was.
func escapedRune(s []byte) (rune, int) {
	r := hexRune(s[2:6])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
		if pair := utf16.DecodeRune(r, hexRune(s[8:12])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

func hexRune(s []byte) rune {
	n, err := strconv.ParseUint(string(s), 16, 32)
	if err != nil {
		return -1
	}
	return rune(n)
}
