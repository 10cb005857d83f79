package crash

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/test/daemon"
)

// firstVolume is the number of the first daemon of this test.
const firstVolume = 100

// TestVolumesAreTheOldOnesOrTheNewOnes kills the daemon at every failpoint of what happens to volumes. After each death
// every volume and snapshot holds all of one version of its content, and nothing half made is left.
func TestVolumesAreTheOldOnesOrTheNewOnes(t *testing.T) {
	drill{first: firstVolume, prefix: "volume", least: 20, scenario: volumeScenario, untrue: func(d *daemon.Daemon) []string {
		if err := wholeVolumes(d); err != nil {
			return []string{err.Error()}
		}
		return nil
	}}.run(t)
}

// TestAnImportWhoseClientGoesAway leaves nothing, and an existing volume as it was.
func TestAnImportWhoseClientGoesAway(t *testing.T) {
	t.Parallel()
	d := daemon.New(t, daemon.Options{Bin: daemon.Programs(t), Net: network, Number: firstVolume - 1})
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := raw(d, http.MethodPost, "/volumes/data/import", version("old")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/volumes/data/import?replace=1", "/volumes/other/import"} {
		r, w := io.Pipe()
		go func() {
			_, err := w.Write(version("new")[:700]) // into the first file
			w.CloseWithError(errors.Join(err, errors.New("the client goes away")))
		}()
		if _, err := stream(d, http.MethodPost, path, r); err == nil {
			t.Errorf("%s of half a tar succeeds", path)
		}
	}
	// A daemon that ends waits for what is under way.
	if err := errors.Join(d.Stop(), d.Start(), wholeVolumes(d)); err != nil {
		t.Error(err)
	}
	var volumes struct{ Volumes []struct{ Name string } }
	if err := d.Get("/volumes", &volumes); err != nil || len(volumes.Volumes) != 1 {
		t.Errorf("volumes: %+v, %v", volumes, err)
	}
}

// volumeScenario does everything that can be done with volumes and gives the first error. Their content is always of one
// version: see version.
func volumeScenario(d *daemon.Daemon) error {
	user := map[string]any{"Image": "busybox", "Cmd": []string{"sleep", "1000"}, "HostConfig": map[string]any{
		"NetworkMode": "none", "Binds": []string{"filled:/etc", "data:/data", "memory:/memory"},
	}}
	for _, step := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/volumes/data/import", version("old")},
		{http.MethodPost, "/volumes/data/snapshots?tag=old", nil},
		{http.MethodPost, "/volumes/data/import?replace=1", version("new")},
		{http.MethodPost, "/volumes/data/clone?name=twin", nil},
		{http.MethodPost, "/volumes/twin/rename?name=moved", nil},
		{http.MethodPost, "/volumes/create", map[string]any{"Name": "memory", "DriverOpts": map[string]string{"type": "tmpfs", "device": "tmpfs"}}},
		{http.MethodPost, "/containers/create?name=user", user},
		{http.MethodPost, "/containers/user/start", nil},
		{http.MethodPost, "/volumes/data/snapshots?tag=used", nil},
		{http.MethodPost, "/containers/user/kill", nil},
		{http.MethodPost, "/volumes/data/rollback?tag=old", nil},
		{http.MethodDelete, "/containers/user?force=1", nil},
		{http.MethodDelete, "/volumes/data/snapshots?tag=old", nil},
		{http.MethodDelete, "/volumes/data?force=1", nil},
		{http.MethodDelete, "/volumes/moved", nil},
		{http.MethodDelete, "/volumes/memory", nil},
		{http.MethodDelete, "/volumes/filled", nil},
	} {
		var err error
		if content, isTar := step.body.([]byte); isTar {
			_, err = raw(d, step.method, step.path, content)
		} else {
			var said []byte
			var status int
			status, said, err = d.Call(step.method, step.path, step.body)
			if err == nil && (status >= http.StatusBadRequest || bytes.Contains(said, []byte(`"error"`))) {
				err = fmt.Errorf("%s %s: %d %s", step.method, step.path, status, said)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// version is a tar of two files that both hold the word.
func version(word string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"a", "folder/b"} {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(word))}) // into memory
		_, _ = w.Write([]byte(word))
	}
	_ = w.Close()
	return b.Bytes()
}

// raw makes a request whose body is a stream, and gives the answer's body.
func raw(d *daemon.Daemon, method, path string, body []byte) ([]byte, error) {
	return stream(d, method, path, bytes.NewReader(body))
}

func stream(d *daemon.Daemon, method, path string, body io.Reader) ([]byte, error) {
	request, err := http.NewRequestWithContext(context.Background(), method, "http://berth"+path, body)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.Socket)
	}}}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	said, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %d %s", method, path, answer.StatusCode, said)
	}
	return said, errors.Join(err, answer.Body.Close())
}

// wholeVolumes checks that the content of each volume and snapshot is of one version, and that no other folder is there.
func wholeVolumes(d *daemon.Daemon) (wrong error) {
	var volumes struct{ Volumes []struct{ Name string } }
	if err := d.Get("/volumes", &volumes); err != nil {
		return err
	}
	for _, v := range volumes.Volumes {
		if v.Name == "memory" || v.Name == "filled" {
			continue
		}
		places := []string{"/volumes/" + v.Name + "/export"}
		var snapshots []struct{ Tag string }
		wrong = errors.Join(wrong, d.Get("/volumes/"+v.Name+"/snapshots", &snapshots))
		for _, s := range snapshots {
			places = append(places, "/volumes/"+v.Name+"/export?snapshot="+s.Tag)
		}
		for _, place := range places {
			content, err := raw(d, http.MethodGet, place, nil)
			if err == nil {
				err = oneVersion(content)
			}
			if err != nil {
				wrong = errors.Join(wrong, fmt.Errorf("%s: %w", place, err))
			}
		}
	}
	all, err := containers(d)
	for _, c := range all {
		if c.State.Status == "paused" {
			err = errors.Join(err, fmt.Errorf("container %s stays paused", c.Name))
		}
	}
	wrong = errors.Join(wrong, err)
	table, err := os.ReadFile("/proc/self/mountinfo")
	if bytes.Contains(table, []byte("/memory/_data")) && !slices.ContainsFunc(all, func(c shown) bool { return c.State.Running }) {
		for line := range strings.Lines(string(table)) {
			if strings.Contains(line, d.Root) {
				err = errors.Join(err, fmt.Errorf("mounted for nobody: %s", line))
			}
		}
	}
	wrong = errors.Join(wrong, err)
	for _, pattern := range []string{".new-*", ".trash-*", "*/_incoming-*", "*/_filling", "*/snapshots/.new-*"} {
		left, err := filepath.Glob(filepath.Join(d.Root, "data/volumes", pattern))
		if len(left) > 0 {
			err = errors.Join(err, fmt.Errorf("left behind: %s", left))
		}
		wrong = errors.Join(wrong, err)
	}
	return wrong
}

// oneVersion reads a tar that version made, however it came here.
func oneVersion(content []byte) error {
	files := map[string]string{}
	r := tar.NewReader(bytes.NewReader(content))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeReg {
			word, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			files[header.Name] = string(word)
		}
	}
	word := files["./a"]
	if len(files) != 2 || word != files["./folder/b"] || word != "old" && word != "new" {
		return fmt.Errorf("holds %v", files)
	}
	return nil
}
