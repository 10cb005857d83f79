package daemon

import (
	"syscall"
	"time"
	"unsafe"
)

// pidfdOpen is the number of pidfd_open(2), which is the same on every architecture.
const pidfdOpen = 434

// Ends waits for the end of a process that need not be a child of ours, and reports whether it came within the time.
// A process that nobody has waited for yet has ended.
func Ends(pid int, limit time.Duration) bool {
	fd, _, failed := syscall.Syscall(pidfdOpen, uintptr(pid), 0, 0)
	if failed != 0 {
		return failed == syscall.ESRCH // gone already
	}
	defer syscall.Close(int(fd))
	const readable = 1 // POLLIN: the process has ended
	poll := struct {
		fd              int32
		events, happens int16
	}{fd: int32(fd), events: readable}
	for deadline := time.Now().Add(limit); ; {
		rest := syscall.NsecToTimespec(max(time.Until(deadline), 0).Nanoseconds())
		n, _, failed := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&rest)), 0, 0, 0)
		if failed != syscall.EINTR {
			return failed == 0 && n > 0
		}
	}
}

// Alive reports whether a process lives.
func Alive(pid int) bool { return pid > 0 && !Ends(pid, 0) }
