package build

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// magics are the first bytes of the compressions that Docker takes for a context.
var magics = []struct {
	begin []byte
	open  func(io.Reader) (io.ReadCloser, error)
}{
	{[]byte{0x1f, 0x8b, 0x08}, func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }},
	{[]byte("BZh"), func(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(bzip2.NewReader(r)), nil }},
	{[]byte{0xfd, '7', 'z', 'X', 'Z', 0x00}, func(r io.Reader) (io.ReadCloser, error) {
		plain, err := xz.NewReader(r)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(plain), nil
	}},
	{[]byte{0x28, 0xb5, 0x2f, 0xfd}, func(r io.Reader) (io.ReadCloser, error) {
		plain, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return plain.IOReadCloser(), nil
	}},
}

// decompress recognizes gzip, bzip2, xz and zstd by their first bytes; anything else is taken as it is.
func decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	begin, err := buffered.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, magic := range magics {
		if bytes.HasPrefix(begin, magic.begin) {
			return magic.open(buffered)
		}
	}
	return io.NopCloser(buffered), nil
}
