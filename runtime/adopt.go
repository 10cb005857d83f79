package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/proc"
	"github.com/berth-engine/berth/shim/wire"
)

// greetTime is how long a shim may take to say how its container is.
const greetTime = 10 * time.Second

// Adopt finds the containers that survived the last daemon and connects to their shims.
func (r *Runtime) Adopt(ctx context.Context) ([]core.Adopted, error) {
	entries, err := os.ReadDir(r.shims())
	if err != nil {
		return nil, err
	}
	var list []core.Adopted
	for _, entry := range entries {
		id := core.ContainerID(entry.Name())
		adopted, err := r.adopt(ctx, id)
		if err != nil {
			// The shim is gone, or worse than gone: the container is ended and its record read.
			if ctx.Err() != nil {
				return list, ctx.Err()
			}
			r.options.Logger.Warn("container without a shim", "container", id, "error", err)
			status := statusOf(r.salvage(id, nil))
			adopted = core.Adopted{Container: id, Exit: &status}
		}
		list = append(list, adopted)
	}
	return list, nil
}

func (r *Runtime) adopt(ctx context.Context, id core.ContainerID) (core.Adopted, error) {
	conn, err := dial(filepath.Join(r.shims(), string(id)))
	if err != nil {
		return core.Adopted{}, err
	}
	pid, err := proc.Peer(conn)
	if err != nil {
		conn.Close()
		return core.Adopted{}, err
	}
	b := r.box(id, true)
	l, _ := b.connect(wire.NewConn(conn), r.pool.adopted(pid)) // nobody waits before Adopt is done
	close(l.begun)
	greet, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	reply, err := l.call(greet, &wire.Message{Container: id, Ask: &wire.Ask{}})
	if err == nil && (reply.Error != "" || reply.State == nil || reply.State.PID == 0) {
		err = errors.New("the shim has no container: " + reply.Error)
	}
	if err != nil {
		b.leave()
		r.forget(b)
		return core.Adopted{}, err
	}
	s := reply.State
	b.mu.Lock()
	b.pid, b.paths = s.PID, s.CgroupPaths
	adopted := core.Adopted{Container: id, PID: s.PID, StartedAt: s.At, Paused: s.Paused}
	if s.Exit != nil {
		b.ended = true
		status := statusOf(*s.Exit)
		adopted.PID, adopted.Exit = 0, &status
	}
	b.mu.Unlock()
	return adopted, nil
}

// dial connects to a shim through its folder's descriptor: a path of a socket has at most 107 bytes.
func dial(path string) (*net.UnixConn, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	raw, err := dir.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd uintptr
	if err := raw.Control(func(n uintptr) { fd = n }); err != nil {
		return nil, err
	}
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/%s", fd, wire.SocketName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("it has no socket")
	}
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}
