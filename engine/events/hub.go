// Package events hands what happens to those who listen, and to a journal on the disk that survives the daemon.
package events

import (
	"context"
	"sync"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/filter"
	"github.com/berth-engine/berth/lib/bus"
)

// Journal keeps events on the disk.
type Journal interface {
	// Append keeps an event; it does not block on the disk.
	Append(event core.Event)
	// Since lists the kept events from a moment on, oldest first.
	Since(moment time.Time) ([]core.Event, error)
}

// Hub is where everything that happens is told.
type Hub struct {
	mu      sync.Mutex // keeps the order of the journal that of the bus
	bus     *bus.Bus[core.Event]
	journal Journal
}

// listenerBacklog is how many events a listener may lag behind before it loses the oldest.
const listenerBacklog = 4096

// NewHub makes a hub on a journal.
func NewHub(journal Journal) *Hub {
	return &Hub{bus: bus.New[core.Event](), journal: journal}
}

// Publish stamps an event that has no time yet, keeps it and hands it on.
func (e *Hub) Publish(event core.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if event.Time.IsZero() {
		event.Time = time.Now()
	}
	e.journal.Append(event)
	e.bus.Publish(event)
}

// Follow replays what the journal has since the given moment and goes on with what happens, until the given moment
// or for ever. Without since there is no replay.
func (e *Hub) Follow(ctx context.Context, since, until time.Time, filters core.Filters) (<-chan core.Event, error) {
	out := make(chan core.Event)
	live, cancel := e.bus.Subscribe(listenerBacklog)
	var past []core.Event
	if !since.IsZero() {
		var err error
		if past, err = e.journal.Since(since); err != nil {
			cancel()
			return nil, err
		}
	}
	go func() {
		defer close(out)
		defer cancel()
		var last time.Time
		for _, event := range past {
			last = event.Time
			if !until.IsZero() && event.Time.After(until) {
				return
			}
			if !filter.Event(event, filters) {
				continue
			}
			select {
			case out <- event:
			case <-ctx.Done():
				return
			}
		}
		var deadline <-chan time.Time
		if !until.IsZero() {
			timer := time.NewTimer(time.Until(until))
			defer timer.Stop()
			deadline = timer.C
		}
		for {
			select {
			case event, open := <-live:
				if !open {
					return
				}
				// What was published between Subscribe and Since is in both.
				if !event.Time.After(last) || !filter.Event(event, filters) {
					continue
				}
				select {
				case out <- event:
				case <-ctx.Done():
					return
				}
			case <-deadline:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// Listeners counts those who follow.
func (e *Hub) Listeners() int { return e.bus.Subscribers() }
