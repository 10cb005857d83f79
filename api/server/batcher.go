package server

import "io"

// batchSize is how many bytes go to a client in one write, and about what a client that is slow keeps waiting: one
// batch is on its way, one waits, one is being filled. Then the source has to wait too.
const batchSize = 256 << 10

// batcher sends large pieces while the next one is being made. One goroutine calls write and close; a second one, its
// own, sends.
type batcher struct {
	out    io.Writer
	flush  func()
	full   chan []byte
	empty  chan []byte   // what was sent and can be filled again
	failed chan struct{} // closed when the client can't be reached any more
	done   chan struct{} // closed when the sender has ended
	err    error         // of the client; set before failed is closed
}

// newBatcher starts the sender. close ends it.
func newBatcher(out io.Writer, flush func()) *batcher {
	b := &batcher{out: out, flush: flush, full: make(chan []byte, 1), empty: make(chan []byte, 2), failed: make(chan struct{}), done: make(chan struct{})}
	go b.send()
	return b
}

// write takes a piece over and gives an empty one back. It fails once the client can't be reached.
func (b *batcher) write(piece []byte) ([]byte, error) {
	select {
	case b.full <- piece:
	case <-b.failed:
		return nil, b.err
	}
	select {
	case next := <-b.empty:
		return next[:0], nil
	default:
		return make([]byte, 0, batchSize+batchSize/8), nil
	}
}

// close waits until all is sent and gives the error of the client, if any. write must not be called after it.
func (b *batcher) close() error {
	close(b.full)
	<-b.done
	return b.err
}

func (b *batcher) send() {
	defer close(b.done)
	for piece := range b.full {
		if _, err := b.out.Write(piece); err != nil {
			b.err = err
			close(b.failed)
			return
		}
		b.flush()
		select {
		case b.empty <- piece:
		default:
		}
	}
}
