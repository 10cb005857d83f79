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
#include <stdlib.h>
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
	opened     []*os.File
	list       *list
	tree       // the steps that are about files and mounts
	self       // the steps that are about the process
}

// list is the steps with the memory that they need.
type list struct {
	steps     []C.struct_step
	names     []string // of the steps, for errors and String
	memory    bytes.Buffer
	registers int32
	command   string
}

type (
	tree struct{ *list }
	self struct{ *list }
)

// register is a place for a descriptor of the new process.
type register int32

// open is a descriptor that the shim has open, in the place of a register.
func open(f *os.File) register { return ^register(f.Fd()) }

// newPlan begins a plan. The first byte of its memory is taken, since an offset of 0 means that there is no text.
func newPlan() *Plan {
	l := new(list)
	l.memory.WriteByte(0)
	return &Plan{list: l, tree: tree{l}, self: self{l}}
}

// keep opens what the new process needs, until Close.
func (p *Plan) keep(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags, 0)
	if err == nil {
		p.opened = append(p.opened, f)
	}
	return f, err
}

// Close lets go of what was opened for the plan, once it was run or given up.
func (p *Plan) Close() {
	for _, f := range p.opened {
		f.Close()
	}
	p.opened = nil
}

// text puts a string into the plan's memory.
func (l *list) text(s string) C.uint64_t {
	at := l.memory.Len()
	l.memory.WriteString(s)
	l.memory.WriteByte(0)
	return C.uint64_t(at)
}

// raw puts what a call takes as an array there, aligned.
func (l *list) raw(data any) C.uint64_t {
	for l.memory.Len()%8 != 0 {
		l.memory.WriteByte(0)
	}
	at := l.memory.Len()
	// A buffer takes everything, and the types are of fixed size.
	_ = binary.Write(&l.memory, binary.NativeEndian, data)
	return C.uint64_t(at)
}

// words puts strings there, one after the other.
func (l *list) words(list []string) C.uint64_t {
	at := l.memory.Len()
	for _, s := range list {
		l.memory.WriteString(s)
		l.memory.WriteByte(0)
	}
	return C.uint64_t(at)
}

func (l *list) register() register {
	l.registers++
	return register(l.registers - 1)
}

func (l *list) add(s C.struct_step, name string, args ...any) {
	l.steps = append(l.steps, s)
	l.names = append(l.names, fmt.Sprintf(name, args...))
}

// String is the plan as text, a step a line.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "born in namespaces %#x\n", p.namespaces)
	for _, name := range p.list.names {
		b.WriteString(name + "\n")
	}
	return b.String()
}

// registerRoom is how many registers the child has.
const registerRoom = 512

// Run makes the process and returns when it is the command, or with the error of the step that failed; then nothing
// is left of it. It is a child of the caller, which must wait for it.
func (p *Plan) Run() (pid int, err error) {
	if p.list.registers > registerRoom {
		return 0, fmt.Errorf("launch: %d mounts are too many", p.list.registers)
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
	// The child gets what is C's.
	memory := C.CBytes(p.list.memory.Bytes())
	defer C.free(memory)
	steps := C.CBytes(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(p.list.steps))), len(p.list.steps)*int(unsafe.Sizeof(p.list.steps[0]))))
	defer C.free(steps)
	keepHeap()
	var outcome C.struct_outcome
	C.berth_launch(&birth, (*C.char)(memory), (*C.struct_step)(steps), C.int(len(p.list.steps)), &outcome)
	if outcome.step == -1 {
		return int(outcome.pid), nil
	}
	errno := unix.Errno(outcome.error)
	if outcome.step < 0 || int(outcome.step) >= len(p.list.names) {
		return 0, fmt.Errorf("launch: make a process: %w", errno)
	}
	if int(outcome.step) == len(p.list.steps)-1 {
		return 0, p.commandError(errno, outcome.detail)
	}
	return 0, &StepError{p.list.names[outcome.step], errno}
}

// keepHeap leaves Go's heap out of the child. To copy its page tables, and then each page that is written to on either
// side, takes longer than all that the child does; and what is in there is nobody else's business. Every start says it
// again, for what the heap has grown by.
func keepHeap() {
	const arena = 64 << 20 // Go's heap begins at a multiple of it (heapArenaBytes of the runtime)
	somewhere := new([64]byte)
	at := uintptr(unsafe.Pointer(somewhere)) &^ (arena - 1)
	// Where it fails, the child has a copy.
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, at, arena, unix.MADV_DONTFORK)
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
		text = fmt.Sprintf("exec: %q: executable file not found in $PATH", p.list.command)
	case detail == C.DETAIL_STAT:
		text = fmt.Sprintf("exec: %q: stat %s: %v", p.list.command, p.list.command, errno)
	case detail == C.DETAIL_NONE:
		text = fmt.Sprintf("exec %s: %v", p.list.command, errno)
	default:
		text = fmt.Sprintf("exec: %q: %v", p.list.command, errno)
	}
	return &CommandError{text, errno}
}
