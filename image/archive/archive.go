// Package archive reads the tars that images are saved in: docker save's, old and new, and OCI layouts, in whatever
// compression. What is in them goes into a content store; the rest is never trusted.
package archive

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
)

// archive is what was found in the tar of saved images. Nothing of it is ever a path on the disk: names of members
// are only keys of a table, so a name that climbs out of the archive leads nowhere.
type archive struct {
	isLayout  bool
	index     ocispec.Index
	manifests []dockerManifest
	members   map[string]ocispec.Descriptor // content by clean name
	links     map[string]string             // links among members: docker save makes them for layers that repeat
}

// dockerManifest is one image in docker save's manifest.json.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// tableLimit bounds the archive's tables, in bytes.
const tableLimit = 16 << 20

// maxMembers bounds the members of an archive; 127 layers in three files each are far from it.
const maxMembers = 100_000

// blob finds a member's content, through links.
func (a *archive) blob(name string) (ocispec.Descriptor, error) {
	clean := path.Clean(name)
	for range 10 {
		if desc, ok := a.members[clean]; ok {
			return desc, nil
		}
		target, linked := a.links[clean]
		if !linked {
			break
		}
		clean = target
	}
	return ocispec.Descriptor{}, core.Invalid("the archive is incomplete: it has no file %q, which its manifest.json names", name)
}

// readArchive takes a tar apart. Members that no image can be made of are skipped.
func (o *Store) readArchive(ctx context.Context, r io.Reader) (*archive, error) {
	a := &archive{members: map[string]ocispec.Descriptor{}, links: map[string]string{}}
	from := &source{Reader: r}
	reader := tar.NewReader(from)
	for count := 0; ; count++ {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			if count == 0 {
				return nil, core.Invalid("unrecognized image format: this is not a tar archive: %w", err)
			}
			return nil, core.Invalid("the archive is damaged: %w", err)
		}
		if count > maxMembers {
			return nil, core.Invalid("the archive has more than %d members", maxMembers)
		}
		if err := o.readMember(ctx, a, header, reader); err != nil {
			if from.failed || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, core.Invalid("the archive is damaged: member %q: %w", header.Name, err)
			}
			return nil, fmt.Errorf("archive member %q: %w", header.Name, err)
		}
	}
}

// source remembers that the archive could not be read on: what then fails is not the fault of a disk of ours.
type source struct {
	io.Reader
	failed bool
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.failed = s.failed || err != nil && !errors.Is(err, io.EOF)
	return n, err
}

func (o *Store) readMember(ctx context.Context, a *archive, header *tar.Header, r io.Reader) error {
	name := path.Clean(header.Name)
	switch header.Typeflag {
	case tar.TypeSymlink:
		a.links[name] = path.Join(path.Dir(name), header.Linkname)
		return nil
	case tar.TypeLink:
		a.links[name] = path.Clean(header.Linkname)
		return nil
	case tar.TypeReg:
	default:
		return nil
	}
	switch {
	case name == ocispec.ImageLayoutFile:
		var layout ocispec.ImageLayout
		if err := decode(r, header, &layout); err != nil {
			return err
		}
		if layout.Version != ocispec.ImageLayoutVersion {
			return core.Invalid("unsupported OCI layout version %q", layout.Version)
		}
		a.isLayout = true
		return nil
	case name == ocispec.ImageIndexFile:
		return decode(r, header, &a.index)
	case name == "manifest.json":
		return decode(r, header, &a.manifests)
	case skippable(name):
		return nil
	}
	desc, err := o.ingest(ctx, name, r, header.Size)
	if err != nil {
		return err
	}
	a.members[name] = desc
	return nil
}

// skippable names the files of old archives that say nothing that manifest.json does not.
func skippable(name string) bool {
	base := path.Base(name)
	return name == "repositories" || base == "VERSION" || base == "json" && strings.Contains(name, "/")
}

func decode(r io.Reader, header *tar.Header, into any) error {
	if header.Size > tableLimit {
		return core.Invalid("too large: %d bytes", header.Size)
	}
	if err := json.NewDecoder(r).Decode(into); err != nil {
		return core.Invalid("not valid JSON: %w", err)
	}
	return nil
}

// ingest puts a member into the content store. In an OCI layout its name says what its digest must be.
func (o *Store) ingest(ctx context.Context, name string, r io.Reader, size int64) (ocispec.Descriptor, error) {
	var expected digest.Digest
	if rest, ok := strings.CutPrefix(name, ocispec.ImageBlobsDir+"/"); ok {
		algorithm, hex, _ := strings.Cut(rest, "/")
		expected = digest.NewDigestFromEncoded(digest.Algorithm(algorithm), hex)
		if err := expected.Validate(); err != nil {
			return ocispec.Descriptor{}, core.Invalid("invalid digest: %w", err)
		}
		if info, err := o.Content.Info(ctx, expected); err == nil && info.Size == size {
			return o.verifyKnown(ctx, expected, r, size)
		}
	}
	ref := "load-" + rand.Text()
	writer, err := content.OpenWriter(ctx, o.Content, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{Size: size}))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer writer.Close()
	written, err := io.Copy(writer, r)
	if err == nil && written != size {
		err = io.ErrUnexpectedEOF
	}
	actual := writer.Digest()
	if expected != "" && expected.Algorithm() == actual.Algorithm() && actual != expected && err == nil {
		err = core.Invalid("content does not match its digest: it is %s", actual)
	}
	if err != nil {
		return ocispec.Descriptor{}, errors.Join(err, o.Content.Abort(context.WithoutCancel(ctx), ref))
	}
	if err := writer.Commit(ctx, size, actual); err != nil && !errdefs.IsAlreadyExists(err) {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{Digest: actual, Size: size}, nil
}

// verifyKnown reads past a blob that is here already, and takes it into the lease. The archive's copy is still
// checked: a damaged archive is refused whatever is here.
func (o *Store) verifyKnown(ctx context.Context, expected digest.Digest, r io.Reader, size int64) (ocispec.Descriptor, error) {
	verifier := expected.Verifier()
	if _, err := io.Copy(verifier, r); err != nil {
		return ocispec.Descriptor{}, err
	}
	if !verifier.Verified() {
		return ocispec.Descriptor{}, core.Invalid("content does not match its digest")
	}
	if err := o.Protect(ctx, expected); err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{Digest: expected, Size: size}, nil
}
