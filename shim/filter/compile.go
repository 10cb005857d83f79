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
	"unsafe"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/seccomp"
)

// builtWith names what makes programs, so that a kept one of another libseccomp is not used.
func builtWith() string {
	major, minor, micro := seccomp.Version()
	return fmt.Sprintf("libseccomp %d.%d.%d", major, minor, micro)
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
