// Package proc reads what the kernel tells of processes and of the host, and makes executables that cannot be changed.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/core"
)

// Sealed copies an executable into memory and seals it: whoever runs it through the file's descriptor runs exactly
// these bytes, and a container that gets hold of its process's executable cannot write to it (CVE-2019-5736).
func Sealed(path string) (*os.File, error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("berth-shim", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3 every such file could be executed
		fd, err = unix.MemfdCreate("berth-shim", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	to := os.NewFile(uintptr(fd), path)
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return nil, fmt.Errorf("copy %s: %w", path, err)
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		to.Close()
		return nil, fmt.Errorf("seal %s: %w", path, err)
	}
	return to, nil
}

// Bounding is the set of capabilities that this process and its children can ever have, a bit for each number.
func Bounding() (uint64, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if hex, ok := bytes.CutPrefix(line, []byte("CapBnd:")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(hex)), 16, 64)
		}
	}
	return 0, errors.New("/proc/self/status tells no CapBnd")
}

// Networks counts what went through the interfaces of a process's network namespace, without the loopback.
func Networks(pid int) (map[string]core.NetworkStats, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/net/dev")
	if err != nil {
		return nil, err
	}
	networks := map[string]core.NetworkStats{}
	for line := range strings.Lines(string(data)) {
		name, rest, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		fields := strings.Fields(rest)
		if !ok || name == "lo" || len(fields) < 16 {
			continue // the two lines of the heading have no colon
		}
		var n [16]uint64
		for i := range n {
			// A counter that is no number counts nothing.
			n[i], _ = strconv.ParseUint(fields[i], 10, 64)
		}
		networks[name] = core.NetworkStats{
			RxBytes: n[0], RxPackets: n[1], RxErrors: n[2], RxDropped: n[3],
			TxBytes: n[8], TxPackets: n[9], TxErrors: n[10], TxDropped: n[11],
		}
	}
	return networks, nil
}

// tick is the unit of /proc/stat: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10_000_000

// CPU is the time, in nanoseconds, that all CPUs of the host together have spent since the boot, idle time included,
// and how many of them are online.
func CPU() (total uint64, online uint32, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 8 || !strings.HasPrefix(fields[0], "cpu"):
		case fields[0] == "cpu":
			for _, f := range fields[1:8] { // user to softirq: Docker leaves out stolen time
				n, err := strconv.ParseUint(f, 10, 64)
				if err != nil {
					return 0, 0, fmt.Errorf("/proc/stat: %w", err)
				}
				total += n * tick
			}
		default:
			online++
		}
	}
	return total, online, nil
}

// Peer is the process that listened on the UNIX socket which conn is connected to.
func Peer(conn *net.UnixConn) (pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var inner error
	err = raw.Control(func(fd uintptr) { cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, inner); err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// KillIf kills a process if it still has the given name: between losing sight of a process and killing it, its number
// may have become another's.
func KillIf(pid int, name string) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it is gone
	}
	defer unix.Close(fd)
	comm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err == nil && string(bytes.TrimSpace(comm)) == name {
		// Gone by now is as good.
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

// Numbers are the two halves of a device's number.
func Numbers(device uint64) (major, minor int64) {
	return int64(unix.Major(device)), int64(unix.Minor(device))
}

// Spare makes this process one of the last that the kernel kills when memory runs out: score is -1000 (never) to 0, and is
// what its children begin with. A process that may not lower its score (CAP_SYS_RESOURCE), or has a lower one, stays as
// it is.
func Spare(score int) error {
	const file = "/proc/self/oom_score_adj"
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if now, err := strconv.Atoi(strings.TrimSpace(string(data))); err != nil || now <= score {
		return err
	}
	if err := os.WriteFile(file, strconv.AppendInt(nil, int64(score), 10), 0); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
