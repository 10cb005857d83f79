//go:build cgo

package shim

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/shim/wire"
)

// biggestPasswd bounds what an image can make the shim read.
const biggestPasswd = 16 << 20

// lookup finds user and groups of a process in the image's passwd and group files. Symbolic links in the image are
// followed inside the image only. A number needs no entry. home is the user's folder, / for
// one who has none.
func lookup(root string, who wire.Who) (u specs.User, home string, err error) {
	passwd, err := openIn(root, "/etc/passwd")
	if err != nil {
		return specs.User{}, "", err
	}
	defer passwd.Close()
	group, err := openIn(root, "/etc/group")
	if err != nil {
		return specs.User{}, "", err
	}
	defer group.Close()
	found, err := user.GetExecUser(who.User, nil, passwd, group)
	if err != nil {
		return specs.User{}, "", invalid{err}
	}
	u = specs.User{UID: uint32(found.Uid), GID: uint32(found.Gid)}
	// Docker: the process's own group is one of the further groups.
	groups := append([]int{found.Gid}, found.Sgids...)
	if len(who.Groups) > 0 {
		again, err := openIn(root, "/etc/group")
		if err != nil {
			return specs.User{}, "", err
		}
		defer again.Close()
		more, err := user.GetAdditionalGroups(who.Groups, again)
		if err != nil {
			return specs.User{}, "", invalid{err}
		}
		groups = append(groups, more...)
	}
	seen := map[int]bool{}
	for _, gid := range groups {
		if !seen[gid] {
			seen[gid] = true
			u.AdditionalGids = append(u.AdditionalGids, uint32(gid))
		}
	}
	return u, cmp.Or(found.Home, "/"), nil
}

// openIn opens a regular file below root. A missing one reads as empty.
func openIn(root, path string) (io.ReadCloser, error) {
	handle, err := pathrs.OpenInRoot(root, path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return io.NopCloser(eof{}), nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s of the image: %w", path, err)
	}
	defer handle.Close()
	info, err := handle.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s of the image: %w", path, err)
	}
	// Opening a pipe or device of the image could block or do things.
	if !info.Mode().IsRegular() {
		return io.NopCloser(eof{}), nil
	}
	file, err := pathrs.Reopen(handle, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("%s of the image: %w", path, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(file, biggestPasswd), file}, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// invalid is an error that the user made.
type invalid struct{ error }

func (e invalid) Unwrap() error { return e.error }
