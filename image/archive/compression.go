package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/ulikunitz/xz"

	"github.com/berth-engine/berth/core"
)

// compression is how a stream is packed.
type compression int

const (
	uncompressed compression = iota
	gzipped
	zstandard
	xzed
	bzipped
)

// magics are the first bytes of each format (RFC 1952, RFC 8878, the xz and bzip2 file formats); only ever read.
var magics = map[compression][]byte{
	gzipped:   {0x1f, 0x8b, 0x08},
	zstandard: {0x28, 0xb5, 0x2f, 0xfd},
	xzed:      {0xfd, '7', 'z', 'X', 'Z', 0x00},
	bzipped:   {'B', 'Z', 'h'},
}

// Decompress unpacks a stream in whatever format it is. The caller closes the result, which leaves the stream open.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	buffered, format, err := sniff(r)
	if err != nil {
		return nil, err
	}
	unpacked, err := open(buffered, format)
	if err != nil {
		return nil, core.Invalid("invalid compressed data: %w", err)
	}
	return unpacked, nil
}

// sniff finds out how a stream is packed, without losing its beginning.
func sniff(r io.Reader) (*bufio.Reader, compression, error) {
	buffered := bufio.NewReaderSize(r, 256<<10)
	head, err := buffered.Peek(6)
	if err != nil && err != io.EOF {
		return nil, uncompressed, err
	}
	return buffered, formatOf(head), nil
}

// formatOf tells the format by the first bytes.
func formatOf(head []byte) compression {
	for format, magic := range magics {
		if bytes.HasPrefix(head, magic) {
			return format
		}
	}
	return uncompressed
}

func open(r io.Reader, format compression) (io.ReadCloser, error) {
	switch format {
	case uncompressed:
		return io.NopCloser(r), nil
	case gzipped:
		return pgzip.NewReader(r)
	case zstandard:
		decoder, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		return decoder.IOReadCloser(), nil
	case xzed:
		decoder, err := xz.NewReader(r)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(decoder), nil
	case bzipped:
		return io.NopCloser(bzip2.NewReader(r)), nil
	}
	return nil, fmt.Errorf("unknown compression %d", format)
}
