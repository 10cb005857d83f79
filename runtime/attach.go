package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/cgroup"
	"github.com/berth-engine/berth/shim/wire"
)

// attachment is a client on its way to a shim, or there. The shim gets the client's socket itself, so that the client
// stays attached when the daemon goes; a connection that is more than a socket (TLS) is pumped.
type attachment struct {
	wire wire.Attach
	file *os.File      // what the shim gets
	conn net.Conn      // the client's; nil once it was handed over
	done chan struct{} // closed when the attachment is over

	once  sync.Once
	pumps sync.WaitGroup
}

// newAttachment takes over the connection of streams.
func (r *Runtime) newAttachment(streams core.Streams) (*attachment, error) {
	r.mu.Lock()
	r.last++
	number := r.last
	r.mu.Unlock()
	a := &attachment{
		wire: wire.Attach{
			Number: number, Stdin: streams.Stdin, Stdout: streams.Stdout, Stderr: streams.Stderr,
			Framed: streams.Framed, DetachKeys: streams.DetachKeys, Early: streams.Early,
		},
		conn: streams.Conn, done: make(chan struct{}),
	}
	var err error
	switch conn := streams.Conn.(type) {
	case *net.UnixConn:
		a.file, err = conn.File()
	case *net.TCPConn:
		a.file, err = conn.File()
	default:
		err = a.bridge()
	}
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	return a, nil
}

// bridge puts a pair of sockets between the client and the shim.
func (a *attachment) bridge() error {
	ours, theirs, err := wire.Pair()
	if err != nil {
		return err
	}
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return err
	}
	a.file = theirs
	client := a.conn
	a.pumps.Add(1)
	go func() {
		defer a.pumps.Done()
		defer client.Close()
		// What fails here is the client's end: there is nobody to tell.
		_, _ = io.Copy(client, conn)
		if half, ok := client.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	go func() {
		defer conn.Close()
		_, _ = io.Copy(conn, client)
		_ = conn.(*net.UnixConn).CloseWrite()
		a.pumps.Wait()
	}()
	a.conn = nil
	return nil
}

// handed is called when the shim has the client's socket: ours is not needed any more.
func (a *attachment) handed() {
	a.file.Close()
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// finish is called when the attachment is over.
func (a *attachment) finish() {
	a.once.Do(func() { close(a.done) })
}

// drop ends an attachment that never reached a shim.
func (a *attachment) drop() {
	a.handed()
	a.finish()
}

// Attach connects a client, or queues it until the start. Either has happened when it returns; done is closed when
// the attachment is over.
func (r *Runtime) Attach(ctx context.Context, id core.ContainerID, streams core.Streams) (done <-chan struct{}, err error) {
	a, err := r.newAttachment(streams)
	if err != nil {
		streams.Conn.Close()
		return nil, err
	}
	b := r.box(id, true)
	b.mu.Lock()
	l := b.link
	if l == nil {
		b.waiting = append(b.waiting, a)
	} else {
		b.attachments[a.wire.Number] = a
	}
	b.mu.Unlock()
	if l == nil {
		// A start comes within moments; this takes a wait off it.
		go cgroup.Warm()
	} else if err := r.attach(ctx, b, l, "", a); err != nil {
		return nil, err
	}
	return a.done, nil
}

// attach hands a client to the shim of a running container.
func (r *Runtime) attach(ctx context.Context, b *box, l *link, process core.ExecID, a *attachment) error {
	select {
	case <-l.begun:
	case <-l.gone:
	}
	reply, err := l.call(ctx, &wire.Message{Container: b.id, Process: process, Attach: &a.wire}, a.file)
	a.handed()
	if err == nil && reply.Error != "" {
		err = errorOf(reply)
	}
	if err != nil {
		b.mu.Lock()
		delete(b.attachments, a.wire.Number)
		b.mu.Unlock()
		if errors.Is(err, errLost) {
			err = core.NotRunning(b.id)
		}
	}
	return err
}

// dropWaiting ends the attachments of clients that wait for a start which can't come.
func (b *box) dropWaiting() {
	b.mu.Lock()
	waiting := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	for _, a := range waiting {
		a.drop()
	}
}

// dropAll ends the attachments of a start that failed.
func (b *box) dropAll() {
	b.mu.Lock()
	var list []*attachment
	for number, a := range b.attachments {
		list = append(list, a)
		delete(b.attachments, number)
	}
	b.mu.Unlock()
	for _, a := range list {
		a.finish()
	}
}

// Resize sets the size of a terminal.
func (r *Runtime) Resize(ctx context.Context, id core.ContainerID, exec core.ExecID, height, width uint) error {
	_, err := r.ask(ctx, id, &wire.Message{Process: exec, Resize: &wire.Resize{Height: height, Width: width}})
	return err
}
