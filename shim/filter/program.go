//go:build cgo

package filter

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Program is a seccomp program as the kernel takes it, with the flags of seccomp(2).
type Program struct {
	Code  []byte // of struct sock_filter, eight bytes each
	Flags uint32
}

// Program gives the program of a profile. It is the one that libcontainer loads: what libseccomp makes, and before that
// an answer to calls that are newer than the profile: ENOSYS, not the EPERM of forbidden ones, so that libraries try the
// older call (see seccomp_rule_add(3) on unknown calls, and runc's release notes of 1.0.0-rc93).
func (f *Filters) Program(profile *configs.Seccomp, cache string) (*Program, error) {
	file, err := f.Get(profile, cache)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.programs[file]; p != nil {
		return p, nil
	}
	p, err := f.program(profile, file)
	if err != nil {
		return nil, err
	}
	if f.programs == nil {
		f.programs = map[*os.File]*Program{}
	}
	f.programs[file] = p
	return p, nil
}

func (f *Filters) program(profile *configs.Seccomp, file *os.File) (*Program, error) {
	p := new(Program)
	for _, flag := range profile.Flags {
		switch flag {
		case "SECCOMP_FILTER_FLAG_TSYNC": // there is one thread
		case specs.LinuxSeccompFlagLog:
			p.Flags |= unix.SECCOMP_FILTER_FLAG_LOG
		case specs.LinuxSeccompFlagSpecAllow:
			p.Flags |= unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
		default:
			return nil, fmt.Errorf("seccomp flag %s", flag)
		}
	}
	for _, call := range profile.Syscalls {
		if call.Action == configs.Notify {
			return nil, fmt.Errorf("seccomp action %v", call.Action)
		}
	}
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	if _, err := file.ReadAt(data, 0); err != nil {
		return nil, err
	}
	kept, err := decode(data)
	if err != nil {
		return nil, err
	}
	if answersNewCalls(profile) {
		newest, err := newestCalls(profile)
		if err != nil {
			return nil, err
		}
		raw, err := bpf.Assemble(unknownCalls(newest))
		if err != nil {
			return nil, err
		}
		for _, i := range raw {
			p.Code = binary.NativeEndian.AppendUint16(p.Code, i.Op)
			p.Code = append(p.Code, i.Jt, i.Jf)
			p.Code = binary.NativeEndian.AppendUint32(p.Code, i.K)
		}
	}
	p.Code = append(p.Code, kept.program...)
	return p, nil
}

// answersNewCalls: a profile that lets unknown calls pass, or answers with ENOSYS itself, needs no help.
func answersNewCalls(profile *configs.Seccomp) bool {
	switch profile.DefaultAction {
	case configs.Allow, configs.Log, configs.Trace:
		return false
	}
	return profile.DefaultErrnoRet == nil || *profile.DefaultErrnoRet != uint(unix.ENOSYS)
}

// newest is the highest number of a call that a profile knows, for an architecture of audit(7). An x32 call is one of
// x86_64 with a bit set.
type newest struct {
	audit uint32
	x32   bool
	call  uint32
}

const x32Bit = 1 << 30

// unknownCalls is the beginning of a program: calls above the highest number of their architecture are unknown,
// everything else falls through to what follows.
func unknownCalls(list []newest) []bpf.Instruction {
	const nr, arch = 0, 4 // offsets in struct seccomp_data
	var code []bpf.Instruction
	for _, n := range list {
		check := []bpf.Instruction{
			bpf.LoadAbsolute{Off: nr, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: n.call, SkipTrue: 1},
			bpf.RetConstant{Val: uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)},
		}
		if n.audit == unix.AUDIT_ARCH_X86_64 {
			cond := bpf.JumpBitsSet // not ours to answer
			if n.x32 {
				cond = bpf.JumpBitsNotSet
			}
			check = append(check[:1:1], append([]bpf.Instruction{bpf.JumpIf{Cond: cond, Val: x32Bit, SkipTrue: 2}}, check[1:]...)...)
		}
		code = append(code, bpf.LoadAbsolute{Off: arch, Size: 4}, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: n.audit, SkipTrue: uint8(len(check))})
		code = append(code, check...)
	}
	return code
}
