package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/moby/term"

	"github.com/berth-engine/berth/core"
)

// Consoles look into running containers.
type Consoles struct {
	*ground
}

// Attach connects a client with the container's streams. One that has not started yet is connected when it starts.
// A client that has its answer may start the container at once: so the answer is given, and the client queued, while
// no start can come between.
func (s *Consoles) Attach(ctx context.Context, ref string, options core.AttachOptions, hijack core.Hijack) error {
	b, err := s.table.find(ref)
	if err != nil {
		return err
	}
	keys, err := detachKeys(options.DetachKeys)
	if err != nil {
		return err
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	done, err := s.attach(ctx, b, options, keys, hijack)
	b.op.release()
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	return nil
}

// attach is Attach up to the moment when the client is connected or queued; the caller holds op.
func (s *Consoles) attach(ctx context.Context, b *box, options core.AttachOptions, keys []byte, hijack core.Hijack) (done <-chan struct{}, err error) {
	c := b.View()
	switch c.State.Status {
	case core.StatusPaused:
		return nil, core.Conflict("container %s is paused, unpause the container before attach", c.ID)
	case core.StatusRestarting:
		return nil, core.Conflict("container %s is restarting, wait until the container is running", c.ID)
	case core.StatusRemoving, core.StatusDead:
		return nil, core.Conflict("container %s is marked for removal", c.ID)
	}
	streams, err := hijack(!c.Config.Tty)
	if err != nil {
		return nil, err
	}
	if options.Logs {
		if err := s.replay(ctx, c, options, streams); err != nil {
			streams.Conn.Close()
			return nil, err
		}
	}
	if !options.Stream {
		return closedChannel(), streams.Conn.Close()
	}
	streams.Stdin = options.Stdin && c.Config.OpenStdin
	streams.Stdout, streams.Stderr = options.Stdout, options.Stderr
	if c.Config.Tty {
		streams.DetachKeys = keys
	}
	s.events.Container(c, "attach", nil)
	return s.ports.Console.Attach(ctx, c.ID, streams)
}

// detachKeys reads what the user writes ("ctrl-p,ctrl-q"); nothing means Docker's default.
func detachKeys(s string) ([]byte, error) {
	if s == "" {
		return []byte{16, 17}, nil
	}
	keys, err := term.ToBytes(s)
	if err != nil {
		return nil, core.Invalid("invalid detach keys (%s) provided", s)
	}
	return keys, nil
}

// replay writes what the container has written so far.
func (s *Consoles) replay(ctx context.Context, c *core.Container, options core.AttachOptions, streams core.Streams) error {
	reader, err := s.readLog(ctx, c, core.LogOptions{Stdout: options.Stdout, Stderr: options.Stderr, Tail: -1}, closedChannel())
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		line, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := writeFrame(streams.Conn, streams.Framed, line); err != nil {
			return err
		}
	}
}

func writeFrame(conn net.Conn, framed bool, line core.LogLine) error {
	var header [8]byte
	header[0] = 1
	if line.Stderr {
		header[0] = 2
	}
	binary.BigEndian.PutUint32(header[4:], uint32(len(line.Line)))
	if framed {
		if _, err := conn.Write(header[:]); err != nil {
			return err
		}
	}
	_, err := conn.Write(line.Line)
	return err
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Resize sets the size of the container's terminal.
func (s *Consoles) Resize(ctx context.Context, ref string, height, width uint) error {
	b, err := s.table.find(ref)
	if err != nil {
		return err
	}
	c := b.View()
	if !c.State.Running() {
		return core.NotRunning(c.ID)
	}
	if err := s.ports.Console.Resize(ctx, c.ID, "", height, width); err != nil {
		return err
	}
	s.events.Container(c, "resize", map[string]string{"height": strconv.Itoa(int(height)), "width": strconv.Itoa(int(width))})
	return nil
}

// Logs opens what the container wrote.
func (s *Consoles) Logs(ctx context.Context, ref string, options core.LogOptions) (core.LogReader, bool, error) {
	if !options.Stdout && !options.Stderr {
		return nil, false, core.Invalid("Bad parameters: you must choose at least one stream")
	}
	b, err := s.table.find(ref)
	if err != nil {
		return nil, false, err
	}
	c := b.View()
	var done <-chan struct{} = closedChannel()
	if ended, err := b.end(); err == nil {
		done = ended
	}
	reader, err := s.readLog(ctx, c, options, done)
	return reader, c.Config.Tty, err
}

func (s *Consoles) readLog(ctx context.Context, c *core.Container, options core.LogOptions, done <-chan struct{}) (core.LogReader, error) {
	if c.LogPath == "" {
		return nil, core.NotImplemented("configured logging driver does not support reading")
	}
	return s.ports.Logs.Read(ctx, c.LogPath, options, done)
}

// Top runs ps with the user's arguments and keeps the rows of the container's processes.
func (s *Consoles) Top(ctx context.Context, ref, psArgs string) ([]string, [][]string, error) {
	if psArgs == "" {
		psArgs = "-ef"
	}
	b, err := s.table.find(ref)
	if err != nil {
		return nil, nil, err
	}
	c := b.View()
	if !c.State.Running() {
		return nil, nil, core.NotRunning(c.ID)
	}
	titles, rows, err := s.ports.Meter.Processes(ctx, c.ID, strings.Fields(psArgs))
	if err == nil {
		s.events.Container(c, "top", nil)
	}
	return titles, rows, err
}

// Stats measures a container once. One that does not run has nothing but its name.
func (s *Consoles) Stats(ctx context.Context, ref string) (core.StatsSample, error) {
	b, err := s.table.find(ref)
	if err != nil {
		return core.StatsSample{}, err
	}
	c := b.View()
	sample := core.StatsSample{ID: c.ID, Name: c.Name}
	if !c.State.Running() {
		sample.Stats.Read = time.Time{}
		return sample, nil
	}
	sample.Stats, err = s.ports.Meter.Stats(ctx, c.ID)
	return sample, err
}
