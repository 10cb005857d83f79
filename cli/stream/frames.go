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

	// splitSize is how much is read at once. A log comes as frames of one line each: what one read brings of a stream
	// goes out in one write.
	splitSize = 256 << 10
	// largePiece is from where on a piece is written from where it lies: moving it would cost more than a write.
	largePiece = 16 << 10
)

// Split reads frames (stream number, three zeroes, length in big endian, bytes) and writes each to its stream until
// the end of src. A nil writer drops its stream. Frames of the daemon itself are errors.
func Split(stdout, stderr io.Writer, src io.Reader) error {
	s := splitter{streams: [4]io.Writer{stdout, stdout, stderr}, buffer: make([]byte, splitSize)}
	for {
		n, err := src.Read(s.buffer[s.filled:])
		s.filled += n
		if n > 0 {
			if err := s.split(); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) && (s.left > 0 || s.filled > 0 || s.system != nil):
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// splitter is the state between two reads.
type splitter struct {
	streams [4]io.Writer // by the number of the stream
	buffer  []byte
	filled  int // bytes of buffer that were read: after split, the beginning of a header

	left   int64 // bytes of the current frame that have not come yet
	number byte  // of its stream
	system []byte

	// begin to end of buffer is what waits to be written to the stream out.
	begin, end int
	out        byte
}

// split takes the frames in the buffer apart and writes what they hold.
func (s *splitter) split() error {
	at := 0
	for {
		if s.left == 0 {
			if s.filled-at < frameHeader {
				break
			}
			head := s.buffer[at : at+frameHeader]
			s.number, s.left = head[0], int64(binary.BigEndian.Uint32(head[4:]))
			at += frameHeader
			switch s.number {
			case frameStdin, frameStdout, frameStderr:
			case frameSystem:
				s.left = min(s.left, maxSystem)
				s.system = []byte{}
			default:
				return errors.Join(s.write(), fmt.Errorf("unrecognized stream: %d", s.number))
			}
		}
		n := int(min(s.left, int64(s.filled-at)))
		s.left -= int64(n)
		if err := s.piece(at, n); err != nil {
			return err
		}
		if at += n; s.left > 0 {
			break
		}
	}
	if err := s.write(); err != nil {
		return err
	}
	s.filled = copy(s.buffer, s.buffer[at:s.filled])
	return nil
}

// piece takes n bytes of the current frame that lie at a place of the buffer.
func (s *splitter) piece(at, n int) error {
	if s.number == frameSystem {
		if s.system = append(s.system, s.buffer[at:at+n]...); s.left == 0 {
			return errors.Join(s.write(), fmt.Errorf("error from daemon in stream: %s", s.system))
		}
		return nil
	}
	if s.number != s.out || n >= largePiece {
		if err := s.write(); err != nil {
			return err
		}
	}
	if s.begin == s.end {
		s.begin, s.end, s.out = at, at, s.number
	}
	if s.end != at {
		copy(s.buffer[s.end:], s.buffer[at:at+n])
	}
	s.end += n
	return nil
}

// write brings out what waits.
func (s *splitter) write() error {
	data := s.buffer[s.begin:s.end]
	s.begin, s.end = 0, 0
	if to := s.streams[s.out]; to != nil && len(data) > 0 {
		_, err := to.Write(data)
		return err
	}
	return nil
}
