// Package quota limits how much the files below a folder may take, by project quotas: every file has a project number,
// which it inherits from its folder, and the file system counts and limits the blocks of each project. XFS (mounted with
// pquota) and ext4 (feature project, mounted with prjquota) have them. What is spoken to the kernel is the language of XFS,
// which both understand: quotactl_fd(2) with the commands of linux/dqblk_xfs.h, and FS_IOC_FSSETXATTR of linux/fs.h.
package quota

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// first is the lowest project that is given out. Administrators and Docker, which takes the lowest numbers that it finds
// free in its own folders, have theirs far below.
const first = 1 << 20

// Projects gives folders projects with a limit. It keeps no book: which numbers are taken is asked of the kernel, and the
// number of a folder is an attribute of the folder. One is shared by all who set limits in a process.
type Projects struct {
	mu       sync.Mutex // between the choice of a number and the limit that makes it taken
	reserved map[uint32]bool
}

// New reads which projects the administrator has names or folders for (projid(5), projects(5)); they are never given out.
func New() *Projects {
	p := &Projects{reserved: map[uint32]bool{}}
	for path, column := range map[string]int{"/etc/projid": 1, "/etc/projects": 0} {
		file, err := os.Open(path)
		if err != nil {
			continue // most machines have none
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			fields := strings.SplitN(lines.Text(), ":", 2)
			if len(fields) != 2 {
				continue
			}
			if n, err := strconv.ParseUint(strings.TrimSpace(fields[column]), 10, 32); err == nil {
				p.reserved[uint32(n)] = true
			}
		}
		_ = file.Close() // only read
	}
	return p
}

// Supported reports whether limits can be set on the file system that a folder is on: it counts the blocks of projects and
// enforces their limits.
func (p *Projects) Supported(folder string) bool {
	f, err := open(folder)
	if err != nil {
		return false
	}
	defer f.Close()
	// struct fs_quota_statv, of which the first half is of interest, in a buffer that is larger than it ever was.
	state := [64]uint32{0: 1}
	if err := control(f, getState, 0, unsafe.Pointer(&state)); err != nil {
		return false
	}
	const projectsEnforced = 1 << 5
	flags := uint16(state[0] >> 16)
	return flags&projectsEnforced != 0
}

// Limit gives folders, which must be empty, one project of their own whose files may take so many bytes together.
func (p *Projects) Limit(bytes uint64, folders ...string) error {
	if len(folders) == 0 {
		return nil
	}
	f, err := open(folders[0])
	if err != nil {
		return err
	}
	defer f.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	project, err := p.free(f)
	if err != nil {
		return fmt.Errorf("quota of %s: find a free project: %w", folders[0], err)
	}
	if err := setLimit(f, project, bytes); err != nil {
		return fmt.Errorf("quota of %s: %w", folders[0], err)
	}
	for _, folder := range folders {
		if err := assign(folder, project); err != nil {
			return errors.Join(fmt.Errorf("quota of %s: %w", folder, err), setLimit(f, project, 0))
		}
	}
	return nil
}

// Of gives the limit of a folder and what is taken of it, in bytes; both are zero for one without a project.
func (p *Projects) Of(folder string) (limit, used uint64, err error) {
	f, err := open(folder)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	attributes, err := getAttributes(f)
	if err != nil || attributes.project == 0 {
		return 0, 0, ignoreUnsupported(err)
	}
	entry := entry{version: 1}
	if err := control(f, getQuota, attributes.project, unsafe.Pointer(&entry)); err != nil {
		return 0, 0, fmt.Errorf("quota of %s: %w", folder, err)
	}
	return entry.blockHard * blockSize, entry.blocks * blockSize, nil
}

// Release takes the limit of a folder's project away, for a folder that is about to be deleted: with its last file the
// kernel forgets the project. A folder whose project is none of ours, or that is gone, is left alone.
func (p *Projects) Release(folder string) error {
	f, err := open(folder)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	attributes, err := getAttributes(f)
	if err != nil || attributes.project < first {
		return ignoreUnsupported(err)
	}
	if err := setLimit(f, attributes.project, 0); err != nil {
		return fmt.Errorf("quota of %s: %w", folder, err)
	}
	return nil
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// free finds a project that has neither files nor limits.
func (p *Projects) free(f *os.File) (uint32, error) {
	for project := uint32(first); project >= first; project++ {
		entry := entry{version: 1}
		err := control(f, getNext, project, unsafe.Pointer(&entry))
		taken := err == nil && entry.id == project
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
			return 0, err
		}
		if !taken && !p.reserved[project] {
			return project, nil
		}
	}
	return 0, errors.New("all of them are taken")
}

// open opens a folder; a file system can't be asked about one that is only a path (O_PATH).
func open(folder string) (*os.File, error) {
	return os.OpenFile(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// entry is struct fs_disk_quota. Limits and use are in units of 512 bytes.
type entry struct {
	version, flags       int8
	fields               uint16
	id                   uint32
	blockHard, blockSoft uint64
	inodeHard, inodeSoft uint64
	blocks, inodes       uint64
	inodeTimer           int32
	blockTimer           int32
	inodeWarns           uint16
	blockWarns           uint16
	timersHigh           [4]int8
	realtime             [3]uint64
	realtimeTimer        int32
	realtimeWarns        uint16
	_                    [10]byte
}

const (
	blockSize      = 512
	projectQuota   = 2 // PRJQUOTA, and FS_PROJ_QUOTA of an entry
	fieldBlockSoft = 1 << 2
	fieldBlockHard = 1 << 3

	getQuota = 'X'<<8 + 3
	setQuota = 'X'<<8 + 4
	getState = 'X'<<8 + 8
	getNext  = 'X'<<8 + 9
)

func setLimit(f *os.File, project uint32, bytes uint64) error {
	blocks := (bytes + blockSize - 1) / blockSize
	entry := entry{version: 1, flags: projectQuota, fields: fieldBlockHard | fieldBlockSoft, id: project, blockHard: blocks, blockSoft: blocks}
	return control(f, setQuota, project, unsafe.Pointer(&entry))
}

// control is quotactl_fd(2).
func control(f *os.File, command int, id uint32, argument unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, f.Fd(), uintptr(uint32(command)<<8|projectQuota), uintptr(id), uintptr(argument), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// attributes is struct fsxattr.
type attributes struct {
	flags, extentSize, extents, project, cowExtentSize uint32
	_                                                  [8]byte
}

const (
	getFileAttributes = 0x801c581f // FS_IOC_FSGETXATTR
	setFileAttributes = 0x401c5820 // FS_IOC_FSSETXATTR
	inheritProject    = 0x200      // FS_XFLAG_PROJINHERIT
)

func getAttributes(f *os.File) (a attributes, err error) {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), getFileAttributes, uintptr(unsafe.Pointer(&a))); errno != 0 {
		err = errno
	}
	return a, err
}

// assign puts a folder, and what will be made in it, into a project.
func assign(folder string, project uint32) error {
	f, err := open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	a, err := getAttributes(f)
	if err != nil {
		return err
	}
	a.project, a.flags = project, a.flags|inheritProject
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), setFileAttributes, uintptr(unsafe.Pointer(&a))); errno != 0 {
		return errno
	}
	return nil
}
