// Package jsonlog reads and writes container logs in the format of Docker's json-file driver: one JSON object per
// line,
//
//	{"log":"hello\n","stream":"stdout","time":"2026-11-23T10:00:00.123456789Z"}
//
// with "attrs" between stream and time where there are any. "log" ends with \n unless it is a part of a longer line.
// Both directions are written by hand: they are the hottest loops of a container that prints a lot.
package jsonlog

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
	"unicode/utf8"
)

// Encoder appends records to a buffer. It remembers the last second it wrote, so that only the fraction of a time
// stamp is computed anew. The zero value writes records without attributes. One goroutine at a time.
type Encoder struct {
	attrs  []byte // `,"attrs":{…}`, or empty
	second int64
	stamp  []byte // `2006-01-02T15:04:05` of second

	// tail is what the last record ended with: its stream was stderr, its time at.
	stderr bool
	at     time.Time
	tail   []byte
}

// NewEncoder makes an encoder that adds the attributes, in the order of their keys, to every record.
func NewEncoder(attrs map[string]string) *Encoder {
	e := &Encoder{}
	if len(attrs) == 0 {
		return e
	}
	keys := make([]string, 0, len(attrs))
	for key := range attrs {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for i, key := range keys {
		if i == 0 {
			e.attrs = append(e.attrs, `,"attrs":{"`...)
		} else {
			e.attrs = append(e.attrs, `,"`...)
		}
		e.attrs = AppendEscaped(e.attrs, []byte(key))
		e.attrs = append(e.attrs, `":"`...)
		e.attrs = AppendEscaped(e.attrs, []byte(attrs[key]))
		e.attrs = append(e.attrs, '"')
	}
	e.attrs = append(e.attrs, '}')
	return e
}

// Append appends one record and its line feed to buffer.
func (e *Encoder) Append(buffer []byte, stderr bool, t time.Time, line []byte) []byte {
	buffer = append(buffer, `{"log":"`...)
	buffer = AppendEscaped(buffer, line)
	if stderr != e.stderr || !t.Equal(e.at) || e.tail == nil {
		e.stderr, e.at = stderr, t
		e.tail = e.appendTail(e.tail[:0])
	}
	return append(buffer, e.tail...)
}

// appendTail writes what comes behind the line: lines that were read together have it in common.
func (e *Encoder) appendTail(tail []byte) []byte {
	if e.stderr {
		tail = append(tail, `","stream":"stderr"`...)
	} else {
		tail = append(tail, `","stream":"stdout"`...)
	}
	tail = append(tail, e.attrs...)
	tail = append(tail, `,"time":"`...)
	tail = e.appendTime(tail, e.at)
	return append(tail, "\"}\n"...)
}

// appendTime writes RFC 3339 in UTC with as many digits of the fraction as needed, as time.RFC3339Nano.
func (e *Encoder) appendTime(buffer []byte, t time.Time) []byte {
	if second := t.Unix(); second != e.second || e.stamp == nil {
		e.second = second
		e.stamp = t.UTC().AppendFormat(e.stamp[:0], "2006-01-02T15:04:05")
	}
	buffer = append(buffer, e.stamp...)
	if nanos := t.Nanosecond(); nanos != 0 {
		var digits [10]byte
		digits[0] = '.'
		for i := 9; i > 0; i-- {
			digits[i] = byte('0' + nanos%10)
			nanos /= 10
		}
		end := len(digits)
		for digits[end-1] == '0' {
			end--
		}
		buffer = append(buffer, digits[:end]...)
	}
	return append(buffer, 'Z')
}

const hexDigits = "0123456789abcdef"

// plain says which bytes stand for themselves inside a JSON string. As in Docker's files, <, > and & don't, so that a
// log can be embedded in HTML.
var plain = func() (table [256]bool) {
	for b := 0x20; b < utf8.RuneSelf; b++ {
		table[b] = b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
	}
	return table
}()

// Bytes in eight places of a word.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainRun counts bytes at the beginning of s that stand for themselves, eight at a time; what is left of a group that
// has another one is for a closer look.
func plainRun(s []byte) (n int) {
	for ; len(s) >= 8; s = s[8:] {
		v := binary.LittleEndian.Uint64(s)
		// A subtraction of ones sets the high bit of a byte that was zero (or above 0x80), and by a borrow perhaps that of
		// one behind it: the lowest bit that is set is right.
		found := v | (v - ones*0x20) // not ASCII; control characters
		for _, pair := range [3]uint64{
			(v &^ (ones * 0x04)) ^ ones*'"', // " and &, which differ in one bit
			(v &^ (ones * 0x02)) ^ ones*'<', // < and >
			v ^ ones*'\\',
		} {
			found |= (pair - ones) &^ pair
		}
		if found &= highs; found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
		n += 8
	}
	return n
}

// AppendEscaped appends the inside of a JSON string. Bytes that are no UTF-8 become the replacement character.
func AppendEscaped(buffer, s []byte) []byte {
	start := 0
	for i := 0; i < len(s); {
		if n := plainRun(s[i:]); n > 0 {
			i += n
			continue
		}
		b := s[i]
		if plain[b] {
			i++
			continue
		}
		if b < utf8.RuneSelf {
			buffer = append(buffer, s[start:i]...)
			switch b {
			case '\n':
				buffer = append(buffer, '\\', 'n')
			case '\r':
				buffer = append(buffer, '\\', 'r')
			case '"', '\\':
				buffer = append(buffer, '\\', b)
			default:
				buffer = append(buffer, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			buffer = append(append(buffer, s[start:i]...), `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029': // line ends to JavaScript
			buffer = append(append(buffer, s[start:i]...), '\\', 'u', '2', '0', '2', hexDigits[r&15])
			start = i + size
		}
		i += size
	}
	return append(buffer, s[start:]...)
}
