package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/lib/failpoint"
)

// Update changes limits, the restart policy and the published ports of a container, whether it runs or not.
func (cs *Containers) Update(ctx context.Context, ref string, request core.UpdateRequest) (result core.UpdateResult, err error) {
	resources, policy := request.Resources, request.Policy
	if err := define.NotUpdated(resources); err != nil {
		return result, err
	}
	result.Warnings, err = define.Resources(&resources, &cs.options.Facts.Info, true)
	if err != nil {
		return result, err
	}
	if policy != nil {
		if err := define.Policy(*policy); err != nil {
			return result, err
		}
	}
	b, err := cs.table.find(ref)
	if err != nil {
		return result, err
	}
	if err := b.op.take(ctx); err != nil {
		return result, err
	}
	defer b.op.release()
	c := b.View()
	if c.State.Status == core.StatusRemoving || c.State.Status == core.StatusDead {
		return result, core.Conflict("Cannot update container %s: container is marked for removal and cannot be \"update\"", c.ID)
	}
	if policy != nil && c.Host.AutoRemove && policy.Name != "" && policy.Name != "no" {
		return result, core.Invalid("Cannot update container %s: Restart policy cannot be updated because AutoRemove is enabled for the container", c.ID)
	}
	next, err := define.Update(c.Host.Resources, resources)
	if err != nil {
		return result, core.Invalid("Cannot update container %s: %w", c.ID, err)
	}
	if c.State.Running() {
		if err := cs.ports.Runtime.Update(ctx, c.ID, next); err != nil {
			return result, core.Internal("Cannot update container %s: %w", c.ID, err)
		}
	}
	if request.Ports() {
		if err := cs.publish(ctx, b, request); err != nil {
			if c.State.Running() {
				err = errors.Join(err, cs.ports.Runtime.Update(ctx, c.ID, c.Host.Resources))
			}
			return result, fmt.Errorf("Cannot update container %s: %w", c.ID, err)
		}
		result.Bindings = b.View().Host.PortBindings
	}
	c = b.Change(func(c *core.Container) {
		c.Host.Resources = next
		if policy != nil && policy.Name != "" {
			c.Host.RestartPolicy = *policy
		}
	})
	cs.save(ctx, c, true)
	cs.events.Container(c, "update", nil)
	return result, nil
}

// publish changes the published ports; the caller holds op. The record is what counts: a daemon that dies before it is
// on the disk leaves the ports that were, since the next one takes those of the record.
func (cs *Containers) publish(ctx context.Context, b *box, request core.UpdateRequest) error {
	ctx = context.WithoutCancel(ctx)
	before := b.View()
	next, err := define.Publish(before, request.Publish, request.Unpublish)
	if err != nil {
		return err
	}
	if err := failpoint.Hit("update:before-publish"); err != nil {
		return err
	}
	running := before.State.Running()
	if running {
		if next.Published, err = cs.ports.Sandboxes.Publish(ctx, define.Sandbox(next)); err != nil {
			return err
		}
	}
	if err = failpoint.Hit("update:before-record"); err == nil {
		err = cs.ports.Records.Save(ctx, next, true)
	}
	if err != nil && running {
		_, undo := cs.ports.Sandboxes.Publish(ctx, define.Sandbox(before))
		err = errors.Join(err, undo)
	}
	if err == nil {
		b.Change(func(c *core.Container) {
			c.Config.ExposedPorts = next.Config.ExposedPorts
			c.Host.PortBindings, c.Host.PublishAllPorts, c.Published = next.Host.PortBindings, next.Host.PublishAllPorts, next.Published
		})
	}
	return err
}
