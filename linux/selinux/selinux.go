// Package selinux gives containers, and the files that they are shown, their labels on hosts with SELinux
// (https://github.com/SELinuxProject/selinux-notebook).
//
// A label is user:role:type:level. The policy's file lxc_contexts says which ones containers get; the level's two
// categories are those of one container alone, so that none reaches another's files.
package selinux

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/opencontainers/selinux/go-selinux"
	"github.com/opencontainers/selinux/go-selinux/label"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/tree"
)

// Enabled reports whether the kernel runs a policy of SELinux, be it enforced or not.
func Enabled() bool { return selinux.GetEnabled() }

// Labels hands labels out. On a host without SELinux, and when it is not to be used, nobody gets any.
type Labels struct{ on bool }

// New prepares for labels; on is false where none shall be given.
func New(on bool) *Labels { return &Labels{on && Enabled()} }

// Allot makes the labels of a container's processes and of its files. options are the values of --security-opt label=:
// "disable", or "user:", "role:", "type:", "level:", "filetype:" and what takes the place of the policy's choice. An
// empty label for the processes leaves it to the policy.
func (l *Labels) Allot(options []string) (process, files string, err error) {
	if !l.on {
		return "", "", nil
	}
	if process, files, err = label.InitLabels(options); err != nil {
		return "", "", core.Invalid("%w", err)
	}
	return process, files, nil
}

// Keep makes the categories of a label, which an earlier daemon gave to a container, nobody else's. Release gives them back.
func (l *Labels) Keep(process string) error {
	if !l.on || process == "" {
		return nil
	}
	// Containers that share their IPC share the label.
	if err := selinux.ReserveLabelV2(process); err != nil && !errors.Is(err, selinux.ErrMCSAlreadyExists) {
		return err
	}
	return nil
}

// Release gives back what Allot or Keep took.
func (l *Labels) Release(process string) {
	if l.on && process != "" {
		selinux.ReleaseLabel(process)
	}
}

// Like gives the options that make a label as another container's.
func (l *Labels) Like(process string) ([]string, error) {
	if !l.on {
		return nil, nil
	}
	return selinux.DupSecOpt(process)
}

// Images gives a folder that layers of images are in the policy's label for what all containers may read, unless it has it.
func (l *Labels) Images(folder string) error {
	if !l.on {
		return nil
	}
	// The library reads the policy's choices when it makes the first label.
	process, _, err := label.InitLabels(nil)
	if err != nil {
		return err
	}
	selinux.ReleaseLabel(process)
	// What is put into a labelled folder has its label. The top is labelled last.
	if files := selinux.ROFileLabel(); !labelled(folder, files) {
		return l.Relabel(folder, files, true)
	}
	return nil
}

// host are folders of which a new label would lock the host's own programs out: for such a path -v …:z is a slip.
var host = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib", "/lib64", "/media", "/opt",
	"/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log",
}

// attribute is where a file's label is (security/selinux in the kernel's sources).
const attribute = "security.selinux"

// Relabel gives a file of the host, or a folder and all that is below it, the label of a container's files; shared: with
// the level s0, which every container may use. No symbolic link is followed below path, whatever a container that writes
// there does meanwhile. File systems that keep no labels stay as they are.
func (l *Labels) Relabel(path, files string, shared bool) error {
	if !l.on || files == "" {
		return nil
	}
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if slices.Contains(host, path) {
		return core.Invalid("SELinux relabeling of %s is not allowed", path)
	}
	if shared {
		context, err := selinux.NewContext(files)
		if err != nil {
			return err
		}
		context["level"] = "s0"
		files = context.Get()
	}
	above, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(above)
	if err := relabel(above, filepath.Base(path), files, 0); err != nil {
		return fmt.Errorf("error setting label on mount source '%s': %w", path, err)
	}
	return nil
}

// deepest is how many folders may lie in each other: each costs an open file while it is being labelled.
const deepest = 2048

// relabel labels an entry of an open folder. A folder is labelled after what is in it: one that has the label was finished.
func relabel(parent int, name, files string, depth int) error {
	if depth > deepest {
		return errors.New("too many folders in each other")
	}
	folder, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		err = below(folder, files, depth)
		unix.Close(folder)
		if err != nil {
			return err
		}
	case errors.Is(err, unix.ENOENT): // whoever uses the files meanwhile may delete some
		return nil
	case !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP): // a file, a link
		return err
	}
	entry := tree.ProcPath(parent, name)
	if labelled(entry, files) {
		return nil
	}
	err = unix.Lsetxattr(entry, attribute, []byte(files), 0)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func labelled(path, files string) bool {
	now, err := tree.Attribute(path, attribute)
	return err == nil && string(bytes.TrimRight(now, "\x00")) == files
}

func below(folder int, files string, depth int) error {
	names, err := tree.ReadNames(folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := relabel(folder, name, files, depth+1); err != nil {
			return err
		}
	}
	return nil
}
