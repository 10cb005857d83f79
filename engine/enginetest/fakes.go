// Package enginetest has organs made of memory, so that the engine's rules can be tried without a kernel.
package enginetest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/berth-engine/berth/core"
)

// Calls notes what was asked of the organs, in order: "layer create web", "sandbox open web".
type Calls struct {
	mu   sync.Mutex
	list []string
	fail map[string]error
}

// Note adds a call and gives the error that Fail planted for it.
func (c *Calls) Note(words ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := ""
	for i, w := range words {
		if i > 0 {
			call += " "
		}
		call += w
	}
	c.list = append(c.list, call)
	return c.fail[call]
}

// Fail makes a call fail from now on; a nil error makes it work again.
func (c *Calls) Fail(call string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail == nil {
		c.fail = map[string]error{}
	}
	c.fail[call] = err
}

// List is what was asked so far.
func (c *Calls) List() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// Images knows the images that it is given, by name.
type Images map[string]core.Image

// Lookup finds an image by name or ID.
func (i Images) Lookup(_ context.Context, ref string, _ core.Platform) (core.Image, error) {
	for name, image := range i {
		if name == ref || string(image.ID) == ref {
			return image, nil
		}
	}
	return core.Image{}, core.NoSuchImage(ref)
}

// Delete forgets an image.
func (i Images) Delete(_ context.Context, ref string, _, _ bool) ([]core.ImageDelete, error) {
	delete(i, ref)
	return []core.ImageDelete{{Untagged: ref}}, nil
}

// List gives all images.
func (i Images) List(context.Context, core.ImageListOptions) ([]core.ImageUsage, error) {
	var list []core.ImageUsage
	for _, image := range i {
		list = append(list, core.ImageUsage{Image: image})
	}
	return list, nil
}

// History is empty.
func (i Images) History(context.Context, string, core.Platform) ([]core.ImageHistory, error) {
	return nil, nil
}

// Tag gives an image another name.
func (i Images) Tag(_ context.Context, source, target string) error {
	i[target] = i[source]
	return nil
}

// Prune does nothing.
func (i Images) Prune(context.Context, core.Filters, func(core.ImageID) bool) (core.Pruned, error) {
	return core.Pruned{}, nil
}

// Usage is all images and no bytes.
func (i Images) Usage(ctx context.Context) ([]core.ImageUsage, int64, error) {
	list, err := i.List(ctx, core.ImageListOptions{})
	return list, 0, err
}

// Layers keeps the names of writable layers.
type Layers struct {
	Calls *Calls
	mu    sync.Mutex
	ids   map[core.ContainerID]bool
}

// Create notes a layer.
func (l *Layers) Create(_ context.Context, id core.ContainerID, _ core.Image) error {
	l.mu.Lock()
	if l.ids == nil {
		l.ids = map[core.ContainerID]bool{}
	}
	l.ids[id] = true
	l.mu.Unlock()
	return l.Calls.Note("layer create")
}

// Limit does nothing.
func (l *Layers) Limit(context.Context, core.ContainerID, int64) error {
	return l.Calls.Note("layer limit")
}

// Mounts is one overlay.
func (l *Layers) Mounts(context.Context, core.ContainerID) ([]core.FSMount, error) {
	return []core.FSMount{{Type: "overlay", Source: "overlay"}}, l.Calls.Note("layer mounts")
}

// Remove forgets a layer.
func (l *Layers) Remove(_ context.Context, id core.ContainerID) error {
	l.mu.Lock()
	delete(l.ids, id)
	l.mu.Unlock()
	return l.Calls.Note("layer remove")
}

// Usage is 1 and 2 bytes.
func (l *Layers) Usage(context.Context, core.ContainerID) (rw, root int64, err error) {
	return 1, 2, nil
}

// Changes is one file.
func (l *Layers) Changes(context.Context, core.ContainerID) ([]core.Change, error) {
	return []core.Change{{Path: "/new", Kind: core.ChangeAdd}}, l.Calls.Note("layer changes")
}

// List names the layers.
func (l *Layers) List(context.Context) ([]core.ContainerID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []core.ContainerID
	for id := range l.ids {
		ids = append(ids, id)
	}
	return ids, nil
}

// Runtime runs nothing: a process lives until Signal with SIGKILL or SIGTERM, or End.
type Runtime struct {
	Calls *Calls
	// OnExit is told of every end.
	OnExit func(core.Exit)
	// Survivors is the answer to Adopt.
	Survivors []core.Adopted
	// Deaf containers ignore every signal but SIGKILL.
	Deaf bool

	mu   sync.Mutex
	pids map[core.ContainerID]int
	last int
	runs map[core.ContainerID]core.Container
}

// Launched is the container as its last start was asked for.
func (r *Runtime) Launched(id core.ContainerID) core.Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs[id]
}

// Start makes up a process.
func (r *Runtime) Start(_ context.Context, launch core.Launch) (core.Started, error) {
	if err := r.Calls.Note("runtime start"); err != nil {
		return core.Started{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pids == nil {
		r.pids = map[core.ContainerID]int{}
	}
	if r.runs == nil {
		r.runs = map[core.ContainerID]core.Container{}
	}
	r.runs[launch.Container.ID] = *launch.Container
	r.last++
	r.pids[launch.Container.ID] = r.last
	return core.Started{PID: r.last, At: time.Now()}, nil
}

// Exec makes up a process that never ends by itself.
func (r *Runtime) Exec(context.Context, *core.Container, *core.Exec, *core.Streams) (core.Started, error) {
	return core.Started{PID: 1, At: time.Now()}, r.Calls.Note("runtime exec")
}

// KillExec does nothing.
func (r *Runtime) KillExec(context.Context, core.ContainerID, core.ExecID) error { return nil }

// End lets a process end with an exit code.
func (r *Runtime) End(id core.ContainerID, code int) {
	r.mu.Lock()
	_, runs := r.pids[id]
	delete(r.pids, id)
	r.mu.Unlock()
	if runs {
		r.OnExit(core.Exit{Container: id, Status: core.ExitStatus{Code: code, At: time.Now()}})
	}
}

// Signal ends a process on SIGTERM and SIGKILL.
func (r *Runtime) Signal(_ context.Context, id core.ContainerID, signal syscall.Signal) error {
	err := r.Calls.Note("runtime signal", strconv.Itoa(int(signal)))
	if signal == syscall.SIGKILL || signal == syscall.SIGTERM && !r.Deaf {
		r.End(id, 128+int(signal))
	}
	return err
}

// Pause does nothing.
func (r *Runtime) Pause(context.Context, core.ContainerID) error {
	return r.Calls.Note("runtime pause")
}

// Resume does nothing.
func (r *Runtime) Resume(context.Context, core.ContainerID) error {
	return r.Calls.Note("runtime resume")
}

// Update does nothing.
func (r *Runtime) Update(context.Context, core.ContainerID, core.Resources) error {
	return r.Calls.Note("runtime update")
}

// Delete does nothing.
func (r *Runtime) Delete(context.Context, core.ContainerID) error {
	return r.Calls.Note("runtime delete")
}

// Adopt gives the survivors.
func (r *Runtime) Adopt(context.Context) ([]core.Adopted, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pids = map[core.ContainerID]int{}
	for _, s := range r.Survivors {
		r.pids[s.Container] = s.PID
	}
	return r.Survivors, nil
}

// Attach does nothing.
func (r *Runtime) Attach(_ context.Context, _ core.ContainerID, streams core.Streams) (<-chan struct{}, error) {
	done := make(chan struct{})
	close(done)
	return done, streams.Conn.Close()
}

// Resize does nothing.
func (r *Runtime) Resize(context.Context, core.ContainerID, core.ExecID, uint, uint) error {
	return nil
}

// Stats is empty.
func (r *Runtime) Stats(context.Context, core.ContainerID) (core.Stats, error) {
	return core.Stats{Read: time.Now()}, nil
}

// Processes is the one process.
func (r *Runtime) Processes(_ context.Context, id core.ContainerID, _ []string) ([]string, [][]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return []string{"PID"}, [][]string{{strconv.Itoa(r.pids[id])}}, nil
}

// Sandboxes opens nothing.
type Sandboxes struct {
	Calls    *Calls
	Restored []core.Sandbox
}

// Open gives each endpoint back as it came.
func (s *Sandboxes) Open(_ context.Context, sandbox core.Sandbox) (core.Joined, error) {
	return core.Joined{Endpoints: sandbox.Endpoints}, s.Calls.Note("sandbox open")
}

// Close does nothing.
func (s *Sandboxes) Close(context.Context, core.ContainerID) error {
	return s.Calls.Note("sandbox close")
}

// Connect gives the endpoint back.
func (s *Sandboxes) Connect(_ context.Context, _ core.ContainerID, _ string, endpoint core.Endpoint) (core.Endpoint, []core.PublishedPort, error) {
	return endpoint, nil, s.Calls.Note("sandbox connect")
}

// Disconnect does nothing.
func (s *Sandboxes) Disconnect(context.Context, core.ContainerID, string) ([]core.PublishedPort, error) {
	return nil, s.Calls.Note("sandbox disconnect")
}

// Publish holds the ports that are named by number.
func (s *Sandboxes) Publish(_ context.Context, sandbox core.Sandbox) ([]core.PublishedPort, error) {
	var held []core.PublishedPort
	for port, bindings := range sandbox.Ports {
		for _, b := range bindings {
			number, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil {
				return nil, err
			}
			held = append(held, core.PublishedPort{Port: port, HostIP: b.HostIP, HostPort: uint16(number)})
		}
	}
	return held, s.Calls.Note("sandbox publish")
}

// Rename does nothing.
func (s *Sandboxes) Rename(context.Context, core.ContainerID, string) error {
	return s.Calls.Note("sandbox rename")
}

// Relink does nothing.
func (s *Sandboxes) Relink(context.Context, core.ContainerID, []string) error {
	return s.Calls.Note("sandbox relink")
}

// Restore keeps what it is given.
func (s *Sandboxes) Restore(_ context.Context, sandboxes []core.Sandbox) error {
	s.Restored = sandboxes
	return s.Calls.Note("sandboxes restore")
}

// Records keeps containers in memory.
type Records struct {
	Calls *Calls
	mu    sync.Mutex
	all   map[core.ContainerID]core.Container
}

// Save keeps a copy.
func (r *Records) Save(_ context.Context, c *core.Container, _ bool) error {
	if err := r.Calls.Note("record save"); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[core.ContainerID]core.Container{}
	}
	r.all[c.ID] = *c
	return nil
}

// Delete forgets.
func (r *Records) Delete(_ context.Context, id core.ContainerID) error {
	r.mu.Lock()
	delete(r.all, id)
	r.mu.Unlock()
	return r.Calls.Note("record delete")
}

// All gives copies.
func (r *Records) All(context.Context) ([]*core.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*core.Container
	for _, c := range r.all {
		all = append(all, &c)
	}
	return all, nil
}

// Volumes keeps volumes in memory.
type Volumes struct {
	Calls *Calls
	mu    sync.Mutex
	all   map[string]core.Volume
}

// Create keeps a volume.
func (v *Volumes) Create(_ context.Context, volume core.Volume) (core.Volume, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all == nil {
		v.all = map[string]core.Volume{}
	}
	if old, ok := v.all[volume.Name]; ok {
		return old, nil
	}
	v.all[volume.Name] = volume
	return volume, v.Calls.Note("volume create")
}

// Lookup finds a volume.
func (v *Volumes) Lookup(_ context.Context, name string) (core.Volume, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	volume, ok := v.all[name]
	if !ok {
		return volume, core.NoSuchVolume(name)
	}
	return volume, nil
}

// List gives all.
func (v *Volumes) List(context.Context) ([]core.Volume, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []core.Volume
	for _, volume := range v.all {
		list = append(list, volume)
	}
	return list, nil
}

// Remove forgets a volume.
func (v *Volumes) Remove(_ context.Context, name string, _ bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.all, name)
	return v.Calls.Note("volume remove")
}

// Size is one byte.
func (v *Volumes) Size(context.Context, string) (int64, error) { return 1, nil }

// Mount gives a path.
func (v *Volumes) Mount(_ context.Context, name string, _ core.ContainerID) (string, error) {
	return "/volumes/" + name, v.Calls.Note("volume mount")
}

// Unmount does nothing.
func (v *Volumes) Unmount(context.Context, string, core.ContainerID) error {
	return v.Calls.Note("volume unmount")
}

// Fill does nothing.
func (v *Volumes) Fill(context.Context, string, []core.FSMount, string) error {
	return v.Calls.Note("volume fill")
}

// Propagates takes everything.
func (v *Volumes) Propagates(context.Context, string, string) error { return nil }

// Sweep does nothing.
func (v *Volumes) Sweep(context.Context) error { return nil }

// Source finds everything but /missing.
func (v *Volumes) Source(_ context.Context, path string, create bool) error {
	if path == "/missing" && !create {
		return core.Invalid("invalid mount config for type \"bind\": bind source path does not exist: %s", path)
	}
	return nil
}

// Logs are empty.
type Logs struct{}

// Read is at its end at once.
func (Logs) Read(context.Context, string, core.LogOptions, <-chan struct{}) (core.LogReader, error) {
	return emptyLog{}, nil
}

// Remove does nothing.
func (Logs) Remove(context.Context, string) error { return nil }

type emptyLog struct{}

func (emptyLog) Next() (core.LogLine, error) { return core.LogLine{}, io.EOF }
func (emptyLog) Buffered() bool              { return false }
func (emptyLog) Close() error                { return nil }

// Journal keeps events in memory.
type Journal struct {
	mu  sync.Mutex
	all []core.Event
}

// Append keeps an event.
func (j *Journal) Append(event core.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, event)
}

// Since gives the events from a moment on.
func (j *Journal) Since(moment time.Time) ([]core.Event, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []core.Event
	for _, e := range j.all {
		if !e.Time.Before(moment) {
			list = append(list, e)
		}
	}
	return list, nil
}

// ErrPlanted is a failure that a test makes.
var ErrPlanted = errors.New("planted by the test")

// Networks knows the three that are always there.
type Networks struct{}

// Create gives the network an ID.
func (n Networks) Create(_ context.Context, network core.Network) (core.Network, error) {
	network.ID = core.NetworkID("id-of-" + network.Name)
	return network, nil
}

// Remove does nothing.
func (n Networks) Remove(context.Context, core.NetworkID) error { return nil }

// Lookup makes a network of any name but "missing".
func (n Networks) Lookup(_ context.Context, ref string) (core.Network, error) {
	if ref == "missing" {
		return core.Network{}, core.NoSuchNetwork(ref)
	}
	return core.Network{ID: core.NetworkID("id-of-" + ref), Name: ref, Driver: "bridge"}, nil
}

// List gives the default network.
func (n Networks) List(context.Context) ([]core.Network, error) {
	return []core.Network{{ID: "id-of-bridge", Name: core.NetworkBridge, Driver: "bridge"}}, nil
}

// Use counts nothing.
func (n Networks) Use(context.Context, core.NetworkID) ([]core.SubnetUse, error) { return nil, nil }

// Update changes nothing.
func (n Networks) Update(ctx context.Context, id core.NetworkID, _ core.NetworkUpdate) (core.Network, error) {
	return n.Lookup(ctx, string(id))
}

// Warnings has nothing to say.
func (n Networks) Warnings() []string { return nil }

// Attachments is empty.
func (n Networks) Attachments(context.Context, core.NetworkID) ([]core.Attachment, error) {
	return nil, nil
}

// Cache is empty.
type Cache struct{}

// Usage is nothing.
func (Cache) Usage(context.Context) ([]core.BuildCacheRecord, error) { return nil, nil }
