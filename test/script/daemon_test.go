package script

import (
	"archive/tar"
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// programs gives the folder of our binaries: BERTH_BIN where it is set, else one into which they are built now.
func programs(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("BERTH_BIN"); bin != "" {
		return bin
	}
	bin := t.TempDir()
	build := exec.Command("make", "-C", "../..", "build", "BIN="+bin)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	return bin
}

// busyboxImage makes the tar of a root file system out of the machine's static busybox.
func busyboxImage(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("the package busybox-static is not installed")
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := elf.NewFile(bytes.NewReader(program)); err != nil {
		t.Fatal(err)
	} else if libraries, err := parsed.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Skip("busybox is not static here: the package busybox-static is needed")
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	add := func(header tar.Header, data []byte) {
		header.Size = int64(len(data))
		if err := archive.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"bin/", "etc/", "root/", "home/", "var/", "usr/"} {
		add(tar.Header{Name: folder, Mode: 0o755, Typeflag: tar.TypeDir}, nil)
	}
	add(tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir}, nil)
	add(tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\nsailor:x:1000:1000::/home:/bin/sh\n"))
	add(tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nsailor:x:1000:\n"))
	add(tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			add(tar.Header{Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777, Typeflag: tar.TypeSymlink}, nil)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "busybox.tar")
	if err := os.WriteFile(path, content.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// daemon is the berthd of one transcript.
type daemon struct {
	t       *testing.T
	bin     string
	root    string
	socket  string
	number  int
	process *exec.Cmd     // nil: it does not run
	drained chan struct{} // closed when all of its log was read
	log     strings.Builder
	bridge  string
}

func newDaemon(t *testing.T, bin string, number int) (*daemon, error) {
	root, err := os.MkdirTemp("", "berth-script-")
	if err != nil {
		return nil, err
	}
	d := &daemon{t: t, bin: bin, root: root, socket: filepath.Join(root, "s"), number: number}
	return d, os.WriteFile(filepath.Join(root, "daemon.json"), []byte("{}\n"), 0o600)
}

// start starts the daemon and returns once it says that it listens.
func (d *daemon) start() error {
	if d.process != nil {
		return errors.New("the daemon runs already")
	}
	d.process = exec.Command(filepath.Join(d.bin, "berthd"),
		"--config-file", filepath.Join(d.root, "daemon.json"), "--host", "unix://"+d.socket,
		"--data-root", filepath.Join(d.root, "data"), "--exec-root", filepath.Join(d.root, "exec"),
		"--pidfile", filepath.Join(d.root, "pid"), "--bip", fmt.Sprintf("10.198.%d.1/24", d.number),
		"--default-address-pool", fmt.Sprintf("base=10.199.%d.0/24,size=28", d.number))
	output, err := d.process.StderrPipe()
	if err != nil {
		return err
	}
	if err := d.process.Start(); err != nil {
		d.process = nil
		return err
	}
	listening := make(chan struct{})
	d.drained = make(chan struct{})
	go func() {
		defer close(d.drained)
		said := false
		for lines := bufio.NewScanner(output); lines.Scan(); {
			d.log.WriteString(lines.Text() + "\n")
			if !said && strings.Contains(lines.Text(), "the API listens") {
				said = true
				close(listening)
			}
		}
	}()
	select {
	case <-listening:
	case <-d.drained:
		return fmt.Errorf("the daemon ended: %w\n%s", d.wait(), d.log.String())
	}
	if d.bridge == "" {
		d.bridge, err = d.output("network", "inspect", "-f", `{{index .Options "com.docker.network.bridge.name"}}`, "bridge")
	}
	return err
}

// wait gives how the daemon ended.
func (d *daemon) wait() error {
	<-d.drained
	err := d.process.Wait()
	d.process = nil
	return err
}

// end sends a signal and waits for the end.
func (d *daemon) end(signal os.Signal) error {
	if d.process == nil {
		return errors.New("the daemon does not run")
	}
	if err := d.process.Process.Signal(signal); err != nil {
		return err
	}
	err := d.wait()
	var exit *exec.ExitError
	if signal == os.Kill && errors.As(err, &exit) {
		return nil
	}
	return err
}

// output runs the client.
func (d *daemon) output(args ...string) (string, error) {
	command := exec.Command(filepath.Join(d.bin, "berth"), args...)
	command.Env = append(os.Environ(), "BERTH_HOST=unix://"+d.socket)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("berth %s: %w: %s", strings.Join(args, " "), err, output)
	}
	return strings.TrimSpace(string(output)), nil
}

// finish removes the containers, ends the daemon and looks for what is left.
func (d *daemon) finish() {
	if err := d.clean(); err != nil {
		d.t.Errorf("clean up: %v", err)
	}
	containers := d.seen()
	for _, left := range d.leftovers(containers) {
		d.t.Errorf("left behind: %s", left)
	}
	if d.t.Failed() {
		d.t.Logf("log of a daemon (%s):\n%s", d.root, d.log.String())
	}
	if err := os.RemoveAll(d.root); err != nil {
		d.t.Errorf("clean up: %v", err)
	}
}

func (d *daemon) clean() error {
	if d.process == nil {
		if err := d.start(); err != nil {
			return err
		}
	}
	ids, err := d.output("ps", "-aq", "--no-trunc")
	for _, id := range strings.Fields(ids) {
		_, removeErr := d.output("rm", "-f", "-v", id)
		err = errors.Join(err, removeErr)
	}
	networks, listErr := d.output("network", "ls", "-q", "--filter", "type=custom")
	err = errors.Join(err, listErr)
	for _, id := range strings.Fields(networks) {
		_, removeErr := d.output("network", "rm", id)
		err = errors.Join(err, removeErr)
	}
	return errors.Join(err, d.end(os.Interrupt))
}

// seen lists the containers that ever were, from the daemon's journal of events.
func (d *daemon) seen() map[string]bool {
	ids := map[string]bool{}
	journal, err := os.ReadFile(filepath.Join(d.root, "data", "events.jsonl"))
	if err != nil {
		d.t.Errorf("the journal of events: %v", err)
	}
	for line := range bytes.Lines(journal) {
		var event struct{ Type, ID string }
		if json.Unmarshal(line, &event) == nil && event.Type == "container" {
			ids[event.ID] = true
		}
	}
	return ids
}

// leftovers looks for processes, mounts, links, tables and control groups of the daemon.
func (d *daemon) leftovers(containers map[string]bool) (left []string) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, d.root) {
			left = append(left, "mount "+line)
		}
	}
	if _, err := net.InterfaceByName(d.bridge); err == nil {
		left = append(left, "link "+d.bridge)
	}
	if tables, err := exec.Command("nft", "list", "tables").Output(); err == nil && strings.Contains(string(tables), strings.ReplaceAll(d.bridge, "-", "_")) {
		left = append(left, "firewall table "+strings.ReplaceAll(d.bridge, "-", "_"))
	}
	left = append(left, d.processes()...)
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && containers[entry.Name()] {
			left = append(left, "control group "+path)
		}
		return nil // groups of others come and go meanwhile
	})
	if err != nil {
		left = append(left, err.Error())
	}
	return left
}

// processes are those that were started with a path below the daemon's root, and do not end by themselves soon: a
// shim that has nothing more to do ends when its daemon has.
func (d *daemon) processes() (left []string) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return []string{err.Error()}
	}
	for _, folder := range folders {
		line, err := os.ReadFile(filepath.Join(folder, "cmdline"))
		if err != nil || !bytes.Contains(line, []byte(d.root)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil || pid == os.Getpid() || ends(pid) {
			continue
		}
		left = append(left, fmt.Sprintf("process %d %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	}
	return left
}

// ends waits some seconds for the end of a process.
func ends(pid int) bool {
	handle, err := pidfd(pid)
	if err != nil {
		return true // gone already
	}
	defer handle.Close()
	return handle.wait(5 * time.Second)
}
