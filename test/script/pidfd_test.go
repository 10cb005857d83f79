package script

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// handle is a process that is no child of ours.
type handle struct{ *os.File }

func pidfd(pid int) (handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return handle{}, err
	}
	return handle{os.NewFile(uintptr(fd), "pidfd")}, nil
}

// wait reports whether the process ends within the time.
func (h handle) wait(limit time.Duration) bool {
	poll := []unix.PollFd{{Fd: int32(h.Fd()), Events: unix.POLLIN}}
	for deadline := time.Now().Add(limit); ; {
		n, err := unix.Poll(poll, int(max(time.Until(deadline), 0).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}
