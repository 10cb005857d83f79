//go:build cgo

package shim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/opencontainers/runc/libcontainer"
	// The C part of libcontainer's init, which enters namespaces before Go starts.
	_ "github.com/opencontainers/runc/libcontainer/nsenter"

	"github.com/berth-engine/berth/shim/filter"
	"github.com/berth-engine/berth/shim/wire"
)

// IsInit reports whether this process is libcontainer's init: the binary runs itself inside the new namespaces.
func IsInit() bool { return len(os.Args) > 1 && os.Args[1] == "init" }

// Init becomes the container's process. It does not return.
func Init() {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // it is over before there is garbage worth collecting
	if err := filter.Take(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(255)
	}
	libcontainer.Init()
}

// IsReaper reports whether this process is the small init that `--init` asks for.
func IsReaper() bool { return filepath.Base(os.Args[0]) == filepath.Base(wire.InitPath) }

// addInit puts the small init before the command. The command is looked up by it, so that an error of the name is
// its exit code 127 or 126.
func (c *container) addInit() {
	c.spec.Process.Args = append([]string{wire.InitPath, "--"}, c.spec.Process.Args...)
}

// Reap is the small init: it runs the command, passes signals on to it, reaps every orphan and ends with the
// command's exit code.
func Reap(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "docker-init: no command")
		return 127
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	path, err := exec.LookPath(args[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "[FATAL docker-init (1)] exec %s failed: %v\n", args[0], err)
		if errors.Is(err, os.ErrPermission) {
			return 126
		}
		return 127
	}
	child, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attributes()})
	if err != nil {
		fmt.Fprintf(os.Stderr, "[FATAL docker-init (1)] exec %s failed: %v\n", args[0], err)
		return 126
	}
	for s := range signals {
		switch s {
		case syscall.SIGCHLD, syscall.SIGURG: // for this process; SIGURG is Go's own
		default:
			// The child may have ended a moment ago, which shows below.
			_ = syscall.Kill(child, s.(syscall.Signal))
		}
		// After every signal: a SIGCHLD that came while the channel was full is lost.
		if code, ended := reapAll(child); ended {
			return code
		}
	}
	return 255
}

// attributes give the command its own process group, in the foreground of the terminal where there is one.
func attributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if _, err := os.Stat("/dev/tty"); err == nil {
		if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
			defer tty.Close()
			return &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: 0}
		}
	}
	return attributes
}

func reapAll(child int) (code int, ended bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return code, ended
		}
		if pid == child {
			ended = true
			if code = status.ExitStatus(); status.Signaled() {
				code = 128 + int(status.Signal())
			}
		}
	}
}
