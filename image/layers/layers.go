// Package layers keeps the writable layers of containers and knows what they stand on.
package layers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/core/snapshots"
	continuity "github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/quota"
)

// Layers are the writable layers of containers. A layer is a folder of LayersRoot that has the container's ID:
//
//	upper/          what the container changed
//	work/           overlayfs' own
//	chain=sha256:…  an empty file: the chain of read-only layers below
//	image=sha256:…  an empty file: the image that the chain belongs to; made last, so without it the folder is half made
//
// What a layer stands on is in the names of files and not in a file, since names are in the file system's journal: a
// power failure loses the layer or keeps it, but never leaves it empty, and no fsync is needed. The read-only layers
// are not asked of the snapshotter per container: the list of their folders is looked up once per image.
type Layers struct {
	settings Options
	trash    *trash
	options  []string // further options of every overlay mount

	// collecting excludes a collection while a chain is looked up. Lock order: collecting, then mu.
	collecting sync.RWMutex

	mu     sync.Mutex
	known  map[core.ContainerID]Use
	chains map[digest.Digest]*chain // by chain ID
}

// Options of Open.
type Options struct {
	Root  string // the layers
	Links string // short links to the folders of unpacked layers
	Empty string // an empty folder, which an image without layers is mounted from
	// Snapshotter has the unpacked layers; Context puts into a context what it needs.
	Snapshotter snapshots.Snapshotter
	Context     func(context.Context) context.Context
	// Unpack unpacks an image.
	Unpack func(ctx context.Context, image digest.Digest, platform core.Platform) error
	// Quota sets the limits of layers, where the file system can.
	Quota *quota.Projects
	// Released is told that the last container on an image is gone; it must not block.
	Released func(image digest.Digest)
	Log      *slog.Logger
}

// Use is a chain of layers of an image that containers stand on.
type Use struct{ Image, Chain digest.Digest }

// chain is a stack of unpacked layers.
type chain struct {
	lower    []string // short paths, top first
	mode     os.FileMode
	uid, gid int
	users    int
}

// TrashName is the folder of Root in which removed layers wait for their end.
const TrashName = ".trash"

const (
	chainPrefix = "chain="
	imagePrefix = "image="
)

// Open finds the layers that exist. Half-made ones stay: the engine sees them in List and decides.
func Open(settings Options) (*Layers, error) {
	trash, err := openTrash(filepath.Join(settings.Root, TrashName), settings.Quota, settings.Log)
	if err != nil {
		return nil, err
	}
	l := &Layers{settings: settings, trash: trash, known: map[core.ContainerID]Use{}, chains: map[digest.Digest]*chain{}, options: overlayOptions()}
	ids, err := l.list()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		use, err := readUse(l.dir(id))
		if err != nil {
			return nil, err
		}
		if use.Image != "" {
			l.known[id] = use
		}
	}
	return l, nil
}

// overlayOptions turns off features of overlayfs that make layers depend on where they are (index), or on more than
// what is in their folders (the others: diff and commit read those), where the kernel has them.
func overlayOptions() []string {
	var options []string
	for _, feature := range []string{"index", "metacopy", "redirect_dir"} {
		if _, err := os.Stat("/sys/module/overlay/parameters/" + feature); err == nil {
			options = append(options, feature+"=off")
		}
	}
	return options
}

func (l *Layers) dir(id core.ContainerID) string {
	return filepath.Join(l.settings.Root, string(id))
}

// Create makes an empty writable layer on the image and keeps the image's content alive while it exists. An image
// that is not unpacked yet is unpacked first. Creating twice is harmless.
func (l *Layers) Create(ctx context.Context, id core.ContainerID, image core.Image) error {
	if !validID(id) {
		return core.Invalid("invalid container ID %q", id)
	}
	l.mu.Lock()
	_, exists := l.known[id]
	l.mu.Unlock()
	if exists {
		return nil
	}
	use := Use{Image: digest.Digest(image.ID), Chain: ChainOf(image.DiffIDs)}
	below, err := l.take(l.settings.Context(ctx), id, use, image.Platform)
	if err != nil {
		return err
	}
	if err := l.makeFolders(id, use, below); err != nil {
		l.release(id)
		return fmt.Errorf("writable layer of container %s: %w", id.Short(), errors.Join(err, os.RemoveAll(l.dir(id))))
	}
	return nil
}

func (l *Layers) makeFolders(id core.ContainerID, use Use, below *chain) error {
	dir := l.dir(id)
	upper := filepath.Join(dir, "upper")
	for _, path := range []string{dir, upper, filepath.Join(dir, "work")} {
		if err := os.Mkdir(path, 0o710); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if below.uid != 0 || below.gid != 0 {
		if err := os.Chown(upper, below.uid, below.gid); err != nil {
			return err
		}
	}
	if err := os.Chmod(upper, below.mode); err != nil {
		return err
	}
	for _, name := range []string{chainPrefix + use.Chain.String(), imagePrefix + use.Image.String()} {
		mark, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		if err := mark.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Limit bounds how many bytes what is written to a layer may take. It is called once, before anything is.
func (l *Layers) Limit(_ context.Context, id core.ContainerID, bytes int64) error {
	dir := l.dir(id)
	if err := l.settings.Quota.Limit(uint64(bytes), dir, filepath.Join(dir, "upper"), filepath.Join(dir, "work")); err != nil {
		return fmt.Errorf("writable layer of container %s: %w", id.Short(), err)
	}
	return nil
}

// take looks the chain up and counts the container as its user. A chain that is in memory is there until a
// collection takes it out, which counts users first; so only the first look at a chain must exclude collections.
func (l *Layers) take(ctx context.Context, id core.ContainerID, use Use, platform core.Platform) (*chain, error) {
	l.mu.Lock()
	if below, ok := l.chains[use.Chain]; ok {
		l.count(id, use, below)
		l.mu.Unlock()
		return below, nil
	}
	l.mu.Unlock()

	l.collecting.RLock()
	defer l.collecting.RUnlock()
	below, err := l.chain(ctx, use.Chain)
	if errdefs.IsNotFound(err) {
		if err := l.settings.Unpack(ctx, use.Image, platform); err != nil {
			return nil, err
		}
		below, err = l.chain(ctx, use.Chain)
	}
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(id, use, below)
	return below, nil
}

func (l *Layers) count(id core.ContainerID, use Use, below *chain) {
	if _, counted := l.known[id]; counted {
		return
	}
	l.known[id] = use
	below.users++
}

// chain gives the folders of a chain, from memory or, the first time, from the snapshotter.
func (l *Layers) chain(ctx context.Context, id digest.Digest) (*chain, error) {
	l.mu.Lock()
	found, ok := l.chains[id]
	l.mu.Unlock()
	if ok {
		return found, nil
	}
	made, err := l.readChain(ctx, id)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.chains[id]; ok {
		return found, nil
	}
	for _, use := range l.known { // containers of before the daemon started
		if use.Chain == id {
			made.users++
		}
	}
	l.chains[id] = made
	return made, nil
}

// upperdirLabel is where the snapshotter says which folder a layer was unpacked to.
const upperdirLabel = "containerd.io/snapshot/overlay.upperdir"

func (l *Layers) readChain(ctx context.Context, id digest.Digest) (*chain, error) {
	if id == EmptyChain {
		return &chain{lower: []string{l.settings.Empty}, mode: 0o755}, nil
	}
	made := &chain{}
	for name := id.String(); name != ""; {
		info, err := l.settings.Snapshotter.Stat(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", name, err)
		}
		folder := info.Labels[upperdirLabel]
		if len(made.lower) == 0 {
			stat, err := os.Stat(folder)
			if err != nil {
				return nil, fmt.Errorf("layer %s: %w", name, err)
			}
			made.mode = stat.Mode()
			if owner, ok := stat.Sys().(*syscall.Stat_t); ok {
				made.uid, made.gid = int(owner.Uid), int(owner.Gid)
			}
		}
		short, err := l.shortPath(folder)
		if err != nil {
			return nil, err
		}
		made.lower = append(made.lower, short)
		name = info.Parent
	}
	return made, nil
}

// shortPath makes a link to a layer's folder whose path is short: the options of a mount must fit into a page.
func (l *Layers) shortPath(folder string) (string, error) {
	number, err := strconv.ParseUint(filepath.Base(filepath.Dir(folder)), 10, 64)
	if err != nil {
		return folder, nil // not numbered: long, but right
	}
	link := filepath.Join(l.settings.Links, strconv.FormatUint(number, 36))
	target, err := filepath.Rel(filepath.Dir(link), folder)
	if err != nil {
		return "", err
	}
	if old, err := os.Readlink(link); err == nil && old == target {
		return link, nil
	}
	if err := os.Symlink(target, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return link, nil
}

// Mounts says how the root file system is mounted. The paths are short, so that 127 layers fit into the page that
// mount(2) reads when the data root is where it usually is; elsewhere it takes linux/mount, which knows another way.
func (l *Layers) Mounts(ctx context.Context, id core.ContainerID) ([]core.FSMount, error) {
	l.mu.Lock()
	use, exists := l.known[id]
	below := l.chains[use.Chain]
	l.mu.Unlock()
	if !exists {
		return nil, core.NotFound("container %s has no writable layer", id.Short())
	}
	if below == nil {
		l.collecting.RLock()
		defer l.collecting.RUnlock()
		var err error
		if below, err = l.chain(l.settings.Context(ctx), use.Chain); err != nil {
			return nil, fmt.Errorf("layers below container %s: %w", id.Short(), err)
		}
	}
	dir := l.dir(id)
	options := append([]string{"lowerdir=" + strings.Join(below.lower, ":"), "upperdir=" + dir + "/upper", "workdir=" + dir + "/work"}, l.options...)
	return []core.FSMount{{Type: "overlay", Source: "overlay", Options: options}}, nil
}

// Remove deletes the layer; one that is not there is no error. The folder leaves at once and is deleted later.
func (l *Layers) Remove(_ context.Context, id core.ContainerID) error {
	if !validID(id) {
		return core.Invalid("invalid container ID %q", id)
	}
	if err := l.trash.throw(l.dir(id)); err != nil {
		return fmt.Errorf("remove writable layer of container %s: %w", id.Short(), err)
	}
	l.release(id)
	return nil
}

// release stops counting the container as a user of its chain.
func (l *Layers) release(id core.ContainerID) {
	l.mu.Lock()
	use, exists := l.known[id]
	delete(l.known, id)
	last := exists
	for _, other := range l.known {
		last = last && other.Image != use.Image
	}
	if below := l.chains[use.Chain]; exists && below != nil {
		below.users--
	}
	l.mu.Unlock()
	if last {
		l.settings.Released(use.Image)
	}
}

// Usage is the size in bytes of the writable layer, and of everything below it.
func (l *Layers) Usage(ctx context.Context, id core.ContainerID) (rw, root int64, err error) {
	ctx = l.settings.Context(ctx)
	l.mu.Lock()
	use, exists := l.known[id]
	l.mu.Unlock()
	if !exists {
		return 0, 0, core.NotFound("container %s has no writable layer", id.Short())
	}
	upper, err := continuity.DiskUsage(ctx, filepath.Join(l.dir(id), "upper"))
	if err != nil {
		return 0, 0, fmt.Errorf("measure container %s: %w", id.Short(), err)
	}
	root, err = l.ChainSize(ctx, use.Chain)
	if err != nil {
		return 0, 0, err
	}
	return upper.Size, root, nil
}

// List names the layers that exist, half-made ones too.
func (l *Layers) List(context.Context) ([]core.ContainerID, error) { return l.list() }

func (l *Layers) list() (ids []core.ContainerID, err error) {
	entries, err := os.ReadDir(l.settings.Root)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if id := core.ContainerID(entry.Name()); entry.IsDir() && validID(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Collect runs a collection of garbage while no chain is looked up. It is told what containers stand on. Chains that
// nobody uses are forgotten first, since the collection may remove them.
func (l *Layers) Collect(collect func(used []Use) error) error {
	l.collecting.Lock()
	defer l.collecting.Unlock()
	return collect(l.inUse())
}

func (l *Layers) inUse() (used []Use) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, chain := range l.chains {
		if chain.users == 0 {
			delete(l.chains, id)
		}
	}
	seen := map[Use]bool{}
	for _, use := range l.known {
		if !seen[use] {
			seen[use] = true
			used = append(used, use)
		}
	}
	return used
}

// Users says how many containers stand on each image.
func (l *Layers) Users() map[core.ImageID]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	users := map[core.ImageID]int{}
	for _, use := range l.known {
		users[core.ImageID(use.Image)]++
	}
	return users
}

func readUse(dir string) (use Use, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return use, err
	}
	for _, entry := range entries {
		if chain, ok := strings.CutPrefix(entry.Name(), chainPrefix); ok {
			use.Chain = digest.Digest(chain)
		}
		if image, ok := strings.CutPrefix(entry.Name(), imagePrefix); ok {
			use.Image = digest.Digest(image)
		}
	}
	return use, nil
}

// validID keeps folders' names to what the engine hands out, so that no path is ever made of anything else.
func validID(id core.ContainerID) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// Run deletes removed layers until the context ends.
func (l *Layers) Run(ctx context.Context) { l.trash.run(ctx) }
