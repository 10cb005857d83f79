package stream

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ToFile leaves either the whole of a stream or nothing under the name. What is not a regular file (a pipe, a device)
// is written to directly. what is being done is for the error: "save image".
func ToFile(path, what string, body io.Reader) (err error) {
	if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("failed to %s: invalid output path: %q is a directory", what, path)
		}
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, body)
		return errors.Join(err, file.Close())
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".berth-*")
	if err != nil {
		return fmt.Errorf("failed to %s: %w", what, err)
	}
	_, err = io.Copy(tmp, body)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("failed to %s: %w", what, err), os.Remove(tmp.Name()))
	}
	return nil
}
