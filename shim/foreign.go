//go:build cgo

package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/linux/cgroup"
	"github.com/berth-engine/berth/shim/wire"
)

// foreign is an OCI runtime that is a program: runc, crun, runsc, kata-runtime. It is told what to do by the command
// line that they share (https://github.com/opencontainers/runtime-tools/blob/master/docs/command-line-interface.md and
// runc(8)). The processes that it starts become children of this shim, which is a subreaper.
type foreign struct {
	wire.Program
	c   *container
	dir *os.File // the shim's folder: a path of a socket has at most 107 bytes, one through a descriptor is short
}

// Names in the shim's folder.
const (
	bundleName   = "config.json"
	programState = "runtime"
	programLog   = "runtime.log"
	consoleName  = "console"
	pidName      = "pid"
)

// specVersion is what the specification says that it follows. Later ones only added fields, which an older program does not
// look at; but crun before 1.14.3 refuses their number ("unknown version specified").
const specVersion = "1.0.2"

func newForeign(c *container, program wire.Program) (*foreign, error) {
	spec := *c.spec
	spec.Version = specVersion
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(c.dir, bundleName), data, 0o600); err != nil {
		return nil, err
	}
	dir, err := os.Open(c.dir)
	if err != nil {
		return nil, err
	}
	return &foreign{Program: program, c: c, dir: dir}, nil
}

// command is a call of the program. The global options are those that all of them have.
func (f *foreign) command(verb string, args ...string) *exec.Cmd {
	global := append([]string{}, f.Args...)
	global = append(global, "--root", filepath.Join(f.c.dir, programState), "--log", filepath.Join(f.c.dir, programLog), "--log-format", "json", verb)
	cmd := exec.Command(f.Path, append(global, args...)...)
	cmd.Dir = f.c.dir
	return cmd
}

// do calls the program and gives what it complains of, in its own words.
func (f *foreign) do(cmd *exec.Cmd) error {
	log := filepath.Join(f.c.dir, programLog)
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var said bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &said
	}
	end := f.c.shared.orphans.start() // the program is a child of ours, and waited for here
	err := cmd.Run()
	end(0)
	if err == nil {
		return nil
	}
	lines, logErr := os.ReadFile(log)
	if logErr == nil {
		if text := lastError(lines); text != "" {
			return errors.New(text)
		}
	}
	if text := strings.TrimSpace(said.String()); text != "" {
		return errors.New(text)
	}
	return err
}

// lastError is the message of the last error in a log of JSON lines.
func lastError(log []byte) (text string) {
	for line := range bytes.Lines(log) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal(line, &entry) == nil && entry.Level == "error" {
			text = entry.Msg
		}
	}
	return text
}

// Run starts the first process by create and start, a further one by exec.
func (f *foreign) Run(p *process) error {
	what := "create"
	if p.id != "" {
		what = "exec"
	}
	if err := f.run(p); err != nil {
		if what == "create" {
			return invalid{fmt.Errorf("failed to create task for container: failed to create shim task: OCI runtime create failed: %w: unknown", err)}
		}
		return invalid{fmt.Errorf("OCI runtime exec failed: %w: unknown", err)}
	}
	return nil
}

func (f *foreign) run(p *process) error {
	pidFile := filepath.Join(f.c.dir, pidName+string(p.id))
	args := []string{"--pid-file", pidFile}
	defer os.Remove(pidFile)
	var console net.Listener
	if p.console != nil {
		var err error
		if console, err = net.Listen("unix", f.consolePath()); err != nil {
			return err
		}
		defer console.Close()
		args = append(args, "--console-socket", f.consolePath())
	}
	var cmd *exec.Cmd
	if p.id == "" {
		cmd = f.command("create", append(args, "--bundle", f.c.dir, string(f.c.id))...)
	} else {
		spec, err := f.processFile(p)
		if err != nil {
			return err
		}
		defer os.Remove(spec)
		cmd = f.command("exec", append(args, "--detach", "--process", spec, string(f.c.id))...)
	}
	if console == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = p.lib.Stdin, p.lib.Stdout, p.lib.Stderr
	}
	child, err := f.launch(p, cmd, pidFile)
	if err != nil {
		return err
	}
	if console != nil {
		if err := p.acceptConsole(console); err != nil {
			return errors.Join(err, child.Kill())
		}
	}
	if p.id != "" {
		return nil
	}
	if err := f.do(f.command("start", string(f.c.id))); err != nil {
		_ = child.Kill() // it may be gone, or wait for ever to be started
		_, werr := child.Wait()
		p.orphans.forget(p.pid)
		return errors.Join(err, ignoreChild(werr))
	}
	return nil
}

// launch calls the program that leaves a process behind, which becomes this shim's child: from the program's end on
// it is known to be waited for.
func (f *foreign) launch(p *process, cmd *exec.Cmd, pidFile string) (*os.Process, error) {
	end := p.orphans.start()
	defer func() { end(p.pid) }()
	if err := f.do(cmd); err != nil {
		return nil, err
	}
	pid, err := pidOf(pidFile)
	if err != nil {
		return nil, err
	}
	child, err := os.FindProcess(pid)
	if err != nil {
		return nil, err
	}
	p.pid, p.handle = pid, child
	return child, nil
}

// ignoreChild drops the news that somebody else has buried a process that was to be waited for.
func ignoreChild(err error) error {
	if errors.Is(err, unix.ECHILD) {
		return nil
	}
	return err
}

func (f *foreign) consolePath() string {
	return fmt.Sprintf("/proc/%d/fd/%d/%s", os.Getpid(), fdOf(f.dir), consoleName)
}

// processFile writes a further process as the specification says it.
func (f *foreign) processFile(p *process) (string, error) {
	data, err := json.Marshal(p.spec)
	if err != nil {
		return "", err
	}
	path := filepath.Join(f.c.dir, "process"+string(p.id))
	return path, os.WriteFile(path, data, 0o600)
}

func pidOf(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

// acceptConsole takes the connection over which the terminal comes.
func (p *process) acceptConsole(listener net.Listener) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	file, err := conn.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	p.console.Close()
	p.console = file
	return nil
}

// Signal asks the program, since what it started may not be the container's own process.
func (f *foreign) Signal(signal unix.Signal) error {
	err := f.do(f.command("kill", string(f.c.id), strconv.Itoa(int(signal))))
	if err != nil && f.ended() {
		return errGone
	}
	f.c.mu.Lock()
	paused := f.c.paused
	f.c.mu.Unlock()
	if err == nil && signal == unix.SIGKILL && paused {
		_ = f.Resume() // a frozen process does not die; a program that has thawed it says that there is nothing to resume
	}
	return err
}

// ended reports whether the first process is over, dead but not yet buried included.
func (f *foreign) ended() bool {
	f.c.mu.Lock()
	first := f.c.first
	f.c.mu.Unlock()
	if first == nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", first.pid))
	_, state, ok := strings.Cut(string(stat), ") ")
	return err != nil || ok && strings.HasPrefix(state, "Z")
}

func (f *foreign) Pause() error  { return f.do(f.command("pause", string(f.c.id))) }
func (f *foreign) Resume() error { return f.do(f.command("resume", string(f.c.id))) }

func (f *foreign) Update(r *specs.LinuxResources) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	cmd := f.command("update", "--resources", "-", string(f.c.id))
	cmd.Stdin = bytes.NewReader(data)
	return f.do(cmd)
}

func (f *foreign) Paths() (map[string]string, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	return cgroup.PathsOf(f.c.first.pid)
}

func (f *foreign) Destroy() error {
	if _, err := os.Stat(filepath.Join(f.c.dir, programState, string(f.c.id))); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return f.do(f.command("delete", "--force", string(f.c.id)))
}
