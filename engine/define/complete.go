package define

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
)

// Defaults are the daemon's answers to what a definition leaves open.
type Defaults struct {
	ContainersDir string
	Log           core.LogConfig
	Runtimes      []string // the first is the default
	ShmSize       int64    // bytes
	IpcMode       string   // "private" or "shareable"
	CgroupNS      string   // "private" or "host"
	Init          bool
	Ulimits       []core.Ulimit // those that a container does not name
	// LayerQuota says that the writable layers of containers can be limited; LayerSize is the limit, in bytes, of those that
	// name none, 0 for none.
	LayerQuota bool
	LayerSize  int64
	Facts      *core.Info
}

// Complete fills in what the user left open and checks what he said.
func Complete(c *core.Container, d *Defaults) (warnings []string, err error) {
	host := &c.Host
	c.Dir = filepath.Join(d.ContainersDir, string(c.ID))
	if host.NetworkMode == "" {
		host.NetworkMode = "default"
	}
	if c.Config.Hostname == "" && !strings.HasPrefix(host.NetworkMode, "container:") {
		c.Config.Hostname = c.ID.Short()
		if host.NetworkMode == core.NetworkHost || host.UTSMode == "host" {
			if c.Config.Hostname, err = os.Hostname(); err != nil {
				return nil, err
			}
		}
	}
	if err := Log(c, d.Log); err != nil {
		return nil, err
	}
	if host.Runtime == "" {
		host.Runtime = d.Runtimes[0]
	}
	if !slices.Contains(d.Runtimes, host.Runtime) {
		return nil, core.Invalid("unknown or invalid runtime name: %s", host.Runtime)
	}
	if host.ShmSize == 0 {
		host.ShmSize = d.ShmSize
	}
	if host.IpcMode == "" {
		host.IpcMode = d.IpcMode
	}
	if host.CgroupnsMode == "" {
		host.CgroupnsMode = d.CgroupNS
	}
	if host.Init == nil && d.Init {
		host.Init = &d.Init
	}
	for _, u := range d.Ulimits {
		if !slices.ContainsFunc(host.Ulimits, func(o core.Ulimit) bool { return strings.EqualFold(o.Name, u.Name) }) {
			host.Ulimits = append(slices.Clip(host.Ulimits), u)
		}
	}
	if host.Privileged {
		host.MaskedPaths, host.ReadonlyPaths = []string{}, []string{}
	}
	if c.Config.Healthcheck != nil && len(c.Config.Healthcheck.Test) > 0 && c.Config.Healthcheck.Test[0] == "NONE" {
		c.Config.Healthcheck = &core.Healthcheck{Test: []string{"NONE"}}
	}
	if err := checkStorage(host.StorageOpt, d); err != nil {
		return nil, err
	}
	if err := Endpoints(c); err != nil {
		return nil, err
	}
	return Host(c, d.Facts)
}
