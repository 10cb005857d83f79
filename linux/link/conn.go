// Package link changes interfaces, addresses, routes and neighbours through rtnetlink.
//
// Changes are collected in a Batch and sent in one system call; the kernel works them off in order and answers each.
// A Conn is bound to the network namespace of the thread that dialled it, for ever, and keeps that namespace alive
// until it is closed.
package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Conn is a socket to rtnetlink. It may be used by several goroutines.
type Conn struct {
	mu  sync.Mutex // guards all below: one exchange at a time
	fd  int
	seq uint32
	buf []byte
}

// Dial opens a socket in the network namespace of the calling thread.
func Dial() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	// Answers without a copy of the question, and with the kernel's sentence where it has one. Old kernels that
	// know neither do without.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind a netlink socket: %w", err)
	}
	return &Conn{fd: fd, buf: make([]byte, 1<<16)}, nil
}

// Close lets go of the socket and with it of the namespace. Closing twice is harmless.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// Batch is a list of changes.
type Batch struct {
	requests []*nl.NetlinkRequest
	whats    []string
	ignored  []error
}

func (b *Batch) add(what string, ignore error, typ, flags int, parts ...nl.NetlinkRequestData) {
	req := nl.NewNetlinkRequest(typ, flags|unix.NLM_F_ACK)
	for _, p := range parts {
		req.AddData(p)
	}
	b.requests, b.whats, b.ignored = append(b.requests, req), append(b.whats, what), append(b.ignored, ignore)
}

// Apply sends the batch. The kernel goes on behind a change that failed, so the caller undoes the whole batch on an
// error; the error is that of the first failure.
func (c *Conn) Apply(ctx context.Context, b *Batch) error {
	if len(b.requests) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return fmt.Errorf("netlink: %w", unix.EBADF)
	}
	first := c.seq + 1
	var out []byte
	for _, req := range b.requests {
		c.seq++
		req.Seq = c.seq
		message := req.Serialize()
		out = append(out, message...)
		for len(out)%unix.NLMSG_ALIGNTO != 0 {
			out = append(out, 0)
		}
	}
	if err := unix.Sendto(c.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink: send: %w", err)
	}
	return c.acks(b, first)
}

// Index asks for the number of an interface of the namespace that the Conn is bound to, whatever that of the thread is.
func (c *Conn) Index(link string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return 0, fmt.Errorf("netlink: %w", unix.EBADF)
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(name(link))
	c.seq++
	req.Seq = c.seq
	if err := unix.Sendto(c.fd, req.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("netlink: send: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("netlink: receive: %w", err)
		}
		if n < unix.SizeofNlMsghdr+8 || binary.NativeEndian.Uint32(c.buf[8:]) != c.seq {
			continue
		}
		body := c.buf[unix.SizeofNlMsghdr:n]
		if binary.NativeEndian.Uint16(c.buf[4:]) != unix.NLMSG_ERROR {
			return int(binary.NativeEndian.Uint32(body[4:])), nil // struct ifinfomsg
		}
		if err := answer(body); errors.Is(err, unix.ENODEV) {
			return 0, fmt.Errorf("%s: %w", link, ErrNotFound)
		} else if err != nil {
			return 0, fmt.Errorf("look for the interface %s: %w", link, err)
		}
	}
}

// acks reads one answer per change.
func (c *Conn) acks(b *Batch, first uint32) error {
	var failed error
	for missing := len(b.requests); missing > 0; {
		n, _, err := unix.Recvfrom(c.fd, c.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("netlink: receive: %w", err)
		}
		for data := c.buf[:n]; len(data) >= unix.SizeofNlMsghdr; {
			size := int(binary.NativeEndian.Uint32(data))
			if size < unix.SizeofNlMsghdr || size > len(data) {
				return fmt.Errorf("netlink: an answer of %d bytes that says it has %d", len(data), size)
			}
			typ, seq := binary.NativeEndian.Uint16(data[4:]), binary.NativeEndian.Uint32(data[8:])
			body := data[unix.SizeofNlMsghdr:size]
			if i := int(seq - first); typ == unix.NLMSG_ERROR && i >= 0 && i < len(b.requests) && len(body) >= 4 {
				missing--
				if err := answer(body); err != nil && failed == nil && !errors.Is(err, b.ignored[i]) {
					failed = fmt.Errorf("%s: %w", b.whats[i], err)
				}
			}
			data = data[min(len(data), (size+3)&^3):]
		}
	}
	return failed
}

// answer is the error in the body of NLMSG_ERROR, with the kernel's sentence where there is one.
func answer(body []byte) error {
	code := int32(binary.NativeEndian.Uint32(body))
	if code == 0 {
		return nil
	}
	errno := unix.Errno(-code)
	if len(body) < 4+unix.SizeofNlMsghdr {
		return errno
	}
	for attrs := body[4+unix.SizeofNlMsghdr:]; len(attrs) >= unix.SizeofNlAttr; {
		size, typ := int(binary.NativeEndian.Uint16(attrs)), binary.NativeEndian.Uint16(attrs[2:])
		if size < unix.SizeofNlAttr || size > len(attrs) {
			break
		}
		if typ == unix.NLMSGERR_ATTR_MSG {
			return fmt.Errorf("%w (%s)", errno, unix.ByteSliceToString(attrs[unix.SizeofNlAttr:size]))
		}
		attrs = attrs[min(len(attrs), (size+3)&^3):]
	}
	return errno
}
