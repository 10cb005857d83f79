package crash

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/berth-engine/berth/lib/failpoint"
	"github.com/berth-engine/berth/test/daemon"
)

// numbers of the daemons of this file; those of the failpoints count from 0.
const (
	numberAttached = 200 + iota
	numberOutput
	numberPolicy
	numberReboot
	numberDisk
	numberRun
	numberMemory
	numberStart
)

// begin starts a daemon that has an image.
func begin(t *testing.T, number int) (*daemon.Daemon, string) {
	t.Helper()
	bin, rootfs := daemon.Programs(t), daemon.RootFS(t)
	d := daemon.New(t, daemon.Options{Bin: bin, Net: network, Number: number})
	if err := errors.Join(d.Start(), d.Import(rootfs, "busybox")); err != nil {
		t.Fatal(err)
	}
	return d, bin
}

// launch creates and starts a container.
func launch(t *testing.T, d *daemon.Daemon, name, policy string, command ...string) {
	t.Helper()
	if err := errors.Join(
		d.Do(http.MethodPost, "/containers/create?name="+name, map[string]any{
			"Image": "busybox", "Cmd": command,
			"HostConfig": map[string]any{"RestartPolicy": map[string]any{"Name": policy}},
		}, nil),
		d.Do(http.MethodPost, "/containers/"+name+"/start", nil, nil),
	); err != nil {
		t.Fatal(err)
	}
}

// again kills the daemon and starts the next one; between does something while there is none.
func again(t *testing.T, d *daemon.Daemon, between func()) {
	t.Helper()
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	if between != nil {
		between()
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
}

// waitFor gives a container's exit code.
func waitFor(t *testing.T, d *daemon.Daemon, name string) int {
	t.Helper()
	var end struct{ StatusCode int }
	if err := d.Do(http.MethodPost, "/containers/"+name+"/wait", nil, &end); err != nil {
		t.Fatal(err)
	}
	return end.StatusCode
}

// state inspects one container.
func state(t *testing.T, d *daemon.Daemon, name string) shown {
	t.Helper()
	var c shown
	if err := d.Get("/containers/"+name+"/json", &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// counts checks that the output is the numbers from 1 to n, each once and in order, one a line.
func counts(output []byte, n int) error {
	next := 1
	for line := range bytes.Lines(output) {
		if want := fmt.Sprintf("%d\n", next); string(line) != want {
			return fmt.Errorf("line %d is %q", next, line)
		}
		next++
	}
	if next != n+1 {
		return fmt.Errorf("%d lines, want %d", next-1, n)
	}
	return nil
}

func TestAnAttachedClientOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	d, bin := begin(t, numberAttached)
	if err := errors.Join(
		d.Do(http.MethodPost, "/containers/create?name=talk", map[string]any{
			"Image": "busybox", "OpenStdin": true, "Cmd": []string{"sh", "-c", "read x; seq 1 1000; read x; seq 1001 2000; exit 7"},
		}, nil),
		d.Do(http.MethodPost, "/containers/talk/start", nil, nil),
	); err != nil {
		t.Fatal(err)
	}
	client := exec.Command(filepath.Join(bin, "berth"), "attach", "talk")
	client.Env = append(os.Environ(), "BERTH_HOST="+d.Host())
	stdin, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write([]byte("begin\n")); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		fmt.Fprintln(&seen, lines.Text())
		if lines.Text() == "1000" {
			again(t, d, nil)
			if _, err := stdin.Write([]byte("go on\n")); err != nil {
				t.Error(err)
			}
		}
	}
	// Its request for the exit code went away with the daemon; it asks the next one.
	if code := exitCode(t, client.Wait()); code != 7 {
		t.Errorf("the attached client ends with %d, want 7", code)
	}
	if err := counts(seen.Bytes(), 2000); err != nil {
		t.Errorf("what the attached client saw: %v", err)
	}
	if code := waitFor(t, d, "talk"); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	if output, err := logs(d, bin, "talk"); err != nil {
		t.Error(err)
	} else if err := counts(output, 2000); err != nil {
		t.Errorf("the log: %v", err)
	}
}

// exitCode is the one of a command that has ended.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Error(err)
	return -1
}

func TestRunTellsTheExitCodeThoughTheDaemonDied(t *testing.T) {
	t.Parallel()
	d, bin := begin(t, numberRun)
	for i, test := range []struct {
		name  string
		while bool // the container ends while there is no daemon
		args  []string
	}{
		{"stays", false, nil},
		{"is removed", false, []string{"--rm"}},
		{"ends while there is no daemon", true, nil},
		{"ends while there is no daemon, and is removed", true, []string{"--rm"}},
	} {
		name := fmt.Sprintf("run-%d", i)
		args := append(append([]string{"run", "-i", "--name", name}, test.args...), "busybox", "sh", "-c", "echo begin; read x; echo $x; exit 7")
		client := exec.Command(filepath.Join(bin, "berth"), args...)
		client.Env = append(os.Environ(), "BERTH_HOST="+d.Host())
		var stderr bytes.Buffer
		client.Stderr = &stderr
		stdin, inErr := client.StdinPipe()
		stdout, outErr := client.StdoutPipe()
		if err := errors.Join(inErr, outErr, client.Start()); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		lines.Scan() // begin
		if err := d.Await("container", "start", name); err != nil {
			t.Fatal(err)
		}
		pid := state(t, d, name).State.Pid
		say := func() {
			if _, err := stdin.Write([]byte("go on\n")); err != nil {
				t.Error(err)
			}
			lines.Scan()
			if lines.Text() != "go on" {
				t.Errorf("%s: output %q", test.name, lines.Text())
			}
		}
		if test.while {
			again(t, d, func() {
				say()
				if !daemon.Ends(pid, 10*time.Second) {
					t.Errorf("%s: the container does not end", test.name)
				}
			})
		} else {
			again(t, d, nil)
			say()
		}
		for lines.Scan() {
			t.Errorf("%s: output %q", test.name, lines.Text())
		}
		if code := exitCode(t, client.Wait()); code != 7 {
			t.Errorf("%s: exit code %d, want 7; %s", test.name, code, &stderr)
		}
	}
}

// TestRunOutlivesADaemonThatDiesOverTheStart: the answer to the start never comes, and the next daemon is asked for it.
func TestRunOutlivesADaemonThatDiesOverTheStart(t *testing.T) {
	t.Parallel()
	d, bin := begin(t, numberStart)
	for i, test := range []struct {
		name, point string
		args        []string
		stdout      string
		code        int
	}{
		{"it has started", "start:done", nil, "begin\n", 7},
		{"it has started, and is removed", "start:done", []string{"--rm"}, "begin\n", 7},
		{"it has not", "start:before-process", nil, "", 125},
	} {
		if err := errors.Join(d.Stop(), d.Start(failpoint.Variable+"="+test.point)); err != nil {
			t.Fatal(err)
		}
		args := append(append([]string{"run", "--name", fmt.Sprintf("over-%d", i)}, test.args...), "busybox", "sh", "-c", "echo begin; exit 7")
		client := exec.Command(filepath.Join(bin, "berth"), args...)
		client.Env = append(os.Environ(), "BERTH_HOST="+d.Host())
		var stdout, stderr bytes.Buffer
		client.Stdout, client.Stderr = &stdout, &stderr
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		<-d.Died()
		if err := errors.Join(d.Kill(), d.Start()); err != nil {
			t.Fatal(err)
		}
		if code := exitCode(t, client.Wait()); code != test.code || stdout.String() != test.stdout {
			t.Errorf("%s: exit code %d and %q, want %d and %q; %s", test.name, code, &stdout, test.code, test.stdout, &stderr)
		}
	}
}

// logs gives a container's output as the client prints it.
func logs(d *daemon.Daemon, bin, name string) ([]byte, error) {
	client := exec.Command(filepath.Join(bin, "berth"), "logs", name)
	client.Env = append(os.Environ(), "BERTH_HOST="+d.Host())
	return client.Output()
}

func TestOutputIsCompleteWhileTheDaemonDiesAgainAndAgain(t *testing.T) {
	t.Parallel()
	d, bin := begin(t, numberOutput)
	const lines = 200_000
	launch(t, d, "count", "no", "sh", "-c", fmt.Sprintf("seq 1 %d; exit 9", lines))
	launch(t, d, "brief", "no", "sh", "-c", "seq 1 10; exit 4")
	for range 3 {
		again(t, d, nil)
	}
	for name, want := range map[string]struct{ code, lines int }{"count": {9, lines}, "brief": {4, 10}} {
		if code := waitFor(t, d, name); code != want.code {
			t.Errorf("%s: exit code %d, want %d", name, code, want.code)
		}
		if output, err := logs(d, bin, name); err != nil {
			t.Error(err)
		} else if err := counts(output, want.lines); err != nil {
			t.Errorf("the log of %s: %v", name, err)
		}
	}
}

// halt makes a container that would come back if the user had not stopped it.
func halt(t *testing.T, d *daemon.Daemon, name string) {
	t.Helper()
	launch(t, d, "soon-"+name, "unless-stopped", "sleep", "1000")
	if err := errors.Join(
		d.Do(http.MethodPost, "/containers/soon-"+name+"/stop?t=0", nil, nil),
		// One verb waits for another: after this the end is on the disk.
		d.Do(http.MethodPost, "/containers/soon-"+name+"/rename?name="+name, nil, nil),
	); err != nil {
		t.Fatal(err)
	}
}

func TestRestartPoliciesAreKeptWhenTheDaemonWasAway(t *testing.T) {
	t.Parallel()
	d, _ := begin(t, numberPolicy)
	policies := []string{"always", "unless-stopped", "on-failure", "no"}
	pids := map[string]int{}
	for _, policy := range policies {
		launch(t, d, policy, policy, "sleep", "1000")
		pids[policy] = state(t, d, policy).State.Pid
	}
	halt(t, d, "halted")
	again(t, d, func() {
		for policy, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			if !daemon.Ends(pid, 10*time.Second) {
				t.Errorf("%s does not end", policy)
			}
		}
	})
	for _, policy := range policies[:3] {
		c := running(t, d, policy)
		if c.State.Pid == pids[policy] || !daemon.Alive(c.State.Pid) {
			t.Errorf("%s: process %d, was %d", policy, c.State.Pid, pids[policy])
		}
	}
	if c := state(t, d, "no"); c.State.Status != "exited" || c.State.ExitCode != 137 {
		t.Errorf("no policy: %+v", c.State)
	}
	if c := state(t, d, "halted"); c.State.Status != "exited" {
		t.Errorf("one that the user had stopped: %+v", c.State)
	}
}

func TestAReboot(t *testing.T) {
	t.Parallel()
	d, _ := begin(t, numberReboot)
	if err := scenarioBeforeReboot(d); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []string{"always", "unless-stopped", "no"} {
		launch(t, d, policy, policy, "sleep", "1000")
	}
	halt(t, d, "halted")
	again(t, d, func() { reboot(t, d) })
	for _, name := range []string{"always", "unless-stopped"} {
		running(t, d, name)
	}
	for _, name := range []string{"no", "halted", "web"} {
		if c := state(t, d, name); c.State.Status != "exited" {
			t.Errorf("%s: %+v", name, c.State)
		}
	}
	// What ran before runs again, with its port, its volume and its network.
	if err := d.Do(http.MethodPost, "/containers/web/start", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := fetch(d, state(t, d, "web")); err != nil {
		t.Error(err)
	}
}

func scenarioBeforeReboot(d *daemon.Daemon) error {
	return errors.Join(
		d.Do(http.MethodPost, "/networks/create", map[string]any{"Name": "sea"}, nil),
		d.Do(http.MethodPost, "/containers/create?name=web", web(d, false), nil),
		d.Do(http.MethodPost, "/containers/web/start", nil, nil),
	)
}

// reboot ends every process of the daemon's and takes away what a machine forgets when it is switched off.
func reboot(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	pids := d.Processes()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
	}
	for _, pid := range pids {
		if !daemon.Ends(pid, 10*time.Second) {
			t.Errorf("process %d does not end", pid)
		}
	}
	if err := d.Forget(); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(d.Root, "exec")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(d.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// running waits until this daemon has started a container.
func running(t *testing.T, d *daemon.Daemon, name string) shown {
	t.Helper()
	if err := d.Await("container", "start", name); err != nil {
		t.Fatal(err)
	}
	c := state(t, d, name)
	if !c.State.Running {
		t.Errorf("%s: %+v", name, c.State)
	}
	return c
}
