package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// ownDaemon is a berthd of the bench, with socket and data under the bench's directory.
type ownDaemon struct {
	cmd  *exec.Cmd
	done chan error // gets the result of Wait, once
	log  *os.File
	host string
}

// startDaemon starts bin/berthd and waits until it answers.
func startDaemon(ctx context.Context, binary, root string) (*ownDaemon, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(root, "berthd.log"))
	if err != nil {
		return nil, err
	}
	d := &ownDaemon{host: "unix://" + filepath.Join(root, "berth.sock"), log: log, done: make(chan error, 1)}
	d.cmd = exec.Command(binary, "--host", d.host, "--group", "root", "--data-root", filepath.Join(root, "data"), "--exec-root", filepath.Join(root, "exec"),
		"--pidfile", filepath.Join(root, "berthd.pid"), "--config-file", filepath.Join(root, "daemon.json"))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := os.WriteFile(filepath.Join(root, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	if err := d.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() { d.done <- d.cmd.Wait() }()
	api, err := newAPI(d.host)
	if err == nil {
		err = ready(ctx, "berthd", api.ping)
	}
	if err != nil {
		return nil, errors.Join(err, d.stop(), errors.New(d.lastWords()))
	}
	return d, nil
}

// stop ends the daemon by SIGTERM, and by SIGKILL when it takes more than 20 seconds.
func (d *ownDaemon) stop() error {
	defer d.log.Close()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	select {
	case err := <-d.done:
		return err
	case <-late.C:
		return errors.Join(errors.New("berthd did not stop within 20 seconds and was killed"), d.cmd.Process.Kill(), <-d.done)
	}
}

// lastWords are the last lines of the daemon's log.
func (d *ownDaemon) lastWords() string {
	text, err := os.ReadFile(d.log.Name())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("berthd said: %s", lastLines(string(text)))
}
