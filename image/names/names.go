// Package names keeps the table of names: which name points to which image.
package names

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/metadata/boltutil"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"

	"github.com/berth-engine/berth/core"
)

// Store is the table of names: which name points to which manifest or index. It is containerd's image store with
// a copy in memory, so that a look-up costs no transaction. All writes go through it.
type Store struct {
	db    *metadata.DB
	inner images.Store

	mu      sync.Mutex // guards writes and the rebuilding of current
	current atomic.Pointer[Index]
}

// Index is one state of the table. It is never changed once it is published.
type Index struct {
	ByName   map[string]images.Image
	ByTarget map[digest.Digest][]images.Image // sorted by name
	Targets  []digest.Digest                  // newest name first
}

// New opens the table that is in a metadata database.
func New(db *metadata.DB) *Store {
	return &Store{db: db, inner: metadata.NewImageStore(db)}
}

// Containerd is the table as containerd keeps it, for reading.
func (s *Store) Containerd() images.Store { return s.inner }

// Index gives the table as it is now.
func (s *Store) Index(ctx context.Context) (*Index, error) {
	if index := s.current.Load(); index != nil {
		return index, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locked(ctx)
}

// locked is Index for those who hold mu.
func (s *Store) locked(ctx context.Context) (*Index, error) {
	if index := s.current.Load(); index != nil {
		return index, nil
	}
	all, err := s.inner.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	slices.SortFunc(all, func(a, b images.Image) int { return strings.Compare(a.Name, b.Name) })
	index := &Index{ByName: make(map[string]images.Image, len(all)), ByTarget: make(map[digest.Digest][]images.Image, len(all))}
	for _, image := range all {
		index.ByName[image.Name] = image
		index.ByTarget[image.Target.Digest] = append(index.ByTarget[image.Target.Digest], image)
	}
	index.Targets = slices.Collect(maps.Keys(index.ByTarget))
	newest := func(target digest.Digest) (at int64) {
		for _, image := range index.ByTarget[target] {
			at = max(at, image.UpdatedAt.UnixNano())
		}
		return at
	}
	slices.SortFunc(index.Targets, func(a, b digest.Digest) int {
		if x, y := newest(a), newest(b); x != y {
			return int(min(1, max(-1, y-x)))
		}
		return strings.Compare(string(a), string(b))
	})
	s.current.Store(index)
	return index, nil
}

// write runs changes to the table in one transaction.
func (s *Store) write(ctx context.Context, change func(ctx context.Context, before *Index) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := s.locked(ctx)
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *bolt.Tx) error { return change(boltutil.WithTransaction(ctx, tx), before) })
	s.current.Store(nil)
	return err
}

// Set points a name at a target. The image that had the name becomes dangling when it was its last, and a target
// that was dangling is so no more. It reports what the name pointed at before.
func (s *Store) Set(ctx context.Context, image images.Image) (stored images.Image, before *ocispec.Descriptor, err error) {
	err = s.write(ctx, func(ctx context.Context, index *Index) error {
		old, exists := index.ByName[image.Name]
		var err error
		if exists {
			before = &old.Target
			stored, err = s.inner.Update(ctx, image)
		} else {
			stored, err = s.inner.Create(ctx, image)
		}
		if err != nil {
			return fmt.Errorf("name image %s: %w", Familiar(image.Name), err)
		}
		if IsDangling(image.Name) {
			return nil
		}
		if err := s.dropDangling(ctx, index, image.Target.Digest); err != nil {
			return err
		}
		if exists && old.Target.Digest != image.Target.Digest && len(index.ByTarget[old.Target.Digest]) == 1 {
			return s.keepDangling(ctx, old)
		}
		return nil
	})
	return stored, before, err
}

// keepDangling gives an image that loses its last name its private one.
func (s *Store) keepDangling(ctx context.Context, image images.Image) error {
	image.Name = DanglingName(image.Target.Digest)
	image.Labels = nil
	if _, err := s.inner.Create(ctx, image); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("keep image %s: %w", image.Target.Digest, err)
	}
	return nil
}

func (s *Store) dropDangling(ctx context.Context, index *Index, target digest.Digest) error {
	name := DanglingName(target)
	if _, exists := index.ByName[name]; !exists {
		return nil
	}
	if err := s.inner.Delete(ctx, name); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// Remove takes names away, all or none. With dangling the image stays, under its private name, when they were its last.
func (s *Store) Remove(ctx context.Context, names []string, dangling bool) error {
	return s.write(ctx, func(ctx context.Context, index *Index) error {
		lost := map[digest.Digest]int{}
		for _, name := range names {
			image, exists := index.ByName[name]
			if !exists {
				continue
			}
			if err := s.inner.Delete(ctx, name); err != nil && !errdefs.IsNotFound(err) {
				return fmt.Errorf("remove image name %s: %w", Familiar(name), err)
			}
			target := image.Target.Digest
			if lost[target]++; dangling && lost[target] == len(index.ByTarget[target]) {
				if err := s.keepDangling(ctx, image); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// DanglingPrefix, followed by "@" and the digest, is the private name of an image that lost its last name.
const DanglingPrefix = "moby-dangling"

// DanglingName is the private name of an image.
func DanglingName(target digest.Digest) string { return DanglingPrefix + "@" + target.String() }

// IsDangling reports whether a name is a private one.
func IsDangling(name string) bool { return strings.HasPrefix(name, DanglingPrefix+"@") }

// Familiar shortens a full name the way people write it: docker.io/library/busybox:latest is busybox:latest.
func Familiar(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(named)
}

// Parse reads a reference as people write it; "latest" is not added.
func Parse(ref string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, core.Invalid("%w", err)
	}
	return named, nil
}

// RepoTags says how the API shows the tagged names of one image.
func RepoTags(names []images.Image) (tags []string) {
	for _, image := range names {
		named, err := reference.ParseNormalizedNamed(image.Name)
		if err != nil || IsDangling(image.Name) {
			continue
		}
		if _, tagged := named.(reference.Tagged); tagged {
			tags = append(tags, reference.FamiliarString(named))
		}
	}
	return tags
}

// RepoDigests says how the API shows where one image can be had by its digest.
func RepoDigests(names []images.Image) (digests []string) {
	for _, image := range names {
		named, err := reference.ParseNormalizedNamed(image.Name)
		if err != nil || IsDangling(image.Name) {
			continue
		}
		entry := reference.FamiliarName(named) + "@" + image.Target.Digest.String()
		if !slices.Contains(digests, entry) {
			digests = append(digests, entry)
		}
	}
	return digests
}
