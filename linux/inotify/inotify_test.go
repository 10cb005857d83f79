package inotify

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func expect(t *testing.T, w *Watch, what string) {
	t.Helper()
	select {
	case <-w.Changed():
	case <-time.After(10 * time.Second):
		t.Fatalf("%s is not noticed", what)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	watcher, err := New()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	first, err := watcher.Watch(folder)
	if err != nil {
		t.Fatal(err)
	}
	second, err := watcher.Watch(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, first, "a new file")
	expect(t, second, "a new file")
	for range 2 {
		if err := second.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	expect(t, first, "a renamed file")
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	expect(t, first, "the end of the folder")
	if _, err := watcher.Watch(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder gives %v", err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	third, err := watcher.Watch(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := watcher.Close(); err != nil {
		t.Error(err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
}
