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

func (p *Plan) write(to *os.File, text string) {
	p.add(C.struct_step{code: C.STEP_WRITE, from: C.int32_t(open(to)), a: p.text(text), n: C.uint32_t(len(text))}, "write %q to %s", text, to.Name())
}

func (p *Plan) file(path, text string) {
	p.add(C.struct_step{code: C.STEP_FILE, b: p.text(path), a: p.text(text), n: C.uint32_t(len(text))}, "write %q to %s", text, path)
}

func (p *Plan) join(ns *os.File, kinds uint64) {
	p.add(C.struct_step{code: C.STEP_SETNS, from: C.int32_t(open(ns)), x: C.uint64_t(kinds)}, "join namespaces %#x", kinds)
}

func (p *Plan) unshare(kinds uint64) {
	p.add(C.struct_step{code: C.STEP_UNSHARE, x: C.uint64_t(kinds)}, "leave namespaces %#x", kinds)
}

func (p *Plan) hostname(name string) {
	p.add(C.struct_step{code: C.STEP_HOSTNAME, a: p.text(name), n: C.uint32_t(len(name))}, "host name %s", name)
}

func (p *Plan) domainname(name string) {
	p.add(C.struct_step{code: C.STEP_DOMAINNAME, a: p.text(name), n: C.uint32_t(len(name))}, "domain name %s", name)
}

func (p *Plan) propagation(path string, flags int) {
	p.add(C.struct_step{code: C.STEP_REMOUNT, b: p.text(path), x: C.uint64_t(flags)}, "propagation of %s: %#x", path, flags)
}

func (p *Plan) bindSelf(path string) {
	p.add(C.struct_step{code: C.STEP_BIND, a: p.text(path)}, "bind %s on itself", path)
}

func (p *Plan) open(path string, flags int) register {
	r := p.register()
	p.add(C.struct_step{code: C.STEP_OPEN, to: C.int32_t(r), a: p.text(path), x: C.uint64_t(flags)}, "open %s", path)
	return r
}

// How a target must be, or is made.
const (
	folder = C.TARGET_FOLDER
	file   = C.TARGET_FILE
	plain  = C.TARGET_PLAIN // a folder with no link on the way
)

func (p *Plan) target(root register, path string, kind int) register {
	r := p.register()
	p.add(C.struct_step{code: C.STEP_TARGET, to: C.int32_t(r), from: C.int32_t(root), a: p.text(path), x: C.uint64_t(kind)}, "find or make %s", path)
	return r
}

func (p *Plan) fs(kind, source string) register {
	r := p.register()
	p.add(C.struct_step{code: C.STEP_FS, to: C.int32_t(r), a: p.text(kind), b: p.text(source)}, "new %s", kind)
	return r
}

func (p *Plan) option(fs register, name, value string) {
	p.add(C.struct_step{code: C.STEP_OPTION, from: C.int32_t(fs), a: p.text(name), b: p.text(value)}, "  %s=%s", name, value)
}

func (p *Plan) flag(fs register, name string) {
	p.add(C.struct_step{code: C.STEP_OPTION, from: C.int32_t(fs), a: p.text(name)}, "  %s", name)
}

func (p *Plan) modeOf(fs, target register) {
	p.add(C.struct_step{code: C.STEP_MODE, from: C.int32_t(fs), x: C.uint64_t(target)}, "  mode of what was there")
}

func (p *Plan) mount(fs register, attributes uint64) register {
	r := p.register()
	p.add(C.struct_step{code: C.STEP_MOUNT, to: C.int32_t(r), from: C.int32_t(fs), x: C.uint64_t(attributes)}, "  mount it with %#x", attributes)
	return r
}

func (p *Plan) tree(source string, recursive bool) register {
	r := p.register()
	p.add(C.struct_step{code: C.STEP_TREE, to: C.int32_t(r), a: p.text(source), x: number(recursive)}, "bind %s, all=%t", source, recursive)
	return r
}

func (p *Plan) attributes(mount register, set, clear, propagation uint64, recursive bool) {
	p.add(C.struct_step{code: C.STEP_ATTR, from: C.int32_t(mount), x: C.uint64_t(set), y: C.uint64_t(clear), n: C.uint32_t(propagation), a: number(recursive)},
		"  attributes %#x, not %#x, propagation %#x, all=%t", set, clear, propagation, recursive)
}

func (p *Plan) move(mount, at register) {
	p.add(C.struct_step{code: C.STEP_MOVE, from: C.int32_t(mount), x: C.uint64_t(at)}, "  attach it")
}

func (p *Plan) node(dir register, name string, mode uint32, device uint64, uid, gid uint32) {
	s := C.struct_step{code: C.STEP_NODE, from: C.int32_t(dir), a: p.text(name), x: C.uint64_t(mode), y: C.uint64_t(device)}
	if uid != 0 || gid != 0 {
		s.b = p.raw([2]uint32{uid, gid})
	}
	p.add(s, "device %s %o %d:%d of %d:%d", name, mode, unix.Major(device), unix.Minor(device), uid, gid)
}

func (p *Plan) link(dir register, name, to string) {
	p.add(C.struct_step{code: C.STEP_LINK, from: C.int32_t(dir), a: p.text(to), b: p.text(name)}, "link %s to %s", name, to)
}

func (p *Plan) unlink(dir register, name string) {
	p.add(C.struct_step{code: C.STEP_UNLINK, from: C.int32_t(dir), a: p.text(name)}, "unlink %s", name)
}

func (p *Plan) pivot(root register) {
	p.add(C.struct_step{code: C.STEP_PIVOT, from: C.int32_t(root)}, "pivot_root")
}

func (p *Plan) ownNull() { p.add(C.struct_step{code: C.STEP_NULL}, "/dev/null is the container's") }

func (p *Plan) mkdirs(path string) {
	p.add(C.struct_step{code: C.STEP_MKDIRS, a: p.text(path)}, "mkdir %s", path)
}

func (p *Plan) readOnly(path string) {
	p.add(C.struct_step{code: C.STEP_RDONLY, a: p.text(path)}, "read-only %s", path)
}

func (p *Plan) mask(path string) {
	p.add(C.struct_step{code: C.STEP_MASK, a: p.text(path)}, "mask %s", path)
}

func (p *Plan) chdir(path string, again bool) {
	p.add(C.struct_step{code: C.STEP_CHDIR, a: p.text(path), x: number(again)}, "chdir to cwd (%q) set in config.json failed", path)
}

func (p *Plan) inside() {
	p.add(C.struct_step{code: C.STEP_INSIDE}, "current working directory is outside of container mount namespace root -- possible container breakout detected")
}

func (p *Plan) stdio(in, out, err *os.File) {
	p.add(C.struct_step{code: C.STEP_STDIO, x: C.uint64_t(in.Fd()), y: C.uint64_t(out.Fd()), n: C.uint32_t(err.Fd())}, "standard streams")
}

func (p *Plan) session() { p.add(C.struct_step{code: C.STEP_SESSION}, "setsid") }

func (p *Plan) console(socket *os.File, rows, columns uint16, mounted bool) {
	p.add(C.struct_step{code: C.STEP_CONSOLE, from: C.int32_t(open(socket)), x: C.uint64_t(rows), y: C.uint64_t(columns), n: C.uint32_t(number(mounted))}, "terminal of %d by %d", rows, columns)
}

func (p *Plan) own(uid int) {
	p.add(C.struct_step{code: C.STEP_OWN, x: C.uint64_t(uid)}, "standard streams belong to %d", uid)
}

func (p *Plan) rlimit(kind int, soft, hard uint64) {
	p.add(C.struct_step{code: C.STEP_RLIMIT, n: C.uint32_t(kind), x: C.uint64_t(soft), y: C.uint64_t(hard)}, "error setting rlimit type %d", kind)
}

func (p *Plan) keyring(name string, searchable bool) {
	p.add(C.struct_step{code: C.STEP_KEYRING, a: p.text(name), x: number(searchable)}, "keyring %s", name)
}

func (p *Plan) umask(mask uint32) {
	p.add(C.struct_step{code: C.STEP_UMASK, x: C.uint64_t(mask)}, "umask %04o", mask)
}

func (p *Plan) bound(keep uint64, known int) {
	p.add(C.struct_step{code: C.STEP_BOUND, x: C.uint64_t(keep), y: C.uint64_t(known)}, "bounding set %#x", keep)
}

func (p *Plan) user(uid, gid int, groups []int) {
	list := make([]uint32, len(groups))
	for i, g := range groups {
		list[i] = uint32(g)
	}
	p.add(C.struct_step{code: C.STEP_USER, x: C.uint64_t(uid), y: C.uint64_t(gid), n: C.uint32_t(len(list)), a: p.raw(list)}, "user %d:%d %v", uid, gid, groups)
}

func (p *Plan) capabilities(have, inherit uint64) {
	p.add(C.struct_step{code: C.STEP_CAPS, x: C.uint64_t(have), y: C.uint64_t(inherit)}, "capabilities %#x, inheritable %#x", have, inherit)
}

func (p *Plan) ambient(raise uint64, known int) {
	p.add(C.struct_step{code: C.STEP_AMBIENT, x: C.uint64_t(raise), y: C.uint64_t(known)}, "ambient capabilities %#x", raise)
}

func (p *Plan) noNewPrivileges() { p.add(C.struct_step{code: C.STEP_NNP}, "no new privileges") }

func (p *Plan) seccomp(program []byte, flags uint32) {
	p.add(C.struct_step{code: C.STEP_SECCOMP, a: p.raw(program), n: C.uint32_t(len(program) / 8), x: C.uint64_t(flags)}, "seccomp program, flags %#x", flags)
}

func (p *Plan) exec(args, env []string) {
	p.command = args[0]
	p.add(C.struct_step{code: C.STEP_EXEC, a: p.words(args), x: C.uint64_t(len(args)), b: p.words(env), y: C.uint64_t(len(env))}, "%s", fmt.Sprint(args))
}

func number(b bool) C.uint64_t {
	if b {
		return 1
	}
	return 0
}
