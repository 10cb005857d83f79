package wire

import (
	"os"
	"slices"

	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"github.com/berth-engine/berth/core"
)

// hostConfig shows the part of a container's definition that belongs to its host.
func hostConfig(h *core.HostConfig) *container.HostConfig {
	shape := &container.HostConfig{
		Binds:           h.Binds,
		ContainerIDFile: h.ContainerIDFile,
		LogConfig:       container.LogConfig{Type: h.LogConfig.Type, Config: notNil(h.LogConfig.Config)},
		NetworkMode:     container.NetworkMode(h.NetworkMode),
		PortBindings:    portBindings(h.PortBindings),
		RestartPolicy:   restartPolicy(h.RestartPolicy),
		AutoRemove:      h.AutoRemove,
		VolumeDriver:    h.VolumeDriver,
		VolumesFrom:     h.VolumesFrom,
		ConsoleSize:     h.ConsoleSize,
		Annotations:     h.Annotations,
		CapAdd:          h.CapAdd,
		CapDrop:         h.CapDrop,
		CgroupnsMode:    container.CgroupnsMode(h.CgroupnsMode),
		DNS:             h.DNS,
		DNSOptions:      h.DNSOptions,
		DNSSearch:       h.DNSSearch,
		ExtraHosts:      h.ExtraHosts,
		GroupAdd:        h.GroupAdd,
		IpcMode:         container.IpcMode(h.IpcMode),
		Cgroup:          container.CgroupSpec(h.Cgroup),
		Links:           h.Links,
		OomScoreAdj:     h.OomScoreAdj,
		PidMode:         container.PidMode(h.PidMode),
		Privileged:      h.Privileged,
		PublishAllPorts: h.PublishAllPorts,
		ReadonlyRootfs:  h.ReadonlyRootfs,
		SecurityOpt:     h.SecurityOpt,
		StorageOpt:      h.StorageOpt,
		Tmpfs:           h.Tmpfs,
		UTSMode:         container.UTSMode(h.UTSMode),
		UsernsMode:      container.UsernsMode(h.UsernsMode),
		ShmSize:         h.ShmSize,
		Sysctls:         h.Sysctls,
		Runtime:         h.Runtime,
		Umask:           h.Umask,
		Isolation:       container.Isolation(h.Isolation),
		Resources:       resources(&h.Resources),
		Mounts:          each(h.MountSpecs, mountSpec),
		MaskedPaths:     h.MaskedPaths,
		ReadonlyPaths:   h.ReadonlyPaths,
		Init:            h.Init,
	}
	// Docker shows what an option that nobody gave means.
	if shape.OomKillDisable == nil {
		shape.OomKillDisable = new(bool)
	}
	if open := h.Privileged || slices.Contains(h.SecurityOpt, "systempaths=unconfined"); !open {
		if shape.MaskedPaths == nil {
			shape.MaskedPaths = core.MaskedPaths
		}
		if shape.ReadonlyPaths == nil {
			shape.ReadonlyPaths = core.ReadonlyPaths
		}
	}
	return shape
}

// hostConfigFrom is the way back.
func hostConfigFrom(h *container.HostConfig) (core.HostConfig, error) {
	bindings, err := portBindingsFrom(h.PortBindings)
	if err != nil {
		return core.HostConfig{}, err
	}
	return core.HostConfig{
		Resources:       resourcesFrom(&h.Resources),
		Binds:           h.Binds,
		MountSpecs:      each(h.Mounts, mountSpecFrom),
		VolumesFrom:     h.VolumesFrom,
		VolumeDriver:    h.VolumeDriver,
		Tmpfs:           h.Tmpfs,
		ContainerIDFile: h.ContainerIDFile,
		LogConfig:       core.LogConfig{Type: h.LogConfig.Type, Config: h.LogConfig.Config},
		NetworkMode:     string(h.NetworkMode),
		PortBindings:    bindings,
		PublishAllPorts: h.PublishAllPorts,
		RestartPolicy:   restartPolicyFrom(h.RestartPolicy),
		AutoRemove:      h.AutoRemove,
		ConsoleSize:     h.ConsoleSize,
		Annotations:     h.Annotations,
		CapAdd:          h.CapAdd,
		CapDrop:         h.CapDrop,
		CgroupnsMode:    string(h.CgroupnsMode),
		DNS:             h.DNS,
		DNSOptions:      h.DNSOptions,
		DNSSearch:       h.DNSSearch,
		ExtraHosts:      h.ExtraHosts,
		GroupAdd:        h.GroupAdd,
		IpcMode:         string(h.IpcMode),
		PidMode:         string(h.PidMode),
		UTSMode:         string(h.UTSMode),
		UsernsMode:      string(h.UsernsMode),
		Cgroup:          string(h.Cgroup),
		Links:           h.Links,
		OomScoreAdj:     h.OomScoreAdj,
		Privileged:      h.Privileged,
		ReadonlyRootfs:  h.ReadonlyRootfs,
		SecurityOpt:     h.SecurityOpt,
		StorageOpt:      h.StorageOpt,
		ShmSize:         h.ShmSize,
		Sysctls:         h.Sysctls,
		Runtime:         h.Runtime,
		Init:            h.Init,
		Umask:           h.Umask,
		MaskedPaths:     h.MaskedPaths,
		ReadonlyPaths:   h.ReadonlyPaths,
		Isolation:       string(h.Isolation),
	}, nil
}

func restartPolicy(p core.RestartPolicy) container.RestartPolicy {
	return container.RestartPolicy{Name: container.RestartPolicyMode(p.Name), MaximumRetryCount: p.MaximumRetryCount}
}

func restartPolicyFrom(p container.RestartPolicy) core.RestartPolicy {
	return core.RestartPolicy{Name: string(p.Name), MaximumRetryCount: p.MaximumRetryCount}
}

func portBindings(bindings map[core.Port][]core.PortBinding) network.PortMap {
	m := make(network.PortMap, len(bindings))
	for p, list := range bindings {
		m[port(p)] = each(list, func(b core.PortBinding) network.PortBinding {
			return network.PortBinding{HostIP: b.HostIP, HostPort: b.HostPort}
		})
	}
	return m
}

func portBindingsFrom(m network.PortMap) (map[core.Port][]core.PortBinding, error) {
	if len(m) == 0 {
		return nil, nil
	}
	bindings := make(map[core.Port][]core.PortBinding, len(m))
	for shape, list := range m {
		p, err := portFrom(shape)
		if err != nil {
			return nil, err
		}
		bindings[p] = each(list, func(b network.PortBinding) core.PortBinding {
			return core.PortBinding{HostIP: b.HostIP, HostPort: b.HostPort}
		})
	}
	return bindings, nil
}

func resources(r *core.Resources) container.Resources {
	return container.Resources{
		CPUShares:            r.CPUShares,
		Memory:               r.Memory,
		NanoCPUs:             r.NanoCPUs,
		CgroupParent:         r.CgroupParent,
		BlkioWeight:          r.BlkioWeight,
		BlkioWeightDevice:    each(r.BlkioWeightDevice, weight),
		BlkioDeviceReadBps:   each(r.BlkioDeviceReadBps, throttle),
		BlkioDeviceWriteBps:  each(r.BlkioDeviceWriteBps, throttle),
		BlkioDeviceReadIOps:  each(r.BlkioDeviceReadIOps, throttle),
		BlkioDeviceWriteIOps: each(r.BlkioDeviceWriteIOps, throttle),
		CPUPeriod:            r.CPUPeriod,
		CPUQuota:             r.CPUQuota,
		CPURealtimePeriod:    r.CPURealtimePeriod,
		CPURealtimeRuntime:   r.CPURealtimeRuntime,
		CpusetCpus:           r.CpusetCpus,
		CpusetMems:           r.CpusetMems,
		Devices:              each(r.Devices, func(d core.Device) container.DeviceMapping { return container.DeviceMapping(d) }),
		DeviceCgroupRules:    r.DeviceCgroupRules,
		DeviceRequests:       each(r.DeviceRequests, func(d core.DeviceRequest) container.DeviceRequest { return container.DeviceRequest(d) }),
		MemoryReservation:    r.MemoryReservation,
		MemorySwap:           r.MemorySwap,
		MemorySwappiness:     r.MemorySwappiness,
		OomKillDisable:       r.OomKillDisable,
		PidsLimit:            r.PidsLimit,
		Ulimits:              each(r.Ulimits, ulimit),
	}
}

func resourcesFrom(r *container.Resources) core.Resources {
	return core.Resources{
		CPUShares:            r.CPUShares,
		NanoCPUs:             r.NanoCPUs,
		CPUPeriod:            r.CPUPeriod,
		CPUQuota:             r.CPUQuota,
		CPURealtimePeriod:    r.CPURealtimePeriod,
		CPURealtimeRuntime:   r.CPURealtimeRuntime,
		CpusetCpus:           r.CpusetCpus,
		CpusetMems:           r.CpusetMems,
		Memory:               r.Memory,
		MemoryReservation:    r.MemoryReservation,
		MemorySwap:           r.MemorySwap,
		MemorySwappiness:     r.MemorySwappiness,
		OomKillDisable:       r.OomKillDisable,
		PidsLimit:            r.PidsLimit,
		BlkioWeight:          r.BlkioWeight,
		BlkioWeightDevice:    eachFrom(r.BlkioWeightDevice, func(d blkiodev.WeightDevice) core.WeightDevice { return core.WeightDevice(d) }),
		BlkioDeviceReadBps:   eachFrom(r.BlkioDeviceReadBps, throttleFrom),
		BlkioDeviceWriteBps:  eachFrom(r.BlkioDeviceWriteBps, throttleFrom),
		BlkioDeviceReadIOps:  eachFrom(r.BlkioDeviceReadIOps, throttleFrom),
		BlkioDeviceWriteIOps: eachFrom(r.BlkioDeviceWriteIOps, throttleFrom),
		Devices:              each(r.Devices, func(d container.DeviceMapping) core.Device { return core.Device(d) }),
		DeviceCgroupRules:    r.DeviceCgroupRules,
		DeviceRequests:       each(r.DeviceRequests, func(d container.DeviceRequest) core.DeviceRequest { return core.DeviceRequest(d) }),
		Ulimits:              eachFrom(r.Ulimits, ulimitFrom),
		CgroupParent:         r.CgroupParent,
	}
}

// eachFrom converts the elements that are there: a client may send null in a list of objects.
func eachFrom[A, B any](in []*A, convert func(A) B) []B {
	if in == nil {
		return nil
	}
	out := make([]B, 0, len(in))
	for _, a := range in {
		if a != nil {
			out = append(out, convert(*a))
		}
	}
	return out
}

func weight(d core.WeightDevice) *blkiodev.WeightDevice {
	return &blkiodev.WeightDevice{Path: d.Path, Weight: d.Weight}
}

func throttle(d core.ThrottleDevice) *blkiodev.ThrottleDevice {
	return &blkiodev.ThrottleDevice{Path: d.Path, Rate: d.Rate}
}

func throttleFrom(d blkiodev.ThrottleDevice) core.ThrottleDevice { return core.ThrottleDevice(d) }

func ulimit(u core.Ulimit) *container.Ulimit {
	return &container.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard}
}

func ulimitFrom(u container.Ulimit) core.Ulimit {
	return core.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard}
}

func mountSpec(m core.MountSpec) mount.Mount {
	shape := mount.Mount{
		Type:        mount.Type(m.Type),
		Source:      m.Source,
		Target:      m.Target,
		ReadOnly:    m.ReadOnly,
		Consistency: mount.Consistency(m.Consistency),
	}
	if b := m.Bind; b != nil {
		shape.BindOptions = &mount.BindOptions{
			Propagation:            mount.Propagation(b.Propagation),
			NonRecursive:           b.NonRecursive,
			CreateMountpoint:       b.CreateMountpoint,
			ReadOnlyNonRecursive:   b.ReadOnlyNonRecursive,
			ReadOnlyForceRecursive: b.ReadOnlyForceRecursive,
		}
	}
	if v := m.Volume; v != nil {
		shape.VolumeOptions = &mount.VolumeOptions{NoCopy: v.NoCopy, Labels: v.Labels, Subpath: v.Subpath}
		if v.Driver != "" || v.DriverOptions != nil {
			shape.VolumeOptions.DriverConfig = &mount.Driver{Name: v.Driver, Options: v.DriverOptions}
		}
	}
	if i := m.Image; i != nil {
		shape.ImageOptions = &mount.ImageOptions{Subpath: i.Subpath}
	}
	if t := m.Tmpfs; t != nil {
		shape.TmpfsOptions = &mount.TmpfsOptions{SizeBytes: t.SizeBytes, Mode: os.FileMode(t.Mode), Options: t.Options}
	}
	return shape
}

func mountSpecFrom(m mount.Mount) core.MountSpec {
	spec := core.MountSpec{
		Type:        core.MountType(m.Type),
		Source:      m.Source,
		Target:      m.Target,
		ReadOnly:    m.ReadOnly,
		Consistency: string(m.Consistency),
	}
	if b := m.BindOptions; b != nil {
		spec.Bind = &core.BindOptions{
			Propagation:            string(b.Propagation),
			NonRecursive:           b.NonRecursive,
			CreateMountpoint:       b.CreateMountpoint,
			ReadOnlyNonRecursive:   b.ReadOnlyNonRecursive,
			ReadOnlyForceRecursive: b.ReadOnlyForceRecursive,
		}
	}
	if v := m.VolumeOptions; v != nil {
		spec.Volume = &core.VolumeOptions{NoCopy: v.NoCopy, Labels: v.Labels, Subpath: v.Subpath}
		if d := v.DriverConfig; d != nil {
			spec.Volume.Driver, spec.Volume.DriverOptions = d.Name, d.Options
		}
	}
	if i := m.ImageOptions; i != nil {
		spec.Image = &core.ImageMountOptions{Subpath: i.Subpath}
	}
	if t := m.TmpfsOptions; t != nil {
		spec.Tmpfs = &core.TmpfsOptions{SizeBytes: t.SizeBytes, Mode: uint32(t.Mode), Options: t.Options}
	}
	return spec
}
