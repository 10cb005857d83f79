package runtime

import (
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-engine/berth/core"
)

// seccompOf gives the profile, resolved for the spec's capabilities: Docker's own, the user's, or none. The shim
// compiles it, once per profile.
func seccompOf(s *specs.Spec, sec core.Security, privileged bool) (*specs.LinuxSeccomp, error) {
	switch {
	case sec.Seccomp == "unconfined", sec.Seccomp == "" && privileged:
		return nil, nil
	case sec.Seccomp == "", sec.Seccomp == "builtin":
		profile, err := seccomp.GetDefaultProfile(s)
		if err != nil {
			return nil, core.Internal("default seccomp profile: %w", err)
		}
		return profile, nil
	}
	profile, err := seccomp.LoadProfile(sec.Seccomp, s)
	if err != nil {
		return nil, core.Invalid("%w", err)
	}
	return profile, nil
}

// likelySeccomp is the profile of a container that asks for nothing special: what warm shims prepare.
func likelySeccomp(bounding uint64) (*specs.LinuxSeccomp, error) {
	caps, err := capabilities(nil, nil, false, bounding)
	if err != nil {
		return nil, err
	}
	return seccomp.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: capabilitySets(caps)},
		Linux:   &specs.Linux{},
	})
}
