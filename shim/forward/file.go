package forward

import (
	"context"
	"encoding/binary"
	"time"
)

// File is a log file that the shim writes itself.
type File interface {
	Append(stderr bool, at time.Time, line []byte) error
	Flush() error
}

// fileDriver writes records into a file, from the buffer in front of it.
type fileDriver struct{ file File }

// encode keeps a record as it came: stream, time, and the line, whose line feed only a part or the last line lacks.
func (d fileDriver) encode(buffer []byte, r *record) []byte {
	var stream byte
	if r.stderr {
		stream = 1
	}
	buffer = binary.BigEndian.AppendUint64(append(buffer, stream), uint64(r.at.UnixNano()))
	buffer = append(buffer, r.line...)
	if r.feed {
		buffer = append(buffer, '\n')
	}
	return buffer
}

const fileHeader = 9

func (d fileDriver) dial(context.Context) (link, error) { return fileLink(d), nil }

type fileLink fileDriver

func (l fileLink) send(data []byte, ends []int) (int, error) {
	begin := 0
	for _, end := range ends {
		r := data[begin:end]
		at := time.Unix(0, int64(binary.BigEndian.Uint64(r[1:])))
		// A full disk costs records, as it does without a buffer: trying again would not make room.
		if err := l.file.Append(r[0] == 1, at, r[fileHeader:]); err != nil {
			return len(ends), l.file.Flush()
		}
		begin = end
	}
	return len(ends), l.file.Flush()
}

// Close leaves the file to its owner.
func (l fileLink) Close() error { return nil }
