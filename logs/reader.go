package logs

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/jsonlog"
)

const (
	// readSize is how much is read from a file at once.
	readSize = 512 << 10
	// longest is how long a line of a log file may be. The shims write at most some 100 KB; what is longer is
	// garbage and passed over.
	longest = 4 << 20
)

// reader gives the records of a log in order. All methods but end belong to one goroutine.
type reader struct {
	path    string
	options core.LogOptions
	logger  *slog.Logger
	changed <-chan struct{}  // the folder changed; nil: nobody tells
	done    <-chan struct{}  // the container's process ended
	due     <-chan time.Time // Until has come; nil: there is none
	release []func() error

	chain   []*segment // what is still to be read after current
	current *segment
	in      io.Reader // of current
	limit   int64     // bytes of current that may still be read; negative: no limit
	offset  int64     // of a plain current: how far it has been read
	skip    int64     // records to pass over

	decoder jsonlog.Decoder
	buffer  []byte // begin to end of it is read and not decoded
	begin   int
	filled  int
	whole   int          // the line feed before this place is the last one of the buffer
	garbage bool         // in the middle of a line that is too long
	ended   bool         // done or due was seen: what is there now is all there will be
	ahead   core.LogLine // the next record, when found
	found   bool

	once  sync.Once
	quit  chan struct{} // closed by end
	cause error         // why; io.EOF when it is no failure; set before quit is closed
}

// end has a Next that waits, and every later one, return: with the cause, or with io.EOF for nil. Any goroutine.
func (r *reader) end(cause error) {
	r.once.Do(func() {
		if r.cause = cause; cause == nil {
			r.cause = io.EOF
		}
		close(r.quit)
	})
}

// start opens the files and finds the first record that is wanted.
func (r *reader) start() error {
	chain, err := openChain(r.path)
	if err != nil {
		return err
	}
	r.chain, r.limit = chain, -1
	if !r.options.Since.IsZero() {
		if err := r.dropOlder(); err != nil {
			return err
		}
	}
	first, start := 0, int64(0)
	if r.options.Tail >= 0 {
		if first, start, err = tailStart(r.chain, r.options.Tail); err != nil {
			return err
		}
	}
	if err := closeChain(r.chain[:first]); err != nil {
		return err
	}
	if r.chain = r.chain[first:]; len(r.chain) == 0 {
		return nil
	}
	if err := r.open(); err != nil {
		return err
	}
	if r.current.packed {
		r.skip = start
		return nil
	}
	if !r.options.Since.IsZero() {
		since, err := sinceStart(r.current.file, r.current.info.Size(), r.options.Since)
		if err != nil {
			return err
		}
		start = max(start, since)
	}
	return r.seek(start)
}

// dropOlder closes the rotated files that were written to for the last time before Since.
func (r *reader) dropOlder() error {
	for len(r.chain) > 1 && r.chain[0].info.ModTime().Before(r.options.Since) {
		if err := r.chain[0].close(); err != nil {
			return err
		}
		r.chain = r.chain[1:]
	}
	return nil
}

// open makes the first segment of the chain the current one.
func (r *reader) open() error {
	s := r.chain[0]
	in, err := s.reader()
	if err != nil {
		return err
	}
	r.chain = r.chain[1:]
	r.current, r.in, r.offset, r.limit = s, in, 0, -1
	r.restart(0)
	if !r.options.Follow && !s.packed {
		r.limit = s.info.Size() // what is written from now on is not asked for
	}
	return nil
}

// restart forgets what was read and not decoded, and says how many records to pass over.
func (r *reader) restart(skip int64) {
	r.begin, r.filled, r.whole, r.garbage, r.skip = 0, 0, 0, false, skip
}

// seek goes on at a place of a plain current segment.
func (r *reader) seek(offset int64) error {
	if _, err := r.current.file.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	r.offset = offset
	if r.limit >= 0 {
		r.limit = max(r.limit-offset, 0)
	}
	r.restart(0)
	return nil
}

// Next gives the next record that is wanted.
func (r *reader) Next() (core.LogLine, error) {
	for !r.Buffered() {
		if err := r.more(); err != nil {
			return core.LogLine{}, err
		}
	}
	r.found = false
	return r.ahead, nil
}

// Buffered looks whether what was read holds another record that is wanted: then the next Next neither reads a file nor
// waits.
func (r *reader) Buffered() bool {
	for !r.found && r.begin < r.whole {
		i := bytes.IndexByte(r.buffer[r.begin:r.whole], '\n')
		line := r.buffer[r.begin : r.begin+i]
		r.begin += i + 1
		switch {
		case r.garbage: // the end of a line that is too long
			r.garbage = false
		case i == 0: // as after a crash
		case r.skip > 0:
			r.skip--
		default:
			r.consider(line)
		}
	}
	return r.found
}

// consider decodes a line and keeps it for Next if it is wanted.
func (r *reader) consider(line []byte) {
	record, err := r.decoder.Decode(line)
	if err != nil {
		return // garbage: torn by a crash, or not ours
	}
	if record.Stderr && !r.options.Stderr || !record.Stderr && !r.options.Stdout {
		return
	}
	if r.bounded() && !r.within(record.Time) {
		return
	}
	n := len(record.Log)
	r.found = true
	r.ahead.Stderr, r.ahead.Time, r.ahead.Line, r.ahead.Partial = record.Stderr, record.Time, record.Log, n == 0 || record.Log[n-1] != '\n'
	if r.options.Details {
		r.ahead.Attrs = record.Attrs
	}
}

// bounded reports whether some times are not wanted.
func (r *reader) bounded() bool {
	return !r.options.Since.IsZero() || !r.options.Until.IsZero()
}

// within reports whether a record of this time is wanted; one behind Until ends it all.
func (r *reader) within(at time.Time) bool {
	if at.Before(r.options.Since) {
		return false
	}
	if !r.options.Until.IsZero() && at.After(r.options.Until) {
		r.end(nil)
		r.restart(0)
		return false
	}
	return true
}

// more reads more of the current segment, goes to the next one or waits, as needed; the error is the end.
func (r *reader) more() error {
	select {
	case <-r.quit:
		return r.cause
	default:
	}
	n, err := r.fill()
	if err != nil {
		return core.Internal("read the log %s: %w", r.path, err)
	}
	if n > 0 {
		return nil
	}
	if more, err := r.advance(); err != nil {
		return core.Internal("read the log %s: %w", r.path, err)
	} else if !more {
		return r.cause
	}
	return nil
}

// fill reads more of the current segment into the buffer; 0: it has no more.
func (r *reader) fill() (int, error) {
	if r.current == nil {
		return 0, nil
	}
	if r.begin > 0 {
		r.filled = copy(r.buffer, r.buffer[r.begin:r.filled])
		r.begin, r.whole = 0, 0
	}
	switch {
	case r.buffer == nil:
		r.buffer = make([]byte, readSize)
	case r.filled == len(r.buffer) && r.filled >= longest:
		r.garbage, r.filled, r.whole = true, 0, 0
	case r.filled == len(r.buffer):
		r.buffer = append(r.buffer, make([]byte, len(r.buffer))...)
	}
	room := r.buffer[r.filled:]
	if r.limit >= 0 {
		room = room[:min(int64(len(room)), r.limit)]
	}
	if len(room) == 0 {
		return 0, nil
	}
	n, err := r.in.Read(room)
	if i := bytes.LastIndexByte(room[:n], '\n'); i >= 0 {
		r.whole = r.filled + i + 1
	}
	r.filled += n
	r.offset += int64(n)
	if r.limit >= 0 {
		r.limit -= int64(n)
	}
	if n > 0 || err == io.EOF {
		return n, nil
	}
	if r.current.packed {
		r.logger.Warn("a rotated log is damaged; what follows in it is lost", "file", r.current.file.Name(), "error", err)
		return 0, nil
	}
	return 0, err
}

// advance finds out what comes after the end of the current segment: the next file, more in this one, or nothing
// (false, with cause set).
func (r *reader) advance() (more bool, err error) {
	if len(r.chain) > 0 {
		return true, r.next()
	}
	if !r.options.Follow {
		r.end(nil)
		return false, nil
	}
	if more, err := r.rotated(); more || err != nil {
		return more, err
	}
	if r.ended {
		r.end(nil)
		return false, nil
	}
	select {
	case <-r.changed:
	case <-r.done:
		r.ended = true
	case <-r.due:
		r.ended = true
	case <-r.quit:
		return false, nil
	}
	return true, nil
}

// next closes the current segment and opens the one after it.
func (r *reader) next() error {
	if r.current != nil {
		if err := r.current.close(); err != nil {
			return err
		}
		r.current = nil
	}
	return r.open()
}

// rotated looks whether the current file of the log is another one by now, or was cut. If so, it readies what comes
// after the segment that was read.
func (r *reader) rotated() (bool, error) {
	now, err := os.Stat(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // not written yet, between two steps of a rotation, or removed
	}
	if err != nil {
		return false, err
	}
	if r.current != nil && os.SameFile(now, r.current.info) {
		if now.Size() < r.offset {
			return true, r.seek(0)
		}
		return false, nil
	}
	// Something may have been written to the old file between the last read and the rotation.
	if n, err := r.fill(); n > 0 || err != nil {
		return n > 0, err
	}
	chain, err := openChain(r.path)
	if err != nil {
		return false, err
	}
	if r.current != nil {
		read := 1 + slices.IndexFunc(chain, func(s *segment) bool { return s.holds(r.current) })
		if err := closeChain(chain[:read]); err != nil {
			return false, errors.Join(err, closeChain(chain[read:]))
		}
		chain = chain[read:] // all of it, when the file that was read is gone
	}
	r.chain = chain
	if len(chain) == 0 {
		return false, nil
	}
	return true, r.next()
}

// Close frees the files. It must not be called during a Next: the end of the context given to Read ends that.
func (r *reader) Close() error {
	r.end(nil)
	errs := []error{closeChain(r.chain)}
	if r.current != nil {
		errs = append(errs, r.current.close())
	}
	for _, release := range r.release {
		errs = append(errs, release())
	}
	r.chain, r.current, r.release = nil, nil, nil
	return errors.Join(errs...)
}
