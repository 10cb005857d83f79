package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/atomicfile"
)

// coalesce is how long a record that is not durable may wait for company before it is written.
const coalesce = 50 * time.Millisecond

// Records keeps containers. One goroutine writes: everything that was asked for while the disk was busy goes into the
// next transaction, so that many containers cost few writes. A record that is made and deleted before the disk saw it
// costs none.
//
// What a record says is also in a small file in a second folder, which lives in memory (tmpfs): a daemon that is killed
// before its records reached the disk finds them there. After a reboot that folder is empty, and so are the runtime
// states that only these records tell of.
type Records struct {
	db     *bolt.DB
	live   string     // the folder in memory
	files  sync.Mutex // one writer of a live file at a time; taken before mu
	logger *slog.Logger
	wake   chan struct{} // one token: there is something to write now
	quit   chan struct{} // closed by Close
	ended  chan struct{} // closed when the writer is gone

	mu      sync.Mutex // guards everything below
	pending map[core.ContainerID][]byte
	waiters []waiter
	onDisk  map[core.ContainerID]bool
	timer   bool // a write is due within coalesce
	closed  bool
}

// waiter wants to know when the record of id is on the disk.
type waiter struct {
	id   core.ContainerID
	done chan error
}

// Open opens or makes the file. One that is damaged beyond use is set aside under another name, which is logged, and
// a new one is begun: the daemon must start. The file of a newer Berth, or one that another daemon has open, is an
// error. live is the folder in memory, which is made when it is missing.
func Open(path, live string, logger *slog.Logger) (*Records, error) {
	if err := os.MkdirAll(live, 0o700); err != nil {
		return nil, err
	}
	db, err := openSound(path)
	if err != nil && damaged(err) {
		aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000")
		logger.Error("the record of containers is damaged and was set aside; starting with an empty one", "file", path, "kept as", aside, "error", err)
		if err := os.Rename(path, aside); err != nil {
			return nil, err
		}
		db, err = openSound(path)
	}
	if err != nil {
		return nil, err
	}
	r := &Records{
		db: db, live: live, logger: logger,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{}),
		pending: map[core.ContainerID][]byte{}, onDisk: map[core.ContainerID]bool{},
	}
	if err := r.prepare(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	go r.write()
	return r, nil
}

// errDamaged says that the file is a bbolt file with broken insides.
var errDamaged = errors.New("inconsistent pages")

func damaged(err error) bool {
	for _, known := range []error{errDamaged, berrors.ErrInvalid, berrors.ErrChecksum, berrors.ErrVersionMismatch} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// openSound opens the file and walks all of it once: bbolt panics, or the process faults behind the end of the file,
// when a broken page is met later. The list of free pages is kept in the file, since bbolt would otherwise look for
// them in a goroutine of its own, where nobody can catch a panic.
func openSound(path string) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("%w: %v", errDamaged, broken)
			if db != nil {
				err = errors.Join(err, db.Close())
			}
			db = nil
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, core.Conflict("%s is in use by another daemon", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := walk(db); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errDamaged, err), db.Close())
	}
	return db, nil
}

// walk visits every page of every bucket in this goroutine, where a panic can be caught.
func walk(db *bolt.DB) error {
	return db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
}

// prepare makes the buckets, or checks the version and notes which records there are.
func (r *Records) prepare() error {
	fresh := false
	err := r.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			fresh = true
			return nil
		}
		if version := string(meta.Get(keyVersion)); version != schemaVersion {
			return core.Unavailable("%s was written by another version of Berth (schema %q, this one reads %q)", r.db.Path(), version, schemaVersion)
		}
		return tx.Bucket(bucketContainers).ForEach(func(key, _ []byte) error {
			r.onDisk[core.ContainerID(key)] = true
			return nil
		})
	})
	if err != nil || !fresh {
		return err
	}
	return r.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketContainers, bucketCorrupt} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keyVersion, []byte(schemaVersion))
	})
}

// Save keeps a container as it is at this moment. With durable it is on the disk when Save returns; else it is soon,
// and a failure is logged and tried again with the next write.
func (r *Records) Save(ctx context.Context, c *core.Container, durable bool) error {
	value, err := json.Marshal(c)
	if err != nil {
		return core.Internal("container %s: record: %w", c.ID, err)
	}
	known, err := r.keep(c.ID, value)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if !durable {
		r.soon()
		r.mu.Unlock()
		return nil
	}
	w := waiter{id: c.ID, done: make(chan error, 1)}
	r.waiters = append(r.waiters, w)
	r.mu.Unlock()
	r.now()
	select {
	case err := <-w.done:
		if err != nil && !known {
			return errors.Join(err, r.drop(c.ID)) // a container that could not be recorded never was
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keep writes the live file and queues the record for the disk. known: the container has a record on the disk.
func (r *Records) keep(id core.ContainerID, value []byte) (known bool, err error) {
	r.files.Lock()
	defer r.files.Unlock()
	r.mu.Lock()
	closed, known := r.closed, r.onDisk[id]
	if !closed {
		r.pending[id] = value
	}
	r.mu.Unlock()
	if closed {
		return known, core.Unavailable("container %s: record: the daemon is shutting down", id)
	}
	if err := atomicfile.WriteFile(r.livePath(id), value, 0o600, false); err != nil {
		return known, core.Internal("container %s: record: %w", id, err)
	}
	return known, nil
}

// drop removes the live file; the caller holds files, or nobody else can know the container.
func (r *Records) drop(id core.ContainerID) error {
	if err := os.Remove(r.livePath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return core.Internal("container %s: record: %w", id, err)
	}
	return nil
}

func (r *Records) livePath(id core.ContainerID) string {
	return filepath.Join(r.live, string(id)+".json")
}

// Delete forgets a container soon, in the order of the calls.
func (r *Records) Delete(_ context.Context, id core.ContainerID) error {
	r.files.Lock()
	defer r.files.Unlock()
	if err := r.drop(id); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return core.Unavailable("container %s: record: the daemon is shutting down", id)
	}
	if !r.onDisk[id] {
		// Also not in a transaction that is under way: take counts those as on the disk.
		delete(r.pending, id)
		return nil
	}
	r.pending[id] = nil
	r.soon()
	return nil
}

// soon has the writer woken within coalesce. The caller holds mu.
func (r *Records) soon() {
	if !r.timer {
		r.timer = true
		time.AfterFunc(coalesce, r.now)
	}
}

// now wakes the writer.
func (r *Records) now() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// write is the only goroutine that changes the file.
func (r *Records) write() {
	defer close(r.ended)
	for {
		select {
		case <-r.wake:
			r.commit()
		case <-r.quit:
			r.commit()
			return
		}
	}
}

// commit writes everything that is pending in one transaction.
func (r *Records) commit() {
	batch, waiters := r.take()
	if len(batch) == 0 && len(waiters) == 0 {
		return
	}
	err := r.db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketContainers)
		for id, value := range batch {
			if err := put(bucket, []byte(id), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = core.Internal("write records: %w", err)
		r.giveBack(batch, waiters, err)
	} else {
		r.settle(batch)
	}
	for _, w := range waiters {
		w.done <- err
	}
}

func put(bucket *bolt.Bucket, key, value []byte) error {
	if value == nil {
		return bucket.Delete(key)
	}
	return bucket.Put(key, value)
}

func (r *Records) take() (map[core.ContainerID][]byte, []waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch, waiters := r.pending, r.waiters
	r.pending, r.waiters, r.timer = map[core.ContainerID][]byte{}, nil, false
	for id, value := range batch {
		if value != nil {
			r.onDisk[id] = true
		}
	}
	return batch, waiters
}

func (r *Records) settle(batch map[core.ContainerID][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, value := range batch {
		if value == nil && r.pending[id] == nil {
			delete(r.onDisk, id)
		}
	}
}

// giveBack handles a transaction that failed as a whole: whoever waits for a record gets the error and the record is
// dropped; the others are tried again with the next write, unless something newer has come.
func (r *Records) giveBack(batch map[core.ContainerID][]byte, waiters []waiter, err error) {
	for _, w := range waiters {
		delete(batch, w.id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	r.logger.Error("records of containers could not be written and will be tried again", "containers", len(batch), "error", err)
	maps.Copy(batch, r.pending)
	r.pending = batch
}

// All reads every container. One that can't be read is logged, set aside and left out.
func (r *Records) All(context.Context) ([]*core.Container, error) {
	var all []*core.Container
	bad := map[string][]byte{}
	err := r.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketContainers).ForEach(func(key, value []byte) error {
			c := new(core.Container)
			if err := json.Unmarshal(value, c); err != nil || string(c.ID) != string(key) {
				r.logger.Error("the record of a container can't be read and was set aside", "container", string(key), "error", err)
				bad[string(key)] = append([]byte{}, value...)
				return nil
			}
			all = append(all, c)
			return nil
		})
	})
	if err != nil {
		return nil, core.Internal("read records: %w", err)
	}
	if len(bad) > 0 {
		if err := r.setAside(bad); err != nil {
			return nil, core.Internal("set aside damaged records: %w", err)
		}
	}
	return r.overlay(all)
}

// overlay puts the live records, which are never older, over those from the disk.
func (r *Records) overlay(all []*core.Container) ([]*core.Container, error) {
	entries, err := os.ReadDir(r.live)
	if err != nil {
		return nil, core.Internal("read records: %w", err)
	}
	for _, entry := range entries {
		id, isRecord := strings.CutSuffix(entry.Name(), ".json")
		if !isRecord { // the remains of a write that was cut off
			if err := os.Remove(filepath.Join(r.live, entry.Name())); err != nil {
				r.logger.Warn("remove the remains of a record", "file", entry.Name(), "error", err)
			}
			continue
		}
		value, err := os.ReadFile(filepath.Join(r.live, entry.Name()))
		c := new(core.Container)
		if err == nil {
			err = json.Unmarshal(value, c)
		}
		if err != nil || string(c.ID) != id {
			r.logger.Error("the live record of a container can't be read: what is on the disk counts", "container", id, "error", err)
			continue
		}
		at := slices.IndexFunc(all, func(other *core.Container) bool { return other.ID == c.ID })
		if at < 0 {
			all = append(all, c)
		} else {
			all[at] = c
		}
	}
	return all, nil
}

func (r *Records) setAside(bad map[string][]byte) error {
	return r.db.Update(func(tx *bolt.Tx) error {
		from, to := tx.Bucket(bucketContainers), tx.Bucket(bucketCorrupt)
		for key, value := range bad {
			if err := errors.Join(to.Put([]byte(string(bucketContainers)+"/"+key), value), from.Delete([]byte(key))); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close writes what is pending and closes the file. Closing twice is harmless.
func (r *Records) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	close(r.quit)
	<-r.ended
	r.mu.Lock()
	lost := len(r.pending)
	r.mu.Unlock()
	err := r.db.Close()
	if lost > 0 {
		err = errors.Join(err, core.Internal("records of %d containers could not be written", lost))
	}
	return err
}
