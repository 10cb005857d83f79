// Package health finds out whether containers do their work: it runs the check of each at its interval and keeps the
// verdict, with the evidence, in the container's state.
package health

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/berth-engine/berth/core"
)

// Docker's defaults for a health check, and how many results are kept.
const (
	defaultInterval      = 30 * time.Second
	defaultTimeout       = 30 * time.Second
	defaultStartInterval = 5 * time.Second
	defaultRetries       = 3
	kept                 = 5
)

// Subject is a container as the monitor sees it.
type Subject interface {
	ID() core.ContainerID
	// View is the container as it is now; the value is never written.
	View() *core.Container
	// Change replaces the container by a copy that edit has worked on.
	Change(edit func(c *core.Container)) *core.Container
}

// Probe runs a command in a container and tells how it ended, or that it took longer than timeout.
type Probe func(ctx context.Context, c *core.Container, command []string, timeout time.Duration) core.HealthResult

// Monitor watches the health of the containers that run.
type Monitor struct {
	probe   Probe
	changed func(c *core.Container)

	mu      sync.Mutex // guards watched
	watched map[core.ContainerID]context.CancelFunc
}

// New makes a monitor. changed is told of every new verdict.
func New(probe Probe, changed func(c *core.Container)) *Monitor {
	return &Monitor{probe: probe, changed: changed, watched: map[core.ContainerID]context.CancelFunc{}}
}

// Watch begins to check a container that has just started (fresh), or was found running. It does nothing for one
// without a check.
func (m *Monitor) Watch(s Subject, fresh bool) {
	check := s.View().Config.Healthcheck
	if check == nil || len(check.Test) == 0 || check.Test[0] == "NONE" {
		return
	}
	c := *check
	orDefault(&c.Interval, defaultInterval)
	orDefault(&c.Timeout, defaultTimeout)
	orDefault(&c.StartInterval, defaultStartInterval)
	if c.Retries == 0 {
		c.Retries = defaultRetries
	}
	s.Change(func(c *core.Container) {
		if fresh || c.State.Health == nil {
			c.State.Health = &core.Health{Status: core.HealthStarting}
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	m.mu.Lock()
	if old := m.watched[s.ID()]; old != nil {
		old()
	}
	m.watched[s.ID()] = cancel
	m.mu.Unlock()
	w := &watch{Monitor: m, subject: s, check: c, startEnds: s.View().State.StartedAt.Add(c.StartPeriod)}
	go w.run(ctx)
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// Stop ends the checks of a container.
func (m *Monitor) Stop(id core.ContainerID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cancel := m.watched[id]; cancel != nil {
		cancel()
		delete(m.watched, id)
	}
}

// watch is the checks of one container: a goroutine that ends with Stop.
type watch struct {
	*Monitor
	subject   Subject
	check     core.Healthcheck
	startEnds time.Time
}

func (w *watch) run(ctx context.Context) {
	timer := time.NewTimer(w.pause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		c := w.subject.View()
		result := w.probe(ctx, c, command(c.Config.Shell, w.check.Test), w.check.Timeout)
		if ctx.Err() != nil {
			return
		}
		w.judge(result)
		timer.Reset(w.pause())
	}
}

// pause is the time until the next check: shorter while the container comes up.
func (w *watch) pause() time.Duration {
	if w.subject.View().State.Health.Status == core.HealthStarting && time.Now().Before(w.startEnds) {
		return w.check.StartInterval
	}
	return w.check.Interval
}

// command is what a Test says: "CMD" words as they are, "CMD-SHELL" words for the image's shell.
func command(shell, test []string) []string {
	if test[0] == "CMD" {
		return test[1:]
	}
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clone(shell), test[1:]...)
}

// judge keeps the result and changes the verdict where it must.
func (w *watch) judge(result core.HealthResult) {
	var before core.HealthStatus
	c := w.subject.Change(func(c *core.Container) {
		health := *c.State.Health
		before = health.Status
		health.Log = append(slices.Clone(health.Log), result)
		if extra := len(health.Log) - kept; extra > 0 {
			health.Log = health.Log[extra:]
		}
		switch {
		case result.ExitCode == 0:
			health.FailingStreak, health.Status = 0, core.HealthHealthy
		case health.Status == core.HealthStarting && result.Start.Before(w.startEnds):
			// Failures of the start period do not count.
		default:
			health.FailingStreak++
			if health.FailingStreak >= w.check.Retries {
				health.Status = core.HealthUnhealthy
			}
		}
		c.State.Health = &health
	})
	if c.State.Health.Status != before {
		w.changed(c)
	}
}
