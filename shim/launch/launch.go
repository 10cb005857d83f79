//go:build cgo

// Package launch makes a container's first process, or a further one, out of a list of kernel calls.
//
// libcontainer runs a Go program inside the new namespaces, which costs a start of Go's runtime and some five thousand
// system calls. Here everything is worked out beforehand, in the shim: a Plan is a list of steps with all paths,
// options and sets filled in. A forked child walks through it (launch.c) and ends as the command. What a step is, and in
// which order they come, follows runc's init, whose behaviour is what images and users know; a container that needs
// more than the steps can do (Fits) is libcontainer's.
//
// Nothing of the image is trusted: paths in its root are resolved by openat2(2) with RESOLVE_IN_ROOT, mounts are made
// complete before they are attached (fsopen(2), open_tree(2), mount_setattr(2), move_mount(2); Linux 5.12).
package launch

/*
#include "launch.h"
*/
import "C"

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Plan is what the new process does before it is the command, and how it is born.
type Plan struct {
	namespaces uint64
	cgroup     *os.File // where it is born (cgroup v2); nil: in ours
	pids       *os.File // a process whose PID namespace it is born in; nil: ours, or its own
	steps      []C.struct_step
	names      []string // of the steps, for errors and String
	memory     bytes.Buffer
	registers  int32
	command    string
}

// register is a place for a descriptor of the new process.
type register int32

// open is a descriptor that the shim has open, in the place of a register.
func open(f *os.File) register { return ^register(f.Fd()) }

// newPlan begins a plan. The first byte of its memory is taken, since an offset of 0 means that there is no text.
func newPlan() *Plan {
	p := new(Plan)
	p.memory.WriteByte(0)
	return p
}

// text puts a string into the plan's memory.
func (p *Plan) text(s string) C.uint64_t {
	at := p.memory.Len()
	p.memory.WriteString(s)
	p.memory.WriteByte(0)
	return C.uint64_t(at)
}

// raw puts what a call takes as an array there, aligned.
func (p *Plan) raw(data any) C.uint64_t {
	for p.memory.Len()%8 != 0 {
		p.memory.WriteByte(0)
	}
	at := p.memory.Len()
	// A buffer takes everything, and the types are of fixed size.
	_ = binary.Write(&p.memory, binary.NativeEndian, data)
	return C.uint64_t(at)
}

// words puts strings there, one after the other.
func (p *Plan) words(list []string) C.uint64_t {
	at := p.memory.Len()
	for _, s := range list {
		p.memory.WriteString(s)
		p.memory.WriteByte(0)
	}
	return C.uint64_t(at)
}

func (p *Plan) register() register {
	p.registers++
	return register(p.registers - 1)
}

func (p *Plan) add(s C.struct_step, name string, args ...any) {
	p.steps = append(p.steps, s)
	p.names = append(p.names, fmt.Sprintf(name, args...))
}

// String is the plan as text, a step a line.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "born in namespaces %#x\n", p.namespaces)
	for _, name := range p.names {
		b.WriteString(name + "\n")
	}
	return b.String()
}

// registerRoom is how many registers the child has.
const registerRoom = 512

// Run makes the process and returns when it is the command, or with the error of the step that failed; then nothing
// is left of it. It is a child of the caller, which must wait for it.
func (p *Plan) Run() (pid int, err error) {
	if p.registers > registerRoom {
		return 0, fmt.Errorf("launch: %d mounts are too many", p.registers)
	}
	birth := C.struct_birth{namespaces: C.uint64_t(p.namespaces), cgroup: -1, pids: -1, own_pids: -1}
	if p.cgroup != nil {
		birth.cgroup = C.int(p.cgroup.Fd())
	}
	if p.pids != nil {
		own, err := os.Open("/proc/self/ns/pid")
		if err != nil {
			return 0, err
		}
		defer own.Close()
		birth.pids, birth.own_pids = C.int(p.pids.Fd()), C.int(own.Fd())
	}
	var outcome C.struct_outcome
	memory := p.memory.Bytes()
	C.berth_launch(&birth, (*C.char)(unsafe.Pointer(unsafe.SliceData(memory))), unsafe.SliceData(p.steps), C.int(len(p.steps)), &outcome)
	if outcome.step == -1 {
		return int(outcome.pid), nil
	}
	errno := unix.Errno(outcome.error)
	if outcome.step < 0 || int(outcome.step) >= len(p.names) {
		return 0, fmt.Errorf("launch: make a process: %w", errno)
	}
	if int(outcome.step) == len(p.steps)-1 {
		return 0, p.commandError(errno, outcome.detail)
	}
	return 0, &StepError{p.names[outcome.step], errno}
}

// StepError is a kernel call that failed.
type StepError struct {
	Step  string
	Errno unix.Errno
}

func (e *StepError) Error() string { return e.Step + ": " + e.Errno.Error() }
func (e *StepError) Unwrap() error { return e.Errno }

// CommandError is a command that can't be run, in the words that runc has from os/exec.
type CommandError struct {
	text  string
	Errno unix.Errno
}

func (e *CommandError) Error() string { return e.text }
func (e *CommandError) Unwrap() error { return e.Errno }

func (p *Plan) commandError(errno unix.Errno, detail C.int32_t) error {
	var text string
	switch {
	case detail == C.DETAIL_SEARCH && errno == unix.ENOENT:
		text = fmt.Sprintf("exec: %q: executable file not found in $PATH", p.command)
	case detail == C.DETAIL_STAT:
		text = fmt.Sprintf("exec: %q: stat %s: %v", p.command, p.command, errno)
	case detail == C.DETAIL_NONE:
		text = fmt.Sprintf("exec %s: %v", p.command, errno)
	default:
		text = fmt.Sprintf("exec: %q: %v", p.command, errno)
	}
	return &CommandError{text, errno}
}
