package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// PathsOf gives the cgroups that a process is in, by controller; on v2 the only key is "".
func PathsOf(pid int) (map[string]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path: cgroups(7)
		if len(fields) != 3 {
			continue
		}
		if Unified() {
			if fields[1] == "" {
				paths[""] = filepath.Join(Mountpoint, fields[2])
			}
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			folder := strings.TrimPrefix(controller, "name=")
			path := filepath.Join(Mountpoint, folder, fields[2])
			if _, err := os.Stat(path); controller != "" && fields[2] != "/" && err == nil {
				paths[controller] = path
			}
		}
	}
	return paths, nil
}
