package logs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/berth-engine/berth/lib/jsonlog"
)

// chunk is how much is read at once when looking for a position.
const chunk = 64 << 10

// tailStart finds where the last n records of the chain begin: in which segment, and how many of its records (packed)
// or bytes (plain) come before.
func tailStart(chain []*segment, n int) (index int, offset int64, err error) {
	if n == 0 {
		last := len(chain) - 1
		if last < 0 {
			return 0, 0, nil
		}
		return last, chain[last].info.Size(), nil
	}
	for i := len(chain) - 1; i >= 0; i-- {
		var found int
		if chain[i].packed {
			found, err = countRecords(chain[i])
			if err == nil && found >= n {
				return i, int64(found - n), nil
			}
		} else {
			found, offset, err = backwards(chain[i].file, chain[i].info.Size(), n)
			if err == nil && found >= n {
				return i, offset, nil
			}
		}
		if err != nil {
			return 0, 0, err
		}
		n -= found
	}
	return 0, 0, nil
}

// backwards counts records from the end until n are found, and says where the first of them begins. Bytes behind the
// last line feed are a record that is being written and not counted.
func backwards(f *os.File, size int64, n int) (found int, offset int64, err error) {
	buffer := make([]byte, chunk)
	end := int64(-1) // behind the line feed that ends the record that is being looked at
	for at := size; at > 0; {
		part := buffer[:min(chunk, at)]
		at -= int64(len(part))
		if _, err := f.ReadAt(part, at); err != nil {
			return 0, 0, err
		}
		for i := bytes.LastIndexByte(part, '\n'); i >= 0; i = bytes.LastIndexByte(part[:i], '\n') {
			begin := at + int64(i) + 1
			if end > begin+1 { // an empty line, as after a crash, is no record
				if found++; found == n {
					return found, begin, nil
				}
			}
			end = begin
		}
	}
	if end > 1 {
		found++
	}
	return found, 0, nil
}

func countRecords(s *segment) (n int, err error) {
	in, err := s.reader()
	if err != nil {
		return 0, err
	}
	buffer := make([]byte, chunk)
	last := byte('\n')
	for {
		size, err := in.Read(buffer)
		for part := buffer[:size]; len(part) > 0; {
			i := bytes.IndexByte(part, '\n')
			if i < 0 {
				last = part[len(part)-1]
				break
			}
			if i > 0 || last != '\n' {
				n++
			}
			last = '\n'
			part = part[i+1:]
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// sinceStart finds the place in a plain file from which on records may be as new as since. Records are in the order
// of their times, nearly: the two streams of a container have a goroutine each, so a little is left before.
func sinceStart(f *os.File, size int64, since time.Time) (int64, error) {
	since = since.Add(-time.Second)
	low, high := int64(0), size
	for high-low > chunk {
		middle := low + (high-low)/2
		begin, at, ok, err := firstRecord(f, middle, high)
		if err != nil {
			return 0, err
		}
		if ok && at.Before(since) {
			low = begin
		} else {
			high = middle
		}
	}
	return low, nil
}

// firstRecord finds the first record that begins in the file between from and to, and its time.
func firstRecord(f *os.File, from, to int64) (begin int64, at time.Time, ok bool, err error) {
	in := bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), chunk)
	begin = from
	var d jsonlog.Decoder
	for inside := true; ; { // the first piece, and what follows a piece without an end, is inside of a line
		line, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if err == io.EOF {
			return 0, time.Time{}, false, nil
		}
		if err != nil && !long {
			return 0, time.Time{}, false, err
		}
		if !inside && !long {
			if at, ok := d.Time(line); ok {
				return begin, at, true, nil
			}
		}
		begin += int64(len(line))
		inside = long
	}
}
