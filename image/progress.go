package image

import (
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/berth-engine/berth/core"
)

// progressStep is how often, at most, a line with numbers is sent anew.
const progressStep = 100 * time.Millisecond

// reporter sends lines of progress, one at a time, and thins out those that only count bytes.
type reporter struct {
	mu   sync.Mutex
	send core.ProgressFunc
	last map[string]time.Time
}

func newReporter(send core.ProgressFunc) *reporter {
	if send == nil {
		send = func(core.Progress) {}
	}
	return &reporter{send: send, last: map[string]time.Time{}}
}

// say sends a line.
func (r *reporter) say(id, status string) { r.emit(core.Progress{ID: id, Status: status}) }

func (r *reporter) emit(p core.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send(p)
}

// count sends how far a line is, unless it was sent a moment ago.
func (r *reporter) count(id, status string, current, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if current < total && now.Sub(r.last[id+status]) < progressStep {
		return
	}
	r.last[id+status] = now
	r.send(core.Progress{ID: id, Status: status, Current: current, Total: total})
}

// countingReader reports how much was read through it. It seeks when what it reads from does, so that containerd's
// copy can resume.
type countingReader struct {
	io.Reader
	current int64
	report  func(current int64)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.current += int64(n)
	c.report(c.current)
	return n, err
}

// Seek moves to an offset from the start or the current place.
func (c *countingReader) Seek(offset int64, whence int) (int64, error) {
	seeker, ok := c.Reader.(io.Seeker)
	if !ok {
		return 0, errNoSeek
	}
	at, err := seeker.Seek(offset, whence)
	if err == nil {
		c.current = at
	}
	return at, err
}

// Close closes what is read from, when that can be closed.
func (c *countingReader) Close() error {
	if closer, ok := c.Reader.(io.Closer); ok {
		return closer.Close()
	}
	return nil
}

// short is how a layer is called in lines of progress.
func short(d digest.Digest) string { return core.ImageID(d).Short() }
