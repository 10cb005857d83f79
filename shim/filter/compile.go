//go:build cgo && seccomp

package filter

/*
#cgo LDFLAGS: -Wl,--wrap=seccomp_init -Wl,--wrap=seccomp_arch_add -Wl,--wrap=seccomp_attr_set
#cgo LDFLAGS: -Wl,--wrap=seccomp_rule_add_array -Wl,--wrap=seccomp_rule_add_exact_array -Wl,--wrap=seccomp_export_bpf
#cgo pkg-config: libseccomp
#include "memo.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/seccomp"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// builtWith names what makes programs, so that a kept one of another libseccomp is not used.
func builtWith() string {
	major, minor, micro := seccomp.Version()
	return fmt.Sprintf("libseccomp %d.%d.%d", major, minor, micro)
}

// newestCalls are those of the profile's architectures, the machine's own always among them, in the order of the profile.
func newestCalls(profile *configs.Seccomp) (list []newest, err error) {
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		return nil, err
	}
	seen := map[libseccomp.ScmpArch]bool{}
	for _, name := range append(slices.Clone(profile.Architectures), native.String()) {
		arch, err := libseccomp.GetArchFromString(name)
		if err != nil {
			return nil, err
		}
		if seen[arch] {
			continue
		}
		seen[arch] = true
		n := newest{audit: auditOf[arch], x32: arch == libseccomp.ArchX32}
		if n.audit == 0 {
			return nil, fmt.Errorf("seccomp architecture %s", name)
		}
		known := false
		for _, rule := range profile.Syscalls {
			// A name that this architecture does not have is no rule for it.
			if call, err := libseccomp.GetSyscallFromNameByArch(rule.Name, arch); err == nil && call > 0 {
				known, n.call = true, max(n.call, uint32(call))
			}
		}
		if known {
			list = append(list, n)
		}
	}
	return list, nil
}

// auditOf are the architectures that the launch is used on, with those that run beside them.
var auditOf = map[libseccomp.ScmpArch]uint32{
	libseccomp.ArchX86: unix.AUDIT_ARCH_I386, libseccomp.ArchAMD64: unix.AUDIT_ARCH_X86_64, libseccomp.ArchX32: unix.AUDIT_ARCH_X86_64,
	libseccomp.ArchARM: unix.AUDIT_ARCH_ARM, libseccomp.ArchARM64: unix.AUDIT_ARCH_AARCH64,
}

// compile lets libcontainer describe the profile to libseccomp and keeps the program instead of loading it.
// The caller holds the lock of Filters.
func compile(profile *configs.Seccomp) (compiled, error) {
	C.berth_filter_mode(C.BERTH_FILTER_CAPTURE)
	defer C.berth_filter_mode(C.BERTH_FILTER_PLAIN)
	_, err := seccomp.InitSeccomp(profile)
	var length C.size_t
	program := C.berth_filter_program(&length)
	if program == nil || length == 0 {
		if err == nil {
			err = errors.New("libseccomp gave no program")
		}
		return compiled{}, fmt.Errorf("compile seccomp profile: %w", err)
	}
	var a, b C.uint64_t
	C.berth_filter_sums(&a, &b)
	return compiled{sums: [2]uint64{uint64(a), uint64(b)}, program: C.GoBytes(program, C.int(length))}, nil
}

// replay makes the next filter of this process come out of the program, if it is described in the same way.
func replay(c compiled) {
	C.berth_filter_load(unsafe.Pointer(&c.program[0]), C.size_t(len(c.program)), C.uint64_t(c.sums[0]), C.uint64_t(c.sums[1]))
}
