package volume

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/atomicfile"
	"github.com/berth-engine/berth/lib/failpoint"
	"github.com/berth-engine/berth/lib/id"
	"github.com/berth-engine/berth/linux/tree"
)

// Below a volume's folder: snapshots/<tag>/ with the data, and the record, which says that the snapshot is whole.
const (
	snapshotsName      = "snapshots"
	snapshotRecordName = "snapshot.json"
)

// snapshots is the folder of a volume's snapshots.
func (v *volume) snapshots() string {
	return filepath.Join(filepath.Dir(v.record.Mountpoint), snapshotsName)
}

// tagOf checks the name of a snapshot; without one it is the time.
func tagOf(tag string) (string, error) {
	if tag == "" {
		return time.Now().UTC().Format("20060102T150405.000Z"), nil
	}
	if !validName(tag) || len(tag) > longestName {
		return "", core.Invalid("invalid tag %q of a snapshot: only %q are allowed", tag, "[a-zA-Z0-9][a-zA-Z0-9_.-]")
	}
	return tag, nil
}

func (v *volume) openSnapshot(tag string) (*os.File, error) {
	if !validName(tag) {
		return nil, noSuchSnapshot(v.record.Name, tag)
	}
	file, err := tree.OpenQuiet(filepath.Join(v.snapshots(), tag, dataName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noSuchSnapshot(v.record.Name, tag)
	}
	return file, err
}

func noSuchSnapshot(name, tag string) error {
	return core.NotFound("get %s: no such snapshot: %s", name, tag)
}

// Snapshot keeps what a volume holds now under a tag. Where the file system can share content (btrfs, XFS), that takes
// no room until something changes; else it is a copy.
func (vs *Volumes) Snapshot(ctx context.Context, name, tag string, progress core.ProgressFunc) (made core.VolumeSnapshot, err error) {
	tag, err = tagOf(tag)
	if err != nil {
		return made, err
	}
	v, done, err := vs.copying(name)
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, done()) }()
	defer func() { err = explain(err, "snapshot", name) }()
	if err := v.own("snapshot"); err != nil {
		return made, err
	}
	target := filepath.Join(v.snapshots(), tag)
	if _, err := os.Stat(target); err == nil {
		return made, snapshotTaken(name, tag)
	}
	from, err := v.source(ctx, "")
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	staging := filepath.Join(v.snapshots(), newPrefix+id.New())
	if err := os.MkdirAll(filepath.Join(staging, dataName), 0o700); err != nil {
		return made, errors.Join(err, os.RemoveAll(staging))
	}
	made = core.VolumeSnapshot{Tag: tag, Created: time.Now().UTC()}
	if err := v.takeSnapshot(ctx, from, staging, &made, progress); err != nil {
		return made, errors.Join(err, os.RemoveAll(staging))
	}
	switch err := tree.Place(staging, target); {
	case errors.Is(err, fs.ErrExist):
		return made, errors.Join(snapshotTaken(name, tag), os.RemoveAll(staging))
	case err != nil:
		return made, errors.Join(err, os.RemoveAll(staging))
	}
	return made, errors.Join(atomicfile.SyncFolder(v.snapshots()), failpoint.Hit("volume-snapshot:done"))
}

// takeSnapshot fills the folder of a snapshot.
func (v *volume) takeSnapshot(ctx context.Context, from *os.File, staging string, made *core.VolumeSnapshot, progress core.ProgressFunc) error {
	if err := failpoint.Hit("volume-snapshot:before-copy"); err != nil {
		return err
	}
	m := &meter{id: v.record.Name, what: "Snapshot", progress: progress}
	if err := copyWith(ctx, from, filepath.Join(staging, dataName), m); err != nil {
		return err
	}
	made.Size = m.how.Bytes
	record, err := json.Marshal(made)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(staging, snapshotRecordName), record, 0o600, false); err != nil {
		return err
	}
	return errors.Join(tree.Sync(staging), failpoint.Hit("volume-snapshot:before-publish"))
}

func snapshotTaken(name, tag string) error {
	return core.Conflict("snapshot %s: there is a snapshot %s already. Choose a different tag.", name, tag)
}

// Snapshots lists the snapshots of a volume, oldest first.
func (vs *Volumes) Snapshots(_ context.Context, name string) ([]core.VolumeSnapshot, error) {
	v, err := vs.locked(name)
	if err != nil {
		return nil, err
	}
	defer v.mu.Unlock()
	list, err := v.listSnapshots()
	if err != nil {
		return nil, core.Internal("snapshots of %s: %w", name, err)
	}
	return list, nil
}

func (v *volume) listSnapshots() ([]core.VolumeSnapshot, error) {
	entries, err := os.ReadDir(v.snapshots())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []core.VolumeSnapshot
	for _, entry := range entries {
		if !validName(entry.Name()) {
			continue // being made
		}
		var s core.VolumeSnapshot
		record, err := os.ReadFile(filepath.Join(v.snapshots(), entry.Name(), snapshotRecordName))
		if err == nil {
			err = json.Unmarshal(record, &s)
		}
		if err != nil {
			s = core.VolumeSnapshot{Size: -1} // the data is there, whatever became of the record
		}
		s.Tag = entry.Name()
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b core.VolumeSnapshot) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Tag, b.Tag))
	})
	return list, nil
}

// Rollback gives a volume that nobody uses the content of a snapshot. It has the old content until the new one is whole;
// the snapshot stays.
func (vs *Volumes) Rollback(ctx context.Context, name, tag string, progress core.ProgressFunc) (err error) {
	v, done, err := vs.copying(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	from, err := v.openSnapshot(tag)
	if err != nil {
		return explain(err, "rollback", name)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	return vs.replace("rollback", v, func() error { return nil }, func(folder string) error {
		return copyWith(ctx, from, folder, &meter{id: name, what: "Rollback to " + tag, progress: progress})
	})
}

// RemoveSnapshot deletes a snapshot. Like a volume it goes in one step, and its content after that.
func (vs *Volumes) RemoveSnapshot(_ context.Context, name, tag string) (err error) {
	v, err := vs.locked(name)
	if err != nil {
		return err
	}
	defer func() { err = explain(err, "remove snapshot "+tag+" of", name) }()
	if !validName(tag) {
		v.mu.Unlock()
		return noSuchSnapshot(name, tag)
	}
	trash := filepath.Join(vs.root, trashPrefix+id.New())
	if err = v.unread("remove snapshot " + tag + " of"); err == nil {
		err = os.Rename(filepath.Join(v.snapshots(), tag), trash)
	}
	v.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return noSuchSnapshot(name, tag)
	}
	if err == nil {
		err = failpoint.Hit("volume-snapshot:in-trash")
	}
	if err == nil {
		vs.discard(trash)
	}
	return err
}

// unread refuses what can't be done while the volume or a snapshot is being copied. The caller holds the lock.
func (v *volume) unread(verb string) error {
	if v.copies > 0 {
		return core.Conflict("%s %s: volume is being copied", verb, v.record.Name)
	}
	return nil
}

// clearStaging deletes what a daemon that died was making for a volume.
func (vs *Volumes) clearStaging(folder string) error {
	for _, place := range []struct{ dir, prefix string }{
		{folder, incomingPrefix}, {filepath.Join(folder, snapshotsName), newPrefix},
	} {
		entries, err := os.ReadDir(place.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), place.prefix) {
				vs.discard(filepath.Join(place.dir, entry.Name()))
			}
		}
	}
	return nil
}
