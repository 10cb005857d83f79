package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/berth-engine/berth/shim/wire"
)

// errLost says that a shim is gone.
var errLost = errors.New("the container's shim is gone")

// link is the conversation with a shim about one container. Replies find their request by number; what comes by itself goes to news.
type link struct {
	conn *wire.Conn
	shim *shim
	news func(m *wire.Message)
	gone chan struct{} // closed when the connection has ended
	// begun is closed once the shim was told of the container: what is sent before that is about nothing.
	begun chan struct{}

	mu      sync.Mutex // guards what follows
	next    uint64
	pending map[uint64]chan *wire.Reply // nil: ended
}

// newLink begins the conversation. news is called from one goroutine, in order, and may not call back.
func newLink(conn *wire.Conn, s *shim, news func(m *wire.Message)) *link {
	l := &link{conn: conn, shim: s, news: news, gone: make(chan struct{}), begun: make(chan struct{}), pending: map[uint64]chan *wire.Reply{}}
	return l
}

// listen receives until the connection ends, then calls lost.
func (l *link) listen(lost func()) {
	for {
		m, files, err := l.conn.Receive()
		if err != nil {
			break
		}
		for _, f := range files {
			f.Close() // shims send none
		}
		if m.Reply == nil {
			l.news(m)
			continue
		}
		l.mu.Lock()
		answer := l.pending[m.Seq]
		delete(l.pending, m.Seq)
		l.mu.Unlock()
		if answer != nil {
			answer <- m.Reply
		}
	}
	l.conn.Close()
	l.mu.Lock()
	pending := l.pending
	l.pending = nil
	l.mu.Unlock()
	for _, answer := range pending {
		close(answer)
	}
	lost()
	close(l.gone)
}

// call asks and waits for the answer. The files stay the caller's. errLost: the shim is gone.
func (l *link) call(ctx context.Context, m *wire.Message, files ...*os.File) (*wire.Reply, error) {
	answer := make(chan *wire.Reply, 1)
	l.mu.Lock()
	if l.pending == nil {
		l.mu.Unlock()
		return nil, errLost
	}
	l.next++
	m.Seq = l.next
	l.pending[m.Seq] = answer
	l.mu.Unlock()
	err := l.conn.Send(m, files...)
	if m.Start != nil {
		close(l.begun)
	}
	if err != nil {
		l.forget(m.Seq)
		return nil, fmt.Errorf("%w: %w", errLost, err)
	}
	select {
	case reply, ok := <-answer:
		if !ok {
			return nil, errLost
		}
		return reply, nil
	case <-ctx.Done():
		l.forget(m.Seq)
		return nil, ctx.Err()
	}
}

func (l *link) forget(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, seq)
}
