//go:build cgo

package shim

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/configs/validate"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/shim/filter"
	"github.com/berth-engine/berth/shim/launch"
	"github.com/berth-engine/berth/shim/limits"
)

// quick runs a container by package launch. Where that can't, or fails in making the first process, the container is
// libcontainer's instead: it can do more, and its errors are what users and scripts know.
type quick struct {
	c      *container
	config *configs.Config
	cgroup cgroups.Manager
	filter filter.Program // for all of its processes; empty: none
	other  runner         // libcontainer, once the container is its
	init   handle         // the first process

	using sync.RWMutex // read-locked while first is used
	first *os.File     // the first process (pidfd_open(2)): its number may be another's once it was waited for
}

func newQuick(c *container, config *configs.Config) (runner, error) {
	cgroup, err := manager.New(config.Cgroups)
	if err != nil {
		return nil, created{err}
	}
	return &quick{c: c, config: config, cgroup: cgroup}, nil
}

func (q *quick) Run(p *process) error {
	switch {
	case q.other != nil:
		return q.other.Run(p)
	case p.id != "":
		return q.exec(p)
	}
	err := q.start(p)
	if err == nil {
		return nil
	}
	q.c.logger.Debug("libcontainer takes over", "container", q.c.id, "reason", err)
	if q.other, err = newNative(q.c, q.config); err != nil {
		return err
	}
	return q.other.Run(p)
}

// start makes the first process.
func (q *quick) start(p *process) error {
	if err := q.makeFilter(); err != nil {
		return err
	}
	about := q.process(p)
	if err := launch.Fits(q.config, about); err != nil {
		return err
	}
	if err := validate.Validate(q.config); err != nil {
		return err
	}
	// No process yet: it joins the cgroup itself, first of all.
	if err := q.cgroup.Apply(-1); err != nil {
		return err
	}
	if err := q.cgroup.Set(q.config.Cgroups.Resources); err != nil {
		return err
	}
	plan, err := launch.Start{ID: string(q.c.id), Config: q.config, Process: about, Cgroups: q.cgroup.GetPaths()}.Plan()
	if err != nil {
		return err
	}
	defer plan.Close()
	if err := run(p, plan); err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		err = errors.Join(err, unix.Kill(p.pid, unix.SIGKILL))
		p.orphans.forget(p.pid)
		return err
	}
	q.init, q.first = p.handle, os.NewFile(uintptr(fd), "first process")
	return nil
}

// exec makes a further process.
func (q *quick) exec(p *process) error {
	q.using.RLock()
	defer q.using.RUnlock()
	if q.first == nil {
		return errGone
	}
	plan, err := launch.Exec{ID: string(q.c.id), Config: q.config, Process: q.process(p), Cgroups: q.cgroup.GetPaths(), First: q.first}.Plan()
	if err != nil {
		return executed{err}
	}
	defer plan.Close()
	if err := run(p, plan); err != nil {
		return executed{fmt.Errorf("unable to start container process: %w", err)}
	}
	return nil
}

// run carries a plan out and keeps whose process it is.
func run(p *process, plan *launch.Plan) error {
	end := p.orphans.start()
	pid, err := plan.Run()
	if err != nil {
		end(0)
		return err
	}
	end(pid)
	handle, err := os.FindProcess(pid)
	if err != nil {
		err = errors.Join(err, unix.Kill(pid, unix.SIGKILL))
		p.orphans.forget(pid) // nobody else will wait for it
		return err
	}
	p.pid, p.handle = pid, handle
	return nil
}

// process is what the launch needs to know.
func (q *quick) process(p *process) launch.Process {
	lib := p.lib
	about := launch.Process{
		Args: lib.Args, Env: lib.Env, Home: p.home, Cwd: lib.Cwd, UID: lib.UID, GID: lib.GID, Groups: lib.AdditionalGroups,
		Capabilities: lib.Capabilities, Rlimits: q.config.Rlimits, NoNewPrivileges: *lib.NoNewPrivileges,
		AppArmor: lib.AppArmorProfile, Filter: q.filter.Code, FilterFlags: q.filter.Flags, Console: lib.ConsoleSocket, Rows: lib.ConsoleHeight, Columns: lib.ConsoleWidth,
	}
	if about.SELinux = lib.Label; about.SELinux == "" {
		about.SELinux = q.config.ProcessLabel
	}
	if about.AppArmor == "" {
		about.AppArmor = q.config.AppArmorProfile
	}
	if about.Capabilities == nil {
		about.Capabilities = q.config.Capabilities
	}
	about.Stdin, _ = lib.Stdin.(*os.File)
	about.Stdout, _ = lib.Stdout.(*os.File)
	about.Stderr, _ = lib.Stderr.(*os.File)
	if about.Stdin == nil {
		about.Stdin = q.c.shared.null
	}
	return about
}

// makeFilter has the container's seccomp program ready.
func (q *quick) makeFilter() error {
	if q.config.Seccomp == nil {
		return nil
	}
	program, err := q.c.shared.filters.Program(q.config.Seccomp, q.c.cache)
	if err == nil {
		q.filter = *program
	}
	return err
}

func (q *quick) Signal(signal unix.Signal) error {
	if q.other != nil {
		return q.other.Signal(signal)
	}
	if err := q.init.Signal(signal); err != nil {
		return gone(err)
	}
	if signal == unix.SIGKILL {
		// What is frozen does not die on cgroup v1.
		if state, err := q.cgroup.GetFreezerState(); err == nil && state == cgroups.Frozen {
			return q.cgroup.Freeze(cgroups.Thawed)
		}
	}
	return nil
}

func (q *quick) Pause() error {
	if q.other != nil {
		return q.other.Pause()
	}
	return freeze(func() error { return q.cgroup.Freeze(cgroups.Frozen) })
}

func (q *quick) Resume() error {
	if q.other != nil {
		return q.other.Resume()
	}
	return q.cgroup.Freeze(cgroups.Thawed)
}

func (q *quick) Update(r *specs.LinuxResources) error {
	if q.other != nil {
		return q.other.Update(r)
	}
	resources := *q.config.Cgroups.Resources
	limits.Merge(&resources, r)
	// Devices stay what they are; writing them again would cut the container off for a moment.
	resources.SkipDevices = true
	if err := q.cgroup.Set(&resources); err != nil {
		return err
	}
	resources.SkipDevices = false
	q.config.Cgroups.Resources = &resources
	return nil
}

func (q *quick) Paths() (map[string]string, error) {
	if q.other != nil {
		return q.other.Paths()
	}
	return q.cgroup.GetPaths(), nil
}

// Destroy removes the cgroup.
func (q *quick) Destroy() error {
	q.using.Lock()
	var err error
	if q.first != nil {
		err = q.first.Close()
		q.first = nil
	}
	q.using.Unlock()
	if q.other != nil {
		return errors.Join(err, q.other.Destroy())
	}
	return errors.Join(err, q.cgroup.Destroy())
}
