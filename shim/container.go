//go:build cgo

package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	// The rules for devices on cgroup v1 and v2 are a package of their own that has to be linked in.
	_ "github.com/opencontainers/cgroups/devices"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/atomicfile"
	"github.com/berth-engine/berth/linux/cgroup"
	"github.com/berth-engine/berth/linux/mount"
	"github.com/berth-engine/berth/linux/tree"
	"github.com/berth-engine/berth/shim/wire"
)

// container is one of the few containers of this shim.
type container struct {
	id     core.ContainerID
	dir    string
	spec   *specs.Spec
	who    wire.Who
	cache  string
	logger *slog.Logger
	shared *shared
	// report sends what happens to the daemon, if there is one at the moment.
	report func(m *wire.Message) bool

	hostMounts bool
	home       string            // of the first process's user
	paths      map[string]string // of its cgroups
	ready      chan struct{}     // closed when the start is over, well or not
	destroyed  chan struct{}     // closed when cgroup and libcontainer's state are gone

	// starting is held while a process is started or limits change: libcontainer's state of a container is for one at a
	// time.
	starting sync.Mutex

	mu     sync.Mutex // guards what follows
	run    runner     // nil: there is no process
	first  *process
	paused bool
	exit   *wire.Exit
	more   processes // has its own lock
}

func (c *container) rootfs() string { return filepath.Join(c.dir, "rootfs") }

// start makes the root file system, the namespaces and the cgroup and runs the first process. An error leaves
// nothing behind but the folder and the mount, which cleanup removes.
func (c *container) start(m *wire.Start, netns *os.File, clients []attachment) (err error) {
	c.starting.Lock()
	defer c.starting.Unlock()
	if err := c.configure(m, netns); err != nil {
		closeClients(clients)
		return err
	}
	p := newProcess("", c.spec.Process, true)
	p.lib.UID, p.lib.GID = int(c.spec.Process.User.UID), int(c.spec.Process.User.GID)
	p.home = c.home
	if err := p.open(m.Streams, m.Log, c.streamsFor("")); err != nil {
		closeClients(clients)
		return err
	}
	if !m.Streams.Terminal {
		p.connect(clients)
	}
	run, err := c.runner(m.Program)
	if err != nil {
		return errors.Join(err, p.abandon())
	}
	p.orphans, p.at = c.shared.orphans, time.Now()
	if err := run.Run(p); err != nil {
		if m.Streams.Terminal {
			closeClients(clients)
		}
		// The reason of the failure is the user's; what can't be cleaned up is ours to log.
		for _, undo := range []error{p.abandon(), run.Destroy()} {
			if undo != nil {
				c.logger.Error("undo of a start", "container", c.id, "error", undo)
			}
		}
		return err
	}
	return c.started(run, p, m, clients)
}

// started keeps what is running and begins to watch it.
func (c *container) started(run runner, p *process, m *wire.Start, clients []attachment) error {
	err := p.running(m.Streams.OpenStdin)
	if m.Streams.Terminal {
		p.connect(clients)
	}
	c.mu.Lock()
	c.run, c.first = run, p
	c.mu.Unlock()
	var perr error
	if c.paths, perr = run.Paths(); perr != nil && !errors.Is(perr, os.ErrNotExist) {
		err = errors.Join(err, perr)
	}
	if err = errors.Join(err, c.keepState()); err != nil {
		// It runs, but nobody could look after it.
		c.mu.Lock()
		c.run = nil
		c.mu.Unlock()
		err = errors.Join(err, run.Signal(unix.SIGKILL))
		_, werr := p.wait()
		return errors.Join(err, werr, p.streams.close(), run.Destroy())
	}
	return nil
}

// keepState writes what a daemon needs to clean up when this shim is killed.
func (c *container) keepState() error {
	data, err := json.Marshal(c.state())
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(c.dir, wire.StateName), data, 0o600, false)
}

// configure mounts the root file system, finds the user and completes the spec.
func (c *container) configure(m *wire.Start, netns *os.File) error {
	root := c.rootfs()
	if err := os.MkdirAll(root, 0o711); err != nil {
		return err
	}
	if err := mount.All(m.Root, root); err != nil {
		return err
	}
	c.hostMounts = m.HostMounts
	if err := c.mountParts(m.Parts); err != nil {
		return err
	}
	spec := c.spec
	user, home, err := lookup(root, m.Who)
	if err != nil {
		return err
	}
	user.Umask = spec.Process.User.Umask
	for _, gid := range spec.Process.User.AdditionalGids { // of CDI devices
		if !slices.Contains(user.AdditionalGids, gid) {
			user.AdditionalGids = append(user.AdditionalGids, gid)
		}
	}
	spec.Process.User, c.home = user, home
	spec.Root.Path = root
	if netns != nil {
		path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fdOf(netns))
		setNamespace(spec, specs.NetworkNamespace, path)
	}
	if m.ShareIPC != 0 {
		if err := c.shareIPC(m.ShareIPC); err != nil {
			return err
		}
	}
	if m.Init {
		c.addInit()
	}
	return nil
}

// mountParts mounts images, and the parts of images and volumes, where the spec's mounts expect them. The place is a
// folder of ours, which no container can reach; this shim's namespace is the only one that sees them.
func (c *container) mountParts(parts []wire.Part) error {
	if len(parts) == 0 {
		return nil
	}
	dir := filepath.Join(c.dir, wire.PartsName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, part := range parts {
		target, source := filepath.Join(dir, strconv.Itoa(i)), part.Source
		if len(part.Below) > 0 {
			source = target
			if part.Subpath != "" {
				source = target + ".image"
			}
			if err := os.Mkdir(source, 0o700); err != nil {
				return err
			}
			if err := mount.All(tree.ReadOnly(part.Below), source); err != nil {
				return err
			}
		}
		if part.Subpath == "" {
			continue
		}
		if err := mount.Part(source, part.Subpath, target); err != nil {
			return invalid{err}
		}
	}
	return nil
}

// shareIPC shows another container's /dev/shm in this one's.
func (c *container) shareIPC(pid int) error {
	shm := filepath.Join(c.dir, "shm")
	if err := os.MkdirAll(shm, 0o711); err != nil {
		return err
	}
	if err := mount.From(pid, "/dev/shm", shm); err != nil {
		return err
	}
	c.spec.Mounts = append(c.spec.Mounts, specs.Mount{
		Type: "bind", Source: shm, Destination: "/dev/shm", Options: []string{"rbind", "rprivate", "nosuid", "noexec", "nodev"},
	})
	return nil
}

func setNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType, path string) {
	for i := range spec.Linux.Namespaces {
		if spec.Linux.Namespaces[i].Type == kind {
			spec.Linux.Namespaces[i].Path = path
			return
		}
	}
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
}

func (c *container) streamsFor(id core.ExecID) *streams {
	return &streams{logger: c.logger, tell: func(number uint64) {
		c.report(&wire.Message{Container: c.id, Process: id, Detached: &wire.Detached{Number: number}})
	}}
}

// watch waits for the end of the first process, records it, tells the daemon and takes the container apart.
func (c *container) watch(p *process) {
	exit, err := p.wait()
	if err = errors.Join(err, p.streams.close()); err != nil {
		c.logger.Error("wait", "container", c.id, "error", err)
	}
	kills, err := cgroup.OOMKills(c.paths)
	if err != nil {
		c.logger.Warn("count of OOM kills", "container", c.id, "error", err)
	}
	exit.OOMKilled = kills > 0
	data, err := json.Marshal(exit)
	if err == nil {
		err = atomicfile.WriteFile(filepath.Join(c.dir, wire.ExitName), data, 0o600, false)
	}
	if err != nil {
		c.logger.Error("exit record", "container", c.id, "error", err)
	}
	c.mu.Lock()
	c.exit = &exit
	run := c.run
	c.mu.Unlock()
	c.report(&wire.Message{Container: c.id, Exit: &exit})
	if err := run.Destroy(); err != nil {
		c.logger.Error("destroy", "container", c.id, "error", err)
	}
	close(c.destroyed)
}

// exec runs a further process.
func (c *container) exec(id core.ExecID, m *wire.Exec, clients []attachment) (*process, error) {
	c.starting.Lock()
	defer c.starting.Unlock()
	c.mu.Lock()
	run, over := c.run, c.exit != nil
	c.mu.Unlock()
	if run == nil || over {
		closeClients(clients)
		return nil, errGone
	}
	user, home, err := lookup(c.containerRoot(), m.Who)
	if err != nil {
		closeClients(clients)
		return nil, err
	}
	m.Process.User = user
	p := newProcess(id, m.Process, false)
	p.home = home
	if err := p.open(m.Streams, nil, c.streamsFor(id)); err != nil {
		closeClients(clients)
		return nil, err
	}
	if !m.Streams.Terminal {
		p.connect(clients)
	}
	p.orphans, p.at = c.shared.orphans, time.Now()
	if err := run.Run(p); err != nil {
		if m.Streams.Terminal {
			closeClients(clients)
		}
		if undo := p.abandon(); undo != nil {
			c.logger.Error("undo of an exec", "container", c.id, "error", undo)
		}
		return nil, err
	}
	err = p.running(m.Streams.OpenStdin)
	if m.Streams.Terminal {
		p.connect(clients)
	}
	c.more.put(p)
	if err != nil {
		return p, errors.Join(err, unix.Kill(p.pid, unix.SIGKILL))
	}
	return p, nil
}

// containerRoot is the root as the first process sees it, with everything that is mounted on it.
func (c *container) containerRoot() string { return fmt.Sprintf("/proc/%d/root", c.first.pid) }

// watchMore waits for the end of a further process and tells the daemon.
func (c *container) watchMore(p *process) {
	exit, err := p.wait()
	if err != nil {
		c.logger.Error("wait", "container", c.id, "exec", p.id, "error", err)
	}
	if c.report(&wire.Message{Container: c.id, Process: p.id, Exit: &exit}) {
		p.awaitNoted()
	}
	c.more.remove(p)
	if err := p.streams.close(); err != nil {
		c.logger.Error("close streams", "container", c.id, "exec", p.id, "error", err)
	}
}

// signal sends a signal to a process.
func (c *container) signal(id core.ExecID, number int) error {
	if id != "" {
		p := c.more.get(id)
		if p == nil {
			return errGone
		}
		return gone(p.handle.Signal(unix.Signal(number)))
	}
	run, err := c.running()
	if err != nil {
		return err
	}
	return run.Signal(unix.Signal(number))
}

// running gives the container while its first process runs.
func (c *container) running() (runner, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run == nil || c.exit != nil {
		return nil, errGone
	}
	return c.run, nil
}

// freeze stops all processes, or lets them go on.
func (c *container) freeze(frozen bool) error {
	run, err := c.running()
	if err != nil {
		return err
	}
	if frozen {
		err = run.Pause()
	} else {
		err = run.Resume()
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = frozen
	return nil
}

// update changes limits; nil fields stay as they are.
func (c *container) update(r *specs.LinuxResources) error {
	c.starting.Lock()
	defer c.starting.Unlock()
	run, err := c.running()
	if err != nil {
		return err
	}
	return run.Update(r)
}

// kill ends everything and waits until it is taken apart.
func (c *container) kill() error {
	run, err := c.running()
	if errors.Is(err, errGone) {
		c.mu.Lock()
		never := c.run == nil
		c.mu.Unlock()
		if never {
			return nil
		}
		<-c.destroyed
		return nil
	}
	// A frozen process does not die on cgroup v1; libcontainer thaws after SIGKILL.
	if err := run.Signal(unix.SIGKILL); err != nil && !errors.Is(err, errGone) {
		return err
	}
	<-c.destroyed
	return nil
}

// state is what a daemon asks for.
func (c *container) state() *wire.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &wire.State{Paused: c.paused, Exit: c.exit, CgroupPaths: c.paths, Processes: c.more.ids()}
	if c.first != nil {
		s.PID, s.At = c.first.pid, c.first.at
	}
	return s
}

// cleanup removes the mounts and the folder.
func (c *container) cleanup() error {
	var err error
	if c.hostMounts {
		if uerr := unix.Unmount(c.rootfs(), unix.MNT_DETACH); uerr != nil && !errors.Is(uerr, unix.EINVAL) {
			err = fmt.Errorf("unmount %s: %w", c.rootfs(), uerr)
		}
		if err = errors.Join(err, mount.Detach(filepath.Join(c.dir, wire.PartsName))); err != nil {
			return err // never delete through a mount
		}
		return os.RemoveAll(c.dir)
	}
	if err := mount.Detach(filepath.Join(c.dir, wire.PartsName)); err != nil {
		return err
	}
	// The root is mounted in this namespace only; it has to go before its folder can.
	for _, sub := range []string{"rootfs", "shm"} {
		if uerr := unix.Unmount(filepath.Join(c.dir, sub), unix.MNT_DETACH); uerr != nil && !errors.Is(uerr, unix.EINVAL) && !errors.Is(uerr, unix.ENOENT) {
			err = errors.Join(err, fmt.Errorf("unmount %s: %w", sub, uerr))
		}
	}
	if err != nil {
		return err // never delete through a mount
	}
	return os.RemoveAll(c.dir)
}

func closeClients(clients []attachment) {
	for _, a := range clients {
		a.conn.Close()
	}
}
