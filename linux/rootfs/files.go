package rootfs

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/tarball"
	"github.com/berth-engine/berth/linux/tree"
)

// biggestPasswd bounds what an image can make the daemon read.
const biggestPasswd = 16 << 20

// Pack writes a tar of what is at a path (see tarball.Pack).
func (v *View) Pack(ctx context.Context, path string, w io.Writer) error {
	return tarball.Pack(ctx, v.root, path, w)
}

// Export writes a tar of the root file system, without what is mounted over it.
func (v *View) Export(ctx context.Context, w io.Writer) error {
	return tarball.PackAll(ctx, v.bare, w)
}

// Unpack unpacks a tar into a folder.
func (v *View) Unpack(ctx context.Context, folder string, r io.Reader, options core.ExtractOptions) error {
	how := tarball.Options{KeepKinds: options.KeepKinds}
	if options.User != nil {
		owner, err := v.owner(*options.User)
		if err != nil {
			return err
		}
		how.Owner = &owner
	}
	return tarball.Unpack(ctx, v.root, folder, r, how)
}

// owner looks a user and group up in the container's own lists. A number needs no entry.
func (v *View) owner(spec string) (tarball.Owner, error) {
	passwd, err := v.list("/etc/passwd")
	if err != nil {
		return tarball.Owner{}, err
	}
	defer passwd.Close()
	group, err := v.list("/etc/group")
	if err != nil {
		return tarball.Owner{}, err
	}
	defer group.Close()
	found, err := user.GetExecUser(spec, nil, io.LimitReader(passwd, biggestPasswd), io.LimitReader(group, biggestPasswd))
	if err != nil {
		return tarball.Owner{}, core.Invalid("%w", err)
	}
	return tarball.Owner{UID: found.Uid, GID: found.Gid}, nil
}

// list opens a file of the container; one that is not there, or is no file, is empty.
func (v *View) list(path string) (io.ReadCloser, error) {
	file, err := tree.OpenFileIn(v.root, path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return io.NopCloser(eof{}), nil
	}
	return file, err
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
