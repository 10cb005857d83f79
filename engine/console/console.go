// Package console is the room of the engine that looks into containers: attachments, terminals, logs, processes, numbers.
package console

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

// Containers is what the consoles need of the noun container.
type Containers interface {
	// Find gives a container as it is now, and a channel that is closed when its process has ended; it is closed
	// already when none runs.
	Find(ref string) (c *core.Container, ended <-chan struct{}, err error)
	// Hold is Find that waits until no verb works on the container; none begins before release is called.
	Hold(ctx context.Context, ref string) (c *core.Container, release func(), err error)
}

// Terminals is what the engine needs of the runtime organ: streams and terminals.
type Terminals interface {
	// Attach connects a client with the first process. For a container that has not started it queues the client
	// until Start. Either has happened when it returns; done is closed when the attachment is over (detached, output
	// at its end, client gone).
	Attach(ctx context.Context, id core.ContainerID, streams core.Streams) (done <-chan struct{}, err error)
	// Resize sets the size of the terminal of the first process, or of an exec.
	Resize(ctx context.Context, id core.ContainerID, exec core.ExecID, height, width uint) error
}

// Meter is what the engine needs of the runtime organ: numbers.
type Meter interface {
	Stats(ctx context.Context, id core.ContainerID) (core.Stats, error)
	// Processes runs ps(1) with arguments and keeps the rows of the container's processes.
	Processes(ctx context.Context, id core.ContainerID, psArgs []string) (titles []string, rows [][]string, err error)
}

// Logs is what the engine needs of the logs organ to read. The shims write.
type Logs interface {
	// Read opens the log of a container; done is closed when its process ended (it ends a Follow).
	Read(ctx context.Context, path string, options core.LogOptions, done <-chan struct{}) (core.LogReader, error)
}

// Publisher is where events go.
type Publisher interface {
	// Container publishes an event of a container, with more attributes than those that every one has.
	Container(c *core.Container, action string, more map[string]string)
}

// Consoles look into containers.
type Consoles struct {
	containers Containers
	terminals  Terminals
	meter      Meter
	logs       Logs
	events     Publisher
}

// New makes the consoles.
func New(containers Containers, terminals Terminals, meter Meter, logs Logs, events Publisher) *Consoles {
	return &Consoles{containers: containers, terminals: terminals, meter: meter, logs: logs, events: events}
}

// Attach connects a client with the container's streams. One that has not started yet is connected when it starts.
// A client that has its answer may start the container at once: so the answer is given, and the client queued, while
// no start can come between.
func (s *Consoles) Attach(ctx context.Context, ref string, options core.AttachOptions, hijack core.Hijack) error {
	c, release, err := s.containers.Hold(ctx, ref)
	if err != nil {
		return err
	}
	done, err := s.attach(ctx, c, options, hijack)
	release()
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	return nil
}

// attach is Attach up to the moment when the client is connected or queued; the caller holds the container.
func (s *Consoles) attach(ctx context.Context, c *core.Container, options core.AttachOptions, hijack core.Hijack) (done <-chan struct{}, err error) {
	keys, err := define.DetachKeys(options.DetachKeys)
	if err != nil {
		return nil, err
	}
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
	return s.terminals.Attach(ctx, c.ID, streams)
}

// replay writes what the container has written so far.
func (s *Consoles) replay(ctx context.Context, c *core.Container, options core.AttachOptions, streams core.Streams) error {
	reader, err := s.readLog(ctx, c, core.LogOptions{Stdout: options.Stdout, Stderr: options.Stderr, Tail: -1}, closedChannel())
	if err != nil {
		return err
	}
	defer reader.Close()
	out := bufio.NewWriterSize(streams.Conn, replayBuffer)
	for {
		line, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		if err := writeFrame(out, streams.Framed, line); err != nil {
			return err
		}
	}
}

// replayBuffer is how much of a log goes to a client in one write, in bytes.
const replayBuffer = 32 << 10

func writeFrame(out io.Writer, framed bool, line core.LogLine) error {
	var header [8]byte
	header[0] = 1
	if line.Stderr {
		header[0] = 2
	}
	binary.BigEndian.PutUint32(header[4:], uint32(len(line.Line)))
	if framed {
		if _, err := out.Write(header[:]); err != nil {
			return err
		}
	}
	_, err := out.Write(line.Line)
	return err
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// Resize sets the size of the container's terminal.
func (s *Consoles) Resize(ctx context.Context, ref string, height, width uint) error {
	c, _, err := s.containers.Find(ref)
	if err != nil {
		return err
	}
	if !c.State.Running() {
		return core.NotRunning(c.ID)
	}
	if err := s.terminals.Resize(ctx, c.ID, "", height, width); err != nil {
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
	c, ended, err := s.containers.Find(ref)
	if err != nil {
		return nil, false, err
	}
	reader, err := s.readLog(ctx, c, options, ended)
	return reader, c.Config.Tty, err
}

func (s *Consoles) readLog(ctx context.Context, c *core.Container, options core.LogOptions, done <-chan struct{}) (core.LogReader, error) {
	if c.LogPath == "" {
		return nil, core.NotImplemented("configured logging driver does not support reading")
	}
	return s.logs.Read(ctx, c.LogPath, options, done)
}

// Top runs ps with the user's arguments and keeps the rows of the container's processes.
func (s *Consoles) Top(ctx context.Context, ref, psArgs string) ([]string, [][]string, error) {
	if psArgs == "" {
		psArgs = "-ef"
	}
	c, _, err := s.containers.Find(ref)
	if err != nil {
		return nil, nil, err
	}
	if !c.State.Running() {
		return nil, nil, core.NotRunning(c.ID)
	}
	titles, rows, err := s.meter.Processes(ctx, c.ID, strings.Fields(psArgs))
	if err == nil {
		s.events.Container(c, "top", nil)
	}
	return titles, rows, err
}

// Stats measures a container once. One that does not run has nothing but its name.
func (s *Consoles) Stats(ctx context.Context, ref string) (core.StatsSample, error) {
	c, _, err := s.containers.Find(ref)
	if err != nil {
		return core.StatsSample{}, err
	}
	sample := core.StatsSample{ID: c.ID, Name: c.Name}
	if !c.State.Running() {
		sample.Stats.Read = time.Time{}
		return sample, nil
	}
	sample.Stats, err = s.meter.Stats(ctx, c.ID)
	return sample, err
}
