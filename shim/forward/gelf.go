package forward

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"

	"github.com/berth-engine/berth/core/logopt"
	"github.com/berth-engine/berth/lib/jsonlog"
)

// Bounds of chunked GELF: a datagram fits into what Ethernet carries, and a message into 128 of them.
const (
	chunkSize   = 1420
	chunkHeader = 12
	maxChunks   = 128
)

type gelf struct {
	*logopt.GELFServer
	head []byte // of a message, up to its text
	tail []byte // its further fields and its end
}

func newGELF(s *logopt.GELFServer) *gelf {
	d := &gelf{GELFServer: s}
	d.head = jsonlog.AppendEscaped([]byte(`{"version":"1.1","host":"`), []byte(s.Hostname))
	d.head = append(d.head, `","short_message":"`...)
	d.tail = []byte("}")
	if fields := bytes.TrimSpace(s.Fields); len(fields) > 2 { // an object that has fields
		d.tail = append([]byte{','}, fields[1:]...)
	}
	if s.Network == "tcp" {
		d.tail = append(d.tail, 0)
	}
	return d
}

func (d *gelf) encode(buffer []byte, r *record) []byte {
	if len(r.line) == 0 {
		return buffer
	}
	buffer = append(buffer, d.head...)
	buffer = jsonlog.AppendEscaped(buffer, r.line)
	buffer = append(buffer, `","timestamp":`...)
	buffer = strconv.AppendInt(buffer, r.at.Unix(), 10)
	millis := r.at.Nanosecond() / 1e6
	buffer = append(buffer, '.', byte('0'+millis/100), byte('0'+millis/10%10), byte('0'+millis%10))
	buffer = append(buffer, `,"level":`...)
	buffer = strconv.AppendInt(buffer, int64(severity(r.stderr)), 10)
	return append(buffer, d.tail...)
}

func (d *gelf) dial(ctx context.Context) (link, error) {
	conn, err := connect(ctx, d.Address, "")
	if err != nil {
		return nil, fmt.Errorf("gelf: cannot connect to GELF endpoint: %s %w", d.Address.Address, err)
	}
	if d.Network == "tcp" {
		return newStream(conn), nil
	}
	c := &chunks{}
	if c.pack, err = packer(d.Compression, d.Level, &c.packed); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &packets{Conn: conn, cut: c.cut}, nil
}

// compressor is what gzip and zlib have in common.
type compressor interface {
	io.WriteCloser
	Reset(io.Writer)
}

func packer(kind string, level int, to io.Writer) (compressor, error) {
	switch kind {
	case "gzip":
		return gzip.NewWriterLevel(to, level)
	case "zlib":
		return zlib.NewWriterLevel(to, level)
	}
	return nil, nil
}

// chunks compresses messages and cuts long ones.
type chunks struct {
	pack   compressor // nil: none
	packed bytes.Buffer
}

var errTooLong = errors.New("the message is longer than GELF can send in datagrams")

// cut gives the datagrams of a message; they are valid until the next call.
func (c *chunks) cut(message []byte) ([][]byte, error) {
	if c.pack != nil {
		c.packed.Reset()
		c.pack.Reset(&c.packed)
		_, err := c.pack.Write(message)
		if err = errors.Join(err, c.pack.Close()); err != nil {
			return nil, err
		}
		message = c.packed.Bytes()
	}
	if len(message) <= chunkSize {
		return [][]byte{message}, nil
	}
	const room = chunkSize - chunkHeader
	count := (len(message) + room - 1) / room
	if count > maxChunks {
		return nil, errTooLong
	}
	header := binary.BigEndian.AppendUint64([]byte{0x1e, 0x0f}, rand.Uint64())
	pieces := make([][]byte, count)
	for i := range pieces {
		pieces[i] = append(append(bytes.Clone(header), byte(i), byte(count)), message[i*room:min(len(message), (i+1)*room)]...)
	}
	return pieces, nil
}
