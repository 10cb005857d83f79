//go:build cgo

package shim

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-engine/berth/shim/wire"
)

// Sizes of the ways through which output goes.
const (
	frameHeader = 8         // Docker's header before a piece of output
	firstRead   = 4 << 10   // of one read from a pipe, at first: most processes say little
	rushSize    = 128 << 10 // the most, once output has filled what there was
	inputSize   = 64 << 10  // of one read from a client
	longestLine = 16 << 10  // a longer line is logged in parts, as Docker does
)

// slowLog is how much longer than the process output may take that a log server is slow to take.
const slowLog = 5 * time.Second

// lingering is how long a client may take to read the last output and hang up.
const lingering = 10 * time.Second

// streams are the standard streams of one process: where its output goes and where its input comes from. It owns
// the log and the clients' connections.
type streams struct {
	terminal  bool
	stdinOnce bool
	log       sink // nil: none
	tell      func(number uint64)
	logger    *slog.Logger

	// clients is replaced as a whole, under mu, so that the pumps read it without a lock.
	clients atomic.Pointer[[]*client]
	pumps   sync.WaitGroup

	mu    sync.Mutex // guards stdin, over and the replacing of clients
	stdin *os.File   // nil: closed, or never open
	over  bool       // the output is at its end
}

// client is an attached connection.
type client struct {
	wire.Attach
	conn net.Conn
	mu   sync.Mutex // keeps frames of stdout and stderr apart
	gone atomic.Bool
}

// pump moves one output to the log and to the clients until its end. A client that does not read stops the pump, and
// with it in the end the container, as with Docker: nothing is lost.
func (s *streams) pump(from io.ReadCloser, stderr bool) {
	defer s.pumps.Done()
	defer from.Close()
	buffer := make([]byte, frameHeader+firstRead)
	lines := lineLog{streams: s, stderr: stderr}
	var pace pace
	for {
		n, err := from.Read(buffer[frameHeader:])
		if n > 0 {
			data := buffer[frameHeader : frameHeader+n]
			if s.log != nil {
				lines.write(data, frameHeader+n < len(buffer))
			}
			clients := s.attached()
			for _, c := range clients {
				c.send(s, buffer[:frameHeader+n], stderr)
			}
			if len(clients) > 0 {
				pace.keep(n)
			}
			if full := len(buffer) - frameHeader; n == full && full < rushSize {
				buffer = make([]byte, frameHeader+min(8*full, rushSize))
			}
		}
		if err != nil {
			break // end of the pipe, or EIO of a terminal without a process
		}
	}
	if s.log != nil {
		lines.end()
	}
}

// pace gathers output that comes in a stream of small pieces. To wake up for each of them, and then the client, costs
// more than all else that is done with it; so once a stream is recognized its pieces are let come together in the pipe
// for a moment. What comes alone, or begins a stream, is never held up.
type pace struct {
	last   time.Time
	streak int // pieces that came close upon each other
	busy   int // pieces that are still not waited for: the machine has enough to do, and they gather by themselves
	timer  *time.Timer
}

const (
	paceClose  = 2 * time.Millisecond   // pieces with less between them are a stream
	paceStreak = 16                     // so many make one
	paceRest   = 300 * time.Microsecond // what they gather for
	paceBusy   = 100                    // pieces for which a rest that took far too long is the last one
	paceEnough = 32 << 10               // a piece of this size is worth a wakeup
)

// keep is called behind each piece, with its size.
func (p *pace) keep(size int) {
	now := time.Now()
	if now.Sub(p.last) > paceClose {
		p.streak = 0
	}
	p.last = now
	if p.streak++; p.streak < paceStreak || size >= paceEnough {
		return
	}
	if p.busy > 0 {
		p.busy--
		return
	}
	if p.timer == nil {
		p.timer = time.NewTimer(paceRest)
	} else {
		p.timer.Reset(paceRest)
	}
	<-p.timer.C
	p.last = time.Now()
	if p.last.Sub(now) > 5*paceRest {
		p.busy = paceBusy
	}
}

func (s *streams) attached() []*client {
	if list := s.clients.Load(); list != nil {
		return *list
	}
	return nil
}

// send writes one piece of output to a client; a client that can't be written to is dropped.
func (c *client) send(s *streams, frame []byte, stderr bool) {
	if stderr && !c.Stderr || !stderr && !c.Stdout {
		return
	}
	c.mu.Lock()
	out := frame[frameHeader:]
	if c.Framed {
		n := len(out)
		frame[0], frame[1], frame[2], frame[3] = 1, 0, 0, 0
		if stderr {
			frame[0] = 2
		}
		frame[4], frame[5], frame[6], frame[7] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		out = frame
	}
	_, err := c.conn.Write(out)
	c.mu.Unlock()
	if err != nil {
		s.drop(c)
	}
}

// lineLog cuts output into the lines of a log. A line that arrives whole is appended where it lies.
type lineLog struct {
	streams *streams
	stderr  bool
	part    []byte // the beginning of a line whose end has not come yet
	failed  bool
}

// write logs what is complete; with drained nothing more is waiting, so that readers should see it now.
func (l *lineLog) write(data []byte, drained bool) {
	now := time.Now()
	for len(data) > 0 {
		room := longestLine - len(l.part)
		end := bytes.IndexByte(data[:min(room, len(data))], '\n') + 1
		switch {
		case end == 0 && len(data) < room:
			l.part = append(l.part, data...)
			end = len(data)
		case end == 0:
			end = room
			l.append(now, data[:end])
		default:
			l.append(now, data[:end])
		}
		data = data[end:]
	}
	if drained {
		l.check(l.streams.log.Flush())
	}
}

func (l *lineLog) append(now time.Time, line []byte) {
	if len(l.part) > 0 {
		l.part = append(l.part, line...)
		line = l.part
	}
	l.check(l.streams.log.Append(l.stderr, now, line))
	l.part = l.part[:0]
}

func (l *lineLog) end() {
	if len(l.part) > 0 {
		l.append(time.Now(), nil)
	}
	l.check(l.streams.log.Flush())
}

// check reports a log that can't be written, once; the container goes on, and so do the clients.
func (l *lineLog) check(err error) {
	if err != nil && !l.failed {
		l.streams.logger.Error("container log", "error", err)
	}
	l.failed = err != nil
}

// attach connects a client, which belongs to streams from then on.
func (s *streams) attach(a wire.Attach, conn net.Conn) {
	c := &client{Attach: a, conn: conn}
	s.mu.Lock()
	over := s.over
	if !over {
		list := append([]*client{c}, s.attached()...)
		s.clients.Store(&list)
	}
	stdin := s.stdin
	s.mu.Unlock()
	if over {
		s.finish(c)
		return
	}
	if a.Stdin && stdin != nil {
		go s.input(c, stdin)
	}
}

// input moves a client's input to the process. What its end means is Docker's rule: where stdin belongs to one client
// only it closes the process's stdin, else it ends the attachment.
func (s *streams) input(c *client, stdin *os.File) {
	keys := detachKeys{sequence: c.DetachKeys}
	if !s.terminal {
		keys.sequence = nil
	}
	from := io.Reader(c.conn)
	if len(c.Early) > 0 {
		from = io.MultiReader(bytes.NewReader(c.Early), c.conn)
	}
	buffer := make([]byte, inputSize)
	closed := false // the process reads no more
	for {
		n, err := from.Read(buffer)
		data, detach := keys.filter(buffer[:n])
		if len(data) > 0 && !closed {
			_, werr := stdin.Write(data)
			closed = werr != nil
		}
		if detach {
			s.drop(c)
			return
		}
		if err != nil {
			break
		}
	}
	if s.stdinOnce && !s.terminal {
		s.closeStdin()
		return
	}
	s.drop(c)
}

func (s *streams) closeStdin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin != nil && !s.terminal {
		s.stdin.Close()
	}
	s.stdin = nil
}

// remove takes a client out; false: it was not there any more.
func (s *streams) remove(c *client) bool {
	if c.gone.Swap(true) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*client
	for _, other := range s.attached() {
		if other != c {
			list = append(list, other)
		}
	}
	s.clients.Store(&list)
	return true
}

// drop ends an attachment at once.
func (s *streams) drop(c *client) {
	if s.remove(c) {
		c.conn.Close()
		s.tell(c.Number)
	}
}

// finish ends an attachment whose output is complete: the client reads the end and hangs up. Its connection is read
// until then, since closing a TCP connection with unread input would destroy output on its way.
func (s *streams) finish(c *client) {
	if !s.remove(c) {
		return
	}
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		go func() {
			defer c.conn.Close()
			if c.conn.SetReadDeadline(time.Now().Add(lingering)) == nil {
				// However it ends, the connection is closed.
				_, _ = io.Copy(io.Discard, c.conn)
			}
		}()
	} else {
		c.conn.Close()
	}
	s.tell(c.Number)
}

// release lets go of the clients of a process that did not start: the daemon, which has their connections too, tells
// them why. So nothing is said on them, and they are not shut down.
func (s *streams) release() {
	for _, c := range s.attached() {
		if s.remove(c) {
			c.conn.Close()
		}
	}
}

// wait returns when the output is at its end, or at the deadline: a process in the background may hold the pipe.
func (s *streams) wait(deadline time.Duration) {
	done := make(chan struct{})
	go func() {
		s.pumps.Wait()
		close(done)
	}()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case <-done:
		return
	case <-timer.C:
	}
	// Output that waits for a slow log server is the process's own, and gets some time more.
	if slow, ok := s.log.(interface{ Behind() bool }); ok && slow.Behind() {
		timer.Reset(slowLog)
		select {
		case <-done:
		case <-timer.C:
		}
	}
}

// close ends everything: input, clients, log. Output that comes later is not seen.
func (s *streams) close() error {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.closeStdin()
	for _, c := range s.attached() {
		s.finish(c)
	}
	if s.log != nil {
		if err := s.log.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
	}
	return nil
}

// detachKeys finds the sequence of keys that ends an attachment. Keys that may begin it are held back until the next
// one decides.
type detachKeys struct {
	sequence []byte
	matched  int
}

// filter gives what goes on to the process, and whether the sequence is complete.
func (k *detachKeys) filter(data []byte) (out []byte, detach bool) {
	if len(k.sequence) == 0 {
		return data, false
	}
	out = make([]byte, 0, len(data)+k.matched)
	for _, b := range data {
		if b != k.sequence[k.matched] && k.matched > 0 {
			out = append(out, k.sequence[:k.matched]...)
			k.matched = 0
		}
		if b != k.sequence[k.matched] {
			out = append(out, b)
			continue
		}
		if k.matched++; k.matched == len(k.sequence) {
			return out, true
		}
	}
	return out, false
}
