package archive

import (
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
)

// PackLayer copies a layer in a form that registries take.
func PackLayer(w io.Writer, r io.Reader) (mediaType string, diffID digest.Digest, err error) {
	buffered, format, err := sniff(r)
	if err != nil {
		return "", "", err
	}
	digester := digest.Canonical.Digester()
	switch format {
	case gzipped:
		mediaType, err = ocispec.MediaTypeImageLayerGzip, keep(w, digester.Hash(), buffered, format)
	case zstandard:
		mediaType, err = ocispec.MediaTypeImageLayerZstd, keep(w, digester.Hash(), buffered, format)
	default:
		mediaType, err = ocispec.MediaTypeImageLayerGzip, repack(w, digester.Hash(), buffered, format)
	}
	if err != nil {
		return "", "", core.Invalid("the root file system can't be read: %w", err)
	}
	return mediaType, digester.Digest(), nil
}

// keep copies compressed data as it is, and what is in it into the hash.
func keep(w, hash io.Writer, r io.Reader, format compression) error {
	raw := io.TeeReader(r, w)
	unpacked, err := open(raw, format)
	if err != nil {
		return err
	}
	defer unpacked.Close()
	if _, err := io.Copy(hash, unpacked); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, raw) // what is behind the end of the compressed data belongs to the blob, too
	return err
}

// repack copies data packed with gzip, and what is in it into the hash.
func repack(w, hash io.Writer, r io.Reader, format compression) error {
	unpacked, err := open(r, format)
	if err != nil {
		return err
	}
	defer unpacked.Close()
	return compress(w, io.TeeReader(unpacked, hash))
}

// Compress packs with gzip or zstd. Closing its writer ends the compressed data and leaves w open.
func Compress(w io.Writer, format string) (io.WriteCloser, error) {
	switch format {
	case "gzip":
		return gzipWriter(w)
	case "zstd":
		return zstd.NewWriter(w)
	}
	return nil, core.Invalid("unknown compression %q: gzip, zstd and none are known", format)
}

func gzipWriter(w io.Writer) (io.WriteCloser, error) {
	packer, err := pgzip.NewWriterLevel(w, pgzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	return packer, packer.SetConcurrency(1<<20, max(2, runtime.GOMAXPROCS(0)))
}

func compress(w io.Writer, r io.Reader) error {
	packer, err := gzipWriter(w)
	if err != nil {
		return err
	}
	if _, err := io.Copy(packer, r); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return packer.Close()
}
