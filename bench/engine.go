package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// engine is a program with docker's command line: berth, docker, podman.
type engine struct {
	peerConfig
	room    *room // nil: it lives where the bench does
	api     *apiClient
	tag     string // marks everything that this run of the bench makes
	command string // the CLI's path
	version string
	daemon  int             // process of the daemon; 0: there is none, or it is not known
	before  map[int]bool    // processes that ran before the bench did anything
	caches  map[string]bool // build cache records of before
	counter int
}

// call is one command of an engine's CLI.
type call struct {
	args   []string
	env    []string
	stdin  io.Reader
	stdout io.Writer // nil: kept and returned
	limit  time.Duration
}

// answer is what came of a call.
type answer struct {
	out     string
	elapsed time.Duration // from before the start of the process until after its end
}

// run runs the CLI and demands exit code 0.
func (e *engine) run(ctx context.Context, args ...string) (answer, error) {
	return e.do(ctx, call{args: args})
}

// do runs a call. An exit code other than 0 is an error that holds what the command said.
func (e *engine) do(ctx context.Context, c call) (answer, error) {
	limit := c.limit
	if limit == 0 {
		limit = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.command, append(e.globals(), c.args...)...)
	cmd.Env = append(e.environment(), c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the bench; it ends the command itself
	cmd.WaitDelay = 5 * time.Second
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, c.stdout, &complaint
	if c.stdout == nil {
		cmd.Stdout = &out
	}
	begin := time.Now()
	err := e.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	elapsed := time.Since(begin)
	if err != nil {
		return answer{out: out.String()}, fmt.Errorf("%s %s: %w: %s", e.Name, strings.Join(c.args, " "), err, lastLines(complaint.String()))
	}
	return answer{out: strings.TrimSpace(out.String()), elapsed: elapsed}, nil
}

func (e *engine) start(cmd *exec.Cmd) error {
	if e.room != nil {
		return e.room.start(cmd)
	}
	return cmd.Start()
}

// globals are the flags before the command.
func (e *engine) globals() []string {
	switch {
	case e.Host == "" || e.Kind == kindPodman:
		return nil
	default:
		return []string{"--host", e.Host}
	}
}

func (e *engine) environment() []string {
	env := os.Environ()
	if e.room != nil {
		env = e.room.env
	}
	env = append([]string{}, env...)
	for key, value := range e.Env {
		env = append(env, key+"="+value)
	}
	return env
}

// lastLines is the end of a complaint, for one cell of a table.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) > 3 {
		lines = lines[len(lines)-3:]
	}
	joined := strings.Join(lines, " / ")
	if len(joined) > 400 {
		joined = joined[len(joined)-400:]
	}
	return joined
}

// open makes the engine usable and learns its version. An error means that the peer is absent.
func (e *engine) open(ctx context.Context, root string) error {
	if e.Prefix != "" {
		r, err := openRoom(ctx, e.Prefix)
		if err != nil {
			return err
		}
		e.room = r
		if e.command, err = r.find(e.CLI); err != nil {
			return err
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", r.pid, root)); err != nil {
			return fmt.Errorf("--root %s is not to be seen where the peer lives: name a directory that is at the same path in both", root)
		}
	} else {
		path, err := exec.LookPath(e.CLI)
		if err != nil {
			return err
		}
		e.command = path
	}
	format := "{{.Server.Version}}"
	if e.Kind == kindPodman {
		format = "{{.Client.Version}}"
	}
	a, err := e.run(ctx, "version", "--format", format)
	if err != nil {
		return err
	}
	e.version = a.out
	if e.Host != "" {
		if e.api, err = newAPI(e.Host); err != nil {
			return err
		}
		if err := e.api.ping(ctx); err != nil {
			return err
		}
		return e.findDaemon()
	}
	return nil
}

// findDaemon learns the daemon's process: from the pid file, or from the socket's other end.
func (e *engine) findDaemon() error {
	if e.daemon != 0 {
		return nil
	}
	if e.PidFile != "" {
		data, err := os.ReadFile(e.PidFile)
		if err != nil {
			return err
		}
		e.daemon, err = strconv.Atoi(strings.TrimSpace(string(data)))
		return err
	}
	pid, err := e.api.listener()
	if err == nil && pid > 1 { // 1: the socket was opened by the init system for the daemon
		e.daemon = pid
		return nil
	}
	list, err := processes()
	if err != nil {
		return err
	}
	for _, p := range list {
		if p.name == "dockerd" || p.name == "berthd" {
			e.daemon = p.pid
		}
	}
	return nil
}

// name makes a new name of a container, network or volume.
func (e *engine) name(what string) string {
	e.counter++
	return fmt.Sprintf("%s-%s-%d", e.tag, what, e.counter)
}

// container runs a container in the background, with the bench's label, and returns its number.
func (e *engine) container(ctx context.Context, args ...string) (string, error) {
	a, err := e.run(ctx, append([]string{"run", "-d", "--label", e.tag}, args...)...)
	if err != nil {
		return "", err
	}
	if len(a.out) != 64 {
		return "", fmt.Errorf("%s run -d printed %q, which is no container's number", e.Name, a.out)
	}
	return a.out, nil
}

// remove removes containers, running or not, and reports what can't be removed.
func (e *engine) remove(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := e.run(ctx, append([]string{"rm", "-f", "-v"}, ids...)...)
	return err
}

// running says whether the container runs.
func (e *engine) running(ctx context.Context, id string) (bool, error) {
	a, err := e.run(ctx, "inspect", "--type", "container", "--format", "{{.State.Running}}", id)
	return a.out == "true", err
}

// gone checks that the container does not exist any more.
func (e *engine) gone(ctx context.Context, id string) error {
	a, err := e.run(ctx, "ps", "-a", "-q", "--no-trunc", "--filter", "id="+id)
	if err == nil && a.out != "" {
		err = fmt.Errorf("%s: container %s is still there after its removal", e.Name, id)
	}
	return err
}

// field reads one field of a container by a template.
func (e *engine) field(ctx context.Context, id, template string) (string, error) {
	a, err := e.run(ctx, "inspect", "--type", "container", "--format", template, id)
	return a.out, err
}

// logOptions name the log driver that writes a file, without a limit that would throw away what is to be read back.
func (e *engine) logOptions() []string {
	if e.Kind == kindPodman {
		return []string{"--log-driver", "k8s-file", "--log-opt", "max-size=8g"}
	}
	return []string{"--log-driver", "json-file", "--log-opt", "max-size=8g"}
}

// daemonProcesses are the daemon and what it keeps beside it when no container runs: containerd, warm shims.
func (e *engine) daemonProcesses() ([]int, error) {
	if e.daemon == 0 {
		return nil, nil
	}
	list, err := processes()
	if err != nil {
		return nil, err
	}
	pids, containerd := []int{e.daemon}, false
	seen := map[int]bool{e.daemon: true}
	for _, p := range descendants(list, e.daemon) {
		pids, containerd = append(pids, p.pid), containerd || p.name == "containerd"
		seen[p.pid] = true
	}
	for _, p := range list {
		service := e.Kind == kindDocker && !containerd && p.name == "containerd" // run by the init system
		warm := e.Kind == kindBerth && p.name == "berth-shim" && !e.before[p.pid]
		if (service || warm) && !seen[p.pid] {
			pids = append(pids, p.pid)
		}
	}
	return pids, nil
}

// clean removes all that this run of the bench made on the engine and lets its room go.
func (e *engine) clean(ctx context.Context) error {
	var problems []error
	if e.command != "" && e.version != "" {
		if a, err := e.run(ctx, "ps", "-a", "-q", "--filter", "label="+e.tag); err != nil {
			problems = append(problems, err)
		} else {
			problems = append(problems, e.remove(ctx, strings.Fields(a.out)...))
		}
		if a, err := e.run(ctx, "network", "ls", "-q", "--filter", "label="+e.tag); err != nil {
			problems = append(problems, err)
		} else if ids := strings.Fields(a.out); len(ids) > 0 {
			_, err := e.run(ctx, append([]string{"network", "rm"}, ids...)...)
			problems = append(problems, err)
		}
		problems = append(problems, e.removeImages(ctx), e.removeCaches(ctx))
	}
	if e.room != nil {
		problems = append(problems, e.room.close())
	}
	return errors.Join(problems...)
}

// removeImages removes the images whose names hold the bench's mark.
func (e *engine) removeImages(ctx context.Context) error {
	a, err := e.run(ctx, "images", "--format", "{{.Repository}}:{{.Tag}}")
	if err != nil {
		return err
	}
	var names []string
	for name := range strings.Lines(a.out) {
		if strings.Contains(name, e.tag) {
			names = append(names, strings.TrimSpace(name))
		}
	}
	if len(names) == 0 {
		return nil
	}
	_, err = e.run(ctx, append([]string{"rmi", "-f"}, names...)...)
	return err
}

// removeCaches removes the build cache records that were not there before.
func (e *engine) removeCaches(ctx context.Context) error {
	if e.api == nil || e.caches == nil {
		return nil
	}
	now, err := e.api.caches(ctx)
	if err != nil {
		return err
	}
	for id := range now {
		if !e.caches[id] {
			if err := e.api.pruneCache(ctx, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// image is the full name of an image of the bench.
func (e *engine) image(name string) string { return "localhost/" + e.tag + "/" + name + ":latest" }

// fileSize is the size of a file that a command should have written.
func fileSize(path string) (int64, error) {
	info, err := os.Stat(filepath.Clean(path))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
