// Package volume keeps volumes: named folders that outlive containers. There is one driver, local, as in Docker: a
// volume is a folder of its own, or what its options type, device and o say is mounted while a container uses it.
//
// On the disk, below the root that New is given:
//
//	<name>/volume.json     the record: labels, options, time of creation
//	<name>/_data           what containers see; its presence says that the volume is complete
//	<name>/_filling        content that is being copied from an image
//	<name>/_incoming-<id>  content that is to take the place of the data, or did not get there, or was replaced
//	<name>/snapshots/<tag> what the volume held at a moment: snapshot.json and _data
//	.new-<id>              a volume that is being made of another one or of a tar
//	.trash-<id>            a removed volume or snapshot whose content is being deleted
package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/failpoint"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/linux/quota"
	"github.com/berth-engine/berth/linux/tree"
)

// The only driver, and the names in a volume's folder and beside it.
const (
	driver      = "local"
	dataName    = "_data"
	fillingName = "_filling"
	recordName  = "volume.json"
	trashPrefix = ".trash-"
)

// Volumes are the volumes below one root.
type Volumes struct {
	root   string
	logger *slog.Logger
	quota  *quota.Projects // nil where the file system has none

	mu     sync.Mutex // guards byName; taken after a volume's own, and never held for long
	byName map[string]*volume
}

// volume is a volume with who uses it.
type volume struct {
	record core.Volume // never changes

	mu      sync.Mutex // guards the rest; held while the volume is being mounted, filled or removed
	users   map[core.ContainerID]bool
	copies  int // how many copies of it, or of its snapshots, or to it are under way
	removed bool
}

func newVolume(v core.Volume) *volume {
	return &volume{record: v, users: map[core.ContainerID]bool{}}
}

// New reads the volumes below root, which is made when it is missing, and clears away what an interrupted creation or
// removal left. A record that can't be read costs a volume its labels, never its data. projects sets the limits that the option
// size asks for, where the file system can.
func New(root string, projects *quota.Projects, logger *slog.Logger) (*Volumes, error) {
	if err := os.MkdirAll(root, 0o701); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	vs := &Volumes{root: root, logger: logger, byName: map[string]*volume{}}
	if projects.Supported(root) {
		vs.quota = projects
	}
	for _, entry := range entries {
		path := filepath.Join(root, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), trashPrefix), strings.HasPrefix(entry.Name(), newPrefix):
			vs.discard(path)
		case entry.IsDir() && nameError(entry.Name()) == nil:
			if err := vs.load(entry.Name(), path); err != nil {
				return nil, fmt.Errorf("volume %s: %w", entry.Name(), err)
			}
		}
	}
	return vs, nil
}

// load takes over a volume that is on the disk.
func (vs *Volumes) load(name, path string) error {
	data, err := os.Lstat(filepath.Join(path, dataName))
	if errors.Is(err, os.ErrNotExist) {
		return unmake(path) // a creation that did not come to its end
	}
	if err != nil {
		return err
	}
	vs.discard(filepath.Join(path, fillingName))
	if err := vs.clearStaging(path); err != nil {
		return err
	}
	record := core.Volume{}
	raw, err := os.ReadFile(filepath.Join(path, recordName))
	if err == nil {
		err = json.Unmarshal(raw, &record)
	}
	if err != nil {
		vs.logger.Error("the record of a volume can't be read; its labels and options are lost", "volume", name, "error", err)
		record = core.Volume{Created: data.ModTime()}
	}
	record.Name, record.Driver, record.Mountpoint = name, driver, filepath.Join(path, dataName)
	vs.byName[name] = newVolume(record)
	return nil
}

// unmake removes the folder of a volume without data. Should it hold something that is not ours, it stays.
func unmake(folder string) error {
	record := os.Remove(filepath.Join(folder, recordName))
	if record != nil && !errors.Is(record, os.ErrNotExist) {
		return record
	}
	if err := os.Remove(folder); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

// discard deletes what nobody can see any more. What can't be deleted now is tried again at the next start.
func (vs *Volumes) discard(path string) {
	if err := errors.Join(vs.drop(filepath.Join(path, dataName)), vs.drop(path)); err != nil {
		vs.logger.Warn("what is left of a volume can't be deleted", "path", path, "error", err)
	}
}

// Create makes a volume, or gives the one that is there when driver and options agree.
func (vs *Volumes) Create(_ context.Context, v core.Volume) (core.Volume, error) {
	if v.Driver == "" {
		v.Driver = driver
	}
	if v.Driver != driver {
		return core.Volume{}, core.NotFound("create %s: error looking up volume plugin %s: plugin %q not found", v.Name, v.Driver, v.Driver)
	}
	if v.Name == "" {
		v.Name, v.Anonymous = id.New(), true
	}
	for _, wrong := range []error{nameError(v.Name), vs.optionsError(v.Options)} {
		if wrong != nil {
			return core.Volume{}, core.Invalid("create %s: %w", v.Name, wrong)
		}
	}
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if old, ok := vs.byName[v.Name]; ok {
		if len(v.Options) > 0 && !maps.Equal(v.Options, old.record.Options) {
			return core.Volume{}, core.Conflict("create %s: a volume named %s already exists with other options. Choose a different volume name.", v.Name, v.Name)
		}
		return copyOf(old.record), nil
	}
	v = copyOf(v)
	v.Created = time.Now().UTC()
	v.Mountpoint = filepath.Join(vs.root, v.Name, dataName)
	if err := vs.make(v); err != nil {
		return core.Volume{}, core.Internal("create %s: %w", v.Name, err)
	}
	vs.byName[v.Name] = newVolume(v)
	return copyOf(v), nil
}

// make brings a volume onto the disk.
func (vs *Volumes) make(v core.Volume) error {
	// A plain record can be made up from the folder; one that says more must not get lost with the machine.
	sync := len(v.Options) > 0 || len(v.Labels) > 0
	folder := filepath.Join(vs.root, v.Name)
	if err := vs.makeIn(folder, v, sync); err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	return nil
}

// makeIn makes the folder of a volume; the folder of the data comes last.
func (vs *Volumes) makeIn(folder string, v core.Volume, sync bool) error {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := writeRecord(folder, v, sync); err != nil {
		return err
	}
	if err := failpoint.Hit("volume:before-data"); err != nil {
		return err
	}
	if err := vs.makeData(filepath.Join(folder, dataName), &v); err != nil {
		return err
	}
	return os.Chmod(folder, 0o701)
}

// copyOf is a volume that shares nothing with v.
func copyOf(v core.Volume) core.Volume {
	v.Labels, v.Options = maps.Clone(v.Labels), maps.Clone(v.Options)
	return v
}

func (vs *Volumes) find(name string) (*volume, error) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v, ok := vs.byName[name]
	if !ok {
		return nil, core.NoSuchVolume(name)
	}
	return v, nil
}

// locked finds a volume and locks it; the caller unlocks it.
func (vs *Volumes) locked(name string) (*volume, error) {
	v, err := vs.find(name)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	if v.removed {
		v.mu.Unlock()
		return nil, core.NoSuchVolume(name)
	}
	return v, nil
}

// Lookup finds a volume by its name.
func (vs *Volumes) Lookup(_ context.Context, name string) (core.Volume, error) {
	v, err := vs.find(name)
	if err != nil {
		return core.Volume{}, err
	}
	return copyOf(v.record), nil
}

// List gives all volumes, sorted by name.
func (vs *Volumes) List(context.Context) ([]core.Volume, error) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	all := make([]core.Volume, 0, len(vs.byName))
	for _, name := range slices.Sorted(maps.Keys(vs.byName)) {
		all = append(all, copyOf(vs.byName[name].record))
	}
	return all, nil
}

// Remove deletes a volume and its data. One that is mounted for a container is not removed, and one with snapshots by
// force only.
func (vs *Volumes) Remove(_ context.Context, name string, force bool) error {
	v, err := vs.locked(name)
	if err != nil {
		return err
	}
	trash, err := vs.bin(v, force)
	v.mu.Unlock()
	if err == nil {
		err = failpoint.Hit("volume:in-trash")
	}
	if err != nil {
		return err
	}
	vs.discard(trash)
	return nil
}

// bin takes a volume away by renaming its folder, in one step that a crash can't divide. The caller holds the volume's
// lock.
func (vs *Volumes) bin(v *volume, force bool) (trash string, err error) {
	name := v.record.Name
	if err := v.unused("remove"); err != nil {
		return "", err
	}
	if !force {
		snapshots, err := v.listSnapshots()
		if err != nil {
			return "", core.Internal("remove %s: %w", name, err)
		}
		if len(snapshots) > 0 {
			return "", core.Conflict("remove %s: volume has snapshots (%d); remove them first, or use force", name, len(snapshots))
		}
	}
	if err := tree.Unmount(v.record.Mountpoint); err != nil {
		return "", core.Internal("remove %s: %w", name, err)
	}
	trash = filepath.Join(vs.root, trashPrefix+id.New())
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if err := os.Rename(filepath.Join(vs.root, name), trash); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", core.Internal("remove %s: %w", name, err)
	}
	v.removed = true
	delete(vs.byName, name)
	return trash, nil
}
