package runtime

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/shim/wire"
)

// defaultShm is the size of /dev/shm, in bytes, when nothing else is asked for.
const defaultShm = 64 << 20

// mountsOf lists what is mounted on the root file system, in order: what every container has, then what this one
// asks for, which replaces the former at the same place. propagation is what the root needs for them.
func mountsOf(l core.Launch, h host, sec core.Security) (mounts []specs.Mount, propagation string) {
	c := l.Container
	taken := map[string]bool{}
	for _, m := range l.Mounts {
		taken[path.Clean(m.Target)] = true
	}
	for _, m := range standardMounts(c, sec) {
		// Who brings a whole /dev brings what is in it.
		if taken[m.Destination] || taken["/dev"] && strings.HasPrefix(m.Destination, "/dev/") {
			continue
		}
		mounts = append(mounts, m)
	}
	parts := 0
	for _, m := range l.Mounts {
		if isPart(m) {
			m.Source = path.Join(h.parts, strconv.Itoa(parts))
			parts++
		}
		mounts = append(mounts, userMount(m))
		switch {
		case slices.Contains(m.Options, "rshared"), slices.Contains(m.Options, "shared"):
			propagation = "rshared"
		case propagation == "" && (slices.Contains(m.Options, "rslave") || slices.Contains(m.Options, "slave")):
			propagation = "rslave"
		}
	}
	if c.Host.Init != nil && *c.Host.Init {
		mounts = append(mounts, specs.Mount{Type: "bind", Source: h.shim, Destination: wire.InitPath, Options: []string{"bind", "ro", "nosuid", "nodev"}})
	}
	return mounts, propagation
}

// isPart reports whether the shim mounts the source, since it is an image, or must be looked for in a volume.
func isPart(m core.FSMount) bool { return len(m.Below) > 0 || m.Subpath != "" }

// partsOf are those mounts, in the order in which mountsOf numbers them.
func partsOf(mounts []core.FSMount, label string) (parts []wire.Part) {
	for _, m := range mounts {
		if isPart(m) {
			parts = append(parts, wire.Part{Below: labelled(m.Below, label), Source: m.Source, Subpath: m.Subpath})
		}
	}
	return parts
}

// labelled makes SELinux take all files of layers for a container's, whatever label they have on the disk.
func labelled(mounts []core.FSMount, label string) []core.FSMount {
	if label == "" {
		return mounts
	}
	mounts = slices.Clone(mounts)
	for i, m := range mounts {
		if m.Type == "overlay" {
			mounts[i].Options = append(slices.Clip(m.Options), "context="+label)
		}
	}
	return mounts
}

// userMount is a bind or a tmpfs of the user. A tmpfs is as careful as Docker's unless its options say otherwise.
func userMount(m core.FSMount) specs.Mount {
	mount := specs.Mount{Type: m.Type, Source: m.Source, Destination: m.Target, Options: slices.Clone(m.Options)}
	mount.UIDMappings, mount.GIDMappings = mappings(m.IDs.UIDs), mappings(m.IDs.GIDs)
	if m.Type == "tmpfs" {
		mount.Options = append([]string{"noexec", "nosuid", "nodev", "rprivate"}, m.Options...)
	}
	return mount
}

// mappings are ranges of owners as the runtime spec has them: its "container" is the file system (config.md, "mounts").
func mappings(ranges []core.IDMap) (list []specs.LinuxIDMapping) {
	for _, r := range ranges {
		list = append(list, specs.LinuxIDMapping{ContainerID: r.Disk, HostID: r.Seen, Size: r.Size})
	}
	return list
}

func standardMounts(c *core.Container, sec core.Security) []specs.Mount {
	readOnly := func(options ...string) []string {
		if c.Host.Privileged {
			return append(options, "rw")
		}
		return append(options, "ro")
	}
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: readOnly("nosuid", "noexec", "nodev")},
	}
	cgroupOptions := readOnly("nosuid", "noexec", "nodev")
	if sec.WritableCgroups {
		cgroupOptions = []string{"nosuid", "noexec", "nodev", "rw"}
	}
	mounts = append(mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: cgroupOptions})
	return append(mounts, ipcMounts(c)...)
}

// ipcMounts are the message queues and the shared memory: of its own, or the host's. Those of another container are
// put in by the shim, which can reach them.
func ipcMounts(c *core.Container) []specs.Mount {
	careful := []string{"nosuid", "noexec", "nodev"}
	size := c.Host.ShmSize
	if size == 0 {
		size = defaultShm
	}
	shm := specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: append([]string{"mode=1777", "size=" + strconv.FormatInt(size, 10)}, careful...)}
	queues := specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: careful}
	switch mode := c.Host.IpcMode; {
	case mode == "host":
		return []specs.Mount{
			{Destination: "/dev/mqueue", Type: "bind", Source: "/dev/mqueue", Options: append([]string{"rbind"}, careful...)},
			{Destination: "/dev/shm", Type: "bind", Source: "/dev/shm", Options: append([]string{"rbind"}, careful...)},
		}
	case mode == "none":
		return []specs.Mount{queues}
	case strings.HasPrefix(mode, "container:"):
		return []specs.Mount{queues}
	}
	return []specs.Mount{queues, shm}
}

// wantsHost reports whether a mount must be seen by the host too: then the shim may not have a mount namespace of
// its own, since the host's mounts reach into that one but not back.
func wantsHost(mounts []core.FSMount) bool {
	for _, m := range mounts {
		if slices.Contains(m.Options, "rshared") || slices.Contains(m.Options, "shared") {
			return true
		}
	}
	return false
}

func namespacePath(pid int, kind string) string {
	name := map[string]string{"network": "net", "mount": "mnt"}[kind]
	if name == "" {
		name = kind
	}
	return "/proc/" + strconv.Itoa(pid) + "/ns/" + name
}
