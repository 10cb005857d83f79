package option

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/mount"
)

// Mounts are the values of --mount.
type Mounts struct {
	Values []mount.Mount
	// IDMaps are how the owners of files are mapped, by the mount's target: an API of Docker's has no field for it.
	IDMaps map[string]string
}

// Type names the flag's argument in help.
func (*Mounts) Type() string { return "mount" }

func (m *Mounts) String() string {
	if m == nil {
		return ""
	}
	var list []string
	for _, one := range m.Values {
		list = append(list, fmt.Sprintf("%s %s %s", one.Type, one.Source, one.Target))
	}
	return strings.Join(list, ", ")
}

// Set reads type=…,source=…,target=….
func (m *Mounts) Set(text string) error {
	text = strings.TrimSpace(text)
	if text == "" {
		return errors.New("value is empty")
	}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return err
	}
	one, idMap := mount.Mount{Type: mount.TypeVolume}, ""
	for _, field := range fields {
		if key, value, _ := strings.Cut(field, "="); key == "idmap" {
			if idMap = value; idMap == "" {
				return errors.New("idmap needs a value: uids=DISK-SEEN-SIZE;gids=DISK-SEEN-SIZE")
			}
			continue
		}
		if err := mountField(&one, field); err != nil {
			return err
		}
	}
	if err := checkMount(&one); err != nil {
		return err
	}
	m.Values = append(m.Values, one)
	if idMap != "" {
		if m.IDMaps == nil {
			m.IDMaps = map[string]string{}
		}
		m.IDMaps[one.Target] = idMap
	}
	return nil
}

func mountField(m *mount.Mount, field string) error {
	key, value, hasValue := strings.Cut(field, "=")
	if k := strings.TrimSpace(key); k != key {
		return fmt.Errorf("invalid option '%s' in '%s': option should not have whitespace", k, field)
	}
	if hasValue {
		switch v := strings.TrimSpace(value); {
		case v == "":
			return fmt.Errorf("invalid value for '%s': value is empty", key)
		case v != value:
			return fmt.Errorf("invalid value for '%s' in '%s': value should not have whitespace", key, field)
		}
	}
	key = strings.ToLower(key)
	if !hasValue {
		switch key {
		case "readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src":
		default:
			return fmt.Errorf("invalid field '%s' must be a key=value pair", field)
		}
	}
	switch kind, _, _ := strings.Cut(key, "-"); {
	case key == kind:
		return commonField(m, key, value, hasValue, field)
	case kind == "bind":
		return bindField(m, key, value, hasValue, field)
	case kind == "volume":
		return volumeField(m, key, value, hasValue, field)
	case kind == "tmpfs":
		return tmpfsField(m, key, value, field)
	case key == "image-subpath":
		m.ImageOptions = &mount.ImageOptions{Subpath: value}
		return nil
	}
	return fmt.Errorf("unknown option '%s' in '%s'", key, field)
}

func commonField(m *mount.Mount, key, value string, hasValue bool, field string) (err error) {
	switch key {
	case "type":
		m.Type = mount.Type(strings.ToLower(value))
	case "source", "src":
		m.Source = absolute(value)
	case "target", "dst", "destination":
		m.Target = value
	case "readonly", "ro":
		m.ReadOnly, err = boolean(key, value, hasValue)
	case "consistency":
		m.Consistency = mount.Consistency(strings.ToLower(value))
	default:
		return fmt.Errorf("unknown option '%s' in '%s'", key, field)
	}
	return err
}

func bindField(m *mount.Mount, key, value string, hasValue bool, field string) (err error) {
	if m.BindOptions == nil {
		m.BindOptions = &mount.BindOptions{}
	}
	o := m.BindOptions
	switch key {
	case "bind-propagation":
		o.Propagation = mount.Propagation(strings.ToLower(value))
	case "bind-nonrecursive":
		return errors.New("bind-nonrecursive is deprecated, use bind-recursive=disabled instead")
	case "bind-recursive":
		switch value {
		case "enabled":
		case "disabled":
			o.NonRecursive = true
		case "writable":
			o.ReadOnlyNonRecursive = true
		case "readonly":
			o.ReadOnlyForceRecursive = true
		default:
			return fmt.Errorf(`invalid value for %s: %s (must be "enabled", "disabled", "writable", or "readonly")`, key, value)
		}
	case "bind-create-src":
		o.CreateMountpoint, err = boolean(key, value, hasValue)
	default:
		return fmt.Errorf("unknown option '%s' in '%s'", key, field)
	}
	return err
}

func volumeField(m *mount.Mount, key, value string, hasValue bool, field string) (err error) {
	if m.VolumeOptions == nil {
		m.VolumeOptions = &mount.VolumeOptions{}
	}
	o := m.VolumeOptions
	switch key {
	case "volume-subpath":
		o.Subpath = value
	case "volume-nocopy":
		o.NoCopy, err = boolean(key, value, hasValue)
	case "volume-label":
		o.Labels = addPair(o.Labels, value)
	case "volume-driver", "volume-opt":
		if o.DriverConfig == nil {
			o.DriverConfig = &mount.Driver{}
		}
		if key == "volume-driver" {
			o.DriverConfig.Name = value
		} else {
			o.DriverConfig.Options = addPair(o.DriverConfig.Options, value)
		}
	default:
		return fmt.Errorf("unknown option '%s' in '%s'", key, field)
	}
	return err
}

func tmpfsField(m *mount.Mount, key, value, field string) error {
	if m.TmpfsOptions == nil {
		m.TmpfsOptions = &mount.TmpfsOptions{}
	}
	switch key {
	case "tmpfs-size":
		size, err := units.RAMInBytes(value)
		if err != nil {
			return fmt.Errorf("invalid value for %s: %s", key, value)
		}
		m.TmpfsOptions.SizeBytes = size
	case "tmpfs-mode":
		mode, err := strconv.ParseUint(value, 8, 32)
		if err != nil {
			return fmt.Errorf("invalid value for %s: %s", key, value)
		}
		m.TmpfsOptions.Mode = os.FileMode(mode)
	default:
		return fmt.Errorf("unknown option '%s' in '%s'", key, field)
	}
	return nil
}

func checkMount(m *mount.Mount) error {
	if m.Type == "" {
		return errors.New("type is required")
	}
	for _, other := range []struct {
		given bool
		kind  mount.Type
	}{
		{m.BindOptions != nil, mount.TypeBind},
		{m.VolumeOptions != nil, mount.TypeVolume},
		{m.ImageOptions != nil, mount.TypeImage},
		{m.TmpfsOptions != nil, mount.TypeTmpfs},
	} {
		if other.given && m.Type != other.kind {
			return fmt.Errorf("cannot mix '%s-*' options with mount type '%s'", other.kind, m.Type)
		}
	}
	if b := m.BindOptions; b != nil {
		switch {
		case b.ReadOnlyNonRecursive && !m.ReadOnly:
			return errors.New("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction")
		case b.ReadOnlyForceRecursive && !m.ReadOnly:
			return errors.New("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction")
		case b.ReadOnlyForceRecursive && b.Propagation != mount.PropagationRPrivate:
			return errors.New("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction")
		}
	}
	return nil
}

func boolean(key, value string, hasValue bool) (bool, error) {
	if !hasValue {
		return true, nil
	}
	switch value {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fmt.Errorf(`invalid value for '%s': invalid boolean value (%q): must be one of "true", "1", "false", or "0" (default "true")`, key, value)
}

func addPair(m map[string]string, pair string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	key, value, _ := strings.Cut(pair, "=")
	if key != "" {
		m[key] = value
	}
	return m
}

// absolute resolves a path that begins with a dot; any other word may be the name of a volume.
func absolute(path string) string {
	if !strings.HasPrefix(path, ".") {
		return path
	}
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}

// Volumes reads the values of --volume: those with a source are binds, a path alone is an anonymous volume.
func Volumes(specs []string) (binds []string, anonymous map[string]struct{}, err error) {
	anonymous = map[string]struct{}{}
	seen := map[string]bool{}
	for _, spec := range specs {
		if seen[spec] {
			continue
		}
		seen[spec] = true
		if spec == "" {
			return nil, nil, errors.New("invalid empty volume spec")
		}
		source, rest, hasSource := strings.Cut(spec, ":")
		if !hasSource {
			anonymous[spec] = struct{}{}
			continue
		}
		if source == "" || rest == "" || strings.HasPrefix(rest, ":") {
			return nil, nil, fmt.Errorf("invalid spec: %s: empty section between colons", spec)
		}
		if strings.Count(rest, ":") > 1 {
			return nil, nil, fmt.Errorf("invalid spec: %s: too many colons", spec)
		}
		binds = append(binds, absolute(source)+":"+rest)
	}
	return binds, anonymous, nil
}

// Tmpfs reads path[:options].
func Tmpfs(specs []string) map[string]string {
	m := map[string]string{}
	for _, spec := range specs {
		path, options, _ := strings.Cut(spec, ":")
		m[path] = options
	}
	return m
}
