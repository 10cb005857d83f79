package engine

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/engine/health"
	"github.com/berth-engine/berth/lib/id"
)

// probe runs a health check as an exec and gathers its output.
func (es *Execs) probe(ctx context.Context, c *core.Container, command []string, timeout time.Duration) (result core.HealthResult) {
	result = core.HealthResult{Start: time.Now(), ExitCode: -1}
	defer func() { result.End = time.Now() }()
	exec := &core.Exec{
		ID: core.ExecID(id.New()), ContainerID: c.ID, Started: true, Running: true,
		Spec: core.ExecSpec{AttachStdout: true, AttachStderr: true, Cmd: command},
	}
	done := make(chan struct{})
	es.mu.Lock()
	es.byID[exec.ID], es.done[exec.ID] = exec, done
	es.mu.Unlock()
	es.publish(c, exec, "exec_create", true)
	defer func() {
		es.mu.Lock()
		delete(es.byID, exec.ID)
		delete(es.done, exec.ID)
		es.mu.Unlock()
	}()
	ours, theirs := net.Pipe()
	defer ours.Close()
	output := make(chan []byte, 1)
	go func() { output <- health.Head(ours) }()
	if err := es.run(ctx, c, exec, *exec, &core.Streams{Stdout: true, Stderr: true, Conn: theirs}); err != nil {
		theirs.Close()
		result.Output = err.Error()
		return result
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
		result.Output = string(<-output)
		es.mu.Lock()
		result.ExitCode = exec.ExitCode
		es.mu.Unlock()
	case <-timer.C:
		result.Output = "Health check exceeded timeout (" + timeout.String() + ")"
		if err := es.ports.Runtime.KillExec(ctx, c.ID, exec.ID); err != nil {
			es.log.Warn("end a health check that takes too long", "container", c.ID, "error", err)
		}
	case <-ctx.Done():
	}
	return result
}

// healthChanged tells a new verdict, and does to an unhealthy container what its definition says.
func (l *Lifecycle) healthChanged(c *core.Container) {
	l.events.Container(c, "health_status: "+string(c.State.Health.Status), nil)
	l.save(context.Background(), c, false)
	action := c.Host.Annotations[define.HealthOnFailure]
	if c.State.Health.Status != core.HealthUnhealthy || action == "" || action == "none" {
		return
	}
	if c.StoppedByUser || !c.State.Running() {
		return // the check failed because the container is being ended
	}
	// The verdict is final: no later check may find the container healthy while it is being ended. Whoever tells the
	// verdict is the check itself, which must not wait for what follows.
	l.health.Stop(c.ID)
	go func() {
		if err := l.onFailure(context.Background(), string(c.ID), action); err != nil {
			l.log.Error("an unhealthy container", "container", c.ID, "action", action, "error", err)
		}
	}()
}

// onFailure ends an unhealthy container, or starts it anew. After a kill the restart policy decides, as after any end
// that nobody asked for.
func (l *Lifecycle) onFailure(ctx context.Context, id, action string) error {
	switch action {
	case "stop":
		return l.Stop(ctx, id, core.StopOptions{})
	case "restart":
		return l.Restart(ctx, id, core.StopOptions{})
	}
	b, err := l.table.find(id)
	if err != nil {
		return err
	}
	return l.signal(ctx, b, syscall.SIGKILL)
}
