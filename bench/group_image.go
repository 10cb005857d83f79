package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/payload"
	"github.com/berth-engine/berth/bench/peer"
)

// imageGroup moves a large image of several layers: from a file, to a file, to a registry and back.
func imageGroup() group {
	return group{
		name:   "image",
		rounds: few,
		rows: []row{
			{name: "load", title: "load of the large image", unit: "s"},
			{name: "save", title: "save", unit: "s"},
			{name: "push", title: "push to a registry on this machine", unit: "s"},
			{name: "pull", title: "pull from there", unit: "s"},
		},
		before: func(s *suite, round int) error {
			return payload.Image(s.path("big.tar"), "localhost/"+s.tag+"/big:latest", s.imageMB, uint64(time.Now().UnixNano())+uint64(round))
		},
		once: imageOnce,
		teardown: func(ctx context.Context, s *suite, e *peer.Engine) error {
			return e.RemoveImages(ctx, "/big")
		},
	}
}

func imageOnce(ctx context.Context, s *suite, e *peer.Engine, keep record) (err error) {
	long := 15 * time.Minute
	image := e.Image("big")
	measure.SyncDisk()
	loaded, err := e.Do(ctx, peer.Call{Args: []string{"load", "-i", s.path("big.tar")}, Limit: long})
	if err != nil {
		return err
	}
	keep("load", loaded.Elapsed.Seconds())
	measure.SyncDisk()
	target := s.path("saved-" + e.Name + ".tar")
	saved, err := e.Do(ctx, peer.Call{Args: []string{"save", "-o", target, image}, Limit: long})
	if err != nil {
		return errors.Join(err, os.RemoveAll(target))
	}
	info, err := os.Stat(target)
	if err := errors.Join(err, os.RemoveAll(target)); err != nil {
		return err
	}
	if size := info.Size(); size < int64(s.imageMB)*400_000 { // an engine may save compressed layers: half of the image is text
		return fmt.Errorf("%s: save wrote %d bytes of an image of %d MB", e.Name, size, s.imageMB)
	}
	keep("save", saved.Elapsed.Seconds())
	registry, err := startRegistry(ctx, s.registry, s.path("registry"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.stop()) }()
	remote := registry.address + "/" + s.tag + "/big:latest"
	if _, err := e.Run(ctx, "tag", image, remote); err != nil {
		return err
	}
	measure.SyncDisk()
	pushed, err := e.Do(ctx, peer.Call{Args: e.RegistryCall("push", remote), Limit: long})
	if err != nil {
		return err
	}
	keep("push", pushed.Elapsed.Seconds())
	if err := e.RemoveImages(ctx, "/big"); err != nil {
		return err
	}
	measure.SyncDisk()
	before, err := measure.Written(registry.cmd.Process.Pid)
	if err != nil {
		return err
	}
	pulled, err := e.Do(ctx, peer.Call{Args: e.RegistryCall("pull", remote), Limit: long})
	if err != nil {
		return err
	}
	after, err := measure.Written(registry.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if moved := after - before; moved < int64(s.imageMB)*400_000 {
		return fmt.Errorf("%s: the registry sent only %d MB, so the engine had kept what it was to pull", e.Name, moved/1_000_000)
	}
	keep("pull", pulled.Elapsed.Seconds())
	return e.RemoveImages(ctx, "/big")
}

// registry is a docker-registry of the bench on a port of the loopback address.
type registry struct {
	cmd     *exec.Cmd
	address string
	dir     string
}

// startRegistry starts an empty one.
func startRegistry(ctx context.Context, command, dir string) (*registry, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed, so push and pull can't be measured (Debian: apt-get install docker-registry)", command)
	}
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	r := &registry{dir: dir, address: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %q, secret: bench}\n", dir, r.address)
	if err := os.WriteFile(dir+"/config.yml", []byte(config), 0o600); err != nil {
		return nil, err
	}
	r.cmd = exec.Command(path, "serve", dir+"/config.yml")
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaint strings.Builder
	r.cmd.Stderr = &complaint
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	err = measure.Ready(ctx, "the registry", func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return nil, errors.Join(err, r.stop(), errors.New(peer.LastLines(complaint.String())))
	}
	return r, nil
}

// stop ends the registry and removes what it holds. A registry has no clean end: it dies of the signal.
func (r *registry) stop() error {
	err := r.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	var exit *exec.ExitError
	if ended := r.cmd.Wait(); ended != nil && !errors.As(ended, &exit) {
		err = errors.Join(err, ended)
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}
