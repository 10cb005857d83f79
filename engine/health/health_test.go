package health_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/health"
)

type subject struct {
	mu sync.Mutex
	c  *core.Container
}

func (s *subject) ID() core.ContainerID { return "abc" }

func (s *subject) View() *core.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c
}

func (s *subject) Change(edit func(*core.Container)) *core.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.c
	edit(&next)
	s.c = &next
	return s.c
}

func TestTheVerdictFollowsTheChecks(t *testing.T) {
	t.Parallel()
	s := &subject{c: &core.Container{
		Config: core.Config{Healthcheck: &core.Healthcheck{Test: []string{"CMD-SHELL", "check me"}, Interval: time.Millisecond, Retries: 2}},
		State:  core.State{StartedAt: time.Now().Add(-time.Hour), Health: &core.Health{Status: core.HealthUnhealthy}},
	}}
	codes := make(chan int)
	commands := make(chan []string, 100)
	verdicts := make(chan core.HealthStatus, 10)
	m := health.New(func(ctx context.Context, _ *core.Container, command []string, _ time.Duration) core.HealthResult {
		select {
		case code := <-codes:
			commands <- command
			return core.HealthResult{ExitCode: code, Start: time.Now()}
		case <-ctx.Done():
			return core.HealthResult{}
		}
	}, func(c *core.Container) { verdicts <- c.State.Health.Status })
	m.Watch(s, true)
	if got := s.View().State.Health.Status; got != core.HealthStarting {
		t.Fatalf("after a start: %s", got)
	}
	codes <- 0
	if got := <-verdicts; got != core.HealthHealthy {
		t.Fatalf("after a success: %s", got)
	}
	codes <- 1 // one failure is not enough
	codes <- 1
	if got := <-verdicts; got != core.HealthUnhealthy {
		t.Fatalf("after two failures: %s", got)
	}
	codes <- 0
	if got := <-verdicts; got != core.HealthHealthy {
		t.Fatalf("after it came back: %s", got)
	}
	m.Stop("abc")
	if got, want := <-commands, []string{"/bin/sh", "-c", "check me"}; !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
	if log := s.View().State.Health.Log; len(log) != 4 {
		t.Errorf("%d results kept", len(log))
	}
}

func TestNothingToCheck(t *testing.T) {
	t.Parallel()
	m := health.New(nil, nil)
	for _, check := range []*core.Healthcheck{nil, {}, {Test: []string{"NONE"}}} {
		s := &subject{c: &core.Container{Config: core.Config{Healthcheck: check}}}
		m.Watch(s, true)
		if s.c.State.Health != nil {
			t.Errorf("%+v has a verdict", check)
		}
	}
}
