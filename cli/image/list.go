package image

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
)

type listing struct {
	quiet, all, noTrunc, digests, asJSON bool
	format                               string
	filter                               option.Filters
}

const (
	listTable   = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
	digestTable = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
)

// Headers are the titles of the columns of a list of images.
func Headers() format.Headers {
	return format.Headers{"ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED",
		"CreatedAt": "CREATED AT", "Size": "SIZE", "Containers": "CONTAINERS", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE"}
}

// NewList is `images` and `image ls`, by name.
func NewList(s *session.Session, name string, aliases ...string) *cobra.Command {
	var o listing
	cmd := &cobra.Command{
		Use:               name + " [OPTIONS] [REPOSITORY[:TAG]]",
		Annotations:       session.Brief,
		Short:             "List images",
		Aliases:           aliases,
		Args:              session.AtMost(1),
		ValidArgsFunction: session.CompleteImages(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.filter.Add("reference", args[0])
			}
			return o.run(cmd.Context(), s)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only show image IDs")
	f.BoolVarP(&o.all, "all", "a", false, "Show all images (default hides intermediate and dangling images)")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Don't truncate output")
	f.BoolVar(&o.digests, "digests", false, "Show digests")
	f.VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	format.Flag(f, &o.format, &o.asJSON)
	return cmd
}

func (o *listing) run(ctx context.Context, s *session.Session) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	text := o.format
	if o.asJSON {
		text = "json"
	}
	if text == "" && !o.quiet {
		text = s.Config().ImagesFormat
	}
	query := url.Values{}
	if o.all {
		query.Set("all", "1")
	}
	if f := o.filter.Encode(); f != "" {
		query.Set("filters", f)
	}
	var list []image.Summary
	if err := api.Get(ctx, "/images/json", query, &list); err != nil {
		return err
	}
	standard := listTable
	if o.digests {
		standard = digestTable
	}
	if o.quiet && (text == "" || text == "table") {
		text = "{{.ID}}"
	}
	return format.Rows(format.Table{Out: s.Out, Format: text, Default: standard, Headers: Headers()},
		Rows(list, !o.noTrunc, o.digests || strings.Contains(text, ".Digest"), time.Now()))
}

// Row shows a name of an image in a list. Its methods are the placeholders of --format.
type Row struct {
	i                 image.Summary
	repo, tag, digest string
	short             bool
	now               time.Time
}

const none = "<none>"

// Rows makes a row for each name of each image; with digests, for each name and digest.
func Rows(list []image.Summary, short, digests bool, now time.Time) []Row {
	var rows []Row
	for _, i := range list {
		rows = append(rows, rowsOf(i, short, digests, now)...)
	}
	return rows
}

func rowsOf(i image.Summary, short, digests bool, now time.Time) []Row {
	row := Row{i: i, repo: none, tag: none, digest: none, short: short, now: now}
	digestOf := map[string][]string{}
	var order []string
	for _, text := range i.RepoDigests {
		if repo, digest, ok := strings.Cut(text, "@"); ok && repo != none {
			if digestOf[repo] == nil {
				order = append(order, repo)
			}
			digestOf[repo] = append(digestOf[repo], digest)
		}
	}
	var rows []Row
	named := map[string]bool{}
	for _, text := range i.RepoTags {
		at := strings.LastIndexByte(text, ':')
		if at < 0 || text == none+":"+none {
			continue
		}
		r := row
		r.repo, r.tag = text[:at], text[at+1:]
		named[r.repo] = true
		if !digests || len(digestOf[r.repo]) == 0 {
			rows = append(rows, r)
			continue
		}
		for _, digest := range digestOf[r.repo] {
			r.digest = digest
			rows = append(rows, r)
		}
	}
	for _, repo := range order {
		if named[repo] {
			continue
		}
		r := row
		r.repo = repo
		if !digests {
			rows = append(rows, r)
			continue
		}
		for _, digest := range digestOf[repo] {
			r.digest = digest
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		rows = []Row{row}
	}
	return rows
}

// ID of the image.
func (r Row) ID() string { return format.ID(r.i.ID, r.short) }

// Repository is the name without the tag.
func (r Row) Repository() string { return r.repo }

// Tag behind the name.
func (r Row) Tag() string { return r.tag }

// Digest under which a registry knows it.
func (r Row) Digest() string { return r.digest }

// CreatedSince is how long ago it was made.
func (r Row) CreatedSince() string {
	if r.i.Created <= 0 {
		return "N/A"
	}
	return format.Ago(r.now, time.Unix(r.i.Created, 0))
}

// CreatedAt is the moment it was made.
func (r Row) CreatedAt() string {
	if r.i.Created <= 0 {
		return "N/A"
	}
	return time.Unix(r.i.Created, 0).String()
}

// Size of all layers.
func (r Row) Size() string { return format.Size(r.i.Size) }

// Containers is the number of containers that stand on it.
func (r Row) Containers() string {
	if r.i.Containers == -1 {
		return "N/A"
	}
	return strconv.FormatInt(r.i.Containers, 10)
}

// SharedSize is the size of the layers that others have too.
func (r Row) SharedSize() string {
	if r.i.SharedSize == -1 {
		return "N/A"
	}
	return units.HumanSizeWithPrecision(float64(r.i.SharedSize), 3)
}

// UniqueSize is the size of the layers that nobody else has.
func (r Row) UniqueSize() string {
	if r.i.SharedSize == -1 {
		return "N/A"
	}
	return units.HumanSizeWithPrecision(float64(r.i.Size-r.i.SharedSize), 3)
}
