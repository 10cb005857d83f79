package jsonlog

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// Options say how a log file grows and what its records carry.
type Options struct {
	MaxSize  int64 // bytes of a file before the next one is begun; 0 or less: never
	MaxFiles int   // files kept, the current one included; less than 1: 1
	Compress bool  // with gzip, all but the current file
	Attrs    map[string]string
}

// flushAt is how many bytes gather before they are written without being asked.
const flushAt = 128 << 10

// Writer appends records to a log file and rotates it: the current file is path, the one before path.1 (path.1.gz
// when compressed), and so on. It has no timer: the owner calls Flush when it has nothing more to write right now.
type Writer struct {
	path    string
	options Options

	mu      sync.Mutex // guards everything below
	encoder *Encoder
	file    *os.File // nil once closed
	size    int64    // of file, without buffer
	buffer  []byte   // whole records that are not in the file yet

	// squeezing is closed when the compression of path.1 in the background is over; nil: none is under way.
	squeezing chan struct{}
	squeezed  error // how it went; read after squeezing is closed
}

// Open opens or makes the log file. If its last record was torn by a crash, what follows starts on a line of its own.
func Open(path string, options Options) (*Writer, error) {
	options.MaxFiles = max(options.MaxFiles, 1)
	w := &Writer{path: path, options: options, encoder: NewEncoder(options.Attrs)}
	if err := w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Writer) open() error {
	f, err := os.OpenFile(w.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.size = f, info.Size()
	if w.size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], w.size-1); err != nil {
		return errors.Join(err, f.Close())
	}
	if last[0] != '\n' {
		w.buffer = append(w.buffer, '\n')
	}
	return nil
}

// Append adds a record. A line without a line feed at its end is a part of one that goes on in the next record of the
// same stream. The record is in the file after the next Flush or Close, or when enough have gathered. An error (a full
// disk) means that records since the last success may be lost; the file stays a sequence of whole records.
func (w *Writer) Append(stderr bool, t time.Time, line []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return os.ErrClosed
	}
	if w.options.MaxSize > 0 && w.size+int64(len(w.buffer)) >= w.options.MaxSize {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	w.buffer = w.encoder.Append(w.buffer, stderr, t, line)
	if len(w.buffer) >= flushAt {
		return w.flush()
	}
	return nil
}

// Flush brings what was appended into the file, where readers see it. It does not wait for the disk.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return os.ErrClosed
	}
	return w.flush()
}

func (w *Writer) flush() error {
	if len(w.buffer) == 0 {
		return nil
	}
	n, err := w.file.Write(w.buffer)
	if err != nil {
		// Whole records stay, the torn one goes.
		whole := int64(bytes.LastIndexByte(w.buffer[:n], '\n') + 1)
		if whole < int64(n) {
			info, statErr := w.file.Stat()
			if statErr == nil {
				statErr = w.file.Truncate(info.Size() - int64(n) + whole)
			}
			err = errors.Join(err, statErr)
		}
		n = int(whole)
	}
	w.size += int64(n)
	w.buffer = w.buffer[:0]
	return err
}

// Close writes what is left, waits for a compression that is under way and closes the file. Closing twice is harmless.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	err := errors.Join(w.flush(), w.file.Close(), w.squeezeEnd())
	w.file = nil
	return err
}

// rotate begins a new current file. Somebody who reads the old one has it open and misses nothing. On a failure the
// writer goes on with the file it has, and trying again is harmless.
func (w *Writer) rotate() error {
	if err := errors.Join(w.flush(), w.squeezeEnd()); err != nil {
		return fmt.Errorf("rotate %s: %w", w.path, err)
	}
	for n := w.options.MaxFiles - 1; n > 0; n-- {
		if err := w.shift(n); err != nil {
			return fmt.Errorf("rotate %s: %w", w.path, err)
		}
	}
	if w.options.MaxFiles == 1 {
		// A new file in place of a truncated one: a reader of the old one keeps its place.
		if err := ignoreMissing(os.Remove(w.path)); err != nil {
			return fmt.Errorf("rotate %s: %w", w.path, err)
		}
	}
	old := w.file
	if err := w.open(); err != nil {
		return fmt.Errorf("rotate %s: %w", w.path, err)
	}
	if err := old.Close(); err != nil {
		return fmt.Errorf("rotate %s: %w", w.path, err)
	}
	if w.options.Compress && w.options.MaxFiles > 1 {
		done := make(chan struct{})
		w.squeezing = done
		go func() {
			defer close(done)
			w.squeezed = squeeze(w.path + ".1")
		}()
	}
	return nil
}

// shift makes file n out of file n-1, in whichever form that is, and drops the old file n. Without a file n-1 the
// old file n stays.
func (w *Writer) shift(n int) error {
	to := w.path + "." + strconv.Itoa(n)
	if n == 1 {
		return replace(w.path, to, to+".gz")
	}
	from := w.path + "." + strconv.Itoa(n-1)
	return errors.Join(replace(from, to, to+".gz"), replace(from+".gz", to+".gz", to))
}

// replace renames from to to, if it is there, and then removes the other form of what it replaced.
func replace(from, to, other string) error {
	if err := os.Rename(from, to); err != nil {
		return ignoreMissing(err)
	}
	return ignoreMissing(os.Remove(other))
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// squeezeEnd waits for the compression in the background.
func (w *Writer) squeezeEnd() error {
	if w.squeezing == nil {
		return nil
	}
	<-w.squeezing
	w.squeezing = nil
	return w.squeezed
}

// squeeze replaces path by path.gz. When it fails, or the machine does, path is still there and complete.
func squeeze(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	temporary := path + ".gz.tmp"
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	packer, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err == nil {
		_, err = io.Copy(packer, in)
		err = errors.Join(err, packer.Close())
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, path+".gz"); err != nil {
		return err
	}
	return os.Remove(path)
}
