package wire

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/storage"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/core/logopt"
)

// snapshotter is what images and containers stand on; Docker shows it as the storage driver.
const snapshotter = "overlayfs"

// ContainerInspect shows everything about a container (GET /containers/{id}/json).
func ContainerInspect(view core.ContainerView, version Version) any {
	c := view.Container
	shape := container.InspectResponse{
		ID:              string(c.ID),
		Created:         c.Created.UTC().Format(time.RFC3339Nano),
		Path:            c.Path,
		Args:            list(c.Args),
		State:           state(&c.State),
		Image:           string(c.ImageID),
		ResolvConfPath:  inside(c.Dir, "resolv.conf"),
		AppArmorProfile: c.AppArmorProfile,
		ProcessLabel:    c.ProcessLabel,
		MountLabel:      c.MountLabel,
		HostnamePath:    inside(c.Dir, "hostname"),
		HostsPath:       inside(c.Dir, "hosts"),
		LogPath:         logPath(c),
		Name:            "/" + c.Name,
		RestartCount:    c.RestartCount,
		Driver:          snapshotter,
		Platform:        c.Platform.OS,
		ExecIDs:         each(view.ExecIDs, func(id core.ExecID) string { return string(id) }),
		HostConfig:      hostConfig(&c.Host),
		Storage:         &storage.Storage{RootFS: &storage.RootFSStorage{Snapshot: &storage.RootFSStorageSnapshot{Name: snapshotter}}},
		Mounts:          list(each(c.Mounts, mountPoint)),
		Config:          config(&c.Config),
		NetworkSettings: networkSettings(c),
	}
	if !version.Before(48) {
		shape.ImageManifestDescriptor = manifestDescriptor(&view.Image)
	}
	if view.SizeRw >= 0 && view.SizeRoot >= 0 {
		shape.SizeRw, shape.SizeRootFs = &view.SizeRw, &view.SizeRoot
	}
	if mode := c.Host.NetworkMode; mode == "default" || mode == network.NetworkBridge {
		shape.HostConfig.Links = links(c)
	}
	return legacyInspect(&shape, c, version)
}

// links shows the links of the default network with the name that each has among all containers.
func links(c *core.Container) []string {
	return each(c.Host.Links, func(l string) string {
		name, alias, aliased := strings.Cut(l, ":")
		if !aliased {
			alias = name
		}
		return "/" + name + ":/" + c.Name + "/" + alias
	})
}

func inside(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

func state(s *core.State) *container.State {
	shape := &container.State{
		Status:     container.ContainerState(s.Status),
		Running:    s.Running() || s.Status == core.StatusRestarting,
		Paused:     s.Status == core.StatusPaused,
		Restarting: s.Status == core.StatusRestarting,
		OOMKilled:  s.OOMKilled,
		Dead:       s.Status == core.StatusDead,
		Pid:        s.PID,
		ExitCode:   s.ExitCode,
		Error:      s.Error,
		StartedAt:  s.StartedAt.UTC().Format(time.RFC3339Nano),
		FinishedAt: s.FinishedAt.UTC().Format(time.RFC3339Nano),
	}
	if h := s.Health; h != nil {
		shape.Health = &container.Health{
			Status:        container.HealthStatus(h.Status),
			FailingStreak: h.FailingStreak,
			Log: list(each(h.Log, func(r core.HealthResult) *container.HealthcheckResult {
				return &container.HealthcheckResult{Start: r.Start, End: r.End, ExitCode: r.ExitCode, Output: r.Output}
			})),
		}
	}
	return shape
}

func mountPoint(m core.Mount) container.MountPoint {
	return container.MountPoint{
		Type:        mount.Type(m.Type),
		Name:        m.Name,
		Source:      m.Source,
		Destination: m.Destination,
		Driver:      m.Driver,
		Mode:        m.Mode,
		RW:          m.RW,
		Propagation: mount.Propagation(m.Propagation),
	}
}

func networkSettings(c *core.Container) *container.NetworkSettings {
	settings := &container.NetworkSettings{
		Ports:    network.PortMap{},
		Networks: make(map[string]*network.EndpointSettings, len(c.Endpoints)),
	}
	for name, e := range c.Endpoints {
		settings.Networks[name] = endpoint(e)
	}
	if !c.State.Running() {
		return settings
	}
	settings.SandboxID = string(c.ID)
	for _, p := range c.Config.ExposedPorts {
		settings.Ports[port(p)] = nil
	}
	for _, p := range c.Published {
		key := port(p.Port)
		settings.Ports[key] = append(settings.Ports[key], network.PortBinding{HostIP: p.HostIP, HostPort: strconv.Itoa(int(p.HostPort))})
	}
	return settings
}

// ContainerList shows one line per container (GET /containers/json). now is what "Up 3 minutes" refers to.
func ContainerList(views []core.ContainerView, version Version, now time.Time) any {
	if version.Before(52) {
		return each(list(views), func(view core.ContainerView) summaryUpTo51 { return legacySummary(summary(view, version, now)) })
	}
	return each(list(views), func(view core.ContainerView) container.Summary { return summary(view, version, now) })
}

func summary(view core.ContainerView, version Version, now time.Time) container.Summary {
	c := view.Container
	shape := container.Summary{
		ID:              string(c.ID),
		Names:           []string{"/" + c.Name},
		Image:           view.ImageName,
		ImageID:         string(c.ImageID),
		Command:         commandLine(c.Path, c.Args),
		Created:         c.Created.Unix(),
		Ports:           portSummaries(c),
		SizeRw:          max(view.SizeRw, 0),
		SizeRootFs:      max(view.SizeRoot, 0),
		Labels:          notNil(c.Config.Labels),
		State:           container.ContainerState(c.State.Status),
		Status:          uptime(&c.State, now),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: make(map[string]*network.EndpointSettings, len(c.Endpoints))},
		Mounts:          list(each(c.Mounts, mountPoint)),
	}
	shape.HostConfig.NetworkMode = c.Host.NetworkMode
	if !version.Before(48) {
		shape.ImageManifestDescriptor = manifestDescriptor(&view.Image)
	}
	if !version.Before(46) {
		shape.HostConfig.Annotations = c.Host.Annotations
	}
	if !version.Before(52) {
		shape.Health = &container.HealthSummary{Status: container.NoHealthcheck}
		if h := c.State.Health; h != nil {
			shape.Health = &container.HealthSummary{Status: container.HealthStatus(h.Status), FailingStreak: h.FailingStreak}
		}
	}
	for name, e := range c.Endpoints {
		place := endpoint(e)
		place.Aliases, place.DNSNames = nil, nil // a list does not go into such detail
		shape.NetworkSettings.Networks[name] = place
	}
	return shape
}

// commandLine joins path and arguments the way `docker ps` shows them.
func commandLine(path string, args []string) string {
	if len(args) == 0 {
		return path
	}
	quoted := make([]string, len(args))
	for i, arg := range args {
		if strings.Contains(arg, " ") {
			arg = "'" + arg + "'"
		}
		quoted[i] = arg
	}
	return path + " " + strings.Join(quoted, " ")
}

// portSummaries lists the published ports of a running container, then those that are only exposed.
func portSummaries(c *core.Container) []container.PortSummary {
	ports := []container.PortSummary{}
	if !c.State.Running() {
		return ports
	}
	published := make(map[core.Port]bool, len(c.Published))
	for _, p := range c.Published {
		published[p.Port] = true
		ports = append(ports, container.PortSummary{IP: p.HostIP, PrivatePort: p.Port.Number, PublicPort: p.HostPort, Type: string(p.Port.Protocol)})
	}
	exposed := slices.Clone(c.Config.ExposedPorts)
	for _, p := range slices.SortedFunc(maps.Keys(c.Host.PortBindings), comparePorts) {
		if !slices.Contains(exposed, p) {
			exposed = append(exposed, p)
		}
	}
	for _, p := range exposed {
		if !published[p] {
			ports = append(ports, container.PortSummary{PrivatePort: p.Number, Type: string(p.Protocol)})
		}
	}
	return ports
}

// uptime is the state of a container in words: "Up 3 minutes (healthy)", "Exited (0) 2 hours ago".
func uptime(s *core.State, now time.Time) string {
	switch s.Status {
	case core.StatusRunning, core.StatusPaused:
		text := "Up " + humanDuration(now.Sub(s.StartedAt))
		switch {
		case s.Status == core.StatusPaused:
			text += " (Paused)"
		case s.Health == nil || s.Health.Status == core.HealthNone || s.Health.Status == "":
		case s.Health.Status == core.HealthStarting:
			text += " (health: starting)"
		default:
			text += " (" + string(s.Health.Status) + ")"
		}
		return text
	case core.StatusRestarting:
		return "Restarting (" + strconv.Itoa(s.ExitCode) + ") " + humanDuration(now.Sub(s.FinishedAt)) + " ago"
	case core.StatusRemoving:
		return "Removal In Progress"
	case core.StatusDead:
		return "Dead"
	case core.StatusCreated:
		return "Created"
	}
	if s.StartedAt.IsZero() && s.FinishedAt.IsZero() {
		return "Created"
	}
	return "Exited (" + strconv.Itoa(s.ExitCode) + ") " + humanDuration(now.Sub(s.FinishedAt)) + " ago"
}

// humanDuration says a duration the way Docker does: the largest unit, and only that.
func humanDuration(d time.Duration) string {
	seconds, minutes, hours := int(d.Seconds()), int(d.Minutes()), int(d.Hours()+0.5)
	switch {
	case seconds < 1:
		return "Less than a second"
	case seconds == 1:
		return "1 second"
	case seconds < 60:
		return strconv.Itoa(seconds) + " seconds"
	case minutes == 1:
		return "About a minute"
	case minutes < 60:
		return strconv.Itoa(minutes) + " minutes"
	case hours == 1:
		return "About an hour"
	case hours < 48:
		return strconv.Itoa(hours) + " hours"
	case hours < 24*7*2:
		return strconv.Itoa(hours/24) + " days"
	case hours < 24*30*2:
		return strconv.Itoa(hours/24/7) + " weeks"
	case hours < 24*365*2:
		return strconv.Itoa(hours/24/30) + " months"
	}
	return strconv.Itoa(int(d.Hours())/24/365) + " years"
}

// TopResponse shows the processes of a container.
func TopResponse(titles []string, rows [][]string) any {
	return container.TopResponse{Titles: list(titles), Processes: list(rows)}
}

// WaitResponse shows how a wait ended.
func WaitResponse(result core.WaitResult) any {
	shape := container.WaitResponse{StatusCode: int64(result.Code)}
	if result.Err != nil {
		shape.Error = &container.WaitExitError{Message: result.Err.Error()}
	}
	return shape
}

// ContainersPruned shows what POST /containers/prune removed.
func ContainersPruned(p core.Pruned) any {
	return container.PruneReport{ContainersDeleted: p.Deleted, SpaceReclaimed: p.Reclaimed}
}

// DecodeExec reads the body of POST /containers/{id}/exec.
func DecodeExec(body []byte, version Version) (core.ExecSpec, error) {
	var shape struct {
		container.ExecCreateRequest
		Cmd words
	}
	if err := decodeOptional(body, &shape); err != nil {
		return core.ExecSpec{}, err
	}
	if len(shape.Cmd) == 0 {
		return core.ExecSpec{}, core.Invalid("No exec command specified")
	}
	spec := core.ExecSpec{
		User:         shape.User,
		Privileged:   shape.Privileged,
		Tty:          shape.Tty,
		AttachStdin:  shape.AttachStdin,
		AttachStdout: shape.AttachStdout,
		AttachStderr: shape.AttachStderr,
		DetachKeys:   shape.DetachKeys,
		Env:          shape.Env,
		WorkingDir:   shape.WorkingDir,
		Cmd:          shape.Cmd,
	}
	if shape.ConsoleSize != nil && !version.Before(42) {
		spec.ConsoleSize = *shape.ConsoleSize
	}
	return spec, nil
}

// DecodeExecStart reads the body of POST /exec/{id}/start.
func DecodeExecStart(body []byte, version Version) (core.ExecStartOptions, error) {
	var shape container.ExecStartRequest
	if err := decodeOptional(body, &shape); err != nil {
		return core.ExecStartOptions{}, err
	}
	options := core.ExecStartOptions{Detach: shape.Detach, Tty: shape.Tty}
	if shape.ConsoleSize != nil && shape.Tty && !version.Before(42) {
		options.ConsoleSize = *shape.ConsoleSize
	}
	return options, nil
}

// ExecCreated is the answer to POST /containers/{id}/exec.
func ExecCreated(id core.ExecID) any { return container.ExecCreateResponse{ID: string(id)} }

// ExecInspect shows a further process (GET /exec/{id}/json).
func ExecInspect(e core.Exec) any {
	shape := container.ExecInspectResponse{
		ID:      string(e.ID),
		Running: e.Running,
		ProcessConfig: &container.ExecProcessConfig{
			Tty:        e.Spec.Tty,
			Arguments:  []string{},
			Privileged: &e.Spec.Privileged,
			User:       e.Spec.User,
		},
		OpenStdin:   e.Spec.AttachStdin,
		OpenStdout:  e.Spec.AttachStdout,
		OpenStderr:  e.Spec.AttachStderr,
		ContainerID: string(e.ContainerID),
		DetachKeys:  []byte(e.Spec.DetachKeys),
		Pid:         e.PID,
	}
	if len(e.Spec.Cmd) > 0 {
		shape.ProcessConfig.Entrypoint, shape.ProcessConfig.Arguments = e.Spec.Cmd[0], list(e.Spec.Cmd[1:])
	}
	if e.Started && !e.Running {
		shape.ExitCode = &e.ExitCode
	}
	return shape
}

// logPath is the log file that other programs may read; the other drivers' files are the engine's own.
func logPath(c *core.Container) string {
	if c.Host.LogConfig.Type != logopt.JSONFile {
		return ""
	}
	return c.LogPath
}
