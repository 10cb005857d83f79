package logs

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
)

// segment is one of the files of a log, open.
type segment struct {
	file   *os.File
	info   os.FileInfo
	packed bool // with gzip
}

func (s *segment) close() error { return s.file.Close() }

// reader gives the content from its first byte on.
func (s *segment) reader() (io.Reader, error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if !s.packed {
		return s.file, nil
	}
	return gzip.NewReader(s.file)
}

// holds reports whether this is the other file, or what was made of it by compression since that was opened. Times do not
// tell: lines that were written at once have the same one, in as many files as they fill.
func (s *segment) holds(other *segment) bool {
	if os.SameFile(s.info, other.info) {
		return true
	}
	if !s.packed || other.packed {
		return false
	}
	packed, err := s.reader()
	if err != nil {
		return false
	}
	return sameContent(packed, io.NewSectionReader(other.file, 0, math.MaxInt64))
}

// sameContent reads both as far as they are the same.
func sameContent(a, b io.Reader) bool {
	one, two := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(a, one)
		m, other := io.ReadFull(b, two)
		if n != m || !bytes.Equal(one[:n], two[:m]) || (err == nil) != (other == nil) {
			return false
		}
		if err != nil {
			return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		}
	}
}

// openChain opens the files of a log, oldest first. A rotation that happens meanwhile shifts the names from under the
// feet: then it starts again.
func openChain(path string) ([]*segment, error) {
	for range 100 {
		chain, err := tryChain(path)
		if err != nil {
			return nil, err
		}
		if stable(path, chain) {
			return chain, nil
		}
		if err := closeChain(chain); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the files are rotated faster than they can be opened")
}

func closeChain(chain []*segment) error {
	var errs []error
	for _, s := range chain {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// tryChain opens from the newest file backwards. One missing number is passed over: a rotation may be under way, or
// have been interrupted.
func tryChain(path string) (chain []*segment, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeChain(chain))
			chain = nil
		}
	}()
	missing := 0
	for n := 0; missing < 2; n++ {
		name := path
		if n > 0 {
			name = path + "." + strconv.Itoa(n)
		}
		s, err := openSegment(name, n > 0)
		if err != nil {
			return chain, err
		}
		if s == nil {
			missing++
			continue
		}
		missing = 0
		chain = append([]*segment{s}, chain...)
	}
	return chain, nil
}

// openSegment opens a file in the form that it has; nil: there is none. While a file is being compressed both forms
// are there, and the plain one is complete.
func openSegment(name string, maybePacked bool) (*segment, error) {
	forms := []string{name}
	if maybePacked {
		forms = append(forms, name+".gz")
	}
	for i, form := range forms {
		f, err := os.Open(form)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a file", form)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &segment{file: f, info: info, packed: i == 1}, nil
	}
	return nil, nil
}

// stable reports whether no rotation came between: no file was opened under two names, and the current file is still
// the one that was opened first.
func stable(path string, chain []*segment) bool {
	for i, a := range chain {
		for _, b := range chain[:i] {
			if os.SameFile(a.info, b.info) {
				return false
			}
		}
	}
	now, err := os.Stat(path)
	if len(chain) == 0 {
		return err != nil
	}
	return err != nil || os.SameFile(now, chain[len(chain)-1].info)
}
