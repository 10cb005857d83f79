package container

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/pflag"

	"github.com/berth-engine/berth/cli/option"
)

// request turns the flags into what is sent. Mistakes that can be seen without the daemon are found here.
func (d *definition) request(f *pflag.FlagSet) (*container.CreateRequest, error) {
	if d.mac != "" {
		if _, err := net.ParseMAC(strings.TrimSpace(d.mac)); err != nil {
			return nil, fmt.Errorf("%s is not a valid mac address", d.mac)
		}
	}
	config, err := d.config(f)
	if err != nil {
		return nil, err
	}
	host, err := d.host(f)
	if err != nil {
		return nil, err
	}
	binds, anonymous, err := option.Volumes(d.volumes.Values)
	if err != nil {
		return nil, err
	}
	host.Binds, config.Volumes = binds, anonymous
	if err := d.ports(config, host); err != nil {
		return nil, err
	}
	endpoints, err := d.endpoints()
	if err != nil {
		return nil, err
	}
	return &container.CreateRequest{Config: config, HostConfig: host,
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: endpoints}}, nil
}

func (d *definition) config(f *pflag.FlagSet) (*container.Config, error) {
	env, err := option.Environment(d.envFiles.Values, d.env.Values)
	if err != nil {
		return nil, fmt.Errorf("--env-file: %w", err)
	}
	labels, err := option.Pairs(d.labelFiles.Values, d.labels.Values)
	if err != nil {
		return nil, fmt.Errorf("--label-file: %w", err)
	}
	health, err := d.healthcheck()
	if err != nil {
		return nil, err
	}
	c := &container.Config{
		Hostname:     d.hostname,
		Domainname:   d.domainname,
		User:         d.user,
		Tty:          d.tty,
		OpenStdin:    d.stdin,
		AttachStdin:  d.stdin || d.attach.Has("stdin"),
		AttachStdout: d.attach.Has("stdout"),
		AttachStderr: d.attach.Has("stderr"),
		Env:          env,
		Image:        d.image,
		WorkingDir:   d.workdir,
		Labels:       option.PairMap(labels),
		StopSignal:   d.stopSignal,
		Healthcheck:  health,
	}
	if len(d.attach.Values) == 0 {
		c.AttachStdout, c.AttachStderr = true, true
	}
	if len(d.args) > 0 {
		c.Cmd = d.args
	}
	if d.entrypoint != "" {
		c.Entrypoint = []string{d.entrypoint}
	} else if f.Changed("entrypoint") {
		// `--entrypoint=` takes the image's away.
		c.Entrypoint = []string{""}
	}
	if f.Changed("stop-timeout") {
		c.StopTimeout = &d.stopTimeout
	}
	// Who opens stdin and is attached to it closes it by leaving.
	c.StdinOnce = c.OpenStdin && c.AttachStdin
	return c, nil
}

func (d *definition) healthcheck() (*container.HealthConfig, error) {
	given := d.healthCommand != "" || d.healthInterval != 0 || d.healthTimeout != 0 || d.healthStartPeriod != 0 ||
		d.healthStartWait != 0 || d.healthRetries != 0
	switch {
	case d.noHealthcheck && given:
		return nil, errors.New("--no-healthcheck conflicts with --health-* options")
	case d.noHealthcheck:
		return &container.HealthConfig{Test: []string{"NONE"}}, nil
	case !given:
		return nil, nil
	case d.healthInterval < 0:
		return nil, errors.New("--health-interval cannot be negative")
	case d.healthTimeout < 0:
		return nil, errors.New("--health-timeout cannot be negative")
	case d.healthRetries < 0:
		return nil, errors.New("--health-retries cannot be negative")
	case d.healthStartPeriod < 0:
		return nil, errors.New("--health-start-period cannot be negative")
	case d.healthStartWait < 0:
		return nil, errors.New("--health-start-interval cannot be negative")
	}
	h := &container.HealthConfig{Interval: d.healthInterval, Timeout: d.healthTimeout, StartPeriod: d.healthStartPeriod,
		StartInterval: d.healthStartWait, Retries: d.healthRetries}
	if d.healthCommand != "" {
		h.Test = []string{"CMD-SHELL", d.healthCommand}
	}
	return h, nil
}

func (d *definition) host(f *pflag.FlagSet) (*container.HostConfig, error) {
	resources, err := d.resources()
	if err != nil {
		return nil, err
	}
	restart, err := option.RestartPolicy(d.restart)
	if err != nil {
		return nil, err
	}
	if d.remove && !restart.IsNone() {
		return nil, errors.New("conflicting options: cannot specify both --restart and --rm")
	}
	logOptions, err := option.LogOptions(d.logDriver, d.logOptions.Values)
	if err != nil {
		return nil, err
	}
	security, err := option.SecurityOptions(d.security.Values)
	if err != nil {
		return nil, err
	}
	security, masked, readonly := option.SystemPaths(security)
	storage, err := option.StorageOptions(d.storageOptions.Values)
	if err != nil {
		return nil, err
	}
	h := &container.HostConfig{
		ContainerIDFile: d.cidfile,
		OomScoreAdj:     d.oomScore,
		AutoRemove:      d.remove,
		Privileged:      d.privileged,
		Links:           d.links.Values,
		PublishAllPorts: d.publishAll,
		DNS:             option.Addresses(d.dns.Values),
		DNSSearch:       nonNil(d.dnsSearch.Values),
		DNSOptions:      nonNil(d.dnsOptions.Values),
		ExtraHosts:      d.hosts.Values,
		VolumesFrom:     d.volumesFrom.Values,
		IpcMode:         container.IpcMode(d.ipc),
		NetworkMode:     container.NetworkMode(d.networks.Mode()),
		PidMode:         container.PidMode(d.pid),
		UTSMode:         container.UTSMode(d.uts),
		UsernsMode:      container.UsernsMode(d.userns),
		CgroupnsMode:    container.CgroupnsMode(d.cgroupns),
		CapAdd:          d.capAdd.Values,
		CapDrop:         d.capDrop.Values,
		GroupAdd:        d.groups.Values,
		RestartPolicy:   restart,
		SecurityOpt:     security,
		StorageOpt:      storage,
		ReadonlyRootfs:  d.readOnly,
		LogConfig:       container.LogConfig{Type: d.logDriver, Config: logOptions},
		VolumeDriver:    d.volumeDriver,
		Isolation:       container.Isolation(d.isolation),
		ShmSize:         d.shmSize.Value,
		Resources:       resources,
		Tmpfs:           option.Tmpfs(d.tmpfs.Values),
		Sysctls:         d.sysctls.Values,
		Runtime:         d.runtime,
		Mounts:          d.mounts.Values,
		MaskedPaths:     masked,
		ReadonlyPaths:   readonly,
		Annotations:     d.annotated(),
		Umask:           d.umask.Value,
	}
	if f.Changed("init") {
		h.Init = &d.init
	}
	return h, checkModes(h)
}

// healthOnFailure, and idMapPrefix with the target of a mount, are annotations in which the daemon looks: an API of Docker's has no
// fields for them.
const (
	healthOnFailure = "io.berth.health-on-failure"
	idMapPrefix     = "io.berth.idmap:"
)

// annotated are the annotations, with those that flags stand for.
func (d *definition) annotated() map[string]string {
	if d.healthOnFailure == "" && len(d.mounts.IDMaps) == 0 {
		return d.annotations.Values
	}
	all := map[string]string{}
	maps.Copy(all, d.annotations.Values)
	if d.healthOnFailure != "" {
		all[healthOnFailure] = d.healthOnFailure
	}
	for target, idMap := range d.mounts.IDMaps {
		all[idMapPrefix+target] = idMap
	}
	return all
}

func checkModes(h *container.HostConfig) error {
	switch {
	case !h.PidMode.Valid():
		return errors.New("--pid: invalid PID mode")
	case !h.UTSMode.Valid():
		return errors.New("--uts: invalid UTS mode")
	case !h.UsernsMode.Valid():
		return errors.New("--userns: invalid USER mode")
	case !h.CgroupnsMode.Valid():
		return errors.New("--cgroupns: invalid CGROUP mode")
	}
	return nil
}

func (d *definition) resources() (container.Resources, error) {
	if d.swappiness < -1 || d.swappiness > 100 {
		return container.Resources{}, fmt.Errorf("invalid value: %d. Valid memory swappiness range is 0-100", d.swappiness)
	}
	nodes, cdi, err := option.Devices(d.devices.Values)
	if err != nil {
		return container.Resources{}, err
	}
	requests := d.gpus.Values
	if len(cdi) > 0 {
		requests = append(requests, container.DeviceRequest{Driver: "cdi", DeviceIDs: cdi})
	}
	return container.Resources{
		CgroupParent:         d.cgroupParent,
		Memory:               d.memory.Value,
		MemoryReservation:    d.memoryReservation.Value,
		MemorySwap:           d.memorySwap.Value,
		MemorySwappiness:     &d.swappiness,
		OomKillDisable:       &d.oomKillDisable,
		NanoCPUs:             int64(d.cpus),
		CPUCount:             d.cpuCount,
		CPUPercent:           d.cpuPercent,
		CPUShares:            d.cpuShares,
		CPUPeriod:            d.cpuPeriod,
		CPUQuota:             d.cpuQuota,
		CpusetCpus:           d.cpusetCPUs,
		CpusetMems:           d.cpusetMems,
		CPURealtimePeriod:    d.rtPeriod,
		CPURealtimeRuntime:   d.rtRuntime,
		PidsLimit:            &d.pids,
		BlkioWeight:          d.blkioWeight,
		BlkioWeightDevice:    d.blkioWeights.Values,
		BlkioDeviceReadBps:   d.readBps.Values,
		BlkioDeviceWriteBps:  d.writeBps.Values,
		BlkioDeviceReadIOps:  d.readIOps.Values,
		BlkioDeviceWriteIOps: d.writeIOps.Values,
		IOMaximumIOps:        d.ioMaxIOps,
		IOMaximumBandwidth:   uint64(d.ioBandwidth.Value),
		Ulimits:              d.ulimits.List(),
		DeviceCgroupRules:    d.deviceRules.Values,
		Devices:              nodes,
		DeviceRequests:       requests,
	}, nil
}

func (d *definition) ports(config *container.Config, host *container.HostConfig) error {
	exposed, bindings, err := option.Ports(d.publish.Values)
	if err != nil {
		return err
	}
	for _, text := range d.expose.Values {
		ports, err := network.ParsePortRange(text)
		if err != nil {
			return fmt.Errorf("invalid range format for --expose: %w", err)
		}
		for port := range ports.All() {
			exposed[port] = struct{}{}
		}
	}
	config.ExposedPorts, host.PortBindings = exposed, bindings
	return nil
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
