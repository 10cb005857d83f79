package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/lib/id"
)

var silent = slog.New(slog.DiscardHandler)

func openRecords(t *testing.T, path string) *Records {
	t.Helper()
	return openLive(t, path, t.TempDir()) // an empty folder: the machine was rebooted
}

func openLive(t *testing.T, path, live string) *Records {
	t.Helper()
	r, err := Open(path, live, silent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func container(name string) *core.Container {
	return &core.Container{ID: core.ContainerID(id.New()), Name: name, Config: core.Config{ExposedPorts: []core.Port{{Number: 80, Protocol: core.TCP}}}}
}

// names are those of the records in the file.
func names(t *testing.T, r *Records) string {
	t.Helper()
	all, err := r.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

func save(t *testing.T, r *Records, c *core.Container, durable bool) {
	t.Helper()
	if err := r.Save(t.Context(), c, durable); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsSurvive(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "records.db")
	r := openRecords(t, path)
	web, gone := container("web"), container("gone")
	save(t, r, gone, true)
	if names(t, r) != "gone" {
		t.Error("a durable record is not there at once")
	}
	save(t, r, web, false)
	web.Name = "renamed"
	save(t, r, web, false)
	web.Name = "changed behind the back"
	if err := r.Delete(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(t.Context(), web, false); err == nil {
		t.Error("a closed file takes records")
	}
	r = openRecords(t, path)
	if got := names(t, r); got != "renamed" {
		t.Errorf("the file holds %q", got)
	}
	if err := r.Delete(t.Context(), web.ID); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, openRecords(t, path)); got != "" {
		t.Errorf("after the deletion the file holds %q", got)
	}
}

func TestAKilledDaemonFindsWhatTheDiskNeverSaw(t *testing.T) {
	t.Parallel()
	path, live := filepath.Join(t.TempDir(), "records.db"), t.TempDir()
	r := openLive(t, path, live)
	web, once, torn := container("web"), container("once"), container("torn")
	save(t, r, web, true)
	save(t, r, torn, true)
	web.State.PID = 42
	save(t, r, web, false)
	save(t, r, once, false)
	r.mu.Lock()
	clear(r.pending) // the daemon dies before the writer wakes
	r.mu.Unlock()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(live, string(torn.ID)+".json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r = openLive(t, path, live)
	all, err := r.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	for _, c := range all {
		pids[c.Name] = c.State.PID
	}
	if len(pids) != 3 || pids["web"] != 42 {
		t.Errorf("found %v", pids)
	}
}

func TestShortLivedRecordsCostNoWrite(t *testing.T) {
	t.Parallel()
	r := openRecords(t, filepath.Join(t.TempDir(), "records.db"))
	before := r.db.Stats()
	c := container("short")
	save(t, r, c, false)
	if err := r.Delete(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	r.commit()
	if after := r.db.Stats(); after.TxStats.GetWrite() != before.TxStats.GetWrite() {
		t.Error("the disk was written to")
	}
}

func TestManyDurableRecordsShareWrites(t *testing.T) {
	t.Parallel()
	r := openRecords(t, filepath.Join(t.TempDir(), "records.db"))
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() { save(t, r, container("x"), true) })
	}
	group.Wait()
	if got := len(strings.Fields(names(t, r))); got != 100 {
		t.Errorf("%d records", got)
	}
}

func TestDamageNeverStopsTheDaemon(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, path string)
		want   string // records left
		aside  int    // files set aside
	}{
		{"a record that is no JSON is left out", func(t *testing.T, path string) { poke(t, path, "zzz", "{") }, "web", 0},
		{"a record under the wrong key is left out", func(t *testing.T, path string) { poke(t, path, "zzz", `{"ID":"x"}`) }, "web", 0},
		{"a file of garbage is set aside", func(t *testing.T, path string) {
			overwrite(t, path, 0, 1<<16)
		}, "", 1},
		{"a file with broken pages is set aside", func(t *testing.T, path string) {
			overwrite(t, path, int64(2*os.Getpagesize()), 1<<14)
		}, "", 1},
		{"a file without its last pages is set aside", func(t *testing.T, path string) {
			if err := os.Truncate(path, int64(3*os.Getpagesize())); err != nil {
				t.Fatal(err)
			}
		}, "", 1},
		{"a file cut short is set aside", func(t *testing.T, path string) {
			if err := os.Truncate(path, 100); err != nil {
				t.Fatal(err)
			}
		}, "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "records.db")
			r := openRecords(t, path)
			save(t, r, container("web"), true)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			test.damage(t, path)
			r = openRecords(t, path)
			for range 2 {
				if got := names(t, r); got != test.want {
					t.Errorf("%q is left", got)
				}
			}
			save(t, r, container("next"), true)
			if aside, err := filepath.Glob(path + ".damaged-*"); err != nil || len(aside) != test.aside {
				t.Errorf("set aside: %v, %v", aside, err)
			}
		})
	}
}

func poke(t *testing.T, path, key, value string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketContainers).Put([]byte(key), []byte(value)) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path string, at int64, size int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("garbage!", size/8)), at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOtherDaemons(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "records.db")
	r := openRecords(t, path)
	if _, err := Open(path, t.TempDir(), silent); err == nil || !strings.Contains(err.Error(), "in use by another daemon") {
		t.Errorf("a second daemon gets %v", err)
	}
	if err := r.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyVersion, []byte("2")) }); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, t.TempDir(), silent); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("an older daemon gets %v", err)
	}
}

func TestFailedWrites(t *testing.T) {
	t.Parallel()
	r := openRecords(t, filepath.Join(t.TempDir(), "records.db"))
	first, late := container("first"), container("late")
	save(t, r, first, true)
	r.db.MaxSize = 1 // as a full disk: the file can't grow
	large := container("large")
	large.Args = []string{strings.Repeat("x", 1<<20)}
	if err := r.Save(t.Context(), large, true); err == nil {
		t.Error("a full disk is no error")
	}
	r.db.MaxSize = 0
	save(t, r, late, true)
	if got := strings.Fields(names(t, r)); len(got) != 2 {
		t.Errorf("the file holds %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Save(ctx, first, true); err != nil && err != context.Canceled {
		t.Error(err)
	}
}

func openEvents(t *testing.T, path string) *Events {
	t.Helper()
	e, err := OpenEvents(path, silent)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func event(n int) core.Event {
	return core.Event{Type: "container", Action: fmt.Sprint(n), ID: "x", Attributes: map[string]string{"name": "web"}, Time: noon.Add(time.Duration(n) * time.Second)}
}

func since(t *testing.T, e *Events, moment time.Time) (actions []string) {
	t.Helper()
	all, err := e.Since(moment)
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range all {
		actions = append(actions, event.Action)
	}
	return actions
}

func TestEventsSurvive(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events")
	e := openEvents(t, path)
	for n := range 5 {
		e.Append(event(n))
	}
	if got := since(t, e, noon.Add(3*time.Second)); strings.Join(got, " ") != "3 4" {
		t.Errorf("got %v", got)
	}
	e.Append(event(5))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e.Append(event(6))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"Type":"cont`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	e = openEvents(t, path)
	e.Append(event(7))
	if got := since(t, e, time.Time{}); strings.Join(got, " ") != "0 1 2 3 4 5 7" {
		t.Errorf("after a crash: %v", got)
	}
}

func TestOldEventsGo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events")
	e := openEvents(t, path)
	e.segment = 2000
	for n := range 200 {
		e.Append(event(n))
		if n%10 == 9 {
			since(t, e, noon.Add(time.Hour))
		}
	}
	got := since(t, e, noon)
	if len(got) < 15 || len(got) > 100 || got[len(got)-1] != "199" {
		t.Errorf("%d events are kept, the last is %q", len(got), got[len(got)-1])
	}
}

func BenchmarkDurableSave(b *testing.B) {
	r, err := Open(filepath.Join(b.TempDir(), "records.db"), b.TempDir(), silent)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := r.Save(b.Context(), container("web"), true); err != nil {
			b.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
}
