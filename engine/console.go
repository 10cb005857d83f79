package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/term"

	"github.com/berth-engine/berth/core"
)

// Attach connects a client with the container's streams. One that has not started yet is connected when it starts.
func (cs *Containers) Attach(ctx context.Context, ref string, options core.AttachOptions, hijack core.Hijack) error {
	b, err := cs.table.find(ref)
	if err != nil {
		return err
	}
	c := b.view()
	switch c.State.Status {
	case core.StatusPaused:
		return core.Conflict("container %s is paused, unpause the container before attach", ref)
	case core.StatusRestarting:
		return core.Conflict("container %s is restarting, wait until the container is running", ref)
	}
	keys, err := detachKeys(options.DetachKeys)
	if err != nil {
		return err
	}
	streams, err := hijack(!c.Config.Tty)
	if err != nil {
		return err
	}
	if options.Logs {
		if err := cs.replay(ctx, c, options, streams); err != nil {
			streams.Conn.Close()
			return err
		}
	}
	if !options.Stream {
		return streams.Conn.Close()
	}
	streams.Stdin = options.Stdin && c.Config.OpenStdin
	streams.Stdout, streams.Stderr = options.Stdout, options.Stderr
	if c.Config.Tty {
		streams.DetachKeys = keys
	}
	cs.events.container(c, "attach", nil)
	return cs.ports.Console.Attach(ctx, c.ID, streams)
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
func (cs *Containers) replay(ctx context.Context, c *core.Container, options core.AttachOptions, streams core.Streams) error {
	reader, err := cs.readLog(ctx, c, core.LogOptions{Stdout: options.Stdout, Stderr: options.Stderr, Tail: -1}, closedChannel())
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
func (cs *Containers) Resize(ctx context.Context, ref string, height, width uint) error {
	b, err := cs.table.find(ref)
	if err != nil {
		return err
	}
	c := b.view()
	if !c.State.Running() {
		return core.NotRunning(c.ID)
	}
	if err := cs.ports.Console.Resize(ctx, c.ID, "", height, width); err != nil {
		return err
	}
	cs.events.container(c, "resize", map[string]string{"height": strconv.Itoa(int(height)), "width": strconv.Itoa(int(width))})
	return nil
}

// Logs opens what the container wrote.
func (cs *Containers) Logs(ctx context.Context, ref string, options core.LogOptions) (core.LogReader, bool, error) {
	if !options.Stdout && !options.Stderr {
		return nil, false, core.Invalid("Bad parameters: you must choose at least one stream")
	}
	b, err := cs.table.find(ref)
	if err != nil {
		return nil, false, err
	}
	c := b.view()
	var done <-chan struct{} = closedChannel()
	if ended, err := cs.endOf(b); err == nil {
		done = ended
	}
	reader, err := cs.readLog(ctx, c, options, done)
	return reader, c.Config.Tty, err
}

func (cs *Containers) readLog(ctx context.Context, c *core.Container, options core.LogOptions, done <-chan struct{}) (core.LogReader, error) {
	if c.LogPath == "" {
		return nil, core.NotImplemented("configured logging driver does not support reading")
	}
	return cs.ports.Logs.Read(ctx, c.LogPath, options, done)
}

// Top runs ps with the user's arguments and keeps the rows of the container's processes.
func (cs *Containers) Top(ctx context.Context, ref, psArgs string) ([]string, [][]string, error) {
	if psArgs == "" {
		psArgs = "-ef"
	}
	b, err := cs.table.find(ref)
	if err != nil {
		return nil, nil, err
	}
	c := b.view()
	if !c.State.Running() {
		return nil, nil, core.NotRunning(c.ID)
	}
	pids, err := cs.ports.Meter.PIDs(ctx, c.ID)
	if err != nil {
		return nil, nil, err
	}
	args := strings.Fields(psArgs)
	if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--pid") || a == "-p" || a == "p" || a == "-q" }) {
		return nil, nil, core.Invalid("invalid ps argument: the processes are those of the container")
	}
	out, err := exec.CommandContext(ctx, "ps", args...).Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			return nil, nil, core.Invalid("ps: %s", strings.TrimSpace(string(failed.Stderr)))
		}
		return nil, nil, core.Internal("run ps: %w", err)
	}
	cs.events.container(c, "top", nil)
	return psRows(string(out), pids)
}

// psRows keeps the header and the rows whose PID is one of those given.
func psRows(out string, pids []int) ([]string, [][]string, error) {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	titles := strings.Fields(lines[0])
	at := slices.Index(titles, "PID")
	if at < 0 {
		return nil, nil, core.Invalid("Couldn't find PID field in ps output")
	}
	var rows [][]string
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) <= at {
			continue
		}
		pid, err := strconv.Atoi(fields[at])
		if err != nil || !slices.Contains(pids, pid) {
			continue
		}
		if len(fields) > len(titles) { // the last column is the command, with spaces
			fields = append(fields[:len(titles)-1], strings.Join(fields[len(titles)-1:], " "))
		}
		rows = append(rows, fields)
	}
	return titles, rows, nil
}

// Stats measures a container once. One that does not run has nothing but its name.
func (cs *Containers) Stats(ctx context.Context, ref string) (core.StatsSample, error) {
	b, err := cs.table.find(ref)
	if err != nil {
		return core.StatsSample{}, err
	}
	c := b.view()
	sample := core.StatsSample{ID: c.ID, Name: c.Name}
	if !c.State.Running() {
		sample.Stats.Read = time.Time{}
		return sample, nil
	}
	sample.Stats, err = cs.ports.Meter.Stats(ctx, c.ID)
	return sample, err
}
