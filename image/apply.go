package image

import (
	"context"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	tarball "github.com/containerd/containerd/v2/pkg/archive"
	"github.com/moby/sys/userns"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/image/archive"
)

// pipelined unpacks layers with reading, decompressing and hashing on one processor and writing files on another.
// The unpacking itself, and what keeps hostile layers inside their root, is containerd's. What is out of the
// ordinary (encrypted layers, other mounts than overlayfs', user namespaces) goes the way that containerd goes.
type pipelined struct {
	blobs    content.Provider
	ordinary diff.Applier
}

// Apply unpacks a layer where the mounts lead to and says what it was when decompressed.
func (a pipelined) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	var config diff.ApplyConfig
	for _, option := range opts {
		if err := option(ctx, desc, &config); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	folder, options, known := destination(mounts)
	if !known || config.SyncFs || len(config.ProcessorPayloads) > 0 || !isPlainLayer(desc.MediaType) || userns.RunningInUserNS() {
		return a.ordinary.Apply(ctx, desc, mounts, opts...)
	}
	blob, err := a.blobs.ReaderAt(ctx, desc)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer blob.Close()
	counted := &countingReader{Reader: content.NewReader(blob), report: func(current int64) {
		if config.Progress != nil {
			config.Progress(current)
		}
	}}
	unpacked, err := archive.Decompress(counted)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	digester := digest.Canonical.Digester()
	ahead := readAhead(io.TeeReader(unpacked, digester.Hash()))
	_, err = tarball.Apply(ctx, folder, ahead, options...)
	if err == nil {
		_, err = io.Copy(io.Discard, ahead) // padding behind the end of the tar is part of the digest
	}
	size := ahead.stop()
	if closeErr := unpacked.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: size, Digest: digester.Digest()}, nil
}

// destination is the folder that a snapshot's mounts would write to, and how whiteouts are written there.
func destination(mounts []mount.Mount) (folder string, options []tarball.ApplyOpt, known bool) {
	if len(mounts) != 1 {
		return "", nil, false
	}
	switch m := mounts[0]; m.Type {
	case "bind": // the lowest layer: there is nothing that a whiteout could hide
		return m.Source, nil, !m.ReadOnly()
	case "overlay":
		var lower []string
		for _, option := range m.Options {
			if value, ok := strings.CutPrefix(option, "upperdir="); ok {
				folder = value
			}
			if value, ok := strings.CutPrefix(option, "lowerdir="); ok {
				lower = strings.Split(value, ":")
			}
		}
		return folder, []tarball.ApplyOpt{tarball.WithConvertWhiteout(tarball.OverlayConvertWhiteout), tarball.WithParents(lower)}, folder != ""
	}
	return "", nil, false
}

// isPlainLayer knows the layers that are a tar, compressed with gzip or zstd or not.
func isPlainLayer(mediaType string) bool {
	switch mediaType {
	case ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd,
		"application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.diff.tar.zstd":
		return true
	}
	return false
}

const (
	aheadBuffers    = 16
	aheadBufferSize = 64 << 10
)

// aheadReader reads from a stream in a goroutine of its own, a megabyte ahead of its user.
type aheadReader struct {
	full    chan []byte // closed at the end of the stream; from then on err and size hold still
	free    chan []byte
	done    chan struct{} // closed by stop
	current []byte
	buffer  []byte // that current is the rest of
	err     error
	size    int64
}

func readAhead(r io.Reader) *aheadReader {
	a := &aheadReader{full: make(chan []byte, aheadBuffers), free: make(chan []byte, aheadBuffers), done: make(chan struct{})}
	for range aheadBuffers {
		a.free <- make([]byte, aheadBufferSize)
	}
	go a.fill(r)
	return a
}

func (a *aheadReader) fill(r io.Reader) {
	defer close(a.full)
	for a.err == nil {
		var buffer []byte
		select {
		case buffer = <-a.free:
		case <-a.done:
			a.err = io.ErrClosedPipe
			return
		}
		n := 0
		for n < len(buffer) && a.err == nil {
			var read int
			read, a.err = r.Read(buffer[n:])
			n += read
		}
		a.size += int64(n)
		if n > 0 {
			a.full <- buffer[:n] // there is room for all buffers that there are
		}
	}
}

// Read gives what was read ahead, then the error that ended the stream.
func (a *aheadReader) Read(p []byte) (int, error) {
	if len(a.current) == 0 {
		if a.buffer != nil {
			a.free <- a.buffer[:cap(a.buffer)]
			a.buffer = nil
		}
		next, more := <-a.full
		if !more {
			return 0, a.err
		}
		a.buffer, a.current = next, next
	}
	n := copy(p, a.current)
	a.current = a.current[n:]
	return n, nil
}

// stop ends the goroutine, waits for it and says how many bytes it read. Nobody may read any more.
func (a *aheadReader) stop() (size int64) {
	close(a.done)
	for range a.full {
	}
	return a.size
}
