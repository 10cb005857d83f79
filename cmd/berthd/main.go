// Command berthd is the daemon: it knows every room of the house, opens them in order, introduces them to each other
// and serves the Docker Engine API until it is told to stop. Containers run on when it ends, however it ends.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"github.com/berth-engine/berth/lib/atomicfile"
	"github.com/berth-engine/berth/lib/version"
	"github.com/berth-engine/berth/linux/proc"
)

func main() {
	c, err := load(os.Args[1:])
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "berthd: %v\nRun 'berthd --help' for the flags.\n", err)
		os.Exit(1)
	case c.showVersion:
		fmt.Printf("Berth version %s, build %s\n", version.Version, version.Commit)
		return
	case c.validate:
		fmt.Println("configuration OK")
		return
	}
	log := logger(c)
	slog.SetDefault(log)
	// What the libraries below tell by themselves concerns nobody, unless it is an error.
	logrus.SetLevel(logrus.ErrorLevel)
	if err := proc.Spare(-500); err != nil {
		log.Warn("the kernel may kill the daemon when memory runs out", "error", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	if err := run(ctx, c, hangup, log); err != nil {
		log.Error("the daemon ends", "error", err)
		os.Exit(1)
	}
}

// logger writes to standard error, which the service manager keeps.
func logger(c *config) *slog.Logger {
	c.setLevel()
	options := &slog.HandlerOptions{Level: &c.level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}

// claim makes the daemon's folders its own: one daemon per data root, for which the kernel keeps a lock that goes
// with the process.
func claim(c *config) (release func(), err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("berthd needs to be started as root")
	}
	for _, dir := range []string{c.DataRoot, c.ExecRoot, filepath.Dir(c.PidFile), filepath.Join(c.DataRoot, "containers")} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
	}
	lock, err := os.OpenFile(filepath.Join(c.DataRoot, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := take(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another daemon works on %s", c.DataRoot)
	}
	if err := atomicfile.WriteFile(c.PidFile, fmt.Appendf(nil, "%d", os.Getpid()), 0o644, false); err != nil {
		lock.Close()
		return nil, err
	}
	return func() {
		os.Remove(c.PidFile)
		lock.Close()
	}, nil
}

// lastBreath is how long the lock of a daemon that was killed can outlive it: a program that it was just starting has
// copies of its files, sockets included, until its exec.
const lastBreath = time.Second

// take takes the lock, at once or when the copies of a daemon that was killed are gone.
func take(lock *os.File) error {
	fd := int(lock.Fd())
	err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	taken := make(chan error, 1)
	go func() { taken <- syscall.Flock(fd, syscall.LOCK_EX) }() // when it is not taken, the daemon ends
	select {
	case err := <-taken:
		return err
	case <-time.After(lastBreath):
		return err
	}
}
