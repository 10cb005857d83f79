//go:build cgo

package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/shim/limits"
	"github.com/berth-engine/berth/shim/wire"
)

// runner is what runs the one container: the launch of this shim, libcontainer in this process, or a program.
type runner interface {
	// Run starts the first process, or a further one, which belongs to whoever calls its wait from then on.
	Run(p *process) error
	// Signal sends a signal to the first process. One that is gone is errGone.
	Signal(signal unix.Signal) error
	Pause() error
	Resume() error
	// Update changes limits; nil fields stay as they are.
	Update(r *specs.LinuxResources) error
	// Paths are those of the cgroups, by controller.
	Paths() (map[string]string, error)
	// Destroy removes what is left once the first process ended. Destroying twice is harmless.
	Destroy() error
}

// handle is a process that runs.
type handle interface {
	Wait() (*os.ProcessState, error)
	Signal(signal os.Signal) error
}

// runner makes the container, without a process yet. The spec is complete.
func (c *container) runner(program *wire.Program) (runner, error) {
	if program != nil {
		return newForeign(c, *program)
	}
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: string(c.id), Spec: c.spec})
	if err != nil {
		return nil, created{err}
	}
	// Rlimits are not a part of specconv: runc sets them on the process.
	if config.Rlimits, err = limits.Rlimits(c.spec.Process.Rlimits); err != nil {
		return nil, invalid{err}
	}
	return newQuick(c, config)
}

// newNative makes the container libcontainer's.
func newNative(c *container, config *configs.Config) (runner, error) {
	lib, err := libcontainer.Create(filepath.Join(c.dir, "runc"), string(c.id), config)
	if err != nil {
		return nil, created{err}
	}
	return &native{lib, c}, nil
}

// native is libcontainer.
type native struct {
	lib *libcontainer.Container
	c   *container
}

func (n *native) Run(p *process) error {
	config := n.lib.Config()
	if err := n.passFilter(p, config.Seccomp); err != nil {
		return err
	}
	end := p.orphans.start()
	err := n.lib.Run(p.lib)
	if err == nil {
		p.pid, err = p.lib.Pid()
	}
	end(p.pid)
	switch {
	case err == nil:
		return nil
	case p.id == "":
		return created{err}
	}
	return executed{err}
}

// passFilter hands the compiled seccomp program to the process's init.
func (n *native) passFilter(p *process, profile *configs.Seccomp) error {
	if profile == nil {
		return nil
	}
	file, err := n.c.shared.filters.Get(profile, n.c.cache)
	if err != nil {
		return created{err}
	}
	p.lib.ExtraFiles = []*os.File{file}
	return nil
}

func (n *native) Signal(signal unix.Signal) error { return gone(n.lib.Signal(signal)) }
func (n *native) Pause() error                    { return freeze(n.lib.Pause) }
func (n *native) Resume() error                   { return n.lib.Resume() }

// freezes is how often freezing is tried, and how libcontainer says that it gave up. It tries a thousand times itself,
// which takes it half a second; that is not enough where processes keep appearing in a cgroup of v1 on a busy machine.
const (
	freezes      = 20
	freezeFailed = "unable to freeze"
)

// freeze pauses until that is done, or fails for another reason, or can't be done. After each failure all is thawed.
func freeze(pause func() error) (err error) {
	for range freezes {
		if err = pause(); err == nil || !strings.Contains(err.Error(), freezeFailed) {
			return err
		}
	}
	return err
}

func (n *native) Update(r *specs.LinuxResources) error {
	config := n.lib.Config()
	changed := *config.Cgroups
	resources := *config.Cgroups.Resources
	changed.Resources = &resources
	config.Cgroups = &changed
	limits.Merge(&resources, r)
	// Devices stay what they are; writing them again would cut the container off for a moment. libcontainer keeps the
	// pointer and would refuse every later exec, so that is for this once.
	resources.SkipDevices = true
	err := n.lib.Set(config)
	resources.SkipDevices = false
	return err
}

func (n *native) Paths() (map[string]string, error) {
	state, err := n.lib.State()
	if err != nil {
		return nil, err
	}
	return state.CgroupPaths, nil
}

// Destroy removes cgroup and state. Processes that were killed a moment ago may still be on their way out of a
// cgroup; libcontainer waits for that a little itself.
func (n *native) Destroy() error { return ignoreGone(n.lib.Destroy()) }

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, libcontainer.ErrNotExist) {
		return nil
	}
	return err
}

func gone(err error) error {
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, libcontainer.ErrNotRunning) || errors.Is(err, unix.ESRCH) {
		return errGone
	}
	return err
}
