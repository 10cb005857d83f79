package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// maxMessage bounds what a peer can make us keep in memory; a Start with a long custom seccomp profile has 100 KB.
const maxMessage = 16 << 20

// maxFiles is the most files that can travel with one message (SCM_MAX_FD of the kernel).
const maxFiles = 253

// header is the length of the body and the number of files, both big-endian 32-bit numbers.
const header = 8

// Conn sends and receives messages. Send may be called from several goroutines, Receive from one.
type Conn struct {
	unix *net.UnixConn
	mu   sync.Mutex // guards writing
}

// NewConn speaks over a stream socket, which belongs to the Conn from then on.
func NewConn(unix *net.UnixConn) *Conn { return &Conn{unix: unix} }

// FileConn speaks over an open stream socket. It closes the file.
func FileConn(file *os.File) (*Conn, error) {
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("control socket: not a UNIX socket")
	}
	return NewConn(unix), nil
}

// Close ends the conversation; a Receive in progress returns an error.
func (c *Conn) Close() error { return c.unix.Close() }

// Send writes a message with its files. The files stay open and the caller's.
func (c *Conn) Send(m *Message, files ...*os.File) error {
	if len(files) > maxFiles {
		return fmt.Errorf("send: %d files are more than fit in one message", len(files))
	}
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if len(body) > maxMessage {
		return fmt.Errorf("send: a message of %d bytes is too long", len(body))
	}
	data := make([]byte, header, header+len(body))
	binary.BigEndian.PutUint32(data, uint32(len(body)))
	binary.BigEndian.PutUint32(data[4:], uint32(len(files)))
	data = append(data, body...)
	rights, release, err := rightsOf(files)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	defer release()

	c.mu.Lock()
	defer c.mu.Unlock()
	// The files go with the first bytes; a stream socket may take less than all of the rest at once.
	n, _, err := c.unix.WriteMsgUnix(data, rights, nil)
	if err == nil && n < len(data) {
		_, err = c.unix.Write(data[n:])
	}
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// rightsOf packs descriptors of the files. It takes them with SyscallConn, since File.Fd would make a socket that
// the client still uses blocking.
func rightsOf(files []*os.File) (rights []byte, release func(), err error) {
	fds := make([]int, 0, len(files))
	release = func() {
		for _, fd := range fds {
			syscall.Close(fd)
		}
	}
	for _, file := range files {
		raw, err := file.SyscallConn()
		if err != nil {
			release()
			return nil, nil, err
		}
		var dup int
		var dupErr error
		err = raw.Control(func(fd uintptr) {
			r, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
			if errno != 0 {
				dupErr = errno
			}
			dup = int(r)
		})
		if err = errors.Join(err, dupErr); err != nil {
			release()
			return nil, nil, err
		}
		fds = append(fds, dup)
	}
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	return rights, release, nil
}

// Receive waits for the next message. The files belong to the caller. io.EOF: the peer is gone.
func (c *Conn) Receive() (*Message, []*os.File, error) {
	var head [header]byte
	files, err := c.readHeader(head[:])
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	size, count := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:])
	if size > maxMessage || int(count) != len(files) {
		closeAll(files)
		return nil, nil, fmt.Errorf("receive: broken header: %d bytes, %d of %d files", size, len(files), count)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.unix, body); err != nil {
		closeAll(files)
		return nil, nil, fmt.Errorf("receive: %w", err)
	}
	m := &Message{}
	if err := json.Unmarshal(body, m); err != nil {
		closeAll(files)
		return nil, nil, fmt.Errorf("receive: %w", err)
	}
	return m, files, nil
}

func (c *Conn) readHeader(head []byte) (files []*os.File, err error) {
	oob := make([]byte, syscall.CmsgSpace(4*maxFiles))
	for got := 0; got < len(head); {
		n, oobn, flags, _, err := c.unix.ReadMsgUnix(head[got:], oob)
		if oobn > 0 {
			more, ferr := filesOf(oob[:oobn])
			files = append(files, more...)
			err = errors.Join(err, ferr)
		}
		switch {
		case err != nil:
			return files, fmt.Errorf("receive: %w", err)
		case n == 0 && got == 0:
			return files, io.EOF
		case n == 0:
			return files, io.ErrUnexpectedEOF
		case flags&syscall.MSG_CTRUNC != 0:
			return files, errors.New("receive: files were cut off (too many open files?)")
		}
		got += n
	}
	return files, nil
}

func filesOf(oob []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Pair makes a connected pair of sockets, both closed on exec.
func Pair() (a, b *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}
