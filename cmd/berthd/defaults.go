package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine"
	"github.com/berth-engine/berth/engine/define"
	"github.com/berth-engine/berth/linux/quota"
	"github.com/berth-engine/berth/shim/wire"
)

// checkDefaults refuses defaults for containers that no container could have.
func (c *config) checkDefaults() error {
	if _, err := units.RAMInBytes(c.DefaultShm); err != nil {
		return fmt.Errorf("invalid default-shm-size: %w", err)
	}
	if c.DefaultIPC != "private" && c.DefaultIPC != "shareable" {
		return fmt.Errorf("IPC mode %q is not supported as default value", c.DefaultIPC)
	}
	if !slices.Contains([]string{"", "private", "host"}, c.DefaultCgroup) {
		return fmt.Errorf("default cgroup namespace mode (%s) is invalid; use \"host\" or \"private\"", c.DefaultCgroup)
	}
	for name, r := range c.Runtimes {
		switch {
		case slices.Contains(runtimes, name):
			return fmt.Errorf("runtime name '%s' is reserved", name)
		case r.Type != "" || len(r.Options) > 0:
			return fmt.Errorf("runtime '%s': Berth runs programs with runc's command line, given by path, and no containerd shims (runtimeType)", name)
		case !filepath.IsAbs(r.Path):
			return fmt.Errorf("runtime '%s': path %q is not absolute", name, r.Path)
		}
	}
	if _, err := c.layerSize(); err != nil {
		return err
	}
	if !slices.Contains(c.runtimeNames(), c.DefaultRuntime) {
		return fmt.Errorf("specified default runtime '%s' does not exist", c.DefaultRuntime)
	}
	for name := range c.Features {
		if !slices.Contains(features, name) {
			return fmt.Errorf("unknown feature %q: Berth has %s", name, strings.Join(features, ", "))
		}
	}
	return nil
}

// layerSize is the limit of writable layers that the storage options name; 0: none.
func (c *config) layerSize() (size int64, err error) {
	for _, option := range c.StorageOpts {
		key, value, _ := strings.Cut(option, "=")
		if key != "overlay2.size" && key != "overlayfs.size" {
			return 0, fmt.Errorf("unknown option %s of the storage driver: Berth has overlay2.size", key)
		}
		if size, err = units.RAMInBytes(value); err != nil {
			return 0, fmt.Errorf("storage option %s: %w", key, err)
		}
	}
	return size, nil
}

// layerQuota reports whether writable layers can be limited. The data root is there.
func (c *config) layerQuota(projects *quota.Projects) bool { return projects.Supported(c.DataRoot) }

// features are those of dockerd that mean something here. Images are always kept by containerd's stores, and builds
// always go through BuildKit.
var features = []string{"buildkit", "cdi", "containerd-snapshotter"}

// cdiFolders are where CDI devices are described; none when the feature is off.
func (c *config) cdiFolders() []string {
	if on, said := c.Features["cdi"]; said && !on {
		return nil
	}
	return c.CDISpecDirs
}

// definitionDefaults is what the settings say for containers that say nothing. check has refused what can't be.
func definitionDefaults(c *config, known engine.Facts, layerQuota bool) define.Defaults {
	layer, _ := c.layerSize()
	shm, _ := units.RAMInBytes(c.DefaultShm)
	cgroup := "host"
	if known.CgroupV2 {
		cgroup = "private"
	}
	d := define.Defaults{
		ContainersDir: filepath.Join(c.DataRoot, "containers"),
		Log:           core.LogConfig{Type: c.LogDriver, Config: c.LogOpts},
		Runtimes:      c.runtimeNames(),
		ShmSize:       shm,
		IpcMode:       c.DefaultIPC,
		CgroupNS:      cmp.Or(c.DefaultCgroup, cgroup),
		Init:          c.Init,
		LayerQuota:    layerQuota,
		LayerSize:     layer,
	}
	for _, name := range slices.Sorted(maps.Keys(c.Ulimits)) {
		u := c.Ulimits[name]
		d.Ulimits = append(d.Ulimits, core.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	return d
}

// runtimeEntry is an OCI runtime in daemon.json.
type runtimeEntry struct {
	Path    string         `json:"path"`
	Args    []string       `json:"runtimeArgs"`
	Type    string         `json:"runtimeType"` // Docker's: a shim of containerd
	Options map[string]any `json:"options"`
}

// runtimeValues reads `--add-runtime name=path`.
type runtimeValues map[string]runtimeEntry

func (r *runtimeValues) String() string { return "" }

// Type names the flag's argument in help.
func (r *runtimeValues) Type() string { return "runtime" }

// Set adds one.
func (r *runtimeValues) Set(s string) error {
	name, path, ok := strings.Cut(s, "=")
	name, path = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(path)
	if !ok || name == "" || path == "" {
		return fmt.Errorf("invalid runtime argument: %s", s)
	}
	if _, twice := (*r)[name]; twice {
		return fmt.Errorf("runtime '%s' was already defined", name)
	}
	if *r == nil {
		*r = runtimeValues{}
	}
	(*r)[name] = runtimeEntry{Path: path}
	return nil
}

// runtimeNames are what containers may name, the default one first.
func (c *config) runtimeNames() []string {
	names := append([]string{c.DefaultRuntime}, runtimes...)
	names = append(names, slices.Sorted(maps.Keys(c.Runtimes))...)
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(name string) bool {
		known := slices.Contains(runtimes, name) || c.Runtimes[name].Path != ""
		twice := seen[name]
		seen[name] = true
		return twice || !known
	})
}

// programs are the runtimes that the settings add.
func (c *config) programs() map[string]wire.Program {
	programs := make(map[string]wire.Program, len(c.Runtimes))
	for name, r := range c.Runtimes {
		programs[name] = wire.Program{Path: r.Path, Args: r.Args}
	}
	return programs
}

// ulimitValues reads `--default-ulimit name=soft[:hard]`, and in daemon.json {"name": {"Name": …, "Soft": …, "Hard": …}}.
type ulimitValues map[string]*units.Ulimit

func (u *ulimitValues) String() string { return "" }

// Type names the flag's argument in help.
func (u *ulimitValues) Type() string { return "ulimit" }

// Set adds one.
func (u *ulimitValues) Set(s string) error {
	limit, err := units.ParseUlimit(s)
	if err != nil {
		return err
	}
	if *u == nil {
		*u = ulimitValues{}
	}
	(*u)[limit.Name] = limit
	return nil
}

// UnmarshalJSON reads the object of daemon.json, whose keys are what counts.
func (u *ulimitValues) UnmarshalJSON(data []byte) error {
	var limits map[string]*units.Ulimit
	if err := json.Unmarshal(data, &limits); err != nil {
		return err
	}
	for name, limit := range limits {
		if limit == nil {
			return fmt.Errorf("default-ulimits: %s has no limits", name)
		}
		if _, err := units.ParseUlimit(fmt.Sprintf("%s=%d:%d", name, limit.Soft, limit.Hard)); err != nil {
			return err
		}
		limit.Name = name
	}
	*u = limits
	return nil
}

// featureValue reads `--feature name[=true|false]`.
type featureValue map[string]bool

func (f *featureValue) String() string { return "" }

// Type names the flag's argument in help.
func (f *featureValue) Type() string { return "feature" }

// Set adds one.
func (f *featureValue) Set(s string) error {
	name, value, given := strings.Cut(s, "=")
	on := true
	if given {
		var err error
		if on, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("invalid value for feature %s: %q", name, value)
		}
	}
	if *f == nil {
		*f = featureValue{}
	}
	(*f)[name] = on
	return nil
}
