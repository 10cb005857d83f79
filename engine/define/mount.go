package define

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
)

// MountSyntax in the Mode of a bind marks one that came from `--mount`: its source must be there already.
const MountSyntax = "mount"

// Bind reads `-v`: destination, source:destination or source:destination:options.
func Bind(spec string) (core.Mount, error) {
	parts := strings.Split(spec, ":")
	invalid := func() (core.Mount, error) {
		return core.Mount{}, core.Invalid("invalid volume specification: '%s'", spec)
	}
	m := core.Mount{RW: true}
	switch len(parts) {
	case 1:
		m.Destination = parts[0]
	case 2, 3:
		m.Source, m.Destination = parts[0], parts[1]
		if m.Source == "" {
			return invalid()
		}
	default:
		return invalid()
	}
	if !filepath.IsAbs(m.Destination) {
		return core.Mount{}, core.Invalid("invalid volume specification: '%s': invalid mount config for type \"volume\": invalid mount path: '%s' mount path must be absolute", spec, m.Destination)
	}
	m.Destination = filepath.Clean(m.Destination)
	if m.Destination == "/" {
		return core.Mount{}, core.Invalid("invalid volume specification: '%s': invalid mount config for type \"%s\": invalid specification: destination can't be '/'", spec, bindType(m.Source))
	}
	m.Type = bindType(m.Source)
	if len(parts) == 3 {
		m.Mode = parts[2]
		if err := applyMode(&m, spec); err != nil {
			return core.Mount{}, err
		}
	}
	if m.Type == core.MountVolume {
		m.Name, m.Source = m.Source, ""
	} else {
		m.Source = filepath.Clean(m.Source)
		m.Propagation = cmp.Or(m.Propagation, "rprivate")
	}
	return m, nil
}

func bindType(source string) core.MountType {
	if filepath.IsAbs(source) {
		return core.MountBind
	}
	return core.MountVolume
}

// applyMode reads the third part of `-v`.
func applyMode(m *core.Mount, spec string) error {
	for _, option := range strings.Split(m.Mode, ",") {
		switch option {
		case "rw", "z", "Z", "cached", "delegated", "consistent":
		case "ro":
			m.RW = false
		case "nocopy":
			if m.Type != core.MountVolume {
				return core.Invalid("invalid volume specification: '%s': invalid mode: %s", spec, m.Mode)
			}
			m.NoCopy = true
		case "rprivate", "private", "rshared", "shared", "rslave", "slave":
			if m.Type != core.MountBind {
				return core.Invalid("invalid volume specification: '%s': invalid mode: %s", spec, m.Mode)
			}
			m.Propagation = option
		default:
			return core.Invalid("invalid mode: %s", m.Mode)
		}
	}
	return nil
}

// Mount checks `--mount`.
func Mount(spec core.MountSpec) (core.Mount, error) {
	bad := func(format string, args ...any) (core.Mount, error) {
		return core.Mount{}, core.Invalid("invalid mount config for type %q: "+format, append([]any{spec.Type}, args...)...)
	}
	if spec.Target == "" {
		return bad("field Target must not be empty")
	}
	if !filepath.IsAbs(spec.Target) {
		return bad("invalid mount path: '%s' mount path must be absolute", spec.Target)
	}
	m := core.Mount{Type: spec.Type, Destination: filepath.Clean(spec.Target), RW: !spec.ReadOnly}
	if m.Destination == "/" {
		return bad("invalid specification: destination can't be '/'")
	}
	switch spec.Type {
	case core.MountBind:
		if spec.Source == "" {
			return bad("field Source must not be empty")
		}
		if !filepath.IsAbs(spec.Source) {
			return bad("invalid mount path: '%s' mount path must be absolute", spec.Source)
		}
		if spec.Volume != nil || spec.Tmpfs != nil {
			return bad("field VolumeOptions must not be specified")
		}
		m.Source, m.Mode, m.Propagation = filepath.Clean(spec.Source), MountSyntax, "rprivate"
		if o := spec.Bind; o != nil {
			m.Propagation = cmp.Or(o.Propagation, "rprivate")
			m.NonRecursive, m.ReadOnlyNonRecursive, m.ReadOnlyForceRecursive = o.NonRecursive, o.ReadOnlyNonRecursive, o.ReadOnlyForceRecursive
			if o.CreateMountpoint {
				m.Mode = ""
			}
		}
	case core.MountVolume:
		if spec.Bind != nil || spec.Tmpfs != nil {
			return bad("field BindOptions must not be specified")
		}
		m.Name = spec.Source
		if o := spec.Volume; o != nil {
			m.NoCopy, m.Subpath, m.Driver = o.NoCopy, o.Subpath, o.Driver
		}
	case core.MountTmpfs:
		if spec.Source != "" {
			return bad("field Source must not be specified")
		}
		m.Options = tmpfsOptions(spec)
	case core.MountImage:
		m.Name = spec.Source
	default:
		return core.Mount{}, core.Invalid("invalid mount config for type %q: mount type unknown", spec.Type)
	}
	return m, nil
}

func tmpfsOptions(spec core.MountSpec) []string {
	var options []string
	if spec.ReadOnly {
		options = append(options, "ro")
	}
	if o := spec.Tmpfs; o != nil {
		if o.Mode != 0 {
			options = append(options, "mode="+strconv.FormatUint(uint64(o.Mode), 8))
		}
		if o.SizeBytes != 0 {
			options = append(options, "size="+strconv.FormatInt(o.SizeBytes, 10))
		}
		for _, pair := range o.Options {
			options = append(options, strings.Join(pair, "="))
		}
	}
	return options
}

func BindOptions(m core.Mount) []string {
	options := []string{"rbind"}
	if m.NonRecursive {
		options[0] = "bind"
	}
	switch {
	case m.RW:
		options = append(options, "rw")
	case m.NonRecursive || m.ReadOnlyNonRecursive:
		options = append(options, "ro")
	default:
		options = append(options, "ro", "rro")
	}
	if m.Propagation != "" {
		options = append(options, m.Propagation)
	} else {
		options = append(options, "rprivate")
	}
	return options
}

// Mounts turns what the user and the image ask for (`-v`, `--mount`, `--tmpfs`, VOLUME) into mounts, in the order in
// which they are mounted. A later word for a destination replaces an earlier one: inherited (`--volumes-from`), then
// binds, then mounts, then tmpfs, then the image's volumes where nothing else is.
func Mounts(c *core.Container, inherited []core.Mount) ([]core.Mount, error) {
	all := map[string]core.Mount{}
	for _, m := range inherited {
		all[m.Destination] = m
	}
	given, err := givenMounts(c)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, m := range given {
		if seen[m.Destination] {
			return nil, core.Invalid("Duplicate mount point: %s", m.Destination)
		}
		seen[m.Destination] = true
		all[m.Destination] = m
	}
	for destination := range c.Config.Volumes {
		destination = filepath.Clean(destination)
		if _, taken := all[destination]; !taken {
			all[destination] = core.Mount{Type: core.MountVolume, Destination: destination, RW: true}
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b core.Mount) int {
		return cmp.Or(cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/")), cmp.Compare(a.Destination, b.Destination))
	}), nil
}

// givenMounts are those that the user names.
func givenMounts(c *core.Container) ([]core.Mount, error) {
	var mounts []core.Mount
	for _, spec := range c.Host.Binds {
		m, err := Bind(spec)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	for _, spec := range c.Host.MountSpecs {
		m, err := Mount(spec)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	for destination, options := range c.Host.Tmpfs {
		m := core.Mount{Type: core.MountTmpfs, Destination: filepath.Clean(destination), RW: true, Mode: options}
		if options != "" {
			m.Options = strings.Split(options, ",")
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}
