//go:build cgo

package launch

/*
#include "launch.h"
*/
import "C"

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The steps that plans are made of. Those that open something give the register where it is.

func (t tree) write(to *os.File, text string) {
	t.add(C.struct_step{code: C.STEP_WRITE, from: C.int32_t(open(to)), a: t.text(text), n: C.uint32_t(len(text))}, "write %q to %s", text, to.Name())
}

func (t tree) file(path, text string) {
	t.add(C.struct_step{code: C.STEP_FILE, b: t.text(path), a: t.text(text), n: C.uint32_t(len(text))}, "write %q to %s", text, path)
}

func (s self) join(ns *os.File, kinds uint64) {
	s.add(C.struct_step{code: C.STEP_SETNS, from: C.int32_t(open(ns)), x: C.uint64_t(kinds)}, "join namespaces %#x", kinds)
}

func (s self) unshare(kinds uint64) {
	s.add(C.struct_step{code: C.STEP_UNSHARE, x: C.uint64_t(kinds)}, "leave namespaces %#x", kinds)
}

func (s self) hostname(name string) {
	s.add(C.struct_step{code: C.STEP_HOSTNAME, a: s.text(name), n: C.uint32_t(len(name))}, "host name %s", name)
}

func (s self) domainname(name string) {
	s.add(C.struct_step{code: C.STEP_DOMAINNAME, a: s.text(name), n: C.uint32_t(len(name))}, "domain name %s", name)
}

func (t tree) propagation(path string, flags int) {
	t.add(C.struct_step{code: C.STEP_REMOUNT, b: t.text(path), x: C.uint64_t(flags)}, "propagation of %s: %#x", path, flags)
}

func (t tree) bindSelf(path string) {
	t.add(C.struct_step{code: C.STEP_BIND, a: t.text(path)}, "bind %s on itself", path)
}

func (t tree) open(path string, flags int) register {
	r := t.register()
	t.add(C.struct_step{code: C.STEP_OPEN, to: C.int32_t(r), a: t.text(path), x: C.uint64_t(flags)}, "open %s", path)
	return r
}

// How a target must be, or is made.
const (
	folder = C.TARGET_FOLDER
	file   = C.TARGET_FILE
	plain  = C.TARGET_PLAIN // a folder with no link on the way
)

func (t tree) target(root register, path string, kind int) register {
	r := t.register()
	t.add(C.struct_step{code: C.STEP_TARGET, to: C.int32_t(r), from: C.int32_t(root), a: t.text(path), x: C.uint64_t(kind)}, "find or make %s", path)
	return r
}

func (t tree) fs(kind, source string) register {
	r := t.register()
	t.add(C.struct_step{code: C.STEP_FS, to: C.int32_t(r), a: t.text(kind), b: t.text(source)}, "new %s", kind)
	return r
}

func (t tree) option(fs register, name, value string) {
	t.add(C.struct_step{code: C.STEP_OPTION, from: C.int32_t(fs), a: t.text(name), b: t.text(value)}, "  %s=%s", name, value)
}

func (t tree) flag(fs register, name string) {
	t.add(C.struct_step{code: C.STEP_OPTION, from: C.int32_t(fs), a: t.text(name)}, "  %s", name)
}

func (t tree) modeOf(fs, target register) {
	t.add(C.struct_step{code: C.STEP_MODE, from: C.int32_t(fs), x: C.uint64_t(target)}, "  mode of what was there")
}

func (t tree) mount(fs register, attributes uint64) register {
	r := t.register()
	t.add(C.struct_step{code: C.STEP_MOUNT, to: C.int32_t(r), from: C.int32_t(fs), x: C.uint64_t(attributes)}, "  mount it with %#x", attributes)
	return r
}

func (t tree) copyOf(source string, recursive bool) register {
	r := t.register()
	t.add(C.struct_step{code: C.STEP_TREE, to: C.int32_t(r), a: t.text(source), x: number(recursive)}, "bind %s, all=%t", source, recursive)
	return r
}

func (t tree) attributes(mount register, set, clear, propagation uint64, recursive bool) {
	t.add(C.struct_step{code: C.STEP_ATTR, from: C.int32_t(mount), x: C.uint64_t(set), y: C.uint64_t(clear), n: C.uint32_t(propagation), a: number(recursive)},
		"  attributes %#x, not %#x, propagation %#x, all=%t", set, clear, propagation, recursive)
}

func (t tree) move(mount, at register) {
	t.add(C.struct_step{code: C.STEP_MOVE, from: C.int32_t(mount), x: C.uint64_t(at)}, "  attach it")
}

func (t tree) node(dir register, name string, mode uint32, device uint64, uid, gid uint32) {
	s := C.struct_step{code: C.STEP_NODE, from: C.int32_t(dir), a: t.text(name), x: C.uint64_t(mode), y: C.uint64_t(device)}
	if uid != 0 || gid != 0 {
		s.b = t.raw([2]uint32{uid, gid})
	}
	t.add(s, "device %s %o %d:%d of %d:%d", name, mode, unix.Major(device), unix.Minor(device), uid, gid)
}

func (t tree) link(dir register, name, to string) {
	t.add(C.struct_step{code: C.STEP_LINK, from: C.int32_t(dir), a: t.text(to), b: t.text(name)}, "link %s to %s", name, to)
}

func (t tree) unlink(dir register, name string) {
	t.add(C.struct_step{code: C.STEP_UNLINK, from: C.int32_t(dir), a: t.text(name)}, "unlink %s", name)
}

func (t tree) pivot(root register) {
	t.add(C.struct_step{code: C.STEP_PIVOT, from: C.int32_t(root)}, "pivot_root")
}

func (t tree) ownNull() { t.add(C.struct_step{code: C.STEP_NULL}, "/dev/null is the container's") }

func (t tree) mkdirs(path string) {
	t.add(C.struct_step{code: C.STEP_MKDIRS, a: t.text(path)}, "mkdir %s", path)
}

func (t tree) readOnly(path string) {
	t.add(C.struct_step{code: C.STEP_RDONLY, a: t.text(path)}, "read-only %s", path)
}

func (t tree) mask(path, label string) {
	s := C.struct_step{code: C.STEP_MASK, a: t.text(path)}
	if label != "" {
		s.b = t.text(label)
	}
	t.add(s, "mask %s", path)
}

func (t tree) label(mount register, label string) {
	t.add(C.struct_step{code: C.STEP_LABEL, from: C.int32_t(mount), a: t.text(label), n: C.uint32_t(len(label))}, "  label %s", label)
}

func (s self) chdir(path string, again bool) {
	s.add(C.struct_step{code: C.STEP_CHDIR, a: s.text(path), x: number(again)}, "chdir to cwd (%q) set in config.json failed", path)
}

func (s self) inside() {
	s.add(C.struct_step{code: C.STEP_INSIDE}, "current working directory is outside of container mount namespace root -- possible container breakout detected")
}

func (s self) stdio(in, out, err *os.File) {
	s.add(C.struct_step{code: C.STEP_STDIO, x: C.uint64_t(in.Fd()), y: C.uint64_t(out.Fd()), n: C.uint32_t(err.Fd())}, "standard streams")
}

func (s self) session() { s.add(C.struct_step{code: C.STEP_SESSION}, "setsid") }

func (s self) console(socket *os.File, rows, columns uint16, mounted bool) {
	s.add(C.struct_step{code: C.STEP_CONSOLE, from: C.int32_t(open(socket)), x: C.uint64_t(rows), y: C.uint64_t(columns), n: C.uint32_t(number(mounted))}, "terminal of %d by %d", rows, columns)
}

func (s self) own(uid int) {
	s.add(C.struct_step{code: C.STEP_OWN, x: C.uint64_t(uid)}, "standard streams belong to %d", uid)
}

func (s self) rlimit(kind int, soft, hard uint64) {
	s.add(C.struct_step{code: C.STEP_RLIMIT, n: C.uint32_t(kind), x: C.uint64_t(soft), y: C.uint64_t(hard)}, "error setting rlimit type %d", kind)
}

func (s self) keyring(name string, searchable bool) {
	s.add(C.struct_step{code: C.STEP_KEYRING, a: s.text(name), x: number(searchable)}, "keyring %s", name)
}

func (s self) umask(mask uint32) {
	s.add(C.struct_step{code: C.STEP_UMASK, x: C.uint64_t(mask)}, "umask %04o", mask)
}

func (s self) bound(keep uint64, known int) {
	s.add(C.struct_step{code: C.STEP_BOUND, x: C.uint64_t(keep), y: C.uint64_t(known)}, "bounding set %#x", keep)
}

func (s self) user(uid, gid int, groups []int) {
	list := make([]uint32, len(groups))
	for i, g := range groups {
		list[i] = uint32(g)
	}
	s.add(C.struct_step{code: C.STEP_USER, x: C.uint64_t(uid), y: C.uint64_t(gid), n: C.uint32_t(len(list)), a: s.raw(list)}, "user %d:%d %v", uid, gid, groups)
}

func (s self) capabilities(have, inherit uint64) {
	s.add(C.struct_step{code: C.STEP_CAPS, x: C.uint64_t(have), y: C.uint64_t(inherit)}, "capabilities %#x, inheritable %#x", have, inherit)
}

func (s self) ambient(raise uint64, known int) {
	s.add(C.struct_step{code: C.STEP_AMBIENT, x: C.uint64_t(raise), y: C.uint64_t(known)}, "ambient capabilities %#x", raise)
}

func (s self) noNewPrivileges() { s.add(C.struct_step{code: C.STEP_NNP}, "no new privileges") }

func (s self) seccomp(program []byte, flags uint32) {
	s.add(C.struct_step{code: C.STEP_SECCOMP, a: s.raw(program), n: C.uint32_t(len(program) / 8), x: C.uint64_t(flags)}, "seccomp program, flags %#x", flags)
}

func (s self) exec(args, env []string) {
	s.command = args[0]
	s.add(C.struct_step{code: C.STEP_EXEC, a: s.words(args), x: C.uint64_t(len(args)), b: s.words(env), y: C.uint64_t(len(env))}, "%s", fmt.Sprint(args))
}

func number(b bool) C.uint64_t {
	if b {
		return 1
	}
	return 0
}
