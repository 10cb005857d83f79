package system

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/container"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/image"
	"github.com/berth-engine/berth/cli/network"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/volume"
)

func newUsage(s *session.Session) *cobra.Command {
	var verbose, asJSON bool
	var text string
	cmd := &cobra.Command{
		Use:               "df [OPTIONS]",
		Short:             "Show disk usage",
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				text = "json"
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if verbose {
				query.Set("verbose", "1")
			}
			var usage system.DiskUsage
			if err := api.Get(cmd.Context(), "/system/df", query, &usage); err != nil {
				return err
			}
			if verbose {
				return writeDetails(s.Out, text, usage)
			}
			return format.Rows(format.Table{Out: s.Out, Format: text, Default: "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
				Headers: format.Headers{"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}}, usageRows(usage))
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Show detailed information on space usage")
	format.Flag(cmd.Flags(), &text, &asJSON)
	return cmd
}

type usageRow struct {
	kind                             string
	total, active, size, reclaimable int64
}

func usageRows(u system.DiskUsage) []usageRow {
	rows := []usageRow{{kind: "Images"}, {kind: "Containers"}, {kind: "Local Volumes"}, {kind: "Build Cache"}}
	if d := u.ImageUsage; d != nil {
		rows[0] = usageRow{"Images", d.TotalCount, d.ActiveCount, d.TotalSize, d.Reclaimable}
	}
	if d := u.ContainerUsage; d != nil {
		rows[1] = usageRow{"Containers", d.TotalCount, d.ActiveCount, d.TotalSize, d.Reclaimable}
	}
	if d := u.VolumeUsage; d != nil {
		rows[2] = usageRow{"Local Volumes", d.TotalCount, d.ActiveCount, d.TotalSize, d.Reclaimable}
	}
	if d := u.BuildCacheUsage; d != nil {
		rows[3] = usageRow{"Build Cache", d.TotalCount, d.ActiveCount, d.TotalSize, d.Reclaimable}
	}
	return rows
}

// Type of the things that are counted.
func (r usageRow) Type() string { return r.kind }

// TotalCount is how many there are.
func (r usageRow) TotalCount() string { return strconv.FormatInt(r.total, 10) }

// Active is how many are in use.
func (r usageRow) Active() string { return strconv.FormatInt(r.active, 10) }

// Size of all of them.
func (r usageRow) Size() string { return units.HumanSize(float64(r.size)) }

// Reclaimable is what a prune would free, with its share.
func (r usageRow) Reclaimable() string {
	text := units.HumanSize(float64(r.reclaimable))
	if r.size > 0 && r.kind != "Build Cache" {
		text += fmt.Sprintf(" (%d%%)", r.reclaimable*100/r.size)
	}
	return text
}

func writeDetails(out io.Writer, text string, u system.DiskUsage) error {
	if text == "json" {
		return format.One(out, "{{json .}}", u)
	}
	if text != "" && text != "table" {
		return format.One(out, text, u)
	}
	now := time.Now()
	fmt.Fprint(out, "Images space usage:\n\n")
	if d := u.ImageUsage; d != nil {
		if err := format.Rows(format.Table{Out: out, Headers: image.Headers(), Default: "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}"},
			image.Rows(d.Items, true, false, now)); err != nil {
			return err
		}
	}
	fmt.Fprint(out, "\nContainers space usage:\n\n")
	if d := u.ContainerUsage; d != nil {
		if err := format.Rows(format.Table{Out: out, Headers: container.Headers(), Default: "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}"},
			container.Rows(d.Items, true, now)); err != nil {
			return err
		}
	}
	fmt.Fprint(out, "\nLocal Volumes space usage:\n\n")
	if d := u.VolumeUsage; d != nil {
		if err := format.Rows(format.Table{Out: out, Headers: volume.Headers(), Default: "table {{.Name}}\t{{.Links}}\t{{.Size}}"}, volume.Rows(d.Items)); err != nil {
			return err
		}
	}
	var records []build.CacheRecord
	total := int64(0)
	if d := u.BuildCacheUsage; d != nil {
		records, total = d.Items, d.TotalSize
	}
	fmt.Fprintf(out, "\nBuild cache usage: %s\n\n", units.HumanSize(float64(total)))
	rows := make([]cacheRow, len(records))
	for i, r := range records {
		rows[i] = cacheRow{r, now}
	}
	return format.Rows(format.Table{Out: out, Default: "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
		Headers: format.Headers{"ID": "CACHE ID", "CacheType": "CACHE TYPE", "Size": "SIZE", "CreatedSince": "CREATED", "LastUsedSince": "LAST USED", "UsageCount": "USAGE", "Shared": "SHARED"}}, rows)
}

type cacheRow struct {
	r   build.CacheRecord
	now time.Time
}

// ID of the record.
func (c cacheRow) ID() string {
	if len(c.r.ID) > 12 {
		return c.r.ID[:12]
	}
	return c.r.ID
}

// CacheType says what it holds.
func (c cacheRow) CacheType() string { return c.r.Type }

// Size on the disk.
func (c cacheRow) Size() string { return units.HumanSizeWithPrecision(float64(c.r.Size), 3) }

// CreatedSince is how long ago it was made.
func (c cacheRow) CreatedSince() string { return format.Ago(c.now, c.r.CreatedAt) }

// LastUsedSince is how long ago it was of use.
func (c cacheRow) LastUsedSince() string {
	if c.r.LastUsedAt == nil {
		return ""
	}
	return format.Ago(c.now, *c.r.LastUsedAt)
}

// UsageCount is how often it was of use.
func (c cacheRow) UsageCount() string { return strconv.Itoa(c.r.UsageCount) }

// Shared is whether others have it too.
func (c cacheRow) Shared() string { return strconv.FormatBool(c.r.Shared) }

type cleaning struct {
	force, all, volumes bool
	filter              option.Filters
}

func newPrune(s *session.Session) *cobra.Command {
	var o cleaning
	cmd := &cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             "Remove unused data",
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.force, "force", "f", false, "Do not prompt for confirmation")
	f.BoolVarP(&o.all, "all", "a", false, "Remove all unused images, not just dangling ones")
	f.BoolVar(&o.volumes, "volumes", false, "Prune anonymous volumes")
	f.Var(&o.filter, "filter", `Provide filter values (e.g. "label=<key>=<value>")`)
	return cmd
}

func (o *cleaning) run(ctx context.Context, s *session.Session) error {
	if o.volumes && o.filter.Any("until") {
		return fmt.Errorf(`ERROR: The "until" filter is not supported with "--volumes"`)
	}
	if !o.force {
		if err := s.Confirm(ctx, o.warning()); err != nil {
			return err
		}
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	filters := o.filter.Encode()
	steps := []func() (session.Pruned, error){
		func() (session.Pruned, error) { return container.Prune(ctx, api, filters) },
		func() (session.Pruned, error) { return network.Prune(ctx, api, filters) },
	}
	if o.volumes {
		steps = append(steps, func() (session.Pruned, error) { return volume.Prune(ctx, api, filters, false) })
	}
	steps = append(steps,
		func() (session.Pruned, error) { return image.Prune(ctx, api, filters, o.all) },
		func() (session.Pruned, error) { return pruneBuilds(ctx, api, filters, o.all, 0) })
	var space int64
	for _, step := range steps {
		done, err := step()
		if client.IsNotImplemented(err) {
			fmt.Fprintln(s.Err, err)
			continue
		}
		if err != nil {
			return err
		}
		space += done.Space
		s.ShowPruned(done)
	}
	fmt.Fprintf(s.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(space)))
	return nil
}

func (o *cleaning) warning() string {
	lines := []string{"all stopped containers", "all networks not used by at least one container"}
	if o.volumes {
		lines = append(lines, "all anonymous volumes not used by at least one container")
	}
	if o.all {
		lines = append(lines, "all images without at least one container associated to them", "all build cache")
	} else {
		lines = append(lines, "all dangling images", "unused build cache")
	}
	text := "WARNING! This will remove:\n  - " + strings.Join(lines, "\n  - ") + "\n"
	if names := o.filter.Names(); len(names) > 0 {
		text += "\n  Items to be pruned will be filtered with:\n  - " + strings.Join(names, "\n  - ") + "\n"
	}
	return text + "\nAre you sure you want to continue?"
}

func pruneBuilds(ctx context.Context, api *client.Client, filters string, all bool, keep int64) (session.Pruned, error) {
	query := session.FilterQuery(filters)
	if all {
		query.Set("all", "1")
	}
	if keep > 0 {
		query.Set("keep-storage", strconv.FormatInt(keep, 10))
		query.Set("reserved-space", strconv.FormatInt(keep, 10))
	}
	var report build.CachePruneReport
	err := api.Call(ctx, http.MethodPost, "/build/prune", query, nil, &report)
	return session.Pruned{Title: "Deleted build cache objects:", Lines: report.CachesDeleted, Space: int64(report.SpaceReclaimed), HasSpace: true}, err
}

// NewBuilderPrune is `builder prune`.
func NewBuilderPrune(s *session.Session) *cobra.Command {
	var keep option.Bytes
	cmd := session.PruneCommand(s, session.Prune{
		Short:      "Remove build cache",
		Warning:    "WARNING! This will remove all dangling build cache. Are you sure you want to continue?",
		All:        "Remove all unused build cache, not just dangling ones",
		AllWarning: "WARNING! This will remove all build cache. Are you sure you want to continue?",
		Run: func(ctx context.Context, api *client.Client, filters string, all bool) (session.Pruned, error) {
			return pruneBuilds(ctx, api, filters, all, keep.Value)
		},
	})
	cmd.Flags().Var(&keep, "keep-storage", "Amount of disk space to keep for cache")
	return cmd
}
