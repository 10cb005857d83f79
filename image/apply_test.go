package image

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestReadAheadGivesTheStreamUnchanged(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 500_000)
	broken := errors.New("broken")
	cases := map[string]struct {
		stream io.Reader
		err    error
	}{
		"in one piece":             {bytes.NewReader(data), nil},
		"in small pieces":          {iotest.HalfReader(bytes.NewReader(data)), nil},
		"with an error at its end": {io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)), broken},
		"that breaks off":          {io.MultiReader(bytes.NewReader(data), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
	}
	for name, c := range cases {
		a := readAhead(c.stream)
		got, err := io.ReadAll(a)
		if !errors.Is(err, c.err) || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if size := a.stop(); size != int64(len(data)) {
			t.Errorf("%s: size is %d", name, size)
		}
	}
	a := readAhead(bytes.NewReader(data))
	if _, err := a.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	a.stop() // early: the goroutine must end, or this hangs
}
