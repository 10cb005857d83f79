package daemon

import (
	"bytes"
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
	"time"
)

// Leftovers lists what is still there of a daemon that has ended after all of its containers and networks were removed.
func (d *Daemon) Leftovers() (left []string) {
	containers, networks, err := d.journal()
	if err != nil {
		left = append(left, err.Error())
	}
	left = append(left, d.mounts()...)
	left = append(left, d.network(networks)...)
	for _, pid := range d.Processes() {
		if !Ends(pid, 10*time.Second) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may end just now
			left = append(left, fmt.Sprintf("process %d %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && containers[entry.Name()] {
			left = append(left, "control group "+path)
		}
		return nil // groups of others come and go meanwhile
	})
	if err != nil {
		left = append(left, err.Error())
	}
	for _, folder := range []string{"data/containers", "data/layers", "data/volumes", "exec/records", "exec/shim"} {
		entries, err := os.ReadDir(filepath.Join(d.Root, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			left = append(left, err.Error())
		}
		for _, entry := range entries {
			path := filepath.Join(folder, entry.Name())
			if entry.Name() != ".trash" { // always there; what a daemon had no time to delete in it, the next one does
				left = append(left, path)
			}
		}
	}
	return left
}

// journal lists the containers and networks that ever were.
func (d *Daemon) journal() (containers, networks map[string]bool, err error) {
	containers, networks = map[string]bool{}, map[string]bool{}
	journal, err := os.ReadFile(filepath.Join(d.Root, "data", "events.jsonl"))
	if err != nil {
		return nil, nil, err
	}
	for line := range bytes.Lines(journal) {
		var event struct{ Type, ID string }
		if json.Unmarshal(line, &event) != nil {
			continue // the last line of a daemon that was killed
		}
		switch event.Type {
		case "container":
			containers[event.ID] = true
		case "network":
			networks[event.ID] = true
		}
	}
	return containers, networks, nil
}

// mounts lists those below the root that the host sees.
func (d *Daemon) mounts() (left []string) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, d.Root+"/") {
			left = append(left, "mount "+line)
		}
	}
	return left
}

// network lists links and firewall tables. Links that were once in a bridge of ours are ours, wherever they are now.
func (d *Daemon) network(networks map[string]bool) (left []string) {
	names := d.bridges(networks)
	for name := range d.links {
		names = append(names, name)
	}
	for _, name := range names {
		if _, err := net.InterfaceByName(name); err == nil {
			left = append(left, "link "+name)
		}
	}
	if d.bridge == "" {
		return left
	}
	table := strings.ReplaceAll(d.bridge, "-", "_")
	tables, err := exec.Command("nft", "list", "tables").Output()
	if err != nil {
		return append(left, "nft list tables: "+err.Error())
	}
	if strings.Contains(string(tables), table) {
		left = append(left, "firewall table "+table)
	}
	return left
}

// Forget takes away what the kernel forgets when a machine is switched off: the daemon's links, firewall tables and
// empty control groups. Its processes must be gone.
func (d *Daemon) Forget() error {
	containers, networks, err := d.journal()
	for _, bridge := range d.bridges(networks) {
		if _, lookup := net.InterfaceByName(bridge); lookup == nil {
			err = errors.Join(err, exec.Command("ip", "link", "delete", bridge).Run())
		}
	}
	for _, family := range []string{"ip", "ip6"} {
		// "destroy" would not mind a table that is not there, but the nft of Debian 12 does not know it in a kernel
		// before 6.3; adding it first does the same.
		table := family + " " + strings.ReplaceAll(d.bridge, "-", "_")
		err = errors.Join(err, exec.Command("nft", "add table "+table+"; delete table "+table).Run())
	}
	return errors.Join(err, filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && containers[entry.Name()] {
			if err := os.Remove(path); err != nil {
				return err
			}
			return fs.SkipDir
		}
		return nil // groups of others come and go meanwhile
	}))
}

// bridges lists the names of the default network's and of those of the networks.
func (d *Daemon) bridges(networks map[string]bool) []string {
	names := []string{d.bridge}
	for id := range networks {
		if len(id) > 12 {
			names = append(names, "br-"+id[:12])
		}
	}
	return names
}

// noteLinks remembers the links that are in bridges of ours now.
func (d *Daemon) noteLinks() {
	_, networks, err := d.journal()
	if err != nil {
		return // nothing ever happened
	}
	for _, bridge := range d.bridges(networks) {
		entries, err := os.ReadDir(filepath.Join("/sys/class/net", bridge, "brif"))
		if err != nil {
			continue // it is gone
		}
		for _, entry := range entries {
			d.links[entry.Name()] = true
		}
	}
}

// Processes lists the daemon's: those that have its root in their arguments, in their environment (shims have it in
// the PATH) or in their mounts (containers live on a layer below it). The mounts of a shim say nothing: another daemon's has
// all that the host had mounted when it was started.
func (d *Daemon) Processes() (pids []int) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	mark := []byte(d.Root)
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil || pid == os.Getpid() {
			continue
		}
		signs := []string{"cmdline", "environ", "mountinfo"}
		if comm, err := os.ReadFile(filepath.Join(folder, "comm")); err == nil && string(comm) == "berth-shim\n" {
			signs = signs[:2]
		}
		for _, name := range signs {
			content, err := os.ReadFile(filepath.Join(folder, name))
			if err == nil && bytes.Contains(content, mark) && (name != "mountinfo" || !d.onHost(folder)) {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// onHost reports whether a process has our own mounts: then those say nothing of it.
func (d *Daemon) onHost(folder string) bool {
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return false
	}
	theirs, err := os.Readlink(filepath.Join(folder, "ns/mnt"))
	return err != nil || ours == theirs
}
