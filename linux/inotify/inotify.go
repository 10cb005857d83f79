// Package inotify tells when something changes in a folder (inotify(7)). All watches of a Watcher share one kernel
// object, since a user may have only few of them.
package inotify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// mask selects the events that mean "look again".
const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_DELETE_SELF |
	unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// Watcher watches folders. One goroutine reads what the kernel tells and wakes the watches.
type Watcher struct {
	file  *os.File // non-blocking, so that Close ends a read
	ended chan struct{}

	mu      sync.Mutex // guards the rest, and makes adding and removing one step with the map
	closed  bool
	watches map[int32]map[*Watch]struct{}
}

// Watch is one party's interest in one folder.
type Watch struct {
	watcher    *Watcher
	descriptor int32
	changed    chan struct{}
}

// New makes a watcher. It must be closed.
func New() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	w := &Watcher{file: os.NewFile(uintptr(fd), "inotify"), ended: make(chan struct{}), watches: map[int32]map[*Watch]struct{}{}}
	go w.read()
	return w, nil
}

// Watch begins to watch a folder. It must be closed.
func (w *Watcher) Watch(folder string) (*Watch, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	connection, err := w.file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", folder, err)
	}
	var descriptor int
	var failure error
	err = connection.Control(func(fd uintptr) {
		descriptor, failure = unix.InotifyAddWatch(int(fd), folder, mask)
	})
	if err := errors.Join(err, failure); err != nil {
		return nil, fmt.Errorf("watch %s: %w", folder, err)
	}
	watch := &Watch{watcher: w, descriptor: int32(descriptor), changed: make(chan struct{}, 1)}
	if w.watches[watch.descriptor] == nil {
		w.watches[watch.descriptor] = map[*Watch]struct{}{}
	}
	w.watches[watch.descriptor][watch] = struct{}{}
	return watch, nil
}

// Changed has a token when something changed since the last token was taken. It can't say what, or how often.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

// Close ends the interest. Closing twice is harmless.
func (w *Watch) Close() error {
	watcher := w.watcher
	watcher.mu.Lock()
	defer watcher.mu.Unlock()
	parties := watcher.watches[w.descriptor]
	if _, ok := parties[w]; !ok {
		return nil
	}
	delete(parties, w)
	if len(parties) > 0 {
		return nil
	}
	delete(watcher.watches, w.descriptor)
	if watcher.closed {
		return nil // and the kernel's watch is gone with it
	}
	connection, err := watcher.file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = connection.Control(func(fd uintptr) {
		_, failure = unix.InotifyRmWatch(int(fd), uint32(w.descriptor))
	})
	if errors.Is(failure, unix.EINVAL) {
		return nil // gone already with the folder
	}
	return errors.Join(err, failure)
}

// Close ends all watches; their channels get no more tokens. It must be called once.
func (w *Watcher) Close() error {
	w.mu.Lock()
	w.closed = true
	err := w.file.Close()
	w.mu.Unlock()
	<-w.ended
	return err
}

func (w *Watcher) read() {
	defer close(w.ended)
	buffer := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buffer)
		if err != nil {
			return // closed: inotify has no other error for a reader with a large buffer
		}
		w.dispatch(buffer[:n])
	}
}

// dispatch wakes the watches of each event. When the kernel's queue ran over, everyone looks again.
func (w *Watcher) dispatch(events []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		descriptor := int32(binary.NativeEndian.Uint32(events))
		kind := binary.NativeEndian.Uint32(events[4:])
		name := binary.NativeEndian.Uint32(events[12:])
		events = events[unix.SizeofInotifyEvent+int(name):]
		if kind&unix.IN_Q_OVERFLOW != 0 {
			for _, parties := range w.watches {
				wake(parties)
			}
			continue
		}
		wake(w.watches[descriptor])
	}
}

func wake(parties map[*Watch]struct{}) {
	for party := range parties {
		select {
		case party.changed <- struct{}{}:
		default:
		}
	}
}
