package store

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/berth-engine/berth/core"
)

// Bounds of the journal of events.
const (
	// segmentSize is when the current file becomes the old one: both together are what is kept, some 8 MB.
	segmentSize = 4 << 20
	// backlog is how many events may wait for the disk before the oldest of them are given up.
	backlog = 10000
)

// Events keeps what happened, one JSON object per line, in two files: path with the newest, path.1 with those before.
// Appending never waits for the disk; a goroutine writes what has gathered.
type Events struct {
	path    string
	segment int64
	logger  *slog.Logger
	wake    chan struct{} // one token: events are waiting
	ended   chan struct{} // closed when the writer is gone

	mu      sync.Mutex // guards waiting, lost and closed; taken after disk where both are
	waiting []core.Event
	lost    int
	closed  bool

	disk sync.Mutex // guards the files
	file *os.File
	size int64
}

// OpenEvents opens or makes the journal.
func OpenEvents(path string, logger *slog.Logger) (*Events, error) {
	e := &Events{path: path, segment: segmentSize, logger: logger, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if err := e.open(); err != nil {
		return nil, err
	}
	go e.write()
	return e, nil
}

func (e *Events) open() error {
	f, err := os.OpenFile(e.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		// A last line that was torn by a crash must not swallow the next event. Readers skip empty lines.
		_, err = f.WriteString("\n")
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	e.file, e.size = f, info.Size()
	return nil
}

// Append keeps an event; it does not block on the disk.
func (e *Events) Append(event core.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	if len(e.waiting) >= backlog {
		e.waiting = append(e.waiting[:0], e.waiting[backlog/10:]...)
		e.lost += backlog / 10
	}
	e.waiting = append(e.waiting, event)
	if len(e.waiting) == 1 {
		e.wake <- struct{}{}
	}
}

func (e *Events) write() {
	defer close(e.ended)
	for range e.wake {
		e.disk.Lock()
		if err := e.flush(); err != nil {
			e.logger.Error("events could not be kept", "error", err)
		}
		e.disk.Unlock()
	}
}

// flush brings everything that waits into the file. The caller holds disk.
func (e *Events) flush() error {
	e.mu.Lock()
	batch, lost := e.waiting, e.lost
	e.waiting, e.lost = nil, 0
	select {
	case <-e.wake: // whoever flushes does the work of the token
	default:
	}
	e.mu.Unlock()
	if lost > 0 {
		e.logger.Warn("the disk did not keep up with events", "lost", lost)
	}
	if len(batch) == 0 {
		return nil
	}
	var buffer []byte
	for _, event := range batch {
		line, err := json.Marshal(event)
		if err != nil {
			return fmt.Errorf("event %s %s: %w", event.Type, event.Action, err)
		}
		buffer = append(append(buffer, line...), '\n')
	}
	if e.size > e.segment {
		if err := e.rotate(); err != nil {
			return err
		}
	}
	n, err := e.file.Write(buffer)
	e.size += int64(n)
	return err
}

func (e *Events) rotate() error {
	if err := os.Rename(e.path, e.path+".1"); err != nil {
		return err
	}
	old := e.file
	if err := e.open(); err != nil {
		return err
	}
	return old.Close()
}

// Since lists the kept events from a moment on, oldest first. Those that Append took before the call are among them.
func (e *Events) Since(moment time.Time) ([]core.Event, error) {
	e.disk.Lock()
	defer e.disk.Unlock()
	if e.file == nil {
		return nil, core.Unavailable("events: the daemon is shutting down")
	}
	if err := e.flush(); err != nil {
		return nil, core.Internal("events: %w", err)
	}
	var all []core.Event
	for _, path := range []string{e.path + ".1", e.path} {
		var err error
		if all, err = appendSince(all, path, moment); err != nil {
			return nil, core.Internal("events: %w", err)
		}
	}
	return all, nil
}

// appendSince reads one file; lines that are no events are passed over.
func appendSince(all []core.Event, path string, moment time.Time) (_ []core.Event, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		var event core.Event
		if json.Unmarshal(line, &event) == nil && event.Type != "" && !event.Time.Before(moment) {
			all = append(all, event)
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// Close writes what waits and closes the journal. What is appended later is dropped. Closing twice is harmless.
func (e *Events) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	close(e.wake)
	e.mu.Unlock()
	<-e.ended
	e.disk.Lock()
	defer e.disk.Unlock()
	err := errors.Join(e.flush(), e.file.Close())
	e.file = nil
	return err
}
