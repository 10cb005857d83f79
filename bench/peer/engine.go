package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/berth-engine/berth/bench/measure"
)

// Engine is a program with docker's command line: berth, docker, podman.
type Engine struct {
	Config
	room      *room // nil: it lives where the bench does
	API       *API
	Tag       string // marks everything that this run of the bench makes
	command   string // the CLI's path
	Version   string
	DaemonPID int             // process of the daemon; 0: there is none, or it is not known
	caches    map[string]bool // build cache records of before
	counter   int
}

// Call is one command of an engine's CLI.
type Call struct {
	Args   []string
	Stdin  io.Reader
	Stdout io.Writer // nil: kept and returned
	Limit  time.Duration
}

// Answer is what came of a call.
type Answer struct {
	Out     string
	Elapsed time.Duration // from before the start of the process until after its end
}

// Run runs the CLI and demands exit code 0.
func (e *Engine) Run(ctx context.Context, args ...string) (Answer, error) {
	return e.Do(ctx, Call{Args: args})
}

// Do runs a call. An exit code other than 0 is an error that holds what the command said.
func (e *Engine) Do(ctx context.Context, c Call) (Answer, error) {
	limit := c.Limit
	if limit == 0 {
		limit = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.command, append(e.globals(), c.Args...)...)
	cmd.Env = e.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the bench; it ends the command itself
	cmd.WaitDelay = 5 * time.Second
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, &complaint
	if c.Stdout == nil {
		cmd.Stdout = &out
	}
	begin := time.Now()
	err := e.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	elapsed := time.Since(begin)
	if err != nil {
		return Answer{Out: out.String()}, fmt.Errorf("%s %s: %w: %s", e.Name, strings.Join(c.Args, " "), err, LastLines(complaint.String()))
	}
	return Answer{Out: strings.TrimSpace(out.String()), Elapsed: elapsed}, nil
}

func (e *Engine) start(cmd *exec.Cmd) error {
	if e.room != nil {
		return e.room.start(cmd)
	}
	return cmd.Start()
}

// globals are the flags before the command.
func (e *Engine) globals() []string {
	switch {
	case e.Host == "" || e.Kind == Podman:
		return nil
	default:
		return []string{"--host", e.Host}
	}
}

func (e *Engine) environment() []string {
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

// LastLines is the end of a complaint, for one cell of a table.
func LastLines(text string) string {
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

// Open makes the engine usable and learns its version. An error means that the peer is absent.
func (e *Engine) Open(ctx context.Context, root string) error {
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
	if e.Kind == Podman {
		format = "{{.Client.Version}}"
	}
	a, err := e.Run(ctx, "version", "--format", format)
	if err != nil {
		return err
	}
	e.Version = a.Out
	if e.Host != "" {
		if e.API, err = NewAPI(e.Host); err != nil {
			return err
		}
		if err := e.API.Ping(ctx); err != nil {
			return err
		}
		return e.findDaemon()
	}
	return nil
}

// findDaemon learns the daemon's process: from the pid file, or from the socket's other end.
func (e *Engine) findDaemon() error {
	if e.DaemonPID != 0 {
		return nil
	}
	if e.PidFile != "" {
		data, err := os.ReadFile(e.PidFile)
		if err != nil {
			return err
		}
		e.DaemonPID, err = strconv.Atoi(strings.TrimSpace(string(data)))
		return err
	}
	pid, err := e.API.listener()
	if err == nil && pid > 1 { // 1: the socket was opened by the init system for the daemon
		e.DaemonPID = pid
		return nil
	}
	list, err := measure.Processes()
	if err != nil {
		return err
	}
	for _, p := range list {
		if p.Name == "dockerd" || p.Name == "berthd" {
			e.DaemonPID = p.PID
		}
	}
	return nil
}

// NewName makes a new name of a container, network or volume.
func (e *Engine) NewName(what string) string {
	e.counter++
	return fmt.Sprintf("%s-%s-%d", e.Tag, what, e.counter)
}

// Container runs a container in the background, with the bench's label, and returns its number.
func (e *Engine) Container(ctx context.Context, args ...string) (string, error) {
	a, err := e.Run(ctx, append([]string{"run", "-d", "--label", e.Tag}, args...)...)
	if err != nil {
		return "", err
	}
	if len(a.Out) != 64 {
		return "", fmt.Errorf("%s run -d printed %q, which is no container's number", e.Name, a.Out)
	}
	return a.Out, nil
}

// Remove removes containers, running or not, and reports what can't be removed.
func (e *Engine) Remove(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := e.Run(ctx, append([]string{"rm", "-f", "-v"}, ids...)...)
	return err
}

// IsRunning says whether the container runs.
func (e *Engine) IsRunning(ctx context.Context, id string) (bool, error) {
	a, err := e.Run(ctx, "inspect", "--type", "container", "--format", "{{.State.Running}}", id)
	return a.Out == "true", err
}

// Gone checks that the container does not exist any more.
func (e *Engine) Gone(ctx context.Context, id string) error {
	a, err := e.Run(ctx, "ps", "-a", "-q", "--no-trunc", "--filter", "id="+id)
	if err == nil && a.Out != "" {
		err = fmt.Errorf("%s: container %s is still there after its removal", e.Name, id)
	}
	return err
}

// Field reads one field of a container by a template.
func (e *Engine) Field(ctx context.Context, id, template string) (string, error) {
	a, err := e.Run(ctx, "inspect", "--type", "container", "--format", template, id)
	return a.Out, err
}

// LogOptions name the log driver that writes a file, without a limit that would throw away what is to be read back.
func (e *Engine) LogOptions() []string {
	if e.Kind == Podman {
		return []string{"--log-driver", "k8s-file", "--log-opt", "max-size=8g"}
	}
	return []string{"--log-driver", "json-file", "--log-opt", "max-size=8g"}
}

// Processes are the daemon and what it keeps beside it when no container runs: containerd, warm shims.
func (e *Engine) Processes() ([]int, error) {
	if e.DaemonPID == 0 {
		return nil, nil
	}
	list, err := measure.Processes()
	if err != nil {
		return nil, err
	}
	pids, containerd := []int{e.DaemonPID}, false
	for _, p := range measure.Descendants(list, e.DaemonPID) {
		pids, containerd = append(pids, p.PID), containerd || p.Name == "containerd"
	}
	for _, p := range list {
		if e.Kind == Docker && !containerd && p.Name == "containerd" { // run by the init system
			pids = append(pids, p.PID)
		}
	}
	return pids, nil
}

// RemoveAll removes the containers of the bench.
func (e *Engine) RemoveAll(ctx context.Context) error {
	a, err := e.Run(ctx, "ps", "-a", "-q", "--filter", "label="+e.Tag)
	if err != nil {
		return err
	}
	return e.Remove(ctx, strings.Fields(a.Out)...)
}

// Clean removes all that this run of the bench made on the engine and lets its room go.
func (e *Engine) Clean(ctx context.Context) error {
	var problems []error
	if e.command != "" && e.Version != "" {
		problems = append(problems, e.RemoveAll(ctx))
		if a, err := e.Run(ctx, "network", "ls", "-q", "--filter", "label="+e.Tag); err != nil {
			problems = append(problems, err)
		} else if ids := strings.Fields(a.Out); len(ids) > 0 {
			_, err := e.Run(ctx, append([]string{"network", "rm"}, ids...)...)
			problems = append(problems, err)
		}
		problems = append(problems, e.RemoveImages(ctx, ""), e.RemoveCaches(ctx))
	}
	if e.room != nil {
		problems = append(problems, e.room.close())
	}
	return errors.Join(problems...)
}

// RemoveImages removes those images of the bench whose names hold a text; with none, all of them, and what builds left
// without a name.
func (e *Engine) RemoveImages(ctx context.Context, text string) error {
	a, err := e.Run(ctx, "images", "--format", "{{.Repository}}:{{.Tag}}")
	if err != nil {
		return err
	}
	var names []string
	for name := range strings.Lines(a.Out) {
		if strings.Contains(name, e.Tag) && strings.Contains(name, text) {
			names = append(names, strings.TrimSpace(name))
		}
	}
	if text == "" {
		nameless, err := e.Run(ctx, "images", "-q", "--no-trunc", "--filter", "dangling=true", "--filter", "label="+e.Tag)
		if err != nil {
			return err
		}
		names = append(names, strings.Fields(nameless.Out)...)
	}
	if len(names) == 0 {
		return nil
	}
	_, err = e.Run(ctx, append([]string{"rmi", "-f"}, names...)...)
	return err
}

// RegistryCall is a push or a pull over HTTP without TLS. Docker and berth take a loopback address as such.
func (e *Engine) RegistryCall(verb, image string) []string {
	if e.Kind == Podman {
		return []string{verb, "--tls-verify=false", image}
	}
	return []string{verb, image}
}

// RememberCaches notes the build cache's records, so that RemoveCaches leaves them alone. The first call counts.
func (e *Engine) RememberCaches(ctx context.Context) error {
	if e.API == nil || e.caches != nil {
		return nil
	}
	var err error
	e.caches, err = e.API.caches(ctx)
	return err
}

// RemoveCaches removes the build cache's records that were not there before. One that others build on goes after these,
// so it asks again as long as something went.
func (e *Engine) RemoveCaches(ctx context.Context) error {
	if e.API == nil || e.caches == nil {
		return nil
	}
	for left := -1; ; {
		now, err := e.API.caches(ctx)
		if err != nil {
			return err
		}
		maps.DeleteFunc(now, func(id string, _ bool) bool { return e.caches[id] })
		if len(now) == 0 {
			return nil
		}
		if len(now) == left {
			return fmt.Errorf("%d records of the build cache can't be removed", left)
		}
		left = len(now)
		for id := range now {
			if err := e.API.pruneCache(ctx, id); err != nil {
				return err
			}
		}
	}
}

// Image is the full name of an image of the bench.
func (e *Engine) Image(name string) string { return "localhost/" + e.Tag + "/" + name + ":latest" }
