package engine

import (
	"context"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/filter"
)

// Prune removes every container that does not run and that the filters select.
func (cs *Containers) Prune(ctx context.Context, filters core.Filters) (core.Pruned, error) {
	if err := filter.Keys(filters, []string{"label", "label!", "until"}); err != nil {
		return core.Pruned{}, err
	}
	match, err := filter.Prune(filters)
	if err != nil {
		return core.Pruned{}, err
	}
	var pruned core.Pruned
	for _, b := range cs.table.all() {
		c := b.View()
		if c.State.Running() || c.State.Status == core.StatusRestarting || !match(c.Created, c.Config.Labels) {
			continue
		}
		size, _, err := cs.ports.Layers.Usage(ctx, c.ID)
		if err != nil {
			size = 0 // the figure is a courtesy
		}
		if err := cs.Remove(ctx, string(c.ID), core.RemoveOptions{}); err != nil {
			cs.log.Warn("prune a container", "container", c.ID, "error", err)
			continue
		}
		pruned.Deleted = append(pruned.Deleted, string(c.ID))
		pruned.Reclaimed += uint64(max(0, size))
	}
	cs.events.Publish(pruned.Event("container"))
	return pruned, nil
}
