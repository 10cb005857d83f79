package volume

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/atomicfile"
	"github.com/berth-engine/berth/lib/failpoint"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/linux/tarball"
	"github.com/berth-engine/berth/linux/tree"
)

// What is being made has a name that nobody looks for until it is whole; then one rename(2) puts it in place. What a
// daemon that died had not put in place, the next one deletes.
const (
	newPrefix      = ".new-"
	incomingPrefix = "_incoming-"
)

// isMounted reports whether the data of a volume is not in its own folder, but mounted from elsewhere.
func isMounted(v *core.Volume) bool { return v.Options["type"] != "" }

// own refuses what can be done with data in a folder of ours only.
func (v *volume) own(verb string) error {
	if !isMounted(&v.record) {
		return nil
	}
	return core.Invalid("%s %s: its data is mounted from elsewhere (type=%s, device=%s)", verb, v.record.Name, v.record.Options["type"], v.record.Options["device"])
}

// unused refuses what can't be done while somebody has the volume open. The caller holds the lock.
func (v *volume) unused(verb string) error {
	if len(v.users) > 0 {
		return core.Conflict("%s %s: volume is in use - %v", verb, v.record.Name, slices.Sorted(maps.Keys(v.users)))
	}
	if v.copies > 0 {
		return core.Conflict("%s %s: volume is being copied", verb, v.record.Name)
	}
	return nil
}

// copying finds a volume that is about to be copied, from or to; until done is called it is neither removed nor renamed.
func (vs *Volumes) copying(name string) (v *volume, done func() error, err error) {
	v, err = vs.locked(name)
	if err != nil {
		return nil, nil, err
	}
	defer v.mu.Unlock()
	v.copies++
	return v, func() error {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.copies--
		return v.detach()
	}, nil
}

// source opens the data of a volume or, with a tag, of a snapshot of it.
func (v *volume) source(ctx context.Context, tag string) (*os.File, error) {
	if tag != "" {
		return v.openSnapshot(tag)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.attach(ctx); err != nil {
		return nil, err
	}
	return tree.OpenQuiet(v.record.Mountpoint)
}

// Export writes a tar of what a volume holds or, with a tag, a snapshot of it. The tar's top is the volume's.
func (vs *Volumes) Export(ctx context.Context, name, tag string, w io.Writer) (err error) {
	v, done, err := vs.copying(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	from, err := v.source(ctx, tag)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if err := tarball.Pack(ctx, from, "/.", w); err != nil {
		return core.Internal("export %s: %w", name, err)
	}
	return nil
}

// Import makes a volume of a tar, with the owners, modes and attributes that it tells. A volume that is there and holds
// nothing is filled; one that holds something is replaced as a whole, when that is asked for. It is the old one until
// all of the tar is on the disk, whatever happens. isNew reports that there was none.
func (vs *Volumes) Import(ctx context.Context, name string, r io.Reader, replace bool) (made core.Volume, isNew bool, err error) {
	if wrong := nameError(name); wrong != nil {
		return core.Volume{}, false, core.Invalid("import %s: %w", name, wrong)
	}
	unpack := func(folder string) error {
		top, err := os.Open(folder)
		if err != nil {
			return err
		}
		defer top.Close()
		return tarball.Unpack(ctx, top, "/", r, tarball.Options{Top: true, Whole: true})
	}
	v, done, err := vs.copying(name)
	if errdefs.IsNotFound(err) {
		made, err = vs.publish("import", core.Volume{Name: name, Driver: driver}, unpack)
		return made, err == nil, err
	}
	if err != nil {
		return core.Volume{}, false, err
	}
	defer func() { err = errors.Join(err, done()) }()
	if err := v.own("import"); err != nil {
		return core.Volume{}, false, err
	}
	may := func() error {
		empty, err := isEmpty(v.record.Mountpoint)
		if err == nil && !empty && !replace {
			err = core.Conflict("import %s: the volume is not empty; its data is replaced only when that is asked for", name)
		}
		return err
	}
	if err := vs.replace("import", v, may, unpack); err != nil {
		return core.Volume{}, false, err
	}
	return copyOf(v.record), false, nil
}

// Clone makes a volume with the content, labels and options of another one or, with a tag, of a snapshot of it. There is
// no clone until it is whole.
func (vs *Volumes) Clone(ctx context.Context, name, tag, as string, progress core.ProgressFunc) (_ core.Volume, err error) {
	if wrong := nameError(as); wrong != nil {
		return core.Volume{}, core.Invalid("clone %s: %w", as, wrong)
	}
	v, done, err := vs.copying(name)
	if err != nil {
		return core.Volume{}, err
	}
	defer func() { err = errors.Join(err, done()) }()
	if err := v.own("clone"); err != nil {
		return core.Volume{}, err
	}
	from, err := v.source(ctx, tag)
	if err != nil {
		return core.Volume{}, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	clone := copyOf(v.record)
	clone.Name, clone.Anonymous = as, false
	return vs.publish("clone", clone, func(folder string) error {
		return copyWith(ctx, from, folder, &meter{id: as, what: "Clone", progress: progress})
	})
}

// publish makes a new volume and fills it before anybody can see it.
func (vs *Volumes) publish(verb string, v core.Volume, fill func(folder string) error) (made core.Volume, err error) {
	defer func() { err = explain(err, verb, v.Name) }()
	if vs.known(v.Name) {
		return core.Volume{}, taken(verb, v.Name)
	}
	v.Created, v.Mountpoint = time.Now().UTC(), filepath.Join(vs.root, v.Name, dataName)
	folder := filepath.Join(vs.root, newPrefix+id.New())
	data := filepath.Join(folder, dataName)
	defer func() {
		if err != nil {
			err = errors.Join(err, vs.drop(data), os.RemoveAll(folder))
		}
	}()
	if err := vs.makeIn(folder, v, true); err != nil {
		return core.Volume{}, err
	}
	for _, do := range []func() error{
		func() error { return failpoint.Hit("volume-" + verb + ":before-copy") },
		func() error { return fill(data) },
		func() error { return tree.Sync(folder) },
		func() error { return failpoint.Hit("volume-" + verb + ":before-publish") },
	} {
		if err := do(); err != nil {
			return core.Volume{}, err
		}
	}
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if err := tree.Place(folder, filepath.Join(vs.root, v.Name)); errors.Is(err, fs.ErrExist) {
		return core.Volume{}, taken(verb, v.Name)
	} else if err != nil {
		return core.Volume{}, err
	}
	vs.byName[v.Name] = newVolume(v)
	if err := errors.Join(atomicfile.SyncFolder(vs.root), failpoint.Hit("volume-"+verb+":done")); err != nil {
		vs.logger.Warn("a volume that was just made may be lost with the machine", "volume", v.Name, "error", err)
	}
	return copyOf(v), nil
}

// replace gives a volume other data. It fills a folder beside the data and exchanges the two; the old data goes after
// that. The caller is among those who copy; nobody else may be, and nobody may use the volume. may is asked, before and
// after the filling, whether the data that is there may go.
func (vs *Volumes) replace(verb string, v *volume, may func() error, fill func(folder string) error) (err error) {
	defer func() { err = explain(err, verb, v.record.Name) }()
	free := func() error {
		v.copies-- // this one
		defer func() { v.copies++ }()
		return errors.Join(v.unused(verb), may())
	}
	v.mu.Lock()
	err = free()
	v.mu.Unlock()
	if err != nil {
		return err
	}
	incoming := filepath.Join(filepath.Dir(v.record.Mountpoint), incomingPrefix+id.New())
	if err := vs.makeData(incoming, &v.record); err != nil {
		return errors.Join(err, vs.drop(incoming))
	}
	for _, do := range []func() error{
		func() error { return failpoint.Hit("volume-" + verb + ":before-copy") },
		func() error { return fill(incoming) },
		func() error { return tree.Sync(incoming) },
		func() error { return failpoint.Hit("volume-" + verb + ":before-exchange") },
	} {
		if err := do(); err != nil {
			return errors.Join(err, vs.drop(incoming))
		}
	}
	v.mu.Lock()
	if err = free(); err == nil {
		err = tree.Exchange(incoming, v.record.Mountpoint)
	}
	v.mu.Unlock()
	// What is there now is the old data, or what did not get to its place.
	hit := failpoint.Hit("volume-" + verb + ":done")
	if dropped := errors.Join(hit, vs.drop(incoming)); err == nil && dropped != nil {
		vs.logger.Warn("the data that was replaced stays until the next start", "volume", v.record.Name, "error", dropped)
	}
	return err
}

// Rename gives a volume another name. The engine has checked that no container refers to the old one.
func (vs *Volumes) Rename(_ context.Context, name, as string) (_ core.Volume, err error) {
	if wrong := nameError(as); wrong != nil {
		return core.Volume{}, core.Invalid("rename %s: %w", name, wrong)
	}
	v, err := vs.locked(name)
	if err != nil {
		return core.Volume{}, err
	}
	defer v.mu.Unlock()
	defer func() { err = explain(err, "rename", name) }()
	if err := v.unused("rename"); err != nil {
		return core.Volume{}, err
	}
	if err := tree.Unmount(v.record.Mountpoint); err != nil {
		return core.Volume{}, err
	}
	if vs.known(as) {
		return core.Volume{}, taken("rename", as)
	}
	next := copyOf(v.record)
	folder, target := filepath.Join(vs.root, name), filepath.Join(vs.root, as)
	if next.Anonymous {
		// Before it moves: a volume that somebody has named must not be pruned like one that nobody has.
		next.Anonymous = false
		if err := writeRecord(folder, next, true); err != nil {
			return core.Volume{}, err
		}
	}
	next.Name, next.Mountpoint = as, filepath.Join(target, dataName)
	if err := failpoint.Hit("volume-rename:before-move"); err != nil {
		return core.Volume{}, err
	}
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if err := tree.Place(folder, target); errors.Is(err, fs.ErrExist) {
		return core.Volume{}, taken("rename", as)
	} else if err != nil {
		return core.Volume{}, err
	}
	v.removed = true
	delete(vs.byName, name)
	vs.byName[as] = newVolume(next)
	if err := errors.Join(atomicfile.SyncFolder(vs.root), failpoint.Hit("volume-rename:done")); err != nil {
		vs.logger.Warn("the new name of a volume may be lost with the machine", "volume", as, "error", err)
	}
	return copyOf(next), nil
}

func (vs *Volumes) known(name string) bool {
	_, err := vs.find(name)
	return err == nil
}

func taken(verb, name string) error {
	return core.Conflict("%s %s: a volume named %s already exists. Choose a different volume name.", verb, name, name)
}

// explain says what could not be done, unless the error does.
func explain(err error, verb, name string) error {
	var said *core.Error
	if err == nil || errors.As(err, &said) || errors.Is(err, context.Canceled) {
		return err
	}
	return core.Internal("%s %s: %w", verb, name, err)
}

// makeData makes a folder for a volume's data, with the limit that its options ask for. Each such folder has a limit of
// its own, so that what takes the place of the data may be as large as that.
func (vs *Volumes) makeData(path string, v *core.Volume) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o755); err != nil { // whatever the umask
		return err
	}
	size, err := sizeOf(v.Options)
	if err != nil || size <= 0 || vs.quota == nil {
		return err
	}
	return vs.quota.Limit(uint64(size), path)
}

// drop deletes a folder of data that nobody can see, and its limit.
func (vs *Volumes) drop(path string) error {
	if vs.quota != nil {
		if err := vs.quota.Release(path); err != nil {
			return err
		}
	}
	return os.RemoveAll(path)
}

// writeRecord writes what is known of a volume into its folder.
func writeRecord(folder string, v core.Volume, sync bool) error {
	record, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(folder, recordName), record, 0o600, sync)
}

// copyWith copies an open folder, which somebody may be writing to, into another one.
func copyWith(ctx context.Context, from *os.File, folder string, m *meter) (err error) {
	to, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := m.begin(ctx, from); err != nil {
		return err
	}
	m.how = tree.Copying{Live: true, Count: m.count}
	if err := tree.Copy(ctx, from, to, &m.how); err != nil {
		return err
	}
	m.end()
	return nil
}
