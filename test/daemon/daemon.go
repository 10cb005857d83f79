// Package daemon starts a real berthd for tests: on roots, addresses and a socket of its own, so that several run side
// by side and none disturbs an engine that is installed. When a test ends, Finish removes what the test made and looks
// for what the daemon left behind: processes, mounts, links, firewall tables, control groups, layers, folders, records.
package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options say where the programs are and which addresses the daemon may use.
type Options struct {
	// Bin is the folder of berthd and berth-shim.
	Bin string
	// Net is the second number of the two networks 10.Net.0.0/16 (default bridge) and 10.(Net+1).0.0/16 (others).
	// Packages that are tested at the same time must differ by two at least.
	Net int
	// Number is the third number of both: 0 to 255, another one for each daemon that runs at the same time.
	Number int
	// Args are further flags.
	Args []string
}

// Daemon is one berthd on its own roots; it can be ended and started again. Its methods are for one goroutine, but
// for Call and Log.
type Daemon struct {
	// Root is the folder that everything of this daemon lies below: data, exec, and the socket.
	Root string
	// Socket is the path of the API's socket.
	Socket string

	t        testing.TB
	options  Options
	client   *http.Client
	process  *exec.Cmd     // nil: it does not run
	drained  chan struct{} // closed when all of its log was read
	bridge   string
	started  time.Time       // the last one of them
	links    map[string]bool // those that were ever seen in a bridge of ours
	finished bool

	mu  sync.Mutex // guards log
	log strings.Builder
}

// New makes the roots of a daemon, and has Finish called when the test ends. It does not start it.
func New(t testing.TB, options Options) *Daemon {
	t.Helper()
	// Short, because the path of a socket has at most 107 bytes: t.TempDir would be too long.
	root, err := os.MkdirTemp("", "berth-test-")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{Root: root, Socket: filepath.Join(root, "s"), t: t, options: options, links: map[string]bool{}}
	d.client = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // the daemon dies often
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", d.Socket)
		},
	}}
	t.Cleanup(d.Finish)
	if err := os.WriteFile(filepath.Join(root, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// Host is the daemon's address as clients want it.
func (d *Daemon) Host() string { return "unix://" + d.Socket }

// Bin is the folder of the programs.
func (d *Daemon) Bin() string { return d.options.Bin }

// Number is the one of the options.
func (d *Daemon) Number() int { return d.options.Number }

// Start starts the daemon and returns once it says that it listens; env is added to its environment.
func (d *Daemon) Start(env ...string) error {
	if d.process != nil {
		return errors.New("the daemon runs already")
	}
	args := append([]string{
		"--config-file", filepath.Join(d.Root, "daemon.json"), "--host", d.Host(),
		"--data-root", filepath.Join(d.Root, "data"), "--exec-root", filepath.Join(d.Root, "exec"),
		"--pidfile", filepath.Join(d.Root, "pid"), "--group", "0",
		"--bip", fmt.Sprintf("10.%d.%d.1/24", d.options.Net, d.options.Number),
		"--default-address-pool", fmt.Sprintf("base=10.%d.%d.0/24,size=28", d.options.Net+1, d.options.Number),
	}, d.options.Args...)
	process := exec.Command(filepath.Join(d.options.Bin, "berthd"), args...)
	// Shims get the PATH and nothing else of the daemon's environment: with the root in it they can be told from those
	// of other daemons, which processes does.
	process.Env = append(append(os.Environ(), "PATH="+os.Getenv("PATH")+":"+d.Root), env...)
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is for the test
	output, err := process.StderrPipe()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := process.Start(); err != nil {
		return err
	}
	d.process, d.started = process, began
	listening := make(chan struct{})
	d.drained = make(chan struct{})
	go d.drain(output, listening)
	select {
	case <-listening:
	case <-d.drained:
		return fmt.Errorf("the daemon ended: %w", d.wait())
	}
	if d.bridge == "" {
		var network struct{ Options map[string]string }
		if err := d.Get("/networks/bridge", &network); err != nil {
			return err
		}
		d.bridge = network.Options["com.docker.network.bridge.name"]
	}
	return nil
}

// drain keeps the daemon's log and notes when it says that it listens.
func (d *Daemon) drain(output io.Reader, listening chan<- struct{}) {
	defer close(d.drained)
	said := false
	for lines := bufio.NewScanner(output); lines.Scan(); {
		d.mu.Lock()
		d.log.WriteString(lines.Text() + "\n")
		d.mu.Unlock()
		if !said && strings.Contains(lines.Text(), "the API listens") {
			said = true
			close(listening)
		}
	}
}

// Log is what the daemon said until now.
func (d *Daemon) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// wait gives how the daemon ended.
func (d *Daemon) wait() error {
	<-d.drained
	err := d.process.Wait()
	d.process = nil
	return err
}

// Died is closed when the daemon that runs now has ended.
func (d *Daemon) Died() <-chan struct{} { return d.drained }

// Kill ends the daemon with SIGKILL, or notes that it has died already.
func (d *Daemon) Kill() error {
	if d.process == nil {
		return errors.New("the daemon does not run")
	}
	d.noteLinks()
	if err := d.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var exit *exec.ExitError
	if err := d.wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// Stop tells the daemon to end, and waits until it has.
func (d *Daemon) Stop() error {
	if d.process == nil {
		return errors.New("the daemon does not run")
	}
	d.noteLinks()
	if err := d.process.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return d.wait()
}

// PID gives the daemon's process number.
func (d *Daemon) PID() int {
	if d.process == nil {
		return 0
	}
	return d.process.Process.Pid
}

// Call makes a request of the API and gives the answer's status and body.
func (d *Daemon) Call(method, path string, body any) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = strings.NewReader(string(data))
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://berth"+path, content)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := d.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, data, errors.Join(err, answer.Body.Close())
}

// Do makes a request that must succeed; a JSON answer goes into the value unless that is nil.
func (d *Daemon) Do(method, path string, body, value any) error {
	status, data, err := d.Call(method, path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if status >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %d %s", method, path, status, strings.TrimSpace(string(data)))
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(data, value)
}

// Get asks for a value.
func (d *Daemon) Get(path string, value any) error { return d.Do(http.MethodGet, path, nil, value) }

// Await waits until something happened, or has already since the daemon was started: an event of a kind ("container"),
// an action ("start") and a name.
func (d *Daemon) Await(kind, action, name string) error {
	conditions, err := json.Marshal(map[string][]string{"type": {kind}, "event": {action}, kind: {name}})
	if err != nil {
		return err
	}
	query := url.Values{"since": {stamp(d.started)}, "filters": {string(conditions)}}
	happened := false
	err = d.stream("/events?"+query.Encode(), func(string) bool { happened = true; return false })
	if err == nil && !happened {
		err = fmt.Errorf("there was no %s of %s %s", action, kind, name)
	}
	return err
}

// Follow reads a container's output since a time until the line stands in it.
func (d *Daemon) Follow(container string, since time.Time, line string) error {
	found := false
	err := d.stream("/containers/"+container+"/logs?follow=1&stdout=1&since="+stamp(since), func(said string) bool {
		found = strings.HasSuffix(said, line) // before it stands the header of its frame
		return !found
	})
	if err == nil && !found {
		err = fmt.Errorf("the output of %s ended without the line %q", container, line)
	}
	return err
}

// stamp is a time as the API wants it.
func stamp(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// stream reads an answer line by line until more says no, or a minute is over.
func (d *Daemon) stream(path string, more func(line string) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://berth"+path, nil)
	if err != nil {
		return err
	}
	answer, err := d.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if !more(lines.Text()) {
			return nil
		}
	}
	return lines.Err()
}

// Import makes an image of a root file system's tar, with busybox's shell as its command.
func (d *Daemon) Import(rootfs, name string) error {
	file, err := os.Open(rootfs)
	if err != nil {
		return err
	}
	defer file.Close()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://berth/images/create?fromSrc=-&repo="+name+"&changes=CMD+%5B%22sh%22%5D&changes=ENV+PATH%3D%2Fbin", file)
	if err != nil {
		return err
	}
	answer, err := d.client.Do(request)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || strings.Contains(string(said), `"error"`)) {
		err = fmt.Errorf("import %s: %s", name, said)
	}
	return errors.Join(err, answer.Body.Close())
}

// Finish removes all containers, networks and volumes, ends the daemon and reports what is left as errors of the test.
// A test that is done with the daemon earlier may call it itself.
func (d *Daemon) Finish() {
	if d.finished {
		return
	}
	d.finished = true
	if err := d.clean(); err != nil {
		d.t.Errorf("clean up: %v", err)
	}
	for _, left := range d.Leftovers() {
		d.t.Errorf("left behind: %s", left)
	}
	if d.t.Failed() {
		d.t.Logf("log of the daemon on %s:\n%s", d.Root, d.Log())
	}
	if err := os.RemoveAll(d.Root); err != nil {
		d.t.Errorf("clean up: %v", err)
	}
}

func (d *Daemon) clean() error {
	if d.process == nil {
		if err := d.Start(); err != nil {
			return err
		}
	}
	return errors.Join(d.Empty(), d.Stop())
}

// Empty removes all containers, networks and volumes.
func (d *Daemon) Empty() error {
	var containers []struct{ ID string }
	err := d.Get("/containers/json?all=1", &containers)
	for _, c := range containers {
		err = errors.Join(err, d.Do(http.MethodDelete, "/containers/"+c.ID+"?force=1&v=1", nil, nil))
	}
	var networks []struct{ ID string }
	err = errors.Join(err, d.Get(`/networks?filters={"type":["custom"]}`, &networks))
	for _, n := range networks {
		err = errors.Join(err, d.Do(http.MethodDelete, "/networks/"+n.ID, nil, nil))
	}
	var volumes struct{ Volumes []struct{ Name string } }
	err = errors.Join(err, d.Get("/volumes", &volumes))
	for _, v := range volumes.Volumes {
		err = errors.Join(err, d.Do(http.MethodDelete, "/volumes/"+v.Name+"?force=1", nil, nil))
	}
	return err
}
