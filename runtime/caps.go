package runtime

import (
	"slices"

	"github.com/berth-engine/berth/core"
)

// defaultCapabilities are those that Docker gives to every container.
var defaultCapabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// capabilities answers --cap-add, --cap-drop and --privileged. Nothing outside the bounding set of the daemon is in
// the answer: the kernel would refuse it.
func capabilities(add, drop []string, privileged bool, bounding uint64) ([]string, error) {
	added, addAll, err := capabilitySet(add, "Add")
	if err != nil {
		return nil, err
	}
	dropped, dropAll, err := capabilitySet(drop, "Drop")
	if err != nil {
		return nil, err
	}
	var list []string
	for number, name := range core.CapabilityNames {
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
		name, ok := core.CapabilityName(given)
		if !ok {
			return nil, false, core.Invalid("invalid Cap%s: unknown capability: %q", verb, name)
		}
		all = all || name == core.AllCapabilities
		set[name] = true
	}
	return set, all, nil
}
