package engine

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
)

// resolveMounts turns what the user and the image ask for (`-v`, `--mount`, `--tmpfs`, `--volumes-from`, VOLUME) into
// mounts, makes the volumes and fills new ones from the image. A later word for a destination replaces an earlier
// one: volumes-from, then binds, then mounts, then tmpfs, then the image's volumes where nothing else is.
func (cs *Containers) resolveMounts(ctx context.Context, b *box) error {
	c := b.view()
	byDestination := map[string]core.Mount{}
	inherited, err := cs.volumesFrom(c)
	if err != nil {
		return err
	}
	for _, m := range inherited {
		byDestination[m.Destination] = m
	}
	given := map[string]bool{}
	put := func(m core.Mount) error {
		if given[m.Destination] {
			return core.Invalid("Duplicate mount point: %s", m.Destination)
		}
		given[m.Destination] = true
		byDestination[m.Destination] = m
		return nil
	}
	for _, spec := range c.Host.Binds {
		m, err := ParseBind(spec)
		if err != nil {
			return err
		}
		if err := put(m); err != nil {
			return err
		}
	}
	for _, spec := range c.Host.MountSpecs {
		m, err := mountOf(spec)
		if err != nil {
			return err
		}
		if err := put(m); err != nil {
			return err
		}
	}
	for destination, options := range c.Host.Tmpfs {
		m := core.Mount{Type: core.MountTmpfs, Destination: filepath.Clean(destination), RW: true, Mode: options}
		if options != "" {
			m.Options = strings.Split(options, ",")
		}
		if err := put(m); err != nil {
			return err
		}
	}
	for destination := range c.Config.Volumes {
		destination = filepath.Clean(destination)
		if _, taken := byDestination[destination]; !taken {
			byDestination[destination] = core.Mount{Type: core.MountVolume, Destination: destination, RW: true}
		}
	}
	mounts := make([]core.Mount, 0, len(byDestination))
	for _, m := range byDestination {
		mounts = append(mounts, m)
	}
	slices.SortFunc(mounts, func(a, b core.Mount) int {
		return cmp.Or(cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/")), cmp.Compare(a.Destination, b.Destination))
	})
	// What is made before a later one fails must be known, so that the ladder's undo finds it.
	defer func() { b.change(func(c *core.Container) { c.Mounts = mounts }) }()
	for i := range mounts {
		if err := cs.makeMount(ctx, c, &mounts[i]); err != nil {
			mounts = mounts[:i+1]
			return err
		}
	}
	return nil
}

// makeMount readies the source of a mount.
func (cs *Containers) makeMount(ctx context.Context, c *core.Container, m *core.Mount) error {
	switch m.Type {
	case core.MountBind:
		return cs.ports.Volumes.Source(ctx, m.Source, m.Mode != mountSyntax)
	case core.MountVolume:
		return cs.makeVolume(ctx, c, m)
	case core.MountImage:
		return core.NotImplemented("Berth does not mount images yet (--mount type=image)")
	}
	return nil
}

// mountSyntax in Mode marks a bind that came from `--mount`: its source must be there already.
const mountSyntax = "mount"

func (cs *Containers) makeVolume(ctx context.Context, c *core.Container, m *core.Mount) error {
	want := core.Volume{Name: m.Name, Driver: cmp.Or(m.Driver, c.Host.VolumeDriver, "local")}
	if m.Name == "" {
		want.Name, want.Anonymous, m.Anonymous = id.New(), true, true
	}
	for _, spec := range c.Host.MountSpecs {
		if spec.Volume != nil && filepath.Clean(spec.Target) == m.Destination {
			want.Labels, want.Options = spec.Volume.Labels, spec.Volume.DriverOptions
		}
	}
	volume, err := cs.volumes.ensure(ctx, want)
	if err != nil {
		return err
	}
	m.Name, m.Driver, m.Source = volume.Name, volume.Driver, volume.Mountpoint
	if m.NoCopy {
		return nil
	}
	root, err := cs.ports.Layers.Mounts(ctx, c.ID)
	if err != nil {
		return err
	}
	return cs.ports.Volumes.Fill(ctx, volume.Name, root, m.Destination)
}

// volumesFrom gives the mounts of the containers named by `--volumes-from ID[:ro|rw]`.
func (cs *Containers) volumesFrom(c *core.Container) ([]core.Mount, error) {
	var mounts []core.Mount
	for _, spec := range c.Host.VolumesFrom {
		ref, mode, _ := strings.Cut(spec, ":")
		if ref == "" {
			return nil, core.Invalid("malformed volumes-from specification: %s", spec)
		}
		if mode != "" && mode != "ro" && mode != "rw" && mode != "z" && mode != "Z" {
			return nil, core.Invalid("invalid mode for volumes-from: %s", mode)
		}
		other, err := cs.table.find(ref)
		if err != nil {
			return nil, err
		}
		for _, m := range other.view().Mounts {
			if m.Type == core.MountTmpfs {
				continue
			}
			m.RW = m.RW && mode != "ro"
			m.NoCopy, m.Anonymous = true, false
			mounts = append(mounts, m)
		}
	}
	return mounts, nil
}

// ParseBind reads `-v`: destination, source:destination or source:destination:options.
func ParseBind(spec string) (core.Mount, error) {
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

// mountOf checks `--mount`.
func mountOf(spec core.MountSpec) (core.Mount, error) {
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
		m.Source, m.Mode, m.Propagation = filepath.Clean(spec.Source), mountSyntax, "rprivate"
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

// removeAnonymous deletes the volumes that were made for this container alone and that nobody else uses.
func (cs *Containers) removeAnonymous(ctx context.Context, c *core.Container) error {
	var first error
	for _, m := range c.Mounts {
		if m.Type != core.MountVolume || !m.Anonymous {
			continue
		}
		if users := cs.usingVolume(m.Name); len(users) > 1 || len(users) == 1 && users[0] != c.ID {
			continue
		}
		if err := cs.volumes.drop(ctx, m.Name); err != nil && first == nil {
			first = err
		}
	}
	return first
}
