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
	bad := func() (core.Mount, error) {
		return core.Mount{}, core.Invalid("invalid volume specification: '%s'", spec)
	}
	m := core.MountSpec{Type: core.MountVolume}
	mode := ""
	switch len(parts) {
	case 1:
		m.Target = parts[0]
	case 2, 3:
		m.Source, m.Target = parts[0], parts[1]
		if len(parts) == 3 {
			mode = parts[2]
		}
	default:
		return bad()
	}
	if parts[0] == "" || len(parts) == 2 && validMode(parts[1]) {
		return bad()
	}
	if !validMode(mode) {
		return core.Mount{}, core.Invalid("invalid mode: %s", mode)
	}
	if filepath.IsAbs(m.Source) {
		m.Type = core.MountBind
	}
	for option := range strings.SplitSeq(mode, ",") {
		switch modes[option] {
		case modeAccess:
			m.ReadOnly = option == "ro"
		case modeCopy:
			m.Volume = &core.VolumeOptions{NoCopy: true}
		case modePropagation:
			m.Bind = &core.BindOptions{Propagation: option}
		}
	}
	mount, err := Mount(m)
	if err != nil {
		return core.Mount{}, core.Invalid("invalid volume specification: '%s': %w", spec, err)
	}
	mount.Mode = mode
	return mount, nil
}

// The kinds of options in the third part of `-v`, of which each may be given once.
const (
	modeAccess = iota + 1
	modeLabel
	modePropagation
	modeCopy
	modeConsistency
)

// modes are the options of `-v`. Labels are SELinux's; consistency is for other systems than Linux.
var modes = map[string]int{
	"rw": modeAccess, "ro": modeAccess, "z": modeLabel, "Z": modeLabel, "nocopy": modeCopy,
	"private": modePropagation, "rprivate": modePropagation, "shared": modePropagation, "rshared": modePropagation,
	"slave": modePropagation, "rslave": modePropagation,
	"consistent": modeConsistency, "cached": modeConsistency, "delegated": modeConsistency,
}

func validMode(mode string) bool {
	if mode == "" {
		return true
	}
	seen := map[int]bool{}
	for option := range strings.SplitSeq(mode, ",") {
		kind := modes[option]
		if kind == 0 || seen[kind] {
			return false
		}
		seen[kind] = true
	}
	return true
}

// Labelled says whether what a mount shows gets the label of the container's files (`-v …:z` and `:Z`, and volumes
// without a word); shared: one that all containers may use.
func Labelled(m core.Mount) (wanted, shared bool) {
	for option := range strings.SplitSeq(m.Mode, ",") {
		if modes[option] == modeLabel {
			return true, option == "z"
		}
	}
	return m.Type == core.MountVolume, true
}

// From reads `--volumes-from`: a container and whether its volumes are read-only.
func From(spec string) (ref string, readOnly bool, err error) {
	if spec == "" {
		return "", false, core.Invalid("volumes-from specification cannot be an empty string")
	}
	ref, mode, _ := strings.Cut(spec, ":")
	for option := range strings.SplitSeq(mode, ",") {
		if kind := modes[option]; !validMode(mode) || kind == modePropagation || kind == modeCopy {
			return "", false, core.Invalid("invalid mode: %s", mode)
		}
		readOnly = readOnly || option == "ro"
	}
	return ref, readOnly, nil
}

// checkTarget refuses places where nothing can be mounted.
func checkTarget(target string) error {
	if filepath.Clean(target) == "/" {
		return core.Invalid("invalid specification: destination can't be '/'")
	}
	return checkAbsolute(target)
}

func checkAbsolute(path string) error {
	if !filepath.IsAbs(path) {
		return core.Invalid("invalid mount path: '%s' mount path must be absolute", path)
	}
	return nil
}

// Mount checks `--mount`.
func Mount(spec core.MountSpec) (core.Mount, error) {
	m, err := mountOf(spec)
	if err != nil {
		return core.Mount{}, core.Invalid("invalid mount config for type %q: %w", spec.Type, err)
	}
	return m, nil
}

func mountOf(spec core.MountSpec) (core.Mount, error) {
	if err := exclusive(spec); err != nil {
		return core.Mount{}, err
	}
	if spec.Target == "" {
		return core.Mount{}, core.Invalid("field Target must not be empty")
	}
	if err := checkTarget(spec.Target); err != nil {
		return core.Mount{}, err
	}
	m := core.Mount{Type: spec.Type, Destination: filepath.Clean(spec.Target), RW: !spec.ReadOnly}
	switch spec.Type {
	case core.MountBind:
		return m, bindOf(spec, &m)
	case core.MountVolume:
		m.Name = spec.Source
		if o := spec.Volume; o != nil {
			m.NoCopy, m.Subpath, m.Driver = o.NoCopy, o.Subpath, o.Driver
			if o.Subpath != "" && m.Name == "" {
				return m, core.Invalid("must not set Subpath when using anonymous volumes")
			}
		}
		return m, checkSubpath(m.Subpath)
	case core.MountTmpfs:
		if spec.Source != "" {
			return m, core.Invalid("field Source must not be specified")
		}
		m.Options = tmpfsOptions(spec)
		return m, checkTmpfsOptions(spec.Tmpfs)
	case core.MountImage:
		if spec.Source == "" {
			return m, core.Invalid("field Source must not be empty")
		}
		m.Name, m.RW = spec.Source, false
		if spec.Image != nil {
			m.Subpath = spec.Image.Subpath
		}
		return m, checkSubpath(m.Subpath)
	}
	return m, core.Invalid("mount type unknown")
}

// exclusive refuses options of another type than the mount's.
func exclusive(spec core.MountSpec) error {
	for _, o := range []struct {
		given bool
		of    core.MountType
		name  string
	}{
		{spec.Bind != nil, core.MountBind, "BindOptions"}, {spec.Volume != nil, core.MountVolume, "VolumeOptions"},
		{spec.Image != nil, core.MountImage, "ImageOptions"}, {spec.Tmpfs != nil, core.MountTmpfs, "TmpfsOptions"},
	} {
		if o.given && spec.Type != o.of {
			return core.Invalid("field %s must not be specified", o.name)
		}
	}
	return nil
}

func checkSubpath(path string) error {
	if path != "" && !filepath.IsLocal(path) {
		return core.Invalid("subpath must be a relative path within the volume")
	}
	return nil
}

func bindOf(spec core.MountSpec, m *core.Mount) error {
	if spec.Source == "" {
		return core.Invalid("field Source must not be empty")
	}
	o := core.BindOptions{}
	if spec.Bind != nil {
		o = *spec.Bind
	}
	switch {
	case o.Propagation != "" && modes[o.Propagation] != modePropagation:
		return core.Invalid("invalid propagation mode: %s", o.Propagation)
	case o.ReadOnlyNonRecursive && !spec.ReadOnly:
		return core.Invalid("mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive")
	case o.ReadOnlyForceRecursive && !spec.ReadOnly:
		return core.Invalid("mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive")
	case o.ReadOnlyNonRecursive && o.ReadOnlyForceRecursive:
		return core.Invalid("mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive")
	}
	m.Source, m.Propagation, m.Mode = filepath.Clean(spec.Source), cmp.Or(o.Propagation, "rprivate"), MountSyntax
	m.NonRecursive, m.ReadOnlyNonRecursive, m.ReadOnlyForceRecursive = o.NonRecursive, o.ReadOnlyNonRecursive, o.ReadOnlyForceRecursive
	if o.CreateMountpoint {
		m.Mode = ""
	}
	return checkAbsolute(spec.Source)
}

// checkTmpfsOptions refuses options that Docker's API does not have for a tmpfs of `--mount`.
func checkTmpfsOptions(o *core.TmpfsOptions) error {
	if o == nil {
		return nil
	}
	for _, pair := range o.Options {
		if len(pair) < 1 || len(pair) > 2 {
			return core.Invalid("invalid option array length")
		}
		if pair[0] != "exec" && pair[0] != "noexec" {
			return core.Invalid("invalid option: %s", pair[0])
		}
	}
	if o.SizeBytes < 0 {
		return core.Invalid("invalid tmpfs size: %d", o.SizeBytes)
	}
	return nil
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

// tmpfsFlags and tmpfsValues are what `--tmpfs` takes behind the colon.
var (
	tmpfsFlags = []string{
		"defaults", "ro", "rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync", "remount",
		"mand", "nomand", "atime", "noatime", "diratime", "nodiratime", "bind", "rbind", "unbindable", "runbindable", "private",
		"rprivate", "shared", "rshared", "slave", "rslave", "relatime", "norelatime", "strictatime", "nostrictatime",
	}
	tmpfsValues = []string{"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"}
)

func checkTmpfs(tmpfs map[string]string) error {
	for destination, options := range tmpfs {
		if err := checkTarget(destination); err != nil {
			return err
		}
		for option := range strings.SplitSeq(options, ",") {
			key, value, hasValue := strings.Cut(option, "=")
			switch {
			case option == "", !hasValue && slices.Contains(tmpfsFlags, key):
			case hasValue && slices.Contains(tmpfsValues, key):
			case hasValue:
				return core.Invalid("invalid tmpfs option %q", []string{key, value})
			default:
				return core.Invalid("invalid tmpfs option %q", option)
			}
		}
	}
	return nil
}

// BindOptions are the options with which a bind, a volume or an image is mounted.
func BindOptions(m core.Mount) []string {
	options := []string{"rbind"}
	if m.NonRecursive {
		options[0] = "bind"
	}
	switch {
	case m.RW: // what is mounted read-only elsewhere stays so
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
	mounts := slices.SortedFunc(maps.Values(all), func(a, b core.Mount) int {
		return cmp.Or(cmp.Compare(strings.Count(a.Destination, "/"), strings.Count(b.Destination, "/")), cmp.Compare(a.Destination, b.Destination))
	})
	return mounts, idMaps(c.Host.Annotations, mounts)
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
