package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/tree"
)

// mostLinks is how many symbolic links a path may lead through, as in the kernel.
const mostLinks = 40

// Stat describes what is at a path. A symbolic link at its end is described itself, unless a slash follows it.
func (v *View) Stat(name string) (core.PathStat, error) {
	at, err := tree.Locate(v.root, name, unix.O_NOFOLLOW)
	if err != nil {
		return core.PathStat{}, err
	}
	info, err := at.Stat()
	if err = errors.Join(err, at.Close()); err != nil {
		return core.PathStat{}, err
	}
	stat := core.PathStat{Name: path.Base(name), Size: info.Size(), Mode: info.Mode(), Mtime: info.ModTime()}
	if info.Mode()&os.ModeSymlink != 0 {
		if stat.LinkTarget, err = v.Evaluate(name); err != nil {
			return core.PathStat{}, err
		}
	}
	return stat, nil
}

// Evaluate follows the symbolic links in a path and gives the absolute path, inside the container, that it means now. What
// is not there has no links. The answer is a text for people and for comparisons; nobody may trust it to be true of
// the next look.
func (v *View) Evaluate(name string) (string, error) {
	done, rest := "/", name
	for links := 0; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		target, err := v.readLink(path.Join(done, part))
		if err != nil {
			return "", err
		}
		if target == "" {
			done = path.Join(done, part)
			continue
		}
		if links++; links > mostLinks {
			return "", &os.PathError{Op: "evaluate", Path: name, Err: unix.ELOOP}
		}
		if path.IsAbs(target) {
			done = "/"
		}
		rest = target + "/" + rest
	}
	return done, nil
}

// readLink gives what a symbolic link says; nothing for what is none or is not there.
func (v *View) readLink(name string) (string, error) {
	at, err := tree.Locate(v.root, name, unix.O_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer at.Close()
	target, err := tree.ReadLink(int(at.Fd()), "")
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return "", nil // readlinkat(2): with an empty path, what is no link is not there
	}
	return target, err
}
