package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	frameStdin  = 0
	frameStdout = 1
	frameStderr = 2
	frameSystem = 3
	frameHeader = 8
	maxSystem   = 64 << 10
)

// Split reads frames (stream number, three zeroes, length in big endian, bytes) and writes each to its stream until
// the end of src. A nil writer drops its stream. Frames of the daemon itself are errors.
func Split(stdout, stderr io.Writer, src io.Reader) error {
	if stdout == nil {
		stdout = io.Discard
	}
	if stderr == nil {
		stderr = io.Discard
	}
	head := make([]byte, frameHeader)
	buf := make([]byte, 32<<10)
	for {
		if _, err := io.ReadFull(src, head); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		size := int64(binary.BigEndian.Uint32(head[4:]))
		var to io.Writer
		switch head[0] {
		case frameStdin, frameStdout:
			to = stdout
		case frameStderr:
			to = stderr
		case frameSystem:
			text, err := io.ReadAll(io.LimitReader(src, min(size, maxSystem)))
			if err != nil {
				return err
			}
			return fmt.Errorf("error from daemon in stream: %s", text)
		default:
			return fmt.Errorf("unrecognized stream: %d", head[0])
		}
		if err := copyExactly(to, src, size, buf); err != nil {
			return err
		}
	}
}

func copyExactly(to io.Writer, src io.Reader, size int64, buf []byte) error {
	for size > 0 {
		n, err := src.Read(buf[:min(size, int64(len(buf)))])
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return werr
			}
			size -= int64(n)
		}
		if err != nil && size > 0 {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
