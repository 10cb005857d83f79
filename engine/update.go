package engine

import (
	"context"
	"runtime"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

// Update changes limits (fields that are zero stay as they are) and the restart policy (nil: stays).
func (cs *Containers) Update(ctx context.Context, ref string, resources core.Resources, policy *core.RestartPolicy) ([]string, error) {
	b, err := cs.table.find(ref)
	if err != nil {
		return nil, err
	}
	if err := b.op.take(ctx); err != nil {
		return nil, err
	}
	defer b.op.release()
	c := b.View()
	if c.State.Status == core.StatusRemoving || c.State.Status == core.StatusDead {
		return nil, core.Conflict("container is marked for removal and cannot be \"update\"")
	}
	if policy != nil {
		if err := define.Policy(*policy); err != nil {
			return nil, err
		}
		if c.Host.AutoRemove && policy.Name != "" && policy.Name != "no" {
			return nil, core.Invalid("Restart policy cannot be updated because AutoRemove is enabled for the container")
		}
	}
	next := define.Limits(c.Host.Resources, resources)
	if err := define.Memory(next); err != nil {
		return nil, err
	}
	if err := define.CPU(next, runtime.NumCPU()); err != nil {
		return nil, err
	}
	if c.State.Running() {
		if err := cs.ports.Runtime.Update(ctx, c.ID, next); err != nil {
			return nil, err
		}
	}
	c = b.Change(func(c *core.Container) {
		c.Host.Resources = next
		if policy != nil && policy.Name != "" {
			c.Host.RestartPolicy = *policy
		}
	})
	cs.save(ctx, c, true)
	cs.events.Container(c, "update", nil)
	return nil, nil
}
