package engine

import (
	"context"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

// retry is what the restart policy remembers of a container. Guarded by the box's mu.
type retry struct {
	delay     time.Duration // before the next try
	startedAt time.Time
	cancel    context.CancelFunc // of the try that is scheduled; nil without
}

// Docker's back-off: 100 ms, doubled up to a minute, forgotten once a container ran for ten seconds.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = time.Minute
	goodRun    = 10 * time.Second
)

func (r *retry) reset() { r.delay = 0 }

// nextTry asks the policy whether a container that ended runs again, and when.
func (l *Lifecycle) nextTry(b *box, c *core.Container, status core.ExitStatus) (bool, time.Duration) {
	if !define.RestartWanted(c, status) {
		return false, 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch r := &b.retry; {
	case time.Since(r.startedAt) >= goodRun || r.delay == 0:
		r.delay = firstDelay
	default:
		r.delay = min(2*r.delay, maxDelay)
	}
	return true, b.retry.delay
}

// scheduleRestart starts the container again after the delay, unless a stop or a removal comes first.
func (l *Lifecycle) scheduleRestart(b *box, delay time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	b.mu.Lock()
	if b.retry.cancel != nil {
		b.retry.cancel()
	}
	b.retry.cancel = cancel
	b.mu.Unlock()
	timer := time.NewTimer(delay)
	go func() {
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if b.op.take(ctx) != nil {
			return
		}
		defer b.op.release()
		if ctx.Err() != nil || b.View().State.Status != core.StatusRestarting {
			return
		}
		if err := l.start(ctx, b); err != nil {
			l.retryFailed(b, err)
		}
	}()
}

// retryFailed asks the policy again after a start of its own that failed.
func (l *Lifecycle) retryFailed(b *box, cause error) {
	c := b.View()
	l.log.Warn("restart a container", "container", c.ID, "error", cause)
	again, delay := l.nextTry(b, c, core.ExitStatus{Code: c.State.ExitCode})
	if !again || b.gone {
		return
	}
	next := b.Change(func(c *core.Container) {
		move(c, core.StatusRestarting)
		c.RestartCount++
	})
	l.save(context.Background(), next, false)
	l.scheduleRestart(b, delay)
}

// cancelRestart takes back a scheduled try; a container that waited for it is exited afterwards.
func (l *Lifecycle) cancelRestart(b *box) {
	b.mu.Lock()
	if b.retry.cancel != nil {
		b.retry.cancel()
		b.retry.cancel = nil
	}
	waiting := b.c.State.Status == core.StatusRestarting
	b.mu.Unlock()
	if waiting {
		c := b.Change(func(c *core.Container) {
			if c.State.Status == core.StatusRestarting {
				move(c, core.StatusExited)
			}
		})
		l.save(context.Background(), c, false)
	}
}
