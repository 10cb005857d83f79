package object

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/filter"
)

// Volumes is the noun volume: the data is the organ's, who may delete it is decided here.
type Volumes struct {
	mu         sync.Mutex // a volume is not removed between the check of its users and its deletion
	port       VolumePort
	events     Publisher
	containers Containers

	making  sync.Mutex                    // guards pending; taken last
	pending map[core.ContainerID][]string // volumes of containers that are being made
}

// NewVolumes makes the noun.
func NewVolumes(port VolumePort, containers Containers, events Publisher) *Volumes {
	return &Volumes{port: port, containers: containers, events: events, pending: map[core.ContainerID][]string{}}
}

// users lists the containers that mount a volume, running or not.
func (t *Volumes) users(name string) []core.ContainerID {
	var users []core.ContainerID
	t.making.Lock()
	for id, names := range t.pending {
		if slices.Contains(names, name) {
			users = append(users, id)
		}
	}
	t.making.Unlock()
	for _, c := range t.containers.Views() {
		if mountsVolume(c, name) && !slices.Contains(users, c.ID) {
			users = append(users, c.ID)
		}
	}
	return users
}

// Usage measures every volume.
func (t *Volumes) Usage(ctx context.Context) ([]core.VolumeUsage, error) {
	volumes, err := t.port.List(ctx)
	if err != nil {
		return nil, err
	}
	usage := make([]core.VolumeUsage, len(volumes))
	for i, v := range volumes {
		size, err := t.port.Size(ctx, v.Name)
		if err != nil {
			size = -1 // not known: it is being written or removed
		}
		usage[i] = core.VolumeUsage{Volume: v, RefCount: int64(len(t.users(v.Name))), Size: size}
	}
	return usage, nil
}

func (t *Volumes) publish(v core.Volume, action string) {
	t.events.Publish(core.Event{Type: "volume", Action: action, ID: v.Name, Attributes: map[string]string{"driver": v.Driver}})
}

// Ensure gives the volume, and makes it when it is not there. Until Settle is called for the container it is in use.
func (t *Volumes) Ensure(ctx context.Context, volume core.Volume, with core.ContainerID) (core.Volume, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	made, err := t.ensure(ctx, volume)
	if err == nil {
		t.making.Lock()
		t.pending[with] = append(t.pending[with], made.Name)
		t.making.Unlock()
	}
	return made, err
}

// Settle says that a container is made and tells itself what it uses, or that it is not made.
func (t *Volumes) Settle(with core.ContainerID) {
	t.making.Lock()
	defer t.making.Unlock()
	delete(t.pending, with)
}

func (t *Volumes) ensure(ctx context.Context, volume core.Volume) (core.Volume, error) {
	_, err := t.port.Lookup(ctx, volume.Name)
	isNew := errdefs.IsNotFound(err)
	made, err := t.port.Create(ctx, volume)
	if err == nil && isNew {
		t.publish(made, "create")
	}
	return made, err
}

// Create makes a volume; one without a name is anonymous.
func (t *Volumes) Create(ctx context.Context, volume core.Volume) (core.Volume, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ensure(ctx, volume)
}

// Inspect finds a volume.
func (t *Volumes) Inspect(ctx context.Context, name string) (core.Volume, error) {
	return t.port.Lookup(ctx, name)
}

// List gives the volumes that the filters select.
func (t *Volumes) List(ctx context.Context, filters core.Filters) ([]core.Volume, error) {
	if err := filter.Keys(filters, []string{"dangling", "driver", "label", "name"}); err != nil {
		return nil, err
	}
	if _, err := filter.Flag(filters, "dangling", false); err != nil {
		return nil, core.Invalid("invalid filter 'dangling=%s'", filters["dangling"])
	}
	volumes, err := t.port.List(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(volumes, func(v core.Volume) bool {
		for key, values := range filters {
			if !t.holds(v, key, values) {
				return true
			}
		}
		return false
	}), nil
}

func (t *Volumes) holds(v core.Volume, key string, values []string) bool {
	if key == "label" {
		return !slices.ContainsFunc(values, func(condition string) bool { return !filter.Label(v.Labels, condition) })
	}
	return slices.ContainsFunc(values, func(value string) bool {
		switch key {
		case "name":
			return strings.Contains(v.Name, value)
		case "driver":
			return v.Driver == value
		default: // dangling
			return (len(t.users(v.Name)) == 0) == (value == "true" || value == "1")
		}
	})
}

// Remove deletes a volume that no container uses, and one that has snapshots by force only. With force a volume that is
// not there is no error.
func (t *Volumes) Remove(ctx context.Context, name string, force bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, err := t.port.Lookup(ctx, name)
	if err != nil {
		if force && errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
	if err := t.unused("remove", name); err != nil {
		return err
	}
	if err := t.port.Remove(ctx, name, force); err != nil {
		return err
	}
	t.publish(v, "destroy")
	return nil
}

// unused refuses what can't be done to a volume that containers refer to. The caller holds the lock.
func (t *Volumes) unused(verb, name string) error {
	users := t.users(name)
	if len(users) == 0 {
		return nil
	}
	ids := make([]string, len(users))
	for i, id := range users {
		ids[i] = string(id)
	}
	return core.Conflict("%s %s: volume is in use - [%s]", verb, name, strings.Join(ids, ", "))
}

// Drop deletes an anonymous volume together with its container, unless another container uses it too, or somebody has
// made snapshots of it. One that is gone is no error.
func (t *Volumes) Drop(ctx context.Context, name string, with core.ContainerID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.ContainsFunc(t.users(name), func(user core.ContainerID) bool { return user != with }) {
		return nil
	}
	v, err := t.port.Lookup(ctx, name)
	if err == nil {
		err = t.port.Remove(ctx, name, false)
	}
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	if err == nil {
		t.publish(v, "destroy")
	}
	return err
}

// Prune removes the anonymous volumes that no container uses; with all=true the named ones too.
func (t *Volumes) Prune(ctx context.Context, filters core.Filters) (core.Pruned, error) {
	if err := filter.Keys(filters, []string{"all", "label", "label!"}); err != nil {
		return core.Pruned{}, err
	}
	all, err := filter.Flag(filters, "all", false)
	if err != nil {
		return core.Pruned{}, err
	}
	match, err := filter.Prune(filters)
	if err != nil {
		return core.Pruned{}, err
	}
	volumes, err := t.port.List(ctx)
	if err != nil {
		return core.Pruned{}, err
	}
	var pruned core.Pruned
	for _, v := range volumes {
		if !all && !v.Anonymous || len(t.users(v.Name)) > 0 || !match(v.Created, v.Labels) {
			continue
		}
		size, err := t.port.Size(ctx, v.Name)
		if err != nil {
			size = 0 // the figure is a courtesy
		}
		if err := t.Remove(ctx, v.Name, false); err != nil {
			if errdefs.IsConflict(err) {
				continue // taken meanwhile, or it has snapshots
			}
			return pruned, err
		}
		pruned.Deleted = append(pruned.Deleted, v.Name)
		pruned.Reclaimed += uint64(size)
	}
	t.events.Publish(pruned.Event("volume"))
	return pruned, nil
}
