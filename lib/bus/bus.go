// Package bus hands values from publishers to whoever subscribed at that moment.
//
// A publisher never waits: each subscriber has a bounded queue, and one that does not keep up loses its oldest values,
// which are counted. Order is that of the calls of Publish.
package bus

import (
	"sync"
	"sync/atomic"
)

// Bus is a publish and subscribe point. The zero value is not usable: see New.
type Bus[T any] struct {
	mu      sync.Mutex // guards subs and closed, and makes Publish the only sender on the queues
	subs    map[*subscriber[T]]struct{}
	closed  bool
	dropped atomic.Uint64
}

type subscriber[T any] struct{ queue chan T }

// New makes a bus without subscribers.
func New[T any]() *Bus[T] {
	return &Bus[T]{subs: map[*subscriber[T]]struct{}{}}
}

// Subscribe gives a channel that gets everything that is published from now on. It may lag behind by so many values
// before it loses the oldest. The channel is closed by cancel, which may be called more than once, and by Close.
func (b *Bus[T]) Subscribe(backlog int) (values <-chan T, cancel func()) {
	s := &subscriber[T]{queue: make(chan T, max(backlog, 1))}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		close(s.queue)
		return s.queue, func() {}
	}
	b.subs[s] = struct{}{}
	return s.queue, func() { b.cancel(s) }
}

func (b *Bus[T]) cancel(s *subscriber[T]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.subs[s]; ok {
		delete(b.subs, s)
		close(s.queue)
	}
}

// Publish hands a value to every subscriber and never blocks. After Close it does nothing.
func (b *Bus[T]) Publish(value T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subs {
		for !offer(s.queue, value) {
			// The queue is full: its oldest value makes room, unless the subscriber took one meanwhile.
			select {
			case <-s.queue:
				b.dropped.Add(1)
			default:
			}
		}
	}
}

func offer[T any](queue chan<- T, value T) bool {
	select {
	case queue <- value:
		return true
	default:
		return false
	}
}

// Close ends all subscriptions: what is queued can still be read, then the channels end.
func (b *Bus[T]) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for s := range b.subs {
		delete(b.subs, s)
		close(s.queue)
	}
}

// Subscribers is how many listen right now.
func (b *Bus[T]) Subscribers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

// Dropped is how many values subscribers lost because they were too slow, since the bus was made.
func (b *Bus[T]) Dropped() uint64 { return b.dropped.Load() }
