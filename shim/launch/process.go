//go:build cgo

package launch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/runc/libcontainer/configs"

	"github.com/berth-engine/berth/core"
)

// Process is what the first process and further ones have in common.
type Process struct {
	Args, Env       []string
	Home            string // of the user, for HOME where Env has none
	Cwd             string
	UID, GID        int
	Groups          []int
	Capabilities    *configs.Capabilities
	Rlimits         []configs.Rlimit
	NoNewPrivileges bool
	AppArmor        string
	SELinux         string // label
	// Filter is a seccomp program, FilterFlags those of seccomp(2); nil: none.
	Filter      []byte
	FilterFlags uint32
	// Stdin, Stdout and Stderr; or Console, the socket that gets the master of a new terminal.
	Stdin, Stdout, Stderr *os.File
	Console               *os.File
	Rows, Columns         uint16
}

// check says why the steps can't do what a process is to have; nil: they can.
func (pr Process) check() error {
	c := pr.Capabilities
	switch {
	case len(pr.Args) == 0 || pr.Args[0] == "":
		return errors.New("no command")
	case c == nil || !slices.Equal(c.Effective, c.Permitted):
		return errors.New("capabilities")
	case pr.Cwd == "" || pr.Cwd[0] != '/':
		return errors.New("working directory")
	}
	for _, s := range slices.Concat(pr.Args, pr.Env) {
		if strings.IndexByte(s, 0) >= 0 {
			return errors.New("a zero byte in the command or its environment")
		}
	}
	return nil
}

// begin is what every process does first, in the cgroup (of version 1) that procs are the files of. What confines it is
// said here, where /proc is the host's.
func (p *Plan) begin(pr Process, procs []*os.File, oomScoreAdj *int) {
	for _, f := range procs {
		p.write(f, "0")
	}
	if oomScoreAdj != nil {
		p.file("/proc/self/oom_score_adj", strconv.Itoa(*oomScoreAdj))
	}
	if pr.AppArmor != "" {
		p.file(appArmorFile(), "exec "+pr.AppArmor)
	}
	if pr.SELinux != "" {
		p.file("/proc/self/attr/exec", pr.SELinux)
		p.file("/proc/self/attr/keycreate", pr.SELinux)
	}
	if pr.Console == nil {
		p.stdio(pr.Stdin, pr.Stdout, pr.Stderr)
	}
}

// appArmorFile is where a process says which profile its command shall have; kernels before 5.8 have one file for all
// security modules.
var appArmorFile = sync.OnceValue(func() string {
	const own = "/proc/self/attr/apparmor/exec"
	if _, err := os.Stat(own); err == nil {
		return own
	}
	return "/proc/self/attr/exec"
})

// become gives the process up to the user, in runc's order, and runs the command.
func (p *Plan) become(pr Process, umask *uint32) error {
	env, err := environment(pr.Env, pr.Home)
	if err != nil {
		return err
	}
	for _, l := range pr.Rlimits {
		p.rlimit(l.Type, l.Soft, l.Hard)
	}
	mask := uint32(0o022)
	if umask != nil {
		mask = *umask
	}
	p.umask(mask)
	if pr.NoNewPrivileges {
		p.noNewPrivileges()
	}
	// Without no_new_privs a filter takes a capability that is about to go; with it the later the better.
	if pr.Filter != nil && !pr.NoNewPrivileges {
		p.seccomp(pr.Filter, pr.FilterFlags)
	}
	known := lastCapability() + 1
	p.chdir(pr.Cwd, false)
	p.bound(capabilityMask(pr.Capabilities.Bounding), known)
	p.own(pr.UID)
	p.user(pr.UID, pr.GID, pr.Groups)
	p.chdir(pr.Cwd, true)
	p.inside()
	p.capabilities(capabilityMask(pr.Capabilities.Permitted), capabilityMask(pr.Capabilities.Inheritable))
	p.ambient(capabilityMask(pr.Capabilities.Ambient), known)
	if pr.Filter != nil && pr.NoNewPrivileges {
		p.seccomp(pr.Filter, pr.FilterFlags)
	}
	p.exec(pr.Args, env)
	return nil
}

// environment takes of variables that are there twice the last, and adds HOME.
func environment(env []string, home string) ([]string, error) {
	var list []string
	seen := map[string]bool{}
	for _, variable := range slices.Backward(env) {
		name, value, ok := strings.Cut(variable, "=")
		switch {
		case !ok:
			return nil, errors.New("invalid environment variable: missing '='")
		case name == "":
			return nil, errors.New("invalid environment variable: name cannot be empty")
		case seen[name]:
			continue
		}
		if name == "HOME" && value == "" {
			continue
		}
		seen[name] = true
		list = append(list, variable)
	}
	slices.Reverse(list)
	if !seen["HOME"] {
		list = append(list, "HOME="+home)
	}
	return list, nil
}

// lastCapability is the highest number of a capability that the kernel knows.
var lastCapability = sync.OnceValue(func() int {
	data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return len(core.CapabilityNames) - 1
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return len(core.CapabilityNames) - 1
	}
	return last
})

// capabilityMask is a set as bits. What the kernel does not know is left out, as runc does.
func capabilityMask(names []string) (mask uint64) {
	for number, name := range core.CapabilityNames {
		if number <= lastCapability() && slices.Contains(names, name) {
			mask |= 1 << number
		}
	}
	return mask
}

// unsupported is why a container is libcontainer's.
func unsupported(format string, args ...any) error { return fmt.Errorf("launch: "+format, args...) }
