package core

import (
	"io"
	"net"
	"time"
)

// Streams connects a client with a container's standard streams.
type Streams struct {
	Stdin, Stdout, Stderr bool
	// Framed puts Docker's 8-byte header before each piece of output (stdout and stderr on one connection,
	// no terminal); false: raw bytes.
	Framed bool
	// DetachKeys is the sequence of bytes that ends the attachment and leaves the container running.
	// Only looked for in the input of a terminal; empty: none.
	DetachKeys []byte
	// Conn carries both directions. Attach owns it: it is closed when the attachment ends. Its write side is
	// closed when the output ends; end of file from the client closes the container's stdin.
	Conn net.Conn
	// Early are bytes of input that were read from Conn before it was handed over.
	Early []byte
}

// LogOptions select lines of a container's log.
type LogOptions struct {
	Stdout, Stderr bool
	Since, Until   time.Time // zero: no bound
	Tail           int       // lines from the end; negative: all
	Follow         bool
	Timestamps     bool
	Details        bool
}

// LogLine is a line, or a part of one that was longer than 16 KiB, as a container wrote it.
type LogLine struct {
	Stderr  bool
	Time    time.Time
	Line    []byte // with its line feed where it had one
	Attrs   map[string]string
	Partial bool
}

// LogReader gives the lines in order. Next returns io.EOF at the end (with Follow: when the container ended or was
// removed and all was read). Line is valid until the next call of either.
type LogReader interface {
	Next() (LogLine, error)
	// Buffered says that the next Next neither reads a file nor waits.
	Buffered() bool
	io.Closer
}
