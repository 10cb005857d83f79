// Package datagram moves the datagrams of an IPv4 UDP socket in batches: one call of the kernel for many of them
// (recvmmsg(2), sendmmsg(2)). Such a call costs what a single one does, which is most of what a short answer costs.
package datagram

import (
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes in bytes: of the longest datagram that is received whole, and of the longest that is sent.
const (
	MaxIn  = 1280
	MaxOut = 1232
)

// size is how many datagrams a batch holds.
const size = 32

// Batch is datagrams that were received together, and the answers to them.
type Batch struct {
	received int
	answered int

	in     [size][MaxIn]byte
	out    [size][MaxOut]byte
	from   [size]unix.RawSockaddrInet4
	inVec  [size]unix.Iovec
	outVec [size]unix.Iovec
	inMsg  [size]message
	outMsg [size]message
}

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
}

// batches are kept for all sockets: one that nobody writes to holds none.
var batches = sync.Pool{New: func() any {
	b := new(Batch)
	for i := range size {
		b.inVec[i].Base = &b.in[i][0]
		b.inVec[i].SetLen(MaxIn)
		b.inMsg[i].header.Name = (*byte)(unsafe.Pointer(&b.from[i]))
		b.inMsg[i].header.Iov = &b.inVec[i]
		b.inMsg[i].header.SetIovlen(1)
	}
	return b
}}

// Receive waits for datagrams and takes those that are there. The batch is given back with Release.
func Receive(conn syscall.RawConn) (b *Batch, err error) {
	var number int
	var failed syscall.Errno
	err = conn.Read(func(fd uintptr) bool {
		b = batches.Get().(*Batch)
		for i := range size {
			b.inMsg[i].header.Namelen = unix.SizeofSockaddrInet4
			b.inMsg[i].header.Flags = 0
		}
		number, failed = call(unix.SYS_RECVMMSG, fd, &b.inMsg[0], size)
		if failed == 0 {
			return true
		}
		b.Release()
		b = nil
		return failed != syscall.EAGAIN
	})
	if err == nil && failed != 0 {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	b.received, b.answered = number, 0
	return b, nil
}

// call is one of the two calls; it does not wait.
func call(trap, fd uintptr, first *message, count int) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.Syscall6(trap, fd, uintptr(unsafe.Pointer(first)), uintptr(count), unix.MSG_DONTWAIT, 0, 0)
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

// Release gives the batch back. What it holds must not be used any more.
func (b *Batch) Release() { batches.Put(b) }

// Len is how many datagrams there are.
func (b *Batch) Len() int { return b.received }

// Data is a datagram, and whether that is all of it. It belongs to the batch.
func (b *Batch) Data(i int) (data []byte, whole bool) {
	return b.in[i][:b.inMsg[i].length], b.inMsg[i].header.Flags&unix.MSG_TRUNC == 0
}

// From is who sent a datagram.
func (b *Batch) From(i int) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&b.from[i].Port))
	return netip.AddrPortFrom(netip.AddrFrom4(b.from[i].Addr), uint16(port[0])<<8|uint16(port[1]))
}

// Room is where an answer can be written, empty, with a capacity of MaxOut.
func (b *Batch) Room(i int) []byte { return b.out[i][:0] }

// Answer sends what was written into the Room of a datagram back to where that came from, with the next Send.
func (b *Batch) Answer(i int, data []byte) {
	vec, msg := &b.outVec[b.answered], &b.outMsg[b.answered]
	vec.Base = &data[0]
	vec.SetLen(len(data))
	msg.header = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&b.from[i])), Namelen: unix.SizeofSockaddrInet4, Iov: vec}
	msg.header.SetIovlen(1)
	b.answered++
}

// Send sends the answers. One that the kernel refuses is lost, as datagrams are.
func (b *Batch) Send(conn syscall.RawConn) error {
	sent := 0
	return conn.Write(func(fd uintptr) bool {
		for sent < b.answered {
			n, errno := call(unix.SYS_SENDMMSG, fd, &b.outMsg[sent], b.answered-sent)
			switch {
			case errno == syscall.EAGAIN:
				return false
			case errno != 0:
				n = 1
			}
			sent += n
		}
		return true
	})
}
