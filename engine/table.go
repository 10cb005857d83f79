package engine

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/berth-engine/berth/core"
)

// table holds the containers of this daemon by ID and by name. It is the only place where names are reserved.
type table struct {
	mu    sync.RWMutex // guards both maps; taken before a box's mu, and never while calling a port
	ids   map[core.ContainerID]*box
	names map[string]core.ContainerID
	gone  []ending // of containers that removed themselves, the oldest first
}

// ending is how a container ended that is not there any more.
type ending struct {
	id   core.ContainerID
	name string
	code int
}

// keptEndings is how many of them are kept, for whoever asks a moment too late.
const keptEndings = 100

// remember keeps how a container ended that removes itself.
func (t *table) remember(c *core.Container) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.gone) == keptEndings {
		t.gone = slices.Delete(t.gone, 0, 1)
	}
	t.gone = append(t.gone, ending{c.ID, c.Name, c.State.ExitCode})
}

// recall finds the newest such end by ID or name.
func (t *table) recall(ref string) (code int, found bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, e := range slices.Backward(t.gone) {
		if string(e.id) == ref || e.name == strings.TrimPrefix(ref, "/") {
			return e.code, true
		}
	}
	return 0, false
}

func newTable() *table {
	return &table{ids: map[core.ContainerID]*box{}, names: map[string]core.ContainerID{}}
}

// box is one container with its locks.
//
// op serialises the verbs that change what exists (start, remove, rename, connect, what follows an exit): it is held
// for as long as the verb works and is taken before mu. mu guards the fields and is held for moments only.
type box struct {
	id core.ContainerID
	op lock
	// signalling is held from a signal to its event, so that this comes before the events of the end.
	signalling sync.Mutex

	mu      sync.Mutex
	c       *core.Container // a value: never changed in place, replaced by Change
	waiters []waiter
	ended   chan struct{} // closed when the running process ended; nil while none runs
	retry   retry         // the restart policy's memory
	gone    bool          // removed: not in the table any more
}

// lock is a mutex that can be waited for with a context.
type lock chan struct{}

func (l lock) take(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lock) release() { <-l }

func newBox(c *core.Container) *box {
	return &box{id: c.ID, op: make(lock, 1), c: c}
}

// settled waits for a start that is under way. What it starts can be seen from outside, by its first output, before it
// is said to run: whoever then sends a signal must not be told that nothing runs.
func (b *box) settled(ctx context.Context) error {
	if _, err := b.end(); err == nil {
		return nil
	}
	if err := b.op.take(ctx); err != nil {
		return err
	}
	b.op.release()
	return nil
}

// View is the container as it is now. The value may be kept and read, never written.
func (b *box) View() *core.Container {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.c
}

// Change replaces the container by a copy that edit has worked on and gives the new value. Maps and slices of the
// copy are shared with the old value: edit replaces them, it does not write into them.
func (b *box) Change(edit func(c *core.Container)) *core.Container {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := *b.c
	edit(&next)
	b.c = &next
	return b.c
}

// end is the channel that closes when the running process has ended.
func (b *box) end() (<-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended == nil {
		return nil, core.NotRunning(b.id)
	}
	return b.ended, nil
}

// ID names the container.
func (b *box) ID() core.ContainerID { return b.id }

// add puts a new container into the table and reserves its name.
func (t *table) add(b *box) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if by, taken := t.names[b.c.Name]; taken {
		return core.NameInUse(b.c.Name, by)
	}
	t.names[b.c.Name] = b.id
	t.ids[b.id] = b
	return nil
}

// drop takes a container and its name out of the table.
func (t *table) drop(b *box) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ids, b.id)
	if name := b.View().Name; t.names[name] == b.id {
		delete(t.names, name)
	}
	b.mu.Lock()
	b.gone = true
	b.mu.Unlock()
}

// rename moves the reservation from the container's name to another.
func (t *table) rename(b *box, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if by, taken := t.names[name]; taken {
		return core.NameInUse(name, by)
	}
	delete(t.names, b.View().Name)
	t.names[name] = b.id
	b.Change(func(c *core.Container) { c.Name = name })
	return nil
}

// find looks a container up by its whole ID, its name (with or without a slash in front) or a prefix of its ID,
// in this order.
func (t *table) find(ref string) (*box, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if b := t.ids[core.ContainerID(ref)]; b != nil {
		return b, nil
	}
	if id, ok := t.names[strings.TrimPrefix(ref, "/")]; ok {
		return t.ids[id], nil
	}
	var found *box
	if ref != "" {
		for id, b := range t.ids {
			if strings.HasPrefix(string(id), ref) {
				if found != nil {
					return nil, core.Invalid("multiple IDs found with provided prefix: %s", ref)
				}
				found = b
			}
		}
	}
	if found == nil {
		return nil, core.NoSuchContainer(ref)
	}
	return found, nil
}

// view is find for who only wants to look.
func (t *table) view(ref string) (*core.Container, error) {
	b, err := t.find(ref)
	if err != nil {
		return nil, err
	}
	return b.View(), nil
}

func (t *table) get(id core.ContainerID) *box {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.ids[id]
}

// all lists the containers, newest first.
func (t *table) all() []*box {
	t.mu.RLock()
	list := make([]*box, 0, len(t.ids))
	for _, b := range t.ids {
		list = append(list, b)
	}
	t.mu.RUnlock()
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i].View(), list[j].View()
		if a.Created.Equal(b.Created) {
			return a.ID < b.ID
		}
		return a.Created.After(b.Created)
	})
	return list
}

// views lists the containers as values, newest first.
func (t *table) views() []*core.Container {
	boxes := t.all()
	list := make([]*core.Container, len(boxes))
	for i, b := range boxes {
		list[i] = b.View()
	}
	return list
}
