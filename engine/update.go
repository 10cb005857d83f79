package engine

import (
	"context"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

// Update changes limits (fields that are zero stay as they are) and the restart policy (nil: stays).
func (cs *Containers) Update(ctx context.Context, ref string, resources core.Resources, policy *core.RestartPolicy) ([]string, error) {
	if err := define.NotUpdated(resources); err != nil {
		return nil, err
	}
	warnings, err := define.Resources(&resources, &cs.options.Facts.Info, true)
	if err != nil {
		return nil, err
	}
	if policy != nil {
		if err := define.Policy(*policy); err != nil {
			return nil, err
		}
	}
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
		return nil, core.Conflict("Cannot update container %s: container is marked for removal and cannot be \"update\"", c.ID)
	}
	if policy != nil && c.Host.AutoRemove && policy.Name != "" && policy.Name != "no" {
		return nil, core.Invalid("Cannot update container %s: Restart policy cannot be updated because AutoRemove is enabled for the container", c.ID)
	}
	next, err := define.Update(c.Host.Resources, resources)
	if err != nil {
		return nil, core.Invalid("Cannot update container %s: %w", c.ID, err)
	}
	if c.State.Running() {
		if err := cs.ports.Runtime.Update(ctx, c.ID, next); err != nil {
			return nil, core.Internal("Cannot update container %s: %w", c.ID, err)
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
	return warnings, nil
}
