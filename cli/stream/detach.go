package stream

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// DefaultDetachKeys leave a container running.
const DefaultDetachKeys = "ctrl-p,ctrl-q"

// ErrDetached is returned by a reader when the detach keys were typed.
var ErrDetached = errors.New("read escape sequence")

// ParseDetachKeys reads "ctrl-p,ctrl-q", "a,b", "ctrl-@", …; empty text means the default.
func ParseDetachKeys(text string) ([]byte, error) {
	if text == "" {
		text = DefaultDetachKeys
	}
	var keys []byte
	for key := range strings.SplitSeq(text, ",") {
		code, ok := keyCode(key)
		if !ok {
			return nil, fmt.Errorf("invalid detach keys (%s): unknown character: '%s'", text, key)
		}
		keys = append(keys, code)
	}
	return keys, nil
}

func keyCode(key string) (byte, bool) {
	if len(key) == 1 {
		return key[0], true
	}
	name, found := strings.CutPrefix(strings.ToLower(key), "ctrl-")
	if !found || len(name) != 1 {
		return 0, false
	}
	switch c := name[0]; {
	case c >= 'a' && c <= 'z':
		return c - 'a' + 1, true
	case c == '@':
		return 0, true
	case c >= '[' && c <= '_':
		return c - '[' + 27, true
	}
	return 0, false
}

// detachReader passes on what is typed, holding back a beginning of the detach keys until it is clear what follows.
type detachReader struct {
	r       io.Reader
	keys    []byte
	matched int
	ready   []byte
	buf     [4096]byte
	err     error
}

// NewDetachReader ends with ErrDetached when keys appear in a row.
func NewDetachReader(r io.Reader, keys []byte) io.Reader {
	if len(keys) == 0 {
		return r
	}
	return &detachReader{r: r, keys: keys}
}

func (d *detachReader) Read(p []byte) (int, error) {
	for len(d.ready) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		n, err := d.r.Read(d.buf[:])
		d.scan(d.buf[:n])
		if err != nil && d.err == nil {
			d.ready = append(d.ready, d.keys[:d.matched]...)
			d.matched = 0
			d.err = err
		}
	}
	n := copy(p, d.ready)
	d.ready = d.ready[n:]
	return n, nil
}

func (d *detachReader) scan(typed []byte) {
	for _, c := range typed {
		if c == d.keys[d.matched] {
			d.matched++
			if d.matched == len(d.keys) {
				d.matched = 0
				d.err = ErrDetached
				return
			}
			continue
		}
		// What was held back was not the beginning after all; the new key may be one.
		d.ready = append(d.ready, d.keys[:d.matched]...)
		d.matched = 0
		if c == d.keys[0] {
			d.matched = 1
			if len(d.keys) == 1 {
				d.matched, d.err = 0, ErrDetached
				return
			}
			continue
		}
		d.ready = append(d.ready, c)
	}
}
