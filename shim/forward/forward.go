// Package forward sends what a container writes to a log server: syslog, GELF, Fluentd or the systemd journal. It also
// stands between a container and a slow log file (mode=non-blocking).
//
// A Forwarder has a buffer and a goroutine that empties it: forward.go. What a protocol looks like on the wire is in the
// file of its name, connections are in link.go. A server that goes away is connected to again, with growing pauses;
// what waits in the buffer, and what was not sent when the connection broke, is sent then.
package forward

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/berth-engine/berth/core/logopt"
	"github.com/berth-engine/berth/lib/id"
)

// record is a line, or a part of one that was longer than 16 KiB.
type record struct {
	stderr bool
	at     time.Time
	line   []byte // without its line feed
	feed   bool   // it had one
	part   part
}

// part is the place of a record in a long line; id empty: it is a line of its own.
type part struct {
	id      string
	ordinal int // from 1
	last    bool
}

// driver is one way to log.
type driver interface {
	// encode appends a record in the form that links send. Nothing appended: the record is not logged.
	encode(buffer []byte, r *record) []byte
	// dial connects.
	dial(ctx context.Context) (link, error)
}

// link is a connection to a server.
type link interface {
	// send sends the records that end at ends of data, and says how many of them need not be sent again.
	send(data []byte, ends []int) (int, error)
	Close() error
}

// rules say what happens when logging is slower than the container.
type rules struct {
	limit    int  // bytes that wait at most
	records  int  // records that wait at most; 0: any number
	drop     bool // what does not fit is dropped; else the container waits
	dropAway bool // the same, but only while there is no connection
	lazy     bool // the first connection may be made later
	retries  int  // attempts in a row that may fail before what waits is given up; negative: any number
	pause    func(attempt int) time.Duration
}

// usual is how much waits for a server in mode=blocking.
const usual = 1 << 20

// dialTime bounds one attempt to connect, drainTime the end: how long what waits may take to be sent.
const (
	dialTime  = 10 * time.Second
	drainTime = 5 * time.Second
)

// Forwarder logs records. Append may be called by several goroutines.
type Forwarder struct {
	driver driver
	rules  rules
	logger *slog.Logger
	parts  [2]part // of the long lines that stdout and stderr are in; used under mu

	ctx    context.Context // ends when nothing more can be sent
	cancel context.CancelFunc
	wake   chan struct{} // one word: something waits, or the end has come
	done   chan struct{} // closed when the sender has ended

	mu      sync.Mutex // guards what follows
	room    *sync.Cond // more can be taken, or never again
	waiting batch
	flying  int  // bytes that the sender has taken out and not sent
	away    bool // there is no connection
	closing bool
	dropped int
	blocked int  // records that wait for room
	link    link // the sender's; here for the end to break it
}

// batch is a row of encoded records.
type batch struct {
	data []byte
	ends []int
}

// New connects to the server of the plan, or readies the buffer before file.
func New(ctx context.Context, plan *logopt.Plan, file File, logger *slog.Logger) (*Forwarder, error) {
	d, r := choose(plan, file)
	f := &Forwarder{driver: d, rules: r, logger: logger, wake: make(chan struct{}, 1), done: make(chan struct{})}
	f.room = sync.NewCond(&f.mu)
	if plan.Buffer > 0 {
		f.rules.limit, f.rules.drop = int(plan.Buffer), true
	}
	if !f.rules.lazy {
		dial, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		var err error
		if f.link, err = d.dial(dial); err != nil {
			return nil, err
		}
	}
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go f.run()
	return f, nil
}

// choose gives the driver of the plan with its rules.
func choose(plan *logopt.Plan, file File) (driver, rules) {
	r := rules{limit: usual, dropAway: true, retries: -1, pause: growing(100*time.Millisecond, 5*time.Second)}
	switch remote := plan.Remote; {
	case remote == nil:
		return fileDriver{file}, r
	case remote.Syslog != nil:
		return newSyslog(remote.Syslog, remote.Tunnel), r
	case remote.GELF != nil:
		r.retries = remote.GELF.MaxReconnect
		if delay := remote.GELF.ReconnectDelay; delay > 0 {
			r.pause = func(int) time.Duration { return delay }
		}
		return newGELF(remote.GELF), r
	case remote.Fluentd != nil:
		s := remote.Fluentd
		r.retries, r.pause = s.MaxRetries, growing(s.RetryWait, time.Minute)
		r.dropAway = false // Docker's driver makes the container wait
		if s.Async {
			// The number of entries is the option's, and the bytes are within reason.
			r.lazy, r.drop, r.records, r.limit = true, true, s.BufferLimit, 64<<20
		}
		return newFluentd(s, remote.Tunnel), r
	default:
		return newJournald(remote.Journald), r
	}
}

// growing doubles a pause from attempt to attempt.
func growing(first, most time.Duration) func(int) time.Duration {
	return func(attempt int) time.Duration {
		pause := first
		for ; attempt > 1 && pause < most; attempt-- {
			pause *= 2
		}
		return min(pause, most)
	}
}

// Append takes a record: a line with its line feed, or a part of a longer one without. It waits or drops as the rules
// say. os.ErrClosed: Close was called.
func (f *Forwarder) Append(stderr bool, at time.Time, line []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := record{stderr: stderr, at: at, line: line, part: f.place(stderr, line)}
	if n := len(line); n > 0 && line[n-1] == '\n' {
		r.line, r.feed = line[:n-1], true
	}
	for f.full(len(line)) {
		switch {
		case f.closing:
			return os.ErrClosed
		case f.rules.drop || f.rules.dropAway && f.away:
			f.dropped++
			return nil
		}
		f.blocked++
		f.room.Wait()
		f.blocked--
	}
	if f.closing {
		return os.ErrClosed
	}
	before := len(f.waiting.data)
	if f.waiting.data = f.driver.encode(f.waiting.data, &r); len(f.waiting.data) > before {
		f.waiting.ends = append(f.waiting.ends, len(f.waiting.data))
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return nil
}

// full reports whether so many more bytes must wait. One record always fits into an empty buffer.
func (f *Forwarder) full(more int) bool {
	held := len(f.waiting.data) + f.flying
	return held > 0 && held+more > f.rules.limit || f.rules.records > 0 && len(f.waiting.ends) >= f.rules.records
}

// longest is the length of the parts of a long line: what is shorter and has no line feed is the end of the output.
const longest = 16 << 10

// place says which part of a long line this is.
func (f *Forwarder) place(stderr bool, line []byte) part {
	p := &f.parts[0]
	if stderr {
		p = &f.parts[1]
	}
	whole := len(line) < longest || line[len(line)-1] == '\n'
	if p.id == "" && whole {
		return part{}
	}
	if p.id == "" {
		p.id = id.New()
	}
	p.ordinal++
	now := *p
	if now.last = whole; whole {
		*p = part{}
	}
	return now
}

// Behind reports whether output waits because the server is slow.
func (f *Forwarder) Behind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blocked > 0
}

// Flush does nothing: a Forwarder holds nothing back.
func (f *Forwarder) Flush() error { return nil }

// Close sends what waits, for a while, and lets go of the server. Closing twice is harmless.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	f.closing = true
	f.room.Broadcast()
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	timer := time.AfterFunc(drainTime, func() {
		f.cancel()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.link != nil {
			f.link.Close() // ends a send that does not get on
		}
	})
	<-f.done
	timer.Stop()
	f.cancel()
	return nil
}

// run sends until the end.
func (f *Forwarder) run() {
	defer close(f.done)
	var spare batch
	for {
		taken, over := f.take(spare)
		spare = batch{taken.data[:0], taken.ends[:0]} // the two change places, also when nothing waits
		if cap(spare.data) > usual/4 {
			spare = batch{} // a burst should not weigh for ever
		}
		if len(taken.ends) > 0 {
			f.deliver(taken)
			continue
		}
		if over {
			f.setLink(nil)
			return
		}
		<-f.wake
	}
}

// take gives what waits.
func (f *Forwarder) take(spare batch) (taken batch, over bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken, f.waiting = f.waiting, spare
	f.flying = len(taken.data)
	if f.dropped > 0 && !f.away {
		f.logger.Warn("records of the container did not fit into the log's buffer", "dropped", f.dropped)
		f.dropped = 0
	}
	return taken, f.closing
}

// sent counts bytes that do not fly any more.
func (f *Forwarder) sent(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flying -= n
	f.room.Broadcast()
}

// setLink changes the connection, and closes the one before.
func (f *Forwarder) setLink(l link) {
	f.mu.Lock()
	old := f.link
	f.link, f.away = l, l == nil
	f.room.Broadcast()
	f.mu.Unlock()
	if old != nil {
		old.Close() // what could be sent over it was
	}
}

// deliver sends a batch, connecting again as often as it takes and the rules allow.
func (f *Forwarder) deliver(b batch) {
	begin, failed := 0, 0 // of the data that is not sent; attempts in a row
	for len(b.ends) > 0 {
		n, err := f.attempt(b.data[begin:], b.ends, begin)
		if n > 0 {
			f.sent(b.ends[n-1] - begin)
			begin, b.ends, failed = b.ends[n-1], b.ends[n:], 0
		}
		if err == nil {
			continue
		}
		f.setLink(nil)
		if errors.Is(err, errTired) {
			continue
		}
		if failed == 0 {
			f.logger.Warn("the log server can't be reached", "error", err)
		}
		failed++
		if f.ctx.Err() != nil || f.rules.retries >= 0 && failed > f.rules.retries+1 {
			f.logger.Error("records of the container are given up", "records", len(b.ends), "error", err)
			f.sent(len(b.data) - begin)
			return
		}
		if failed > 1 { // at once the first time: the server may have been started anew
			f.wait(f.rules.pause(failed - 1))
		}
	}
}

// attempt sends over the connection that there is, or a new one.
func (f *Forwarder) attempt(data []byte, ends []int, begin int) (int, error) {
	f.mu.Lock()
	l := f.link
	f.mu.Unlock()
	if l == nil {
		ctx, cancel := context.WithTimeout(f.ctx, dialTime)
		defer cancel()
		var err error
		if l, err = f.driver.dial(ctx); err != nil {
			return 0, err
		}
		f.setLink(l)
		if f.ctx.Err() != nil {
			return 0, errors.New("the container has ended")
		}
	}
	if begin > 0 {
		moved := make([]int, len(ends))
		for i, end := range ends {
			moved[i] = end - begin
		}
		ends = moved
	}
	return l.send(data, ends)
}

// wait pauses, until the end at most.
func (f *Forwarder) wait(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.ctx.Done():
	}
}
