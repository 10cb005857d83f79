package layers

import (
	"context"
	"io"
	"path/filepath"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/overlay"
)

// Changes lists how a container's files differ from its image's.
func (l *Layers) Changes(ctx context.Context, id core.ContainerID) ([]core.Change, error) {
	upper, err := l.upper(ctx, id)
	if err != nil {
		return nil, err
	}
	return upper.Changes(ctx)
}

// Pack writes what Changes lists as a tar, in the form of an image's layer, and reports whether there was anything.
func (l *Layers) Pack(ctx context.Context, id core.ContainerID, w io.Writer) (any bool, err error) {
	upper, err := l.upper(ctx, id)
	if err != nil {
		return false, err
	}
	return upper.Pack(ctx, w)
}

// upper is a container's writable layer as overlayfs keeps it.
func (l *Layers) upper(ctx context.Context, id core.ContainerID) (overlay.Upper, error) {
	mounts, err := l.Mounts(ctx, id)
	if err != nil {
		return overlay.Upper{}, err
	}
	dir := l.dir(id)
	return overlay.Upper{Path: filepath.Join(dir, "upper"), Below: below(mounts[0]), Over: dir, Ignore: mountpoint}, nil
}

// below is how an overlay's read-only layers are mounted without its writable one. An overlay of a single layer the kernel
// refuses.
func below(m core.FSMount) []core.FSMount {
	var options []string
	for _, option := range m.Options {
		key, value, _ := strings.Cut(option, "=")
		switch {
		case key == "upperdir" || key == "workdir":
		case key == "lowerdir" && !strings.Contains(value, ":"):
			return []core.FSMount{{Type: "bind", Source: value}}
		default:
			options = append(options, option)
		}
	}
	return []core.FSMount{{Type: m.Type, Source: m.Source, Options: options}}
}

// mountpoint knows the entries that the start of a container makes in an image that lacks them, to mount on them what
// every container has. As in Docker, they don't count as changes.
func mountpoint(path string, folder bool) bool {
	if folder {
		return path == "/dev" || path == "/proc" || path == "/sys" || path == "/dev/pts" || path == "/dev/shm"
	}
	return path == "/etc/hosts" || path == "/etc/hostname" || path == "/etc/resolv.conf" || path == "/dev/console"
}
