//go:build cgo

package shim

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer/specconv"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/shim/filter"
	"github.com/berth-engine/berth/shim/wire"
)

// shared is what the few containers of one shim have in common.
type shared struct {
	logger  *slog.Logger
	filters filter.Filters
	orphans *orphans
	null    *os.File // the standard input of processes that have none
	// trim gives the memory back that starts took, a moment after the last of them, so that a short run and a burst of
	// starts do not pay for it.
	trim *time.Timer
}

const trimAfter = 2 * time.Second

// Serve is the life of a shim: on the control socket the daemon that started it opens a conversation for each container.
// It returns when that daemon is gone, or wants no more of this shim, and every container was deleted.
func Serve(control *os.File, logger *slog.Logger) error {
	base, err := wire.FileConn(control)
	if err != nil {
		return err
	}
	defer base.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	s := &shared{logger: logger, orphans: newOrphans(), null: null, trim: time.AfterFunc(trimAfter, debug.FreeOSMemory)}
	go s.orphans.reap()
	var conversations sync.WaitGroup
	err = s.receive(base, &conversations)
	conversations.Wait()
	return err
}

// receive answers what is about the shim as a whole until the daemon ends the connection.
func (s *shared) receive(base *wire.Conn, conversations *sync.WaitGroup) error {
	for {
		m, files, err := base.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case m.Prepare != nil:
			closeFiles(files)
			answer(s.logger, base, m, &wire.Reply{}, s.prepare(m.Prepare))
		case m.Converse != nil && len(files) == 1:
			link, err := wire.FileConn(files[0])
			if err != nil {
				s.logger.Error("conversation", "error", err)
				continue
			}
			conversations.Go(func() {
				(&server{shared: s, logger: s.logger, link: link, done: make(chan struct{})}).serve(link)
				s.trim.Reset(trimAfter)
			})
		default:
			closeFiles(files)
			answer(s.logger, base, m, nil, errors.New("unknown request"))
		}
	}
}

// prepare compiles what the next container probably needs.
func (s *shared) prepare(p *wire.Prepare) error {
	if p.Seccomp == nil {
		return nil
	}
	profile, err := specconv.SetupSeccomp(p.Seccomp)
	if err != nil || profile == nil {
		return err
	}
	_, err = s.filters.Get(profile, p.Cache)
	return err
}

// Detach makes this process the one that orphans of its container come to, when the container has no process 1 of its
// own.
func Detach() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	// libcontainer hands this on to its init, which has work for one thread.
	return os.Setenv("GOMAXPROCS", "1")
}
