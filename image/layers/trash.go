package layers

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/berth-engine/berth/linux/quota"
)

// trash deletes folders in the background. A folder is renamed into the trash's own, so that it is gone for everybody
// else at once; whatever is there when the daemon starts is deleted, too.
type trash struct {
	dir   string
	quota *quota.Projects // nil where layers have no limits
	log   *slog.Logger
	wake  chan struct{}
}

func openTrash(dir string, projects *quota.Projects, log *slog.Logger) (*trash, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t := &trash{dir: dir, log: log, wake: make(chan struct{}, 1)}
	if projects != nil && projects.Supported(dir) {
		t.quota = projects
	}
	t.wake <- struct{}{}
	return t, nil
}

// throw takes a folder out of sight. One that is not there is no error.
func (t *trash) throw(path string) error {
	err := os.Rename(path, filepath.Join(t.dir, rand.Text()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	select {
	case t.wake <- struct{}{}:
	default: // the worker is about to look anyway
	}
	return nil
}

func (t *trash) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		entries, err := os.ReadDir(t.dir)
		if err != nil {
			t.log.Warn("cannot read the trash", "dir", t.dir, "error", err)
			continue
		}
		for _, entry := range entries {
			if ctx.Err() != nil {
				return
			}
			if err := t.empty(filepath.Join(t.dir, entry.Name())); err != nil {
				t.log.Warn("cannot delete a removed layer; it is tried again at the next start", "layer", entry.Name(), "error", err)
			}
		}
	}
}

// empty deletes a folder, and the limit that it had.
func (t *trash) empty(path string) error {
	if t.quota != nil {
		if err := t.quota.Release(path); err != nil {
			return err
		}
	}
	return os.RemoveAll(path)
}
