package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/peer"
	"github.com/berth-engine/berth/bench/tool"
)

// logsGroup is how fast output of a container gets to the client, into the log and back, and input through it.
func logsGroup() group {
	return group{
		name:   "logs",
		leaves: true,
		rounds: few,
		rows: []row{
			{name: "log-attached", title: "lines of 100 bytes: attached", unit: "MB/s", higher: true},
			{name: "log-detached", title: "lines of 100 bytes: detached, until the container's end", unit: "MB/s", higher: true},
			{name: "log-read", title: "lines of 100 bytes: read back by logs", unit: "MB/s", higher: true},
			{name: "stdin", title: "stdin through run -i cat to stdout", unit: "MB/s", higher: true},
		},
		once: func(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
			for _, step := range []func(context.Context, *suite, *peer.Engine, record) error{logAttached, logDetached, stdinOnce} {
				if err := step(ctx, s, e, keep); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// writer is the command of a container that writes the lines.
func (s *suite) writer(e *peer.Engine) []string {
	return []string{e.Image("tool"), "/bench", "lines", fmt.Sprintf("-n=%d", s.logMB*1_000_000/tool.LineLength)}
}

func logAttached(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
	measure.SyncDisk()
	check := &lineCheck{}
	args := append(append([]string{"run", "--rm", "--label", e.Tag}, e.LogOptions()...), s.writer(e)...)
	a, err := e.Do(ctx, peer.Call{Args: args, Stdout: check, Limit: 10 * time.Minute})
	if err := errors.Join(err, check.expect(s.logMB)); err != nil {
		return fmt.Errorf("attached: %w", err)
	}
	keep("log-attached", measure.PerSecond(float64(s.logMB), a.Elapsed))
	return nil
}

func logDetached(ctx context.Context, s *suite, e *peer.Engine, keep record) (err error) {
	measure.SyncDisk()
	begin := time.Now()
	id, err := e.Container(ctx, append(e.LogOptions(), s.writer(e)...)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Remove(context.WithoutCancel(ctx), id)) }()
	ended, err := e.Do(ctx, peer.Call{Args: []string{"wait", id}, Limit: 10 * time.Minute})
	if err != nil {
		return err
	}
	elapsed := time.Since(begin)
	if ended.Out != "0" {
		return fmt.Errorf("detached: the writer ended with %q", ended.Out)
	}
	check := &lineCheck{}
	read, err := e.Do(ctx, peer.Call{Args: []string{"logs", id}, Stdout: check, Limit: 10 * time.Minute})
	if err := errors.Join(err, check.expect(s.logMB)); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	keep("log-detached", measure.PerSecond(float64(s.logMB), elapsed))
	keep("log-read", measure.PerSecond(float64(s.logMB), read.Elapsed))
	return nil
}

func stdinOnce(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
	measure.SyncDisk()
	check := &lineCheck{}
	input := io.LimitReader(newLines(), int64(s.logMB)*1_000_000)
	args := append(append([]string{"run", "-i", "--rm", "--label", e.Tag}, e.LogOptions()...), e.Image("busybox"), "cat")
	a, err := e.Do(ctx, peer.Call{Args: args, Stdin: input, Stdout: check, Limit: 10 * time.Minute})
	if err := errors.Join(err, check.expect(s.logMB)); err != nil {
		return fmt.Errorf("stdin: %w", err)
	}
	keep("stdin", measure.PerSecond(float64(s.logMB), a.Elapsed))
	return nil
}

// repeater gives the same bytes without end.
type repeater struct {
	line []byte
	at   int
}

// newLines gives log lines without end, in blocks of a thousand.
func newLines() *repeater { return &repeater{line: bytes.Repeat(tool.LogLine(), 1000)} }

func (r *repeater) Read(p []byte) (int, error) {
	n := copy(p, r.line[r.at:])
	r.at = (r.at + n) % len(r.line)
	return n, nil
}

// lineCheck counts what comes out and compares it with the lines that went in.
type lineCheck struct {
	bytes int64
	wrong string // the first piece that is not as it was written
	block []byte // two lines, so that any place of one starts a whole one
}

func (c *lineCheck) Write(p []byte) (int, error) {
	if c.block == nil {
		c.block = bytes.Repeat(tool.LogLine(), 2000)
	}
	for rest := p; len(rest) > 0; {
		expected := c.block[c.bytes%tool.LineLength:]
		n := min(len(rest), len(expected))
		if c.wrong == "" && !bytes.Equal(rest[:n], expected[:n]) {
			c.wrong = strings.TrimSpace(string(rest[:min(n, 60)]))
		}
		c.bytes, rest = c.bytes+int64(n), rest[n:]
	}
	return len(p), nil
}

// expect demands that so many megabytes came, all of them as they were written.
func (c *lineCheck) expect(megabytes int) error {
	if c.wrong != "" {
		return fmt.Errorf("output was changed: %q", c.wrong)
	}
	if want := int64(megabytes) * 1_000_000; c.bytes != want {
		return fmt.Errorf("%d of %d bytes came", c.bytes, want)
	}
	return nil
}
