package image

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
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	bolt "go.etcd.io/bbolt"

	"github.com/berth-engine/berth/core"
)

// nameStore is the table of names: which name points to which manifest or index. It is containerd's image store with
// a copy in memory, so that a look-up costs no transaction. All writes go through it.
type nameStore struct {
	db    *metadata.DB
	inner images.Store

	mu      sync.Mutex // guards writes and the rebuilding of current
	current atomic.Pointer[nameIndex]
}

// nameIndex is one state of the table. It is never changed once it is published.
type nameIndex struct {
	byName   map[string]images.Image
	byTarget map[digest.Digest][]images.Image // sorted by name
	targets  []digest.Digest                  // newest name first
}

func newNameStore(db *metadata.DB) *nameStore {
	return &nameStore{db: db, inner: metadata.NewImageStore(db)}
}

// index gives the table as it is now.
func (s *nameStore) index(ctx context.Context) (*nameIndex, error) {
	if index := s.current.Load(); index != nil {
		return index, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locked(ctx)
}

// locked is index for those who hold mu.
func (s *nameStore) locked(ctx context.Context) (*nameIndex, error) {
	if index := s.current.Load(); index != nil {
		return index, nil
	}
	all, err := s.inner.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	slices.SortFunc(all, func(a, b images.Image) int { return strings.Compare(a.Name, b.Name) })
	index := &nameIndex{byName: make(map[string]images.Image, len(all)), byTarget: make(map[digest.Digest][]images.Image, len(all))}
	for _, image := range all {
		index.byName[image.Name] = image
		index.byTarget[image.Target.Digest] = append(index.byTarget[image.Target.Digest], image)
	}
	index.targets = slices.Collect(maps.Keys(index.byTarget))
	newest := func(target digest.Digest) (at int64) {
		for _, image := range index.byTarget[target] {
			at = max(at, image.UpdatedAt.UnixNano())
		}
		return at
	}
	slices.SortFunc(index.targets, func(a, b digest.Digest) int {
		if x, y := newest(a), newest(b); x != y {
			return int(min(1, max(-1, y-x)))
		}
		return strings.Compare(string(a), string(b))
	})
	s.current.Store(index)
	return index, nil
}

// write runs changes to the table in one transaction.
func (s *nameStore) write(ctx context.Context, change func(ctx context.Context, before *nameIndex) error) error {
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

// set points a name at a target. The image that had the name becomes dangling when it was its last, and a target
// that was dangling is so no more. It reports what the name pointed at before.
func (s *nameStore) set(ctx context.Context, image images.Image) (stored images.Image, before *ocispec.Descriptor, err error) {
	err = s.write(ctx, func(ctx context.Context, index *nameIndex) error {
		old, exists := index.byName[image.Name]
		var err error
		if exists {
			before = &old.Target
			stored, err = s.inner.Update(ctx, image)
		} else {
			stored, err = s.inner.Create(ctx, image)
		}
		if err != nil {
			return fmt.Errorf("name image %s: %w", familiar(image.Name), err)
		}
		if isDangling(image.Name) {
			return nil
		}
		if err := s.dropDangling(ctx, index, image.Target.Digest); err != nil {
			return err
		}
		if exists && old.Target.Digest != image.Target.Digest && len(index.byTarget[old.Target.Digest]) == 1 {
			return s.keepDangling(ctx, old)
		}
		return nil
	})
	return stored, before, err
}

// keepDangling gives an image that loses its last name its private one.
func (s *nameStore) keepDangling(ctx context.Context, image images.Image) error {
	image.Name = danglingName(image.Target.Digest)
	image.Labels = nil
	if _, err := s.inner.Create(ctx, image); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("keep image %s: %w", image.Target.Digest, err)
	}
	return nil
}

func (s *nameStore) dropDangling(ctx context.Context, index *nameIndex, target digest.Digest) error {
	name := danglingName(target)
	if _, exists := index.byName[name]; !exists {
		return nil
	}
	if err := s.inner.Delete(ctx, name); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// remove takes names away, all or none. With dangling the image stays, under its private name, when they were its last.
func (s *nameStore) remove(ctx context.Context, names []string, dangling bool) error {
	return s.write(ctx, func(ctx context.Context, index *nameIndex) error {
		lost := map[digest.Digest]int{}
		for _, name := range names {
			image, exists := index.byName[name]
			if !exists {
				continue
			}
			if err := s.inner.Delete(ctx, name); err != nil && !errdefs.IsNotFound(err) {
				return fmt.Errorf("remove image name %s: %w", familiar(name), err)
			}
			target := image.Target.Digest
			if lost[target]++; dangling && lost[target] == len(index.byTarget[target]) {
				if err := s.keepDangling(ctx, image); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// hookedStore is the table of names for BuildKit: containerd's interface, our bookkeeping.
type hookedStore struct{ o *Organ }

// Get finds an image by its full name.
func (h hookedStore) Get(ctx context.Context, name string) (images.Image, error) {
	return h.o.names.inner.Get(namespaces.WithNamespace(ctx, Namespace), name)
}

// List lists images by containerd's filters.
func (h hookedStore) List(ctx context.Context, filters ...string) ([]images.Image, error) {
	return h.o.names.inner.List(namespaces.WithNamespace(ctx, Namespace), filters...)
}

// Create names a new image.
func (h hookedStore) Create(ctx context.Context, image images.Image) (images.Image, error) {
	ctx = h.o.context(ctx)
	index, err := h.o.names.index(ctx)
	if err != nil {
		return images.Image{}, err
	}
	if _, exists := index.byName[image.Name]; exists {
		return images.Image{}, fmt.Errorf("image %q: %w", image.Name, errdefs.ErrAlreadyExists)
	}
	return h.set(ctx, image)
}

// Update points a name elsewhere.
func (h hookedStore) Update(ctx context.Context, image images.Image, fields ...string) (images.Image, error) {
	ctx = h.o.context(ctx)
	index, err := h.o.names.index(ctx)
	if err != nil {
		return images.Image{}, err
	}
	old, exists := index.byName[image.Name]
	if !exists {
		return images.Image{}, fmt.Errorf("image %q: %w", image.Name, errdefs.ErrNotFound)
	}
	if len(fields) > 0 && !slices.ContainsFunc(fields, func(field string) bool { return strings.HasPrefix(field, "target") }) {
		image.Target = old.Target
	}
	return h.set(ctx, image)
}

func (h hookedStore) set(ctx context.Context, image images.Image) (images.Image, error) {
	stored, _, err := h.o.names.set(ctx, image)
	if err != nil {
		return images.Image{}, err
	}
	h.o.forgetParsed()
	if !isDangling(image.Name) {
		h.o.event("tag", string(image.Target.Digest), familiar(image.Name))
	}
	return stored, nil
}

// Delete takes a name away; without other names the image is garbage.
func (h hookedStore) Delete(ctx context.Context, name string, _ ...images.DeleteOpt) error {
	return h.o.names.remove(h.o.context(ctx), []string{name}, false)
}

func danglingName(target digest.Digest) string { return DanglingPrefix + "@" + target.String() }

func isDangling(name string) bool { return strings.HasPrefix(name, DanglingPrefix+"@") }

// familiar shortens a full name the way people write it: docker.io/library/busybox:latest is busybox:latest.
func familiar(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(named)
}

// parse reads a reference as people write it; "latest" is not added.
func parse(ref string) (reference.Named, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, core.Invalid("%w", err)
	}
	return named, nil
}

// repoTags and repoDigests say how the API shows the names of one image.
func repoTags(names []images.Image) (tags []string) {
	for _, image := range names {
		named, err := reference.ParseNormalizedNamed(image.Name)
		if err != nil || isDangling(image.Name) {
			continue
		}
		if _, tagged := named.(reference.Tagged); tagged {
			tags = append(tags, reference.FamiliarString(named))
		}
	}
	return tags
}

func repoDigests(names []images.Image) (digests []string) {
	for _, image := range names {
		named, err := reference.ParseNormalizedNamed(image.Name)
		if err != nil || isDangling(image.Name) {
			continue
		}
		entry := reference.FamiliarName(named) + "@" + image.Target.Digest.String()
		if !slices.Contains(digests, entry) {
			digests = append(digests, entry)
		}
	}
	return digests
}
