package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"golang.org/x/sync/errgroup"

	"github.com/berth-engine/berth/core"
)

// smallestLimit is what the build cache may take even on a small disk, in bytes.
const smallestLimit = 10_000_000_000

// policy is what is thrown away without being asked, after builds: first what is cheap to make again and has not been
// used for two days, then what nobody used for two months, then, oldest first, what exceeds the limit.
func policy(root string, limit int64) []client.PruneInfo {
	if limit == 0 {
		limit = smallestLimit
		var disk syscall.Statfs_t
		if syscall.Statfs(root, &disk) == nil {
			limit = max(limit, int64(disk.Blocks)*disk.Bsize/10)
		}
	}
	return []client.PruneInfo{
		{
			Filter:       []string{"type==source.local,type==exec.cachemount,type==source.git.checkout"},
			KeepDuration: 48 * time.Hour,
			MaxUsedSpace: max(limit/7, 512_000_000),
		},
		{KeepDuration: 60 * 24 * time.Hour, MaxUsedSpace: limit},
		{MaxUsedSpace: limit},
		{All: true, MaxUsedSpace: limit},
	}
}

// Usage lists the build cache. Before the first build of this daemon it is read from disk like any other time.
func (b *Builder) Usage(ctx context.Context) ([]core.BuildCacheRecord, error) {
	if !b.used() {
		return nil, nil
	}
	e, err := b.start(ctx)
	if err != nil {
		return nil, err
	}
	response, err := e.controller.DiskUsage(ctx, &controlapi.DiskUsageRequest{})
	if err != nil {
		return nil, core.Internal("error getting build cache usage: %w", err)
	}
	records := make([]core.BuildCacheRecord, 0, len(response.Record))
	for _, r := range response.Record {
		record := core.BuildCacheRecord{
			ID: r.ID, Parents: r.Parents, Type: r.RecordType, Description: r.Description,
			InUse: r.InUse, Shared: r.Shared, Size: r.Size,
			CreatedAt: r.CreatedAt.AsTime(), UsageCount: int(r.UsageCount),
		}
		if r.LastUsedAt != nil {
			at := r.LastUsedAt.AsTime()
			record.LastUsedAt = &at
		}
		records = append(records, record)
	}
	return records, nil
}

// used says whether there ever was a build on this data root. Where there was none, looking at the cache need not start
// BuildKit.
func (b *Builder) used() bool {
	_, err := os.Stat(filepath.Join(b.options.Root, linksFile))
	return err == nil
}

// Prune removes what no running build uses: with all everything, else what belongs to no image; keepBytes is how much
// may stay.
func (b *Builder) Prune(ctx context.Context, all bool, keepBytes int64, filters core.Filters) (core.Pruned, error) {
	request := &controlapi.PruneRequest{All: all, ReservedSpace: keepBytes}
	if err := translate(filters, request, time.Now()); err != nil {
		return core.Pruned{}, err
	}
	pruned, err := b.prune(ctx, request)
	if err == nil {
		b.options.Events(pruned.Event("builder"))
	}
	return pruned, err
}

func (b *Builder) prune(ctx context.Context, request *controlapi.PruneRequest) (core.Pruned, error) {
	if !b.used() {
		return core.Pruned{}, nil
	}
	e, err := b.start(ctx)
	if err != nil {
		return core.Pruned{}, err
	}
	records := make(chan *controlapi.UsageRecord)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(records)
		return e.controller.Prune(request, pruneStream{stream[*controlapi.UsageRecord]{ctx: ctx, out: records}})
	})
	var pruned core.Pruned
	for record := range records {
		pruned.Deleted = append(pruned.Deleted, record.ID)
		pruned.Reclaimed += uint64(record.Size)
	}
	if err := group.Wait(); err != nil {
		return pruned, core.Internal("failed to prune build cache: %w", err)
	}
	return pruned, nil
}

// translate puts Docker's filters into BuildKit's request.
func translate(filters core.Filters, request *controlapi.PruneRequest, now time.Time) error {
	var terms []string
	for key, values := range filters {
		switch key {
		case "until", "unused-for":
			if len(values) != 1 || (key == "until" && len(filters["unused-for"]) > 0) {
				return core.Invalid("filters expect only one value")
			}
			age, err := since(values[0], now)
			if err != nil {
				return core.Invalid("%q filter expects a duration (e.g., '24h') or a timestamp: %w", key, err)
			}
			request.KeepDuration = int64(age)
		case "id", "parent", "type", "description", "inuse", "shared", "private":
			switch {
			case len(values) == 0 || values[0] == "":
				terms = append(terms, key)
			case len(values) > 1:
				return core.Invalid("filters expect only one value")
			case key == "id":
				terms = append(terms, fmt.Sprintf("id~=%s", values[0]))
			default:
				terms = append(terms, fmt.Sprintf("%s==%s", key, values[0]))
			}
		case "label", "label!":
			// Cache records carry no labels; Docker takes the filter and ignores it.
		default:
			return core.Invalid("invalid filter '%s'", key)
		}
	}
	if len(terms) > 0 {
		request.Filter = []string{strings.Join(terms, ",")}
	}
	return nil
}

// since reads a duration, a UNIX time or an RFC 3339 time and says how long ago that is.
func since(text string, now time.Time) (time.Duration, error) {
	if duration, err := time.ParseDuration(text); err == nil {
		return duration, nil
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return now.Sub(time.Unix(seconds, 0)), nil
	}
	moment, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, err
	}
	return now.Sub(moment), nil
}

// sweep removes what steps left behind when the daemon was killed: their mounts and bundles. The shims of those steps
// ended by themselves.
func sweep(options Options) error {
	for folder, mountpoint := range map[string]string{stepsRoot(options): "rootfs", mountsRoot(options): ""} {
		left, err := os.ReadDir(folder)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for _, entry := range left {
			path := filepath.Join(folder, entry.Name())
			if entry.IsDir() {
				if err := mount.UnmountAll(filepath.Join(path, mountpoint), syscall.MNT_DETACH); err != nil && !os.IsNotExist(err) {
					return fmt.Errorf("unmount what a killed build left: %w", err)
				}
			}
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("remove what a killed build left: %w", err)
			}
		}
	}
	return nil
}

// mountsRoot is where BuildKit mounts layers to look into them.
func mountsRoot(options Options) string { return filepath.Join(options.Root, "cachemounts") }
