// Package atomicfile replaces files as a whole: a reader sees the old content or the new one, never a part.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// WriteFile writes data to a new file beside path and renames it over path. The file has exactly the mode given,
// whatever the umask. With sync the content and the folder's entry are on the disk when WriteFile returns; without,
// the replacement is still atomic for readers but may be lost with the machine. On an error path is untouched and
// nothing is left behind.
func WriteFile(path string, data []byte, mode os.FileMode, sync bool) (err error) {
	folder, base := filepath.Split(path)
	if folder == "" {
		folder = "."
	}
	f, err := os.CreateTemp(folder, "."+base+".*")
	if err != nil {
		return err
	}
	temporary := f.Name()
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(temporary)))
		}
	}()
	if err := fill(f, data, mode, sync); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	if sync {
		return SyncFolder(folder)
	}
	return nil
}

func fill(f *os.File, data []byte, mode os.FileMode, sync bool) error {
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if sync {
		return f.Sync()
	}
	return nil
}

// SyncFolder brings the entries of a folder to the disk: after it, files that were made, renamed or removed there
// stay so even when the machine fails.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
