package core

import (
	"strconv"
	"strings"
)

// Security is what the security options of a container say.
type Security struct {
	NoNewPrivileges bool
	Seccomp         string // "" and "builtin": Docker's profile; "unconfined"; or the text of a profile
	WritableCgroups bool
	SystemPaths     bool     // true: nothing in /proc and /sys is masked or read-only
	AppArmor        string   // "": the default; "unconfined"; or the name of a profile
	Labels          []string // of SELinux: "disable", "type:…", "level:…"
}

// AppArmorProfile is the profile of containers that name none, on hosts with AppArmor.
const AppArmorProfile = "berth-default"

// HasAppArmor is how `info` says that the host has AppArmor.
const HasAppArmor = "name=apparmor"

// HasSELinux is how `info` says that containers have labels of SELinux.
const HasSELinux = "name=selinux"

// Unconfined is the word for none.
const Unconfined = "unconfined"

// Confinement is the AppArmor profile that a container gets: the one that it names, none when it is privileged, else ours
// where the host has AppArmor.
func Confinement(host *HostConfig, enabled bool) (string, error) {
	sec, err := ParseSecurity(host.SecurityOpt)
	switch {
	case err != nil || sec.AppArmor != "" || !enabled:
		return sec.AppArmor, err
	case host.Privileged:
		return Unconfined, nil
	}
	return AppArmorProfile, nil
}

// ParseSecurity reads --security-opt: name=value, or with a colon as in the old days.
func ParseSecurity(options []string) (Security, error) {
	var sec Security
	for _, option := range options {
		switch option {
		case "no-new-privileges":
			sec.NoNewPrivileges = true
			continue
		case "writable-cgroups":
			sec.WritableCgroups = true
			continue
		case "disable":
			sec.Labels = append(sec.Labels, option)
			continue
		}
		name, value, ok := strings.Cut(option, "=")
		if !ok {
			name, value, ok = strings.Cut(option, ":")
		}
		if !ok {
			return sec, Invalid("invalid --security-opt 1: %q", option)
		}
		bad := Invalid("invalid --security-opt 2: %q", option)
		var err error
		switch name {
		case "no-new-privileges":
			sec.NoNewPrivileges, err = strconv.ParseBool(value)
		case "writable-cgroups":
			sec.WritableCgroups, err = strconv.ParseBool(value)
		case "seccomp":
			sec.Seccomp = value
		case "apparmor":
			sec.AppArmor = value
		case "label":
			sec.Labels = append(sec.Labels, value)
		case "systempaths":
			if value != "unconfined" {
				return sec, bad
			}
			sec.SystemPaths = true
		default:
			return sec, bad
		}
		if err != nil {
			return sec, bad
		}
	}
	return sec, nil
}
