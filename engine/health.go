package engine

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
)

// Docker's defaults for a health check, and how much of the evidence is kept.
const (
	probeInterval      = 30 * time.Second
	probeTimeout       = 30 * time.Second
	probeStartInterval = 5 * time.Second
	probeRetries       = 3
	probeKept          = 5
	probeOutput        = 4096
)

// probe is the health check of a running container: one goroutine that ends with the process.
type probe struct {
	cancel context.CancelFunc
	check  core.Healthcheck
}

// watchHealth begins to check the health of a container that has just started, or was found running.
func (cs *Containers) watchHealth(b *box) {
	c := b.view()
	check := c.Config.Healthcheck
	if check == nil || len(check.Test) == 0 || check.Test[0] == "NONE" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &probe{cancel: cancel, check: *check}
	orDefault(&p.check.Interval, probeInterval)
	orDefault(&p.check.Timeout, probeTimeout)
	orDefault(&p.check.StartInterval, probeStartInterval)
	if p.check.Retries == 0 {
		p.check.Retries = probeRetries
	}
	b.mu.Lock()
	if b.probe != nil {
		b.probe.cancel()
	}
	b.probe = p
	b.mu.Unlock()
	b.change(func(c *core.Container) {
		if c.State.Health == nil || c.State.Health.Status != core.HealthHealthy {
			c.State.Health = &core.Health{Status: core.HealthStarting}
		}
	})
	go cs.probeLoop(ctx, b, p)
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// stopHealth ends the check.
func (cs *Containers) stopHealth(b *box) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probe != nil {
		b.probe.cancel()
		b.probe = nil
	}
}

func (cs *Containers) probeLoop(ctx context.Context, b *box, p *probe) {
	startEnds := b.view().State.StartedAt.Add(p.check.StartPeriod)
	timer := time.NewTimer(p.pause(b, startEnds))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		result := cs.runProbe(ctx, b, p)
		if ctx.Err() != nil {
			return
		}
		cs.judge(b, p, result, startEnds)
		timer.Reset(p.pause(b, startEnds))
	}
}

// pause is the time until the next check: shorter while the container comes up.
func (p *probe) pause(b *box, startEnds time.Time) time.Duration {
	if health := b.view().State.Health; health != nil && health.Status == core.HealthStarting && time.Now().Before(startEnds) {
		return p.check.StartInterval
	}
	return p.check.Interval
}

// runProbe runs the check as an exec and gathers its output.
func (cs *Containers) runProbe(ctx context.Context, b *box, p *probe) core.HealthResult {
	result := core.HealthResult{Start: time.Now(), ExitCode: -1}
	c := b.view()
	exec := &core.Exec{ID: core.ExecID(id.New()), ContainerID: c.ID, Spec: core.ExecSpec{
		User: "", AttachStdout: true, AttachStderr: true, Cmd: probeCommand(c.Config, p.check.Test),
	}}
	es := cs.execs
	done := make(chan struct{})
	es.mu.Lock()
	es.byID[exec.ID], es.done[exec.ID] = exec, done
	exec.Started, exec.Running = true, true
	es.mu.Unlock()
	defer func() {
		es.mu.Lock()
		delete(es.byID, exec.ID)
		delete(es.done, exec.ID)
		es.mu.Unlock()
	}()
	ours, theirs := net.Pipe()
	defer ours.Close()
	output := make(chan []byte, 1)
	go func() { output <- head(ours, probeOutput) }()
	err := es.run(ctx, c, exec, *exec, &core.Streams{Stdout: true, Stderr: true, Conn: theirs})
	if err != nil {
		theirs.Close()
		result.Output, result.End = err.Error(), time.Now()
		return result
	}
	timer := time.NewTimer(p.check.Timeout)
	defer timer.Stop()
	select {
	case <-done:
		es.mu.Lock()
		result.ExitCode = exec.ExitCode
		es.mu.Unlock()
		result.Output = string(<-output)
	case <-timer.C:
		cs.killProbe(ctx, b, exec)
		result.Output = "Health check exceeded timeout (" + p.check.Timeout.String() + ")"
	case <-ctx.Done():
	}
	result.End = time.Now()
	return result
}

// head reads all that comes and keeps the beginning.
func head(r io.Reader, limit int64) []byte {
	var kept bytes.Buffer
	if _, err := io.CopyN(&kept, r, limit); err == nil {
		_, _ = io.Copy(io.Discard, r) // the rest is not kept; an error is the end of the stream
	}
	return kept.Bytes()
}

func probeCommand(config core.Config, test []string) []string {
	if test[0] == "CMD" {
		return test[1:]
	}
	shell := config.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), test[1:]...)
}

// judge keeps the result and changes the verdict where it must.
func (cs *Containers) judge(b *box, p *probe, result core.HealthResult, startEnds time.Time) {
	var before core.HealthStatus
	c := b.change(func(c *core.Container) {
		health := core.Health{Status: core.HealthStarting}
		if c.State.Health != nil {
			health = *c.State.Health
		}
		before = health.Status
		health.Log = append(slices.Clone(health.Log), result)
		if extra := len(health.Log) - probeKept; extra > 0 {
			health.Log = health.Log[extra:]
		}
		switch {
		case result.ExitCode == 0:
			health.FailingStreak, health.Status = 0, core.HealthHealthy
		case health.Status == core.HealthStarting && result.Start.Before(startEnds):
			// Failures of the start period do not count.
		default:
			health.FailingStreak++
			if health.FailingStreak >= p.check.Retries {
				health.Status = core.HealthUnhealthy
			}
		}
		c.State.Health = &health
	})
	if after := c.State.Health.Status; after != before {
		cs.events.container(c, "health_status: "+string(after), nil)
		cs.save(context.Background(), c, false)
	}
}

// killProbe ends a check that took too long.
func (cs *Containers) killProbe(ctx context.Context, b *box, exec *core.Exec) {
	if err := cs.ports.Runtime.KillExec(ctx, b.c.ID, exec.ID); err != nil {
		cs.log.Warn("end a health check that takes too long", "container", b.c.ID, "error", err)
	}
}
