package engine

import (
	"context"
	"slices"

	"github.com/berth-engine/berth/core"
)

// waiter is somebody who waits for an end of the process, or for the removal of the container.
type waiter struct {
	removal bool
	result  chan core.WaitResult // of capacity one: telling never blocks
}

// The two things that can be waited for.
const (
	waitExit    = false
	waitRemoval = true
)

// Wait registers a waiter and returns at once. Conditions: "not-running" (at once for one that does not run),
// "next-exit", "removed". A container with --rm may be gone before its client asks, since a short one takes a few
// milliseconds here: who asks for one that removed itself a moment ago is told how it ended.
func (l *Lifecycle) Wait(ctx context.Context, ref, condition string) (<-chan core.WaitResult, error) {
	switch condition {
	case "", "not-running", "next-exit", "removed":
	default:
		return nil, core.Invalid("invalid condition: %q", condition)
	}
	b, err := l.table.find(ref)
	if code, found := l.table.recall(ref); err != nil && found {
		told := make(chan core.WaitResult, 1)
		told <- core.WaitResult{Code: code}
		return told, nil
	}
	if err != nil {
		return nil, err
	}
	w := waiter{removal: condition == "removed", result: make(chan core.WaitResult, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.gone:
		w.result <- core.WaitResult{Code: b.c.State.ExitCode}
	case (condition == "" || condition == "not-running") && !b.c.State.Running() && b.c.State.Status != core.StatusRestarting:
		w.result <- core.WaitResult{Code: b.c.State.ExitCode}
	default:
		b.waiters = append(b.waiters, w)
		context.AfterFunc(ctx, func() { b.forget(w) })
	}
	return w.result, nil
}

// forget takes a waiter out who waits no more.
func (b *box) forget(gone waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiters = slices.DeleteFunc(b.waiters, func(w waiter) bool { return w.result == gone.result })
}

// notify tells those who wait for an exit, or for the removal (which ends every wait).
func (l *Lifecycle) notify(b *box, result core.WaitResult, removal bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.waiters[:0]
	for _, w := range b.waiters {
		if w.removal && !removal {
			kept = append(kept, w)
			continue
		}
		w.result <- result
	}
	b.waiters = kept
}
