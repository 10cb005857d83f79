//go:build cgo

// Command berth-shim is the process beside a few containers. The daemon starts it; nobody else does.
//
// Built with cgo, the tag seccomp and static linking, since it carries libcontainer and libseccomp.
package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/berth-engine/berth/linux/mount"
	"github.com/berth-engine/berth/linux/proc"
	"github.com/berth-engine/berth/shim"
	"github.com/berth-engine/berth/shim/reaper"
)

// control is the descriptor of the socket to the daemon.
const control = 3

func main() {
	switch {
	case shim.IsInit():
		shim.Init()
	case reaper.Is():
		os.Exit(reaper.Run(os.Args[1:]))
	case len(os.Args) == 5 && os.Args[1] == "run":
		shrugOff()
		os.Exit(shim.RunBundle(os.Args[2], os.Args[3], os.Args[4]))
	case len(os.Args) != 2 || os.Args[1] != "private" && os.Args[1] != "host":
		fmt.Fprintln(os.Stderr, "berth-shim is started by berthd")
		os.Exit(2)
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(os.Args[1] == "private", logger); err != nil {
		logger.Error("shim", "error", err)
		os.Exit(1)
	}
}

// run serves containers. Private: the process has a mount namespace of its own.
func run(private bool, logger *slog.Logger) error {
	shrugOff()
	// The binary runs out of memory, under the name of a descriptor; ps should show what it is. Without it, it shows less.
	_ = os.WriteFile("/proc/self/comm", []byte("berth-shim"), 0)
	// Collecting costs more than the few megabytes that a burst of starts leaves; they are given back when it is over
	// (shim.Serve).
	debug.SetGCPercent(200)
	logrus.SetLevel(logrus.ErrorLevel)
	logrus.SetOutput(os.Stderr)
	// Without it, all of its containers would be without their logs and exit statuses; they have scores of their own.
	if err := proc.Spare(-999); err != nil {
		logger.Warn("the kernel may kill this process when memory runs out", "error", err)
	}
	if private {
		if err := mount.Slave(); err != nil {
			return err
		}
	}
	if err := shim.Detach(); err != nil {
		return err
	}
	return shim.Serve(os.NewFile(control, "control"), logger)
}

// shrugOff makes signals harmless for this process: a daemon that dies takes pipes, sockets and perhaps a terminal with
// it. They are received, not ignored: what a process ignores its children ignore too (signal(7)), also
// when it was the daemon's parent that ignored it.
func shrugOff() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGPIPE,
		syscall.SIGALRM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
}
