package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/berth-engine/berth/bench/measure"
)

// Daemon is a berthd of the bench, with socket and data under the bench's directory.
type Daemon struct {
	cmd  *exec.Cmd
	done chan error // gets the result of Wait, once
	log  *os.File
	Host string
}

// StartDaemon starts bin/berthd and waits until it answers.
func StartDaemon(ctx context.Context, binary, root string) (*Daemon, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(root, "berthd.log"))
	if err != nil {
		return nil, err
	}
	d := &Daemon{Host: "unix://" + filepath.Join(root, "berth.sock"), log: log, done: make(chan error, 1)}
	d.cmd = exec.Command(binary, "--host", d.Host, "--group", "root", "--data-root", filepath.Join(root, "data"), "--exec-root", filepath.Join(root, "exec"),
		"--pidfile", filepath.Join(root, "berthd.pid"), "--config-file", filepath.Join(root, "daemon.json"), "--bip", freeBridge())
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := os.WriteFile(filepath.Join(root, "daemon.json"), []byte("{}\n"), 0o600); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	if err := d.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	waiting, dead := context.WithCancel(ctx) // there is nothing to wait for once it has ended
	defer dead()
	go func() { d.done <- d.cmd.Wait(); dead() }()
	api, err := NewAPI(d.Host)
	if err == nil {
		err = measure.Ready(waiting, "berthd", api.Ping)
	}
	if err != nil {
		return nil, errors.Join(err, d.Stop(), errors.New(d.lastWords()))
	}
	return d, nil
}

// freeBridge is an address of a private range that no device of the machine has, so that berthd and its peers can run
// side by side whatever range each of them would take.
func freeBridge() string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		addresses = nil // the daemon will complain if the range is taken
	}
	for second := 31; second > 16; second-- {
		gateway := netip.AddrFrom4([4]byte{172, byte(second), 0, 1})
		taken := slices.ContainsFunc(addresses, func(a net.Addr) bool {
			prefix, err := netip.ParsePrefix(a.String())
			return err == nil && prefix.Overlaps(netip.PrefixFrom(gateway, 16))
		})
		if !taken {
			return gateway.String() + "/16"
		}
	}
	return "10.222.0.1/16"
}

// PID is the daemon's process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Stop ends the daemon by SIGTERM, and by SIGKILL when it takes more than 20 seconds.
func (d *Daemon) Stop() error {
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
func (d *Daemon) lastWords() string {
	text, err := os.ReadFile(d.log.Name())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("berthd said: %s", LastLines(string(text)))
}
