package runtime

import (
	"slices"
	"strings"

	"github.com/berth-engine/berth/core"
)

// capabilityNames in the order of their numbers (capabilities(7)).
var capabilityNames = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
	"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
	"CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ",
	"CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// defaultCapabilities are those that Docker gives to every container.
var defaultCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// capabilities answers --cap-add, --cap-drop and --privileged. Nothing outside the bounding set of the daemon is in
// the answer: the kernel would refuse it.
func capabilities(add, drop []string, privileged bool, bounding uint64) ([]string, error) {
	added, addAll, err := capabilitySet(add, "add")
	if err != nil {
		return nil, err
	}
	dropped, dropAll, err := capabilitySet(drop, "drop")
	if err != nil {
		return nil, err
	}
	var list []string
	for number, name := range capabilityNames {
		want := privileged
		if !privileged {
			want = slices.Contains(defaultCapabilities, name)
			switch {
			case addAll:
				want = !dropped[name]
			case dropAll:
				want = added[name]
			case dropped[name] && !added[name]:
				want = false
			case added[name]:
				want = true
			}
		}
		if want && bounding&(1<<number) != 0 {
			list = append(list, name)
		}
	}
	return list, nil
}

// capabilitySet reads names with or without CAP_, in any case; ALL stands for every one.
func capabilitySet(names []string, verb string) (set map[string]bool, all bool, err error) {
	set = map[string]bool{}
	for _, given := range names {
		name := strings.ToUpper(given)
		if name == "ALL" || name == "CAP_ALL" {
			all = true
			continue
		}
		if !strings.HasPrefix(name, "CAP_") {
			name = "CAP_" + name
		}
		if !slices.Contains(capabilityNames, name) {
			return nil, false, core.Invalid("invalid capability to %s: unknown capability: %q", verb, name)
		}
		set[name] = true
	}
	return set, all, nil
}
