//go:build cgo

package launch

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// Start is a container's first process.
type Start struct {
	ID      string
	Config  *configs.Config
	Process Process
	// Cgroups are the paths of the container's cgroups by controller, made and limited; "" is that of version 2.
	Cgroups map[string]string
}

// Fits says why the steps can't make such a container; nil: they can.
func Fits(c *configs.Config, pr Process) error {
	switch {
	case runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64":
		return unsupported("not tried on %s", runtime.GOARCH)
	case !c.Namespaces.IsPrivate(configs.NEWNS) || !c.Namespaces.IsPrivate(configs.NEWPID):
		return unsupported("shared namespaces")
	case c.Namespaces.Contains(configs.NEWUSER), c.Namespaces.Contains(configs.NEWTIME), c.RootlessEUID:
		return unsupported("namespaces of users or time")
	case !cgroups.IsCgroup2UnifiedMode() && c.Namespaces.Contains(configs.NEWCGROUP):
		return unsupported("cgroup namespaces of version 1")
	case cgroups.IsCgroup2UnifiedMode() && !c.Namespaces.IsPrivate(configs.NEWCGROUP):
		return unsupported("the host's cgroup namespace") // mounting cgroup2 there would change the host's options
	case c.RootPropagation&unix.MS_SHARED != 0:
		return unsupported("a shared root")
	case c.NoPivotRoot, len(c.Networks)+len(c.Routes)+len(c.NetDevices) > 0, c.IntelRdt != nil, c.MemoryPolicy != nil, c.Scheduler != nil,
		c.IOPriority != nil, c.Personality != nil, c.ExecCPUAffinity != nil:
		return unsupported("rare settings")
	}
	for _, hooks := range c.Hooks {
		if len(hooks) > 0 {
			return unsupported("hooks")
		}
	}
	for _, m := range c.Mounts {
		if err := fits(m); err != nil {
			return err
		}
	}
	if s := c.Seccomp; s != nil && s.ListenerPath != "" {
		return unsupported("a seccomp agent")
	}
	return pr.check()
}

// Plan works out the steps. The caller closes the plan.
func (s Start) Plan() (_ *Plan, err error) {
	c := s.Config
	p := newPlan()
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	procs, err := p.enter(s.Cgroups)
	if err != nil {
		return nil, err
	}
	p.begin(s.Process, procs, c.OomScoreAdj)
	if err := p.isolate(c); err != nil {
		return nil, err
	}
	p.session()
	if !c.NoNewKeyring {
		p.keyring("_ses."+s.ID, true)
	}
	p.named(c)
	p.sysctls(c)
	if err := p.root(s); err != nil {
		return nil, err
	}
	return p, p.become(s.Process, c.Umask)
}

// enter makes the process a member of its cgroups: of version 2 by birth, of version 1 by the files that it gives.
func (p *Plan) enter(paths map[string]string) (procs []*os.File, err error) {
	if cgroups.IsCgroup2UnifiedMode() {
		p.cgroup, err = p.keep(paths[""], unix.O_PATH|unix.O_DIRECTORY)
		return nil, err
	}
	for _, path := range sorted(paths) {
		f, err := p.keep(filepath.Join(path, "cgroup.procs"), os.O_WRONLY)
		if err != nil {
			return nil, err
		}
		procs = append(procs, f)
	}
	return procs, nil
}

// sorted gives each path once: controllers can share a hierarchy.
func sorted(paths map[string]string) (list []string) {
	for _, path := range paths {
		list = append(list, path)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// namespaceFlags are the kinds that a process is born into. That of cgroups comes later: it shows where its first process is.
var namespaceFlags = map[configs.NamespaceType]uint64{
	configs.NEWNS: unix.CLONE_NEWNS, configs.NEWPID: unix.CLONE_NEWPID, configs.NEWIPC: unix.CLONE_NEWIPC, configs.NEWUTS: unix.CLONE_NEWUTS,
	configs.NEWNET: unix.CLONE_NEWNET,
}

func (p *Plan) isolate(c *configs.Config) error {
	for _, ns := range c.Namespaces {
		if ns.Path == "" {
			p.namespaces |= namespaceFlags[ns.Type]
			continue
		}
		f, err := p.keep(ns.Path, os.O_RDONLY)
		if err != nil {
			return err
		}
		p.join(f, namespaceFlags[ns.Type])
	}
	if c.Namespaces.Contains(configs.NEWCGROUP) {
		p.unshare(unix.CLONE_NEWCGROUP)
	}
	return nil
}

func (p *Plan) named(c *configs.Config) {
	if c.Hostname != "" {
		p.hostname(c.Hostname)
	}
	if c.Domainname != "" {
		p.domainname(c.Domainname)
	}
}

// sysctls are set while the host's /proc is there: which value a name means is a matter of the namespaces.
func (p *Plan) sysctls(c *configs.Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Sysctl)) {
		p.file("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), c.Sysctl[name])
	}
}

// root makes the root file system, enters it and closes what is not to be seen.
func (p *Plan) root(s Start) error {
	c := s.Config
	propagation := c.RootPropagation
	if propagation == 0 {
		propagation = unix.MS_SLAVE | unix.MS_REC
	}
	p.propagation("/", propagation)
	p.propagation(c.Rootfs, unix.MS_PRIVATE) // it is a mount of the shim's
	p.bindSelf(c.Rootfs)
	root := p.open(c.Rootfs, unix.O_DIRECTORY)
	var late []register
	for _, m := range c.Mounts {
		mount, err := p.mountOne(root, m, c.MountLabel, s.Cgroups)
		if err != nil {
			return err
		}
		if m.Flags&unix.MS_RDONLY != 0 && (m.Device == "tmpfs" || path.Clean(m.Destination) == "/dev") {
			late = append(late, mount)
		}
	}
	ownDev := !slices.ContainsFunc(c.Mounts, func(m *configs.Mount) bool { return m.Device == "bind" && path.Clean(m.Destination) == "/dev" })
	if ownDev {
		if err := p.devices(root, c); err != nil {
			return err
		}
	}
	p.pivot(root)
	if ownDev {
		p.ownNull()
	}
	if s.Process.Cwd != "/" {
		p.mkdirs(s.Process.Cwd)
	}
	if s.Process.Console != nil {
		p.console(s.Process.Console, s.Process.Rows, s.Process.Columns, true)
	}
	for _, mount := range late {
		p.attributes(mount, unix.MOUNT_ATTR_RDONLY, 0, 0, false)
	}
	if c.Readonlyfs {
		p.attributes(p.open("/", unix.O_DIRECTORY), unix.MOUNT_ATTR_RDONLY, 0, 0, false)
	}
	for _, hidden := range c.ReadonlyPaths {
		p.readOnly(hidden)
	}
	seen := map[string]bool{}
	for _, hidden := range c.MaskPaths {
		if !seen[path.Clean(hidden)] {
			p.mask(hidden, c.MountLabel)
		}
		seen[path.Clean(hidden)] = true
	}
	return nil
}

// devices fills /dev: nodes, and the links that programs expect.
func (p *Plan) devices(root register, c *configs.Config) error {
	for _, d := range c.Devices {
		name := path.Clean(d.Path)
		if d.Path == "" || name == "/dev/ptmx" { // a rule without a node; the link below
			continue
		}
		kind, ok := map[rune]uint32{'b': unix.S_IFBLK, 'c': unix.S_IFCHR, 'p': unix.S_IFIFO}[rune(d.Type)]
		if !ok {
			return unsupported("a device of type %c", d.Type)
		}
		device, err := d.Mkdev()
		if err != nil {
			return err
		}
		p.node(p.target(root, path.Dir(name), folder), path.Base(name), kind|uint32(d.FileMode.Perm()), device, d.Uid, d.Gid)
	}
	dev := p.target(root, "/dev", folder)
	p.unlink(dev, "ptmx")
	p.link(dev, "ptmx", "pts/ptmx")
	p.link(dev, "fd", "/proc/self/fd")
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		p.link(dev, name, "/proc/self/fd/"+string(rune('0'+i)))
	}
	if hostHasCore() {
		p.link(dev, "core", "/proc/kcore")
	}
	return nil
}

var hostHasCore = sync.OnceValue(func() bool {
	_, err := os.Stat("/proc/kcore")
	return err == nil
})
