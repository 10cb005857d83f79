package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/core/logopt"
	"github.com/berth-engine/berth/engine"
	"github.com/berth-engine/berth/lib/atomicfile"
	"github.com/berth-engine/berth/linux/apparmor"
	"github.com/berth-engine/berth/linux/cgroup"
	"github.com/berth-engine/berth/linux/host"
	"github.com/berth-engine/berth/linux/selinux"
	"github.com/google/uuid"
)

// facts is what `info` says of this daemon and its host.
func facts(ctx context.Context, c *config, log *slog.Logger) (engine.Facts, error) {
	machine, err := host.Read()
	if err != nil {
		return engine.Facts{}, err
	}
	daemonID, err := identity(filepath.Join(c.DataRoot, "engine-id"))
	if err != nil {
		return engine.Facts{}, err
	}
	info := core.Info{
		ID: daemonID, Name: machine.Hostname,
		RootDir: c.DataRoot,
		Driver:  "overlayfs", DriverStatus: [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}},
		CgroupDriver: "cgroupfs", CgroupVersion: "1",
		KernelVersion: machine.Kernel, OperatingSystem: machine.OS, OSVersion: machine.OSVersion,
		OSType: "linux", Architecture: machine.Machine,
		CPUs: machine.CPUs, Memory: machine.Memory,
		Labels: c.Labels, Debug: c.LogLevel == "debug", Experimental: c.Experimental, LiveRestore: true,
		DefaultRuntime: c.DefaultRuntime, LoggingDriver: c.LogDriver, Runtimes: c.runtimeNames(),
		InsecureRegistries: append([]string{"::1/128", "127.0.0.0/8"}, c.InsecureRegistries...), Mirrors: c.RegistryMirrors,
		LogDrivers: logopt.Drivers(), NetworkDrivers: []string{"bridge", "host", "ipvlan", "macvlan", "null"}, Volumes: []string{"local"},
		CDISpecDirs: c.cdiFolders(),
		HTTPProxy:   os.Getenv("HTTP_PROXY"), HTTPSProxy: os.Getenv("HTTPS_PROXY"), NoProxy: os.Getenv("NO_PROXY"),
		Limits: core.HostLimits{
			Memory: machine.Controllers["memory"], Swap: machine.Controllers["memory"] && cgroup.Swap(),
			CPUCfs: machine.Controllers["cpu"], CPUShares: machine.Controllers["cpu"], CPUSet: machine.Controllers["cpuset"],
			Pids: machine.Controllers["pids"], OomKillDisable: machine.Controllers["memory"] && !machine.CgroupV2,
			IPv4Forwarding: true,
			Swappiness:     machine.Controllers["memory"] && !machine.CgroupV2, Realtime: machine.Realtime,
			BlockWeight: machine.BlockWeight, BlockThrottle: machine.Controllers["blkio"] || machine.Controllers["io"],
			Processors: machine.Processors, MemoryNodes: machine.MemoryNodes,
		},
	}
	if machine.CgroupV2 {
		info.CgroupVersion = "2"
	}
	if apparmor.Enabled() {
		if err := apparmor.Load(ctx); err != nil {
			log.Warn("containers have no AppArmor profile unless they name one", "error", err)
		} else {
			info.SecurityOptions = append(info.SecurityOptions, core.HasAppArmor)
		}
	}
	if c.SELinux && !selinux.Enabled() {
		log.Warn("containers have no labels: SELinux is not on in this host's kernel")
	}
	if machine.Seccomp {
		info.SecurityOptions = append(info.SecurityOptions, "name=seccomp,profile=builtin")
	}
	if c.SELinux && selinux.Enabled() {
		info.SecurityOptions = append(info.SecurityOptions, core.HasSELinux)
	}
	if machine.CgroupV2 {
		info.SecurityOptions = append(info.SecurityOptions, "name=cgroupns")
	}
	return engine.Facts{Info: info, CgroupV2: machine.CgroupV2}, nil
}

// runtimes are what a container may name. "runc" is kept for scripts that say it: it is ours.
var runtimes = []string{"berth", "runc", "io.containerd.runc.v2"}

// identity is the daemon's name for itself, made once.
func identity(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(data))) > 0 {
		return strings.TrimSpace(string(data)), nil
	}
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	made := uuid.NewString()
	return made, atomicfile.WriteFile(path, []byte(made+"\n"), 0o644, true)
}
