package server

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// progress answers a long work with lines of JSON. Before the first line an error can still have a status; after
// it, it is a line too. Its methods may be called from several goroutines.
type progress struct {
	c *call

	mu     sync.Mutex // guards the fields below and the writing
	enc    *json.Encoder
	failed bool  // an error line was written
	err    error // of the client: nothing more can be sent
}

func newProgress(c *call) *progress {
	enc := json.NewEncoder(c)
	enc.SetEscapeHTML(false)
	return &progress{c: c, enc: enc}
}

// step is the core.ProgressFunc of the work.
func (p *progress) step(step core.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || p.failed {
		return
	}
	if step.Error != nil {
		if !p.c.started {
			return // finish will answer it with a status
		}
		p.failed = true
	}
	line, err := wire.Progress(step)
	if err == nil {
		err = p.write(line)
	}
	p.err = err
}

// write sends one line. The caller holds the lock.
func (p *progress) write(line any) error {
	p.c.w.Header().Set("Content-Type", "application/json")
	if err := p.enc.Encode(line); err != nil {
		return err
	}
	p.c.flush()
	return nil
}

// finish ends the answer with the result of the work.
func (p *progress) finish(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		if !p.c.started {
			p.c.w.Header().Set("Content-Type", "application/json")
			p.c.status(http.StatusOK)
		}
		return p.err
	case !p.c.started:
		return err
	case p.failed || p.err != nil:
		p.c.logger.Debug("work failed", "path", p.c.r.URL.Path, "error", err)
		return nil
	}
	p.failed = true
	return p.write(wire.ProgressError(err))
}

// lateWriter sends the head of an answer with the first byte, so that an error before it has a status.
type lateWriter struct {
	c           *call
	contentType string
}

// Write writes a part of the answer.
func (w lateWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if !w.c.started {
		w.c.w.Header().Set("Content-Type", w.contentType)
	}
	return w.c.Write(p)
}
