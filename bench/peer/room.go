package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// room is the mount namespace in which a peer lives. A holder process keeps it open; commands are started from a
// thread that has joined it, so that what it costs to make the room is in no measurement.
type room struct {
	holder *exec.Cmd
	stdin  io.Closer // the holder ends when this closes
	pid    int
	env    []string
	path   []string // the directories of PATH in the room
}

// openRoom runs the prefix once. The prefix must end by executing its arguments, and keep the process namespace.
func openRoom(ctx context.Context, prefix string) (*room, error) {
	// The shell itself waits, by no other program: while one is being executed, a process has no environment to be read.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", "exec "+prefix+` "$@"`, "sh", "sh", "-c", `echo "$$"; read -r end || :`)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the bench, which cleans up in the room
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &room{holder: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prefix %q: %w", prefix, err), r.close())
	}
	if r.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		return nil, errors.Join(fmt.Errorf("prefix %q: %w", prefix, err), r.close())
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", r.pid))
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	r.env = strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00")
	for _, entry := range r.env {
		if value, found := strings.CutPrefix(entry, "PATH="); found {
			r.path = filepath.SplitList(value)
		}
	}
	return r, nil
}

// close lets the holder end.
func (r *room) close() error {
	return errors.Join(r.stdin.Close(), r.holder.Wait())
}

// find looks for a command in the room.
func (r *room) find(command string) (string, error) {
	if strings.Contains(command, "/") {
		return command, nil
	}
	for _, dir := range r.path {
		path := filepath.Join(dir, command)
		if info, err := os.Stat(fmt.Sprintf("/proc/%d/root%s", r.pid, path)); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", command)
}

// start starts the command in the room. The thread that joined the room is thrown away with its goroutine.
func (r *room) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- r.join(cmd)
	}()
	return <-result
}

// join moves the calling thread into the room and starts the command from there.
func (r *room) join(cmd *exec.Cmd) error {
	number, known := map[string]uintptr{"amd64": 308, "arm64": 268}[runtime.GOARCH] // setns(2); package syscall lacks it on amd64
	if !known {
		return fmt.Errorf("a peer with a prefix can't be measured on %s", runtime.GOARCH)
	}
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", r.pid))
	if err != nil {
		return err
	}
	defer namespace.Close()
	if err := syscall.Unshare(syscall.CLONE_FS); err != nil { // setns refuses threads that share root and directory
		return fmt.Errorf("unshare: %w", err)
	}
	if _, _, errno := syscall.RawSyscall(number, namespace.Fd(), syscall.CLONE_NEWNS, 0); errno != 0 {
		return fmt.Errorf("setns: %w", errno)
	}
	return cmd.Start()
}
