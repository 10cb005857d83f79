//go:build cgo

// Package filter keeps compiled seccomp programs and hands them to libcontainer's init: compiling one costs more than the
// rest of a start.
package filter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/lib/atomicfile"
)

// compiled is a seccomp program with the sums of the calls that described it to libseccomp (memo.c).
type compiled struct {
	sums    [2]uint64
	program []byte
}

// Filters keeps compiled programs as sealed files in memory, by the hash of their profile, so that a start hands one
// to libcontainer's init as an open file. Compiling costs more than the rest of a start; a program is made once per
// profile and machine and kept in the cache folder, which belongs to root alone.
type Filters struct {
	mu       sync.Mutex // guards the rest, and the one memo of the process
	files    map[string]*os.File
	programs map[*os.File]*Program
}

// magic begins a kept program; the version goes up with the format.
const magic = "berth-bpf-1\n"

const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// Get gives the file for a profile. It belongs to Filters and stays open. Cache empty: nothing is kept on disk.
func (f *Filters) Get(profile *configs.Seccomp, cache string) (*os.File, error) {
	text, err := json.Marshal(profile)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s%s %s\n", magic, builtWith(), runtime.GOARCH)
	hash.Write(text)
	key := hex.EncodeToString(hash.Sum(nil))

	f.mu.Lock()
	defer f.mu.Unlock()
	if file := f.files[key]; file != nil {
		return file, nil
	}
	path := filepath.Join(cache, key+".bpf")
	data, err := read(cache, path)
	if err != nil {
		program, err := compile(profile)
		if err != nil {
			return nil, err
		}
		data = program.encode()
		if err := keep(cache, path, data); err != nil {
			return nil, err
		}
	}
	file, err := sealed("seccomp", data)
	if err != nil {
		return nil, err
	}
	if f.files == nil {
		f.files = map[string]*os.File{}
	}
	f.files[key] = file
	return file, nil
}

func keep(cache, path string, data []byte) error {
	if cache == "" {
		return nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, data, 0o600, false)
}

// read reads a kept program that nobody but root can have written. Any doubt is an error: the caller compiles.
func read(cache, path string) ([]byte, error) {
	if cache == "" {
		return nil, os.ErrNotExist
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || stat.Uid != 0 || info.Mode().Perm()&0o077 != 0 || info.Size() > 1<<20 {
		return nil, errors.New("kept seccomp program: not root's own file")
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	_, err = decode(data)
	return data, err
}

// encode is magic, checksum, sums, program.
func (c compiled) encode() []byte {
	body := binary.BigEndian.AppendUint64(nil, c.sums[0])
	body = binary.BigEndian.AppendUint64(body, c.sums[1])
	body = append(body, c.program...)
	sum := sha256.Sum256(body)
	return append(append([]byte(magic), sum[:]...), body...)
}

func decode(data []byte) (compiled, error) {
	rest, ok := bytes.CutPrefix(data, []byte(magic))
	// A program is a sequence of instructions of 8 bytes.
	if !ok || len(rest) <= sha256.Size+16 || (len(rest)-sha256.Size)%8 != 0 {
		return compiled{}, errors.New("kept seccomp program: broken")
	}
	body := rest[sha256.Size:]
	if sha256.Sum256(body) != [sha256.Size]byte(rest) {
		return compiled{}, errors.New("kept seccomp program: wrong checksum")
	}
	return compiled{
		sums:    [2]uint64{binary.BigEndian.Uint64(body), binary.BigEndian.Uint64(body[8:])},
		program: body[16:],
	}, nil
}

// sealed makes a file in memory that nobody can change any more.
func sealed(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), name)
	if _, err := file.Write(data); err != nil {
		file.Close()
		return nil, err
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		file.Close()
		return nil, fmt.Errorf("seal: %w", err)
	}
	return file, nil
}

// inherited is the descriptor of the first file that libcontainer passes to its init.
const inherited = 3

// Take runs in libcontainer's init, which by then may see the container's files instead of the host's: it takes
// the program out of the inherited descriptor only, and only if that is a sealed file. Then /dev/null closed on exec
// takes the descriptor's place, so that neither the program nor anything else is there for the container's process.
func Take() error {
	set, err := unix.FcntlInt(inherited, unix.F_GET_SEALS, 0)
	if err != nil || set&seals != seals {
		return nil // this container has no profile: the descriptor is another one
	}
	var stat unix.Stat_t
	if err := unix.Fstat(inherited, &stat); err != nil {
		return fmt.Errorf("seccomp program: %w", err)
	}
	data := make([]byte, stat.Size)
	n, err := unix.Pread(inherited, data, 0)
	if err != nil {
		return fmt.Errorf("seccomp program: %w", err)
	}
	program, err := decode(data[:n])
	if err != nil {
		return err
	}
	replay(program)
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		// The container has no /dev/null: an unlinked file in memory is as empty.
		if null, err = unix.MemfdCreate("empty", unix.MFD_CLOEXEC); err != nil {
			return fmt.Errorf("seccomp program: %w", err)
		}
	}
	defer unix.Close(null)
	return unix.Dup3(null, inherited, unix.O_CLOEXEC)
}
