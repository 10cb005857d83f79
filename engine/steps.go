package engine

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/berth-engine/berth/lib/failpoint"
)

// step is a rung of a ladder: something that is done, and how it is undone. Every undo is harmless when its do did
// nothing or only half: that is what lets restore run all undos of a container whose daemon died in between, without
// a record of how far it had come (docs/decisions/0003).
type step struct {
	name string
	do   func(ctx context.Context) error
	undo func(ctx context.Context) error
}

// undoTimeout bounds the way down: a step that can't be undone in this time is left for restore.
const undoTimeout = 30 * time.Second

// ladder is a verb made of steps.
type ladder struct {
	name  string
	log   *slog.Logger
	undos []step
}

// undo puts something under the ladder that is undone last.
func (l *ladder) undo(name string, undo func(ctx context.Context) error) {
	l.undos = append(l.undos, step{name: name, undo: undo})
}

// climb does the steps in order. When one fails, it and those before it are undone in reverse and its error is given.
func (l *ladder) climb(ctx context.Context, steps []step) error {
	for _, s := range steps {
		l.undos = append(l.undos, s)
		began := time.Now()
		err := failpoint.Hit(l.name + ":before-" + s.name)
		if err == nil {
			err = s.do(ctx)
		}
		l.log.Debug(l.name, "step", s.name, "took", time.Since(began))
		if err != nil {
			l.down(ctx)
			return err
		}
	}
	if err := failpoint.Hit(l.name + ":done"); err != nil {
		l.down(ctx)
		return err
	}
	return nil
}

// down undoes what was done. It works on when the caller has gone away.
func (l *ladder) down(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	for i := len(l.undos) - 1; i >= 0; i-- {
		s := l.undos[i]
		if s.undo == nil {
			continue
		}
		if err := s.undo(ctx); err != nil {
			l.log.Error(fmt.Sprintf("undo %s of %s", s.name, l.name), "error", err)
		}
	}
	l.undos = nil
}
