package server

import (
	"io"
	"sync"
)

// batchLimit is how many bytes may wait for a slow client before the source has to wait too.
const batchLimit = 256 << 10

// batcher writes what comes in small pieces in as few large ones as possible without ever holding back: while one
// batch is on its way to the client the next one gathers. One goroutine calls write and close; a second one, its
// own, sends.
type batcher struct {
	out   io.Writer
	flush func()

	mu      sync.Mutex // guards the fields below
	changed *sync.Cond // something to send, room to write, or the end
	pending []byte
	spare   []byte // the buffer that was sent last
	closed  bool
	err     error // of the client: nothing more can be sent
	done    chan struct{}
}

// newBatcher starts the sender. close ends it.
func newBatcher(out io.Writer, flush func()) *batcher {
	b := &batcher{out: out, flush: flush, done: make(chan struct{})}
	b.changed = sync.NewCond(&b.mu)
	go b.send()
	return b
}

// write lets add append to what is waiting. It fails once the client can't be reached.
func (b *batcher) write(add func(buffer []byte) []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pending) > batchLimit && b.err == nil {
		b.changed.Wait()
	}
	if b.err != nil {
		return b.err
	}
	b.pending = add(b.pending)
	b.changed.Broadcast()
	return nil
}

// close waits until all is sent and gives the error of the client, if any. write must not be called after it.
func (b *batcher) close() error {
	b.mu.Lock()
	b.closed = true
	b.changed.Broadcast()
	b.mu.Unlock()
	<-b.done
	return b.err // the sender has ended: nobody else reads or writes it
}

func (b *batcher) send() {
	defer close(b.done)
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		for len(b.pending) == 0 && !b.closed {
			b.changed.Wait()
		}
		if len(b.pending) == 0 || b.err != nil {
			return
		}
		batch := b.pending
		b.pending, b.spare = b.spare[:0], nil
		b.mu.Unlock()
		_, err := b.out.Write(batch)
		if err == nil {
			b.flush()
		}
		b.mu.Lock()
		b.spare = batch
		if err != nil {
			b.err = err
		}
		b.changed.Broadcast()
	}
}
