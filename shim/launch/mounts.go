//go:build cgo

package launch

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// The flags of mount(2) that are of one mount, as the attributes of mount_setattr(2).
var attributeOf = []struct {
	flag      int
	attribute uint64
}{
	{unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY}, {unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID}, {unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
	{unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC}, {unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME}, {unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW},
}

// Access times are one attribute of three values; MS_RELATIME is that of nothing.
const timeFlags = unix.MS_NOATIME | unix.MS_STRICTATIME | unix.MS_RELATIME

func attributes(flags int) (set uint64) {
	for _, a := range attributeOf {
		if flags&a.flag != 0 {
			set |= a.attribute
		}
	}
	switch {
	case flags&unix.MS_NOATIME != 0:
		set |= unix.MOUNT_ATTR_NOATIME
	case flags&unix.MS_STRICTATIME != 0:
		set |= unix.MOUNT_ATTR_STRICTATIME
	}
	return set
}

const knownFlags = unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NODIRATIME |
	unix.MS_NOSYMFOLLOW | timeFlags

// fits says why the steps can't make a mount; nil: they can.
func fits(m *configs.Mount) error {
	at := path.Clean("/" + m.Destination)
	switch {
	case m.IsIDMapped(), m.Extensions != 0, m.Relabel != "":
		return unsupported("a mount with mapped IDs, a copy or a label")
	case m.Flags&^knownFlags != 0 || m.ClearedFlags&^knownFlags != 0:
		return unsupported("flags %#x of the mount on %s", m.Flags, at)
	case at == "/" || strings.HasPrefix(at, "/proc/"), at == "/proc" && m.Device != "proc":
		return unsupported("a mount on %s", at)
	case !slices.Contains([]string{"bind", "tmpfs", "proc", "sysfs", "devpts", "mqueue", "cgroup"}, m.Device):
		return unsupported("a mount of type %s", m.Device)
	case m.Device == "bind" && m.Data != "":
		return unsupported("data of a bind")
	}
	return nil
}

// mountOne makes a mount complete and attaches it. Its files have the label, when there is one, as with runc.
func (p *Plan) mountOne(root register, m *configs.Mount, label string, paths map[string]string) (register, error) {
	at := path.Clean("/" + m.Destination)
	switch {
	case m.Device == "bind":
		return p.bind(root, m, at)
	case m.Device == "cgroup" && !cgroups.IsCgroup2UnifiedMode():
		return p.hierarchies(root, m, at, label, paths)
	}
	kind := folder
	if m.Device == "proc" || m.Device == "sysfs" {
		kind = plain
	}
	flags, device := m.Flags, m.Device
	if device == "cgroup" {
		device = "cgroup2"
	}
	// What has to be filled or changed yet can be written until later.
	delayed := device == "tmpfs" || at == "/dev"
	if delayed {
		flags &^= unix.MS_RDONLY
	}
	target := p.target(root, at, kind)
	fs := p.fs(device, m.Source)
	if device == "tmpfs" {
		p.modeOf(fs, target)
	}
	for option := range strings.SplitSeq(m.Data, ",") {
		name, value, hasValue := strings.Cut(option, "=")
		switch {
		case hasValue:
			p.option(fs, name, value)
		case name != "":
			p.flag(fs, name)
		}
	}
	if label != "" && (device == "tmpfs" || device == "devpts") {
		p.option(fs, "context", label)
	}
	if flags&unix.MS_RDONLY != 0 {
		p.flag(fs, "ro")
	}
	mount := p.mount(fs, attributes(flags))
	if label != "" && device == "mqueue" {
		p.label(mount, label)
	}
	p.spread(mount, m.PropagationFlags)
	p.move(mount, target)
	return mount, nil
}

// bind shows a file or folder of the host. With any flag the mount has those alone, as with runc.
func (p *Plan) bind(root register, m *configs.Mount, at string) (register, error) {
	info, err := os.Stat(m.Source)
	if err != nil {
		return 0, err
	}
	kind := file
	if info.IsDir() {
		kind = folder
	}
	target := p.target(root, at, kind)
	mount := p.copyOf(m.Source, m.Flags&unix.MS_REC != 0)
	if m.Flags&^(unix.MS_BIND|unix.MS_REC) != 0 || m.ClearedFlags != 0 {
		set := attributes(m.Flags)
		clear := uint64(0)
		for _, a := range attributeOf {
			clear |= a.attribute &^ set
		}
		if m.Flags&timeFlags != 0 {
			clear |= unix.MOUNT_ATTR__ATIME
		}
		p.attributes(mount, set, clear, 0, false)
	}
	if r := m.RecAttr; r != nil {
		p.attributes(mount, r.Attr_set, r.Attr_clr, r.Propagation, true)
	}
	p.spread(mount, m.PropagationFlags)
	p.move(mount, target)
	return mount, nil
}

// spread sets how mounts below a mount are seen elsewhere.
func (p *Plan) spread(mount register, list []int) {
	for _, flags := range list {
		p.attributes(mount, 0, 0, uint64(flags&^unix.MS_REC), flags&unix.MS_REC != 0)
	}
}

// hierarchies shows the container's cgroups of version 1, each under its controllers' names, in a folder of memory.
func (p *Plan) hierarchies(root register, m *configs.Mount, at, label string, paths map[string]string) (register, error) {
	const careful = unix.MS_NOEXEC | unix.MS_NOSUID | unix.MS_NODEV
	dir, err := p.mountOne(root, &configs.Mount{Device: "tmpfs", Source: "tmpfs", Destination: at, Flags: careful, Data: "mode=755", PropagationFlags: m.PropagationFlags}, label, nil)
	if err != nil {
		return dir, err
	}
	mounts, err := hostHierarchies()
	if err != nil {
		return dir, err
	}
	for _, h := range mounts {
		source := ""
		for _, controller := range h.Subsystems {
			source = cmp.Or(source, paths[controller], paths[cgroups.CgroupNamePrefix+controller])
		}
		if source == "" {
			return dir, unsupported("no cgroup of %v", h.Subsystems)
		}
		name := filepath.Base(h.Mountpoint)
		b := &configs.Mount{Device: "bind", Source: source, Destination: path.Join(at, name), Flags: unix.MS_BIND | unix.MS_REC | m.Flags, PropagationFlags: m.PropagationFlags}
		if _, err := p.bind(root, b, b.Destination); err != nil {
			return dir, err
		}
		if strings.Contains(name, ",") {
			at := p.target(root, at, folder)
			for controller := range strings.SplitSeq(name, ",") {
				p.link(at, controller, name)
			}
		}
	}
	return dir, nil
}

// hostHierarchies are the host's, which are mounted when it starts.
var hostHierarchies = sync.OnceValues(func() ([]cgroups.Mount, error) { return cgroups.GetCgroupMounts(false) })
