package image

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/session"
)

type history struct {
	human, quiet, noTrunc, asJSON bool
	format, platform              string
}

// NewHistory is `history`.
func NewHistory(s *session.Session) *cobra.Command {
	var o history
	cmd := &cobra.Command{
		Use:               "history [OPTIONS] IMAGE",
		Annotations:       session.Brief,
		Short:             "Show the history of an image",
		Args:              session.Exactly(1),
		ValidArgsFunction: session.CompleteImages(s, 1),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), s, args[0]) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.human, "human", "H", true, "Print sizes and dates in human readable format")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Only show image IDs")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Don't truncate output")
	f.StringVar(&o.platform, "platform", "", `Show history for the given platform. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`)
	format.Flag(f, &o.format, &o.asJSON)
	return cmd
}

func (o history) run(ctx context.Context, s *session.Session, name string) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	query := url.Values{}
	if o.platform != "" {
		p, err := parsePlatform(o.platform)
		if err != nil {
			return err
		}
		query.Set("platform", p)
	}
	var items []image.HistoryResponseItem
	if err := api.Get(ctx, "/images/"+escape(name)+"/history", query, &items); err != nil {
		return err
	}
	rows := make([]historyRow, len(items))
	for i, item := range items {
		rows[i] = historyRow{item, o.human, !o.noTrunc, time.Now()}
	}
	text := o.format
	if o.asJSON {
		text = "json"
	}
	standard := "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
	if !o.human {
		standard = "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
	}
	if o.quiet && (text == "" || text == "table") {
		text = "{{.ID}}"
	}
	return format.Rows(format.Table{Out: s.Out, Format: text, Default: standard, Headers: format.Headers{
		"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
	}}, rows)
}

type historyRow struct {
	i            image.HistoryResponseItem
	human, short bool
	now          time.Time
}

// ID of the image at this step, where one is known.
func (r historyRow) ID() string { return format.ID(r.i.ID, r.short) }

// CreatedAt is the moment of the step.
func (r historyRow) CreatedAt() string {
	if r.i.Created <= 0 {
		return "N/A"
	}
	return time.Unix(r.i.Created, 0).Format(time.RFC3339)
}

// CreatedSince is how long ago the step was.
func (r historyRow) CreatedSince() string {
	if !r.human {
		return r.CreatedAt()
	}
	if r.i.Created <= 0 {
		return "N/A"
	}
	return format.Ago(r.now, time.Unix(r.i.Created, 0))
}

// CreatedBy is the instruction.
func (r historyRow) CreatedBy() string {
	by := strings.ReplaceAll(r.i.CreatedBy, "\t", " ")
	if r.short {
		return format.Ellipsis(by, 45)
	}
	return by
}

// Size of the step's layer.
func (r historyRow) Size() string {
	if r.human {
		return format.Size(r.i.Size)
	}
	return strconv.FormatInt(r.i.Size, 10)
}

// Comment of the step.
func (r historyRow) Comment() string { return r.i.Comment }
