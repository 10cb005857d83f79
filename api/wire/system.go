package wire

import (
	"cmp"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"

	"github.com/berth-engine/berth/core"
)

// Build says which program this is.
type Build struct {
	Version      string // "0.1.0"
	GitCommit    string
	BuildTime    string // RFC 3339; empty: not known
	Kernel       string // release of the host's kernel
	Experimental bool
}

// Versions shows the program and the versions of the API that it speaks (GET /version).
func Versions(b Build) any {
	experimental := strconv.FormatBool(b.Experimental)
	return system.VersionResponse{
		Platform:      system.PlatformInfo{Name: "Berth"},
		Version:       b.Version,
		APIVersion:    MaxVersion.String(),
		MinAPIVersion: MinVersion.String(),
		Os:            runtime.GOOS,
		Arch:          runtime.GOARCH,
		Components: []system.ComponentVersion{{
			Name:    "Engine",
			Version: b.Version,
			Details: map[string]string{
				"ApiVersion":    MaxVersion.String(),
				"MinAPIVersion": MinVersion.String(),
				"Arch":          runtime.GOARCH,
				"Os":            runtime.GOOS,
				"GoVersion":     runtime.Version(),
				"GitCommit":     b.GitCommit,
				"BuildTime":     b.BuildTime,
				"KernelVersion": b.Kernel,
				"Experimental":  experimental,
			},
		}},
		GitCommit:     b.GitCommit,
		GoVersion:     runtime.Version(),
		KernelVersion: b.Kernel,
		Experimental:  b.Experimental,
		BuildTime:     b.BuildTime,
	}
}

// Info shows the daemon and its host (GET /info).
func Info(i core.Info, b Build, version Version, now time.Time) any {
	shape := system.Info{
		ID:                 i.ID,
		Containers:         i.Running + i.Paused + i.Stopped,
		ContainersRunning:  i.Running,
		ContainersPaused:   i.Paused,
		ContainersStopped:  i.Stopped,
		Images:             i.Images,
		Driver:             i.Driver,
		DriverStatus:       list(i.DriverStatus),
		Plugins:            system.PluginsInfo{Volume: list(i.Volumes), Network: list(i.NetworkDrivers), Log: list(i.LogDrivers)},
		MemoryLimit:        i.Limits.Memory,
		SwapLimit:          i.Limits.Swap,
		CPUCfsPeriod:       i.Limits.CPUCfs,
		CPUCfsQuota:        i.Limits.CPUCfs,
		CPUShares:          i.Limits.CPUShares,
		CPUSet:             i.Limits.CPUSet,
		PidsLimit:          i.Limits.Pids,
		IPv4Forwarding:     i.Limits.IPv4Forwarding,
		OomKillDisable:     i.Limits.OomKillDisable,
		Debug:              i.Debug,
		NFd:                i.FileDescriptors,
		NGoroutines:        i.Goroutines,
		SystemTime:         now.Format(time.RFC3339Nano),
		LoggingDriver:      cmp.Or(i.LoggingDriver, "json-file"),
		CgroupDriver:       i.CgroupDriver,
		CgroupVersion:      i.CgroupVersion,
		NEventsListener:    i.EventsListeners,
		KernelVersion:      i.KernelVersion,
		OperatingSystem:    i.OperatingSystem,
		OSVersion:          i.OSVersion,
		OSType:             i.OSType,
		Architecture:       i.Architecture,
		IndexServerAddress: "https://index.docker.io/v1/",
		RegistryConfig:     registryConfig(&i),
		NCPU:               i.CPUs,
		MemTotal:           i.Memory,
		GenericResources:   nil,
		DockerRootDir:      i.RootDir,
		CDISpecDirs:        list(i.CDISpecDirs),
		HTTPProxy:          i.HTTPProxy,
		HTTPSProxy:         i.HTTPSProxy,
		NoProxy:            i.NoProxy,
		Name:               i.Name,
		Labels:             list(i.Labels),
		ExperimentalBuild:  i.Experimental,
		ServerVersion:      b.Version,
		Runtimes:           make(map[string]system.RuntimeWithStatus, len(i.Runtimes)),
		DefaultRuntime:     i.DefaultRuntime,
		Swarm:              swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive},
		LiveRestoreEnabled: i.LiveRestore,
		SecurityOptions:    list(i.SecurityOptions),
		FirewallBackend:    &system.FirewallInfo{Driver: "nftables"},
		Warnings:           i.Warnings,
	}
	for _, name := range i.Runtimes {
		shape.Runtimes[name] = system.RuntimeWithStatus{Runtime: system.Runtime{Path: name}}
	}
	return legacyInfo(shape, version)
}

func registryConfig(i *core.Info) *registry.ServiceConfig {
	config := &registry.ServiceConfig{
		InsecureRegistryCIDRs: []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("127.0.0.0/8")},
		IndexConfigs: map[string]*registry.IndexInfo{
			"docker.io": {Name: "docker.io", Mirrors: list(i.Mirrors), Secure: true, Official: true},
		},
		Mirrors: i.Mirrors,
	}
	for _, name := range i.InsecureRegistries {
		if prefix, err := netip.ParsePrefix(name); err == nil {
			if !slices.Contains(config.InsecureRegistryCIDRs, prefix) {
				config.InsecureRegistryCIDRs = append(config.InsecureRegistryCIDRs, prefix)
			}
			continue
		}
		config.IndexConfigs[name] = &registry.IndexInfo{Name: name, Mirrors: []string{}}
	}
	return config
}

// The kinds of objects that GET /system/df can be asked for.
const (
	UsageImages     = string(system.ImageObject)
	UsageContainers = string(system.ContainerObject)
	UsageVolumes    = string(system.VolumeObject)
	UsageBuildCache = string(system.BuildCacheObject)
)

// DiskUsage shows what takes space (GET /system/df). types are the kinds that were asked for. verbose lists the
// objects; since 1.52 a summary of each kind comes without. legacy is for a client of 1.52 that did not say.
func DiskUsage(u core.DiskUsage, types []string, verbose, legacy bool, version Version, now time.Time) any {
	var shape diskUsageUpTo52
	for _, kind := range types {
		switch kind {
		case UsageImages:
			shape.ImageUsage = imageUsage(&u, version)
		case UsageContainers:
			shape.ContainerUsage = containerUsage(&u, version, now)
		case UsageVolumes:
			shape.VolumeUsage = volumeUsage(&u)
		case UsageBuildCache:
			shape.BuildCacheUsage = buildUsage(&u)
		}
	}
	if version.Before(52) || version.Before(53) && legacy {
		return legacyDiskUsage(&shape, &u, version)
	}
	if !verbose {
		if s := shape.ImageUsage; s != nil {
			s.Items = nil
		}
		if s := shape.ContainerUsage; s != nil {
			s.Items = nil
		}
		if s := shape.VolumeUsage; s != nil {
			s.Items = nil
		}
		if s := shape.BuildCacheUsage; s != nil {
			s.Items = nil
		}
	}
	return shape.DiskUsage
}

// legacyDiskUsage moves the objects to the top; before 1.52 the summaries go.
func legacyDiskUsage(shape *diskUsageUpTo52, u *core.DiskUsage, version Version) any {
	if s := shape.ImageUsage; s != nil {
		shape.LayersSize = u.LayersSize
		shape.Images, s.Items = s.Items, nil
		if version.Before(44) {
			shape.Images = imageSummaries(u.Images, version)
		}
	}
	if s := shape.ContainerUsage; s != nil {
		shape.Containers, s.Items = s.Items, nil
	}
	if s := shape.VolumeUsage; s != nil {
		shape.Volumes, s.Items = s.Items, nil
	}
	if s := shape.BuildCacheUsage; s != nil {
		shape.BuildCache, s.Items = s.Items, nil
	}
	if version.Before(52) {
		shape.DiskUsage = system.DiskUsage{}
	}
	return shape
}

func imageUsage(u *core.DiskUsage, version Version) *image.DiskUsage {
	usage := &image.DiskUsage{TotalCount: int64(len(u.Images)), TotalSize: u.LayersSize, Items: []image.Summary{}}
	for _, img := range u.Images {
		usage.Items = append(usage.Items, imageSummary(img, version))
		switch {
		case img.Containers > 0:
			usage.ActiveCount++
		case img.Containers == 0:
			usage.Reclaimable += img.Size - max(img.SharedSize, 0)
		}
	}
	return usage
}

func containerUsage(u *core.DiskUsage, version Version, now time.Time) *container.DiskUsage {
	usage := &container.DiskUsage{TotalCount: int64(len(u.Containers)), Items: []container.Summary{}}
	for _, view := range u.Containers {
		usage.Items = append(usage.Items, summary(view, version, now))
		usage.TotalSize += max(view.SizeRw, 0)
		switch view.State.Status {
		case core.StatusRunning, core.StatusPaused, core.StatusRestarting:
			usage.ActiveCount++
		default:
			usage.Reclaimable += max(view.SizeRw, 0)
		}
	}
	return usage
}

func volumeUsage(u *core.DiskUsage) *volume.DiskUsage {
	usage := &volume.DiskUsage{TotalCount: int64(len(u.Volumes)), Items: []volume.Volume{}}
	for _, v := range u.Volumes {
		shape := volumeShape(&v.Volume)
		shape.UsageData = &volume.UsageData{RefCount: v.RefCount, Size: v.Size}
		usage.Items = append(usage.Items, shape)
		usage.TotalSize += max(v.Size, 0)
		if v.RefCount > 0 {
			usage.ActiveCount++
		} else {
			usage.Reclaimable += max(v.Size, 0)
		}
	}
	return usage
}

func buildUsage(u *core.DiskUsage) *build.DiskUsage {
	usage := &build.DiskUsage{TotalCount: int64(len(u.BuildCache)), Items: list(each(u.BuildCache, cacheRecord))}
	for _, r := range u.BuildCache {
		if r.InUse {
			usage.ActiveCount++
		}
		if r.Shared {
			continue
		}
		usage.TotalSize += r.Size
		if !r.InUse {
			usage.Reclaimable += r.Size
		}
	}
	return usage
}
