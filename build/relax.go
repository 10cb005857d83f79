package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/moby/buildkit/util/db"
	bolt "go.etcd.io/bbolt"
)

// relaxed lets BuildKit's records of its cache be written without a wait for the disk while something is built: a cached
// build makes some twenty transactions that are worth nothing but time. Once nothing is built for a while one wait makes
// all of them durable.
//
// Meanwhile a file says so, with the boot that it was written in. If it is found in a later boot, the machine went down in
// the middle and nobody knows what is in the records: the cache is begun anew. A daemon that dies alone loses nothing, for
// the kernel has its writes.
type relaxed struct {
	records db.Transactor
	marker  string
	log     *slog.Logger

	mu     sync.Mutex // guards what follows, and keeps the file and the mode of the records together
	builds int
	on     bool
	later  *time.Timer
}

// calm is how long nothing is built before the records are made durable.
const calm = 2 * time.Second

// begin is called before a build. If the file can't be written the records stay careful.
func (r *relaxed) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.builds++
	if r.later != nil {
		r.later.Stop()
	}
	if r.on {
		return
	}
	if err := writeMarker(r.marker); err != nil {
		r.log.Warn("the build cache stays slow", "error", err)
		return
	}
	if err := r.careful(false); err != nil {
		r.log.Warn("the build cache stays slow", "error", err)
		return
	}
	r.on = true
}

// end is called after a build.
func (r *relaxed) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.builds--
	if r.builds > 0 || !r.on {
		return
	}
	r.later = time.AfterFunc(calm, func() {
		if err := r.settle(false); err != nil {
			r.log.Warn("make the build cache durable", "error", err)
		}
	})
}

// settle makes the records durable, unless something is built; with last even then, since they are closed next.
func (r *relaxed) settle(last bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.later != nil {
		r.later.Stop()
	}
	if !r.on || (r.builds > 0 && !last) {
		return nil
	}
	if err := r.careful(true); err != nil {
		return err
	}
	r.on = false
	return os.Remove(r.marker)
}

// careful turns the wait for the disk on or off. It does so within a transaction, since that is when bbolt looks; turned
// on, the transaction's own end waits for all that was written before.
func (r *relaxed) careful(on bool) error {
	return r.records.Update(func(tx *bolt.Tx) error {
		tx.DB().NoSync = !on
		return nil
	})
}

func markerPath(root string) string { return filepath.Join(root, "unsettled") }

// boot names the time since the kernel started.
func boot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// writeMarker puts the file on the disk, its name included.
func writeMarker(path string) (err error) {
	id, err := boot()
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = file.WriteString(id)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// discard throws the cache away if the machine went down while its records were not durable.
func discard(ctx context.Context, options Options) error {
	path := markerPath(options.Root)
	then, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if now, err := boot(); err == nil && now == string(then) {
		return nil // it was the daemon alone
	}
	options.Log.Warn("the machine went down during a build: the build cache is begun anew")
	ctx = namespaces.WithNamespace(ctx, options.Namespace)
	held, err := options.Leases.List(ctx, fmt.Sprintf("labels.%q", leaseLabel))
	if err != nil {
		return err
	}
	for _, lease := range held {
		if err := options.Leases.Delete(ctx, lease); err != nil {
			return err
		}
	}
	for _, name := range []string{recordsFile, linksFile, historyFile} {
		if err := os.Remove(filepath.Join(options.Root, name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.Remove(path)
}

// leaseLabel marks the leases of BuildKit among those of the image organ.
const leaseLabel = "berth.build"

// markedLeases are the image organ's leases with ours marked.
type markedLeases struct{ leases.Manager }

// Create makes a lease that is recognized as ours.
func (m markedLeases) Create(ctx context.Context, options ...leases.Opt) (leases.Lease, error) {
	return m.Manager.Create(ctx, append(options, func(lease *leases.Lease) error {
		if lease.Labels == nil {
			lease.Labels = map[string]string{}
		}
		lease.Labels[leaseLabel] = "1"
		return nil
	})...)
}
