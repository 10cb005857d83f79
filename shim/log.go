//go:build cgo

package shim

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/berth-engine/berth/core/logopt"
	"github.com/berth-engine/berth/lib/jsonlog"
	"github.com/berth-engine/berth/shim/forward"
)

// sink is where lines are logged: a file, a server, or both.
type sink interface {
	// Append logs a line, or a part of a longer one, which has no line feed at its end.
	Append(stderr bool, at time.Time, line []byte) error
	// Flush brings what was appended to where readers see it.
	Flush() error
	Close() error
}

// openLog makes what the plan says ready. A server that must be there and is not is an error.
func openLog(plan *logopt.Plan, logger *slog.Logger) (sink, error) {
	var file *jsonlog.Writer
	if f := plan.File; f != nil {
		var err error
		file, err = jsonlog.Open(f.Path, jsonlog.Options{MaxSize: f.MaxSize, MaxFiles: f.MaxFiles, Compress: f.Compress, Attrs: f.Attrs})
		if err != nil {
			return nil, err
		}
		if plan.Remote == nil && plan.Buffer == 0 {
			return file, nil
		}
	}
	way, err := forward.New(context.Background(), plan, file, logger)
	if err != nil {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		return nil, err
	}
	switch {
	case file == nil:
		return way, nil
	case plan.Remote == nil:
		return buffered{way, file}, nil
	}
	return copied{way, file}, nil
}

// buffered is a file with a buffer in front.
type buffered struct {
	*forward.Forwarder
	file *jsonlog.Writer
}

func (b buffered) Close() error { return errors.Join(b.Forwarder.Close(), b.file.Close()) }

// copied is a server, with a copy of what it gets in a file that can be read back.
type copied struct {
	server *forward.Forwarder
	file   *jsonlog.Writer
}

func (c copied) Append(stderr bool, at time.Time, line []byte) error {
	return errors.Join(c.file.Append(stderr, at, line), c.server.Append(stderr, at, line))
}

func (c copied) Behind() bool { return c.server.Behind() }

func (c copied) Flush() error { return c.file.Flush() }

func (c copied) Close() error { return errors.Join(c.server.Close(), c.file.Close()) }
