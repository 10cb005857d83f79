// Package logs reads the logs of containers. The shims write them, in the format of lib/jsonlog, and rotate them; this
// package reads across the rotated files, from any line or moment on, and follows what is being written.
package logs

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/inotify"
)

// Logs opens and removes logs.
type Logs struct {
	logger *slog.Logger

	mu      sync.Mutex // guards watcher and closed
	watcher *inotify.Watcher
	closed  bool
}

// New makes the organ. It must be closed.
func New(logger *slog.Logger) *Logs { return &Logs{logger: logger} }

// Read opens a container's log. path is the current file; nothing there yet is an empty log. done is closed when the
// container's process ended and its shim has written everything: it ends a Follow once all was read. The end of ctx
// ends a Follow too, with its cause.
func (l *Logs) Read(ctx context.Context, path string, options core.LogOptions, done <-chan struct{}) (core.LogReader, error) {
	if path == "" {
		return nil, core.NotImplemented("configured logging driver does not support reading")
	}
	r := &reader{path: path, options: options, done: done, quit: make(chan struct{}), logger: l.logger}
	if options.Follow {
		if err := l.follow(r); err != nil {
			return nil, core.Internal("read the log %s: %w", path, err)
		}
		if !options.Until.IsZero() {
			timer := time.NewTimer(time.Until(options.Until))
			r.due = timer.C
			r.release = append(r.release, func() error { timer.Stop(); return nil })
		}
	}
	stop := context.AfterFunc(ctx, func() { r.end(context.Cause(ctx)) })
	r.release = append(r.release, func() error { stop(); return nil })
	if err := r.start(); err != nil {
		return nil, errors.Join(core.Internal("read the log %s: %w", path, err), r.Close())
	}
	return r, nil
}

// follow has the reader woken by changes of the log's folder. A folder that is not there has no changes.
func (l *Logs) follow(r *reader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return os.ErrClosed
	}
	if l.watcher == nil {
		watcher, err := inotify.New()
		if err != nil {
			return err
		}
		l.watcher = watcher
	}
	watch, err := l.watcher.Watch(filepath.Dir(r.path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.changed = watch.Changed()
	r.release = append(r.release, watch.Close)
	return nil
}

// Close frees what follows use. Readers that are open get no further changes.
func (l *Logs) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.watcher == nil {
		return nil
	}
	watcher := l.watcher
	l.watcher = nil
	return watcher.Close()
}
