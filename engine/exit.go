package engine

import (
	"context"
	"strconv"

	"github.com/berth-engine/berth/core"
)

// Exited is what the runtime calls when a process ended: the first process of a container, or an exec. It comes in
// order for one container and must not wait for another call of the engine: the work goes on in a goroutine.
func (cs *Containers) Exited(exit core.Exit) {
	if exit.Exec != "" {
		cs.execs.exited(exit)
		return
	}
	b := cs.table.get(exit.Container)
	if b == nil {
		return
	}
	go cs.ended(context.Background(), b, exit.Status)
}

// ended does what follows the end of a container's first process. It waits for a verb that is under way (a start
// whose process ended at once), then takes the container down and asks the restart policy.
func (cs *Containers) ended(ctx context.Context, b *box, status core.ExitStatus) {
	if err := b.op.take(ctx); err != nil {
		return
	}
	defer b.op.release()
	cs.takeDown(ctx, b, status)
}

// takeDown is ended for a caller that holds op. The order matters: the network goes before anybody is told, so that
// whoever waited can use the port again; the record is on the disk before the shim may forget the exit status.
func (cs *Containers) takeDown(ctx context.Context, b *box, status core.ExitStatus) {
	was := b.view()
	if !was.State.Running() {
		return // told twice: by the shim and by restore
	}
	cs.stopHealth(b)
	if err := cs.ports.Sandboxes.Close(ctx, was.ID); err != nil {
		cs.log.Error("take down the network of a container", "container", was.ID, "error", err)
	}
	again, delay := cs.nextTry(b, was, status)
	c := b.change(func(c *core.Container) {
		if again {
			move(c, core.StatusRestarting)
			c.RestartCount++
		} else {
			move(c, core.StatusExited)
		}
		c.State.PID = 0
		c.State.ExitCode = status.Code
		c.State.OOMKilled = status.OOMKilled
		c.State.FinishedAt = status.At.UTC()
		c.Endpoints, c.Published = released(c.Endpoints), nil
		if c.State.Health != nil && !again {
			health := *c.State.Health
			health.Status = core.HealthUnhealthy
			c.State.Health = &health
		}
	})
	b.mu.Lock()
	if b.ended != nil {
		close(b.ended)
		b.ended = nil
	}
	b.mu.Unlock()
	cs.execs.forget(c.ID)
	for _, e := range was.Endpoints {
		if e.NetworkID != "" {
			cs.events.Publish(core.Event{Type: "network", Action: "disconnect", ID: string(e.NetworkID), Attributes: map[string]string{"container": string(c.ID)}})
		}
	}
	if status.OOMKilled {
		cs.events.container(c, "oom", nil)
	}
	cs.events.container(c, "die", map[string]string{
		"exitCode":     strconv.Itoa(status.Code),
		"execDuration": strconv.Itoa(int(status.At.Sub(was.State.StartedAt).Seconds())),
	})
	remove := c.Host.AutoRemove && !again
	cs.notify(b, core.WaitResult{Code: status.Code}, waitExit)
	if remove {
		cs.autoRemove(ctx, b)
		return
	}
	cs.save(ctx, c, true)
	cs.letGo(ctx, c)
	if again {
		cs.scheduleRestart(b, delay)
	}
}

// letGo frees what a container held while it ran, once its end is recorded.
func (cs *Containers) letGo(ctx context.Context, c *core.Container) {
	if err := cs.ports.Runtime.Delete(ctx, c.ID); err != nil {
		cs.log.Error("remove what is left of a process", "container", c.ID, "error", err)
	}
	if err := cs.unmountVolumes(ctx, c); err != nil {
		cs.log.Error("let go of the volumes of a container", "container", c.ID, "error", err)
	}
}

// released is the endpoints as asked for, without what they had while the container ran.
func released(endpoints map[string]*core.Endpoint) map[string]*core.Endpoint {
	out := make(map[string]*core.Endpoint, len(endpoints))
	for name, e := range endpoints {
		out[name] = &core.Endpoint{
			Aliases: e.Aliases, Links: e.Links, DriverOpts: e.DriverOpts, GwPriority: e.GwPriority,
			IPv4: e.IPv4, IPv6: e.IPv6, LinkLocal: e.LinkLocal, WantMAC: e.WantMAC,
			NetworkID: e.NetworkID, DNSNames: e.DNSNames,
		}
	}
	return out
}

// autoRemove removes a container that asked for it (`--rm`); the caller holds op.
func (cs *Containers) autoRemove(ctx context.Context, b *box) {
	if err := cs.remove(ctx, b, core.RemoveOptions{Volumes: true}); err != nil {
		cs.log.Error("remove a container that ended", "container", b.c.ID, "error", err)
	}
}
