package volume

import (
	"fmt"
	"net/url"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/session"
)

// snapshot is how the daemon describes one.
type snapshot struct {
	Tag       string
	CreatedAt string
	Size      int64
}

func newSnapshot(s *session.Session) *cobra.Command {
	cmd := snapshotCommand(s, "snapshot [OPTIONS] VOLUME [TAG]")
	cmd.AddCommand(snapshotCommand(s, "create [OPTIONS] VOLUME [TAG]"), newSnapshotList(s), newSnapshotRemove(s))
	return cmd
}

// snapshotCommand takes a snapshot: as `snapshot VOLUME`, and as `snapshot create VOLUME` for volumes with the name of
// another command.
func snapshotCommand(s *session.Session, use string) *cobra.Command {
	var hot bool
	cmd := &cobra.Command{
		Use:   use,
		Short: "Keep what a volume holds now under a tag",
		Long: "Keep what a volume holds now under a tag, by default the time. Running containers that use it are paused meanwhile. Where the\n" +
			"file system can (btrfs, XFS), a snapshot takes no room until the volume changes; else it is a copy.",
		Args:              session.Between(1, 2),
		ValidArgsFunction: session.CompleteVolumes(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := pausing(url.Values{}, hot)
			if len(args) == 2 {
				query.Set("tag", args[1])
			}
			var made snapshot
			if err := work(cmd.Context(), s, path(args[0])+"/snapshots", query, &made); err != nil {
				return err
			}
			fmt.Fprintln(s.Out, made.Tag)
			return nil
		},
	}
	noPause(cmd, &hot)
	return cmd
}

// snapshotRow shows a snapshot in a list. Its methods are the placeholders of --format.
type snapshotRow struct{ s snapshot }

// Tag of the snapshot.
func (r snapshotRow) Tag() string { return r.s.Tag }

// CreatedAt is when it was taken.
func (r snapshotRow) CreatedAt() string { return r.s.CreatedAt }

// Created is how long ago that was.
func (r snapshotRow) Created() string {
	at, err := time.Parse(time.RFC3339Nano, r.s.CreatedAt)
	if err != nil {
		return "N/A"
	}
	return units.HumanDuration(time.Since(at)) + " ago"
}

// Size of the files.
func (r snapshotRow) Size() string {
	if r.s.Size < 0 {
		return "N/A"
	}
	return units.HumanSize(float64(r.s.Size))
}

func newSnapshotList(s *session.Session) *cobra.Command {
	var quiet, asJSON bool
	var text string
	cmd := &cobra.Command{
		Use:               "ls [OPTIONS] VOLUME",
		Short:             "List the snapshots of a volume, oldest first",
		Aliases:           []string{"list"},
		Args:              session.Exactly(1),
		ValidArgsFunction: session.CompleteVolumes(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			var answer []snapshot
			if err := api.Get(cmd.Context(), path(args[0])+"/snapshots", nil, &answer); err != nil {
				return err
			}
			rows := make([]snapshotRow, len(answer))
			for i, one := range answer {
				rows[i] = snapshotRow{one}
			}
			switch {
			case asJSON:
				text = "json"
			case quiet:
				text = "{{.Tag}}"
			}
			headers := format.Headers{"Tag": "TAG", "Created": "CREATED", "CreatedAt": "CREATED AT", "Size": "SIZE"}
			return format.Rows(format.Table{Out: s.Out, Format: text, Default: "table {{.Tag}}\t{{.Created}}\t{{.Size}}", Headers: headers}, rows)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "Only display tags")
	format.Flag(f, &text, &asJSON)
	return cmd
}

func newSnapshotRemove(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "rm VOLUME TAG [TAG...]",
		Short:             "Remove one or more snapshots of a volume",
		Aliases:           []string{"remove"},
		Args:              session.AtLeast(2),
		ValidArgsFunction: session.CompleteVolumes(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			return s.Each(args[1:], func(tag string) error {
				return api.Delete(cmd.Context(), path(args[0])+"/snapshots", url.Values{"tag": {tag}}, nil)
			})
		},
	}
}

func newRollback(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:   "rollback VOLUME TAG",
		Short: "Give a volume the content of a snapshot",
		Long: "Give a volume the content of a snapshot; what it holds now is lost. No running container may use the volume. Until the content of\n" +
			"the snapshot is all there, the volume holds what it held.",
		Args:              session.Exactly(2),
		ValidArgsFunction: session.CompleteVolumes(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := work(cmd.Context(), s, path(args[0])+"/rollback", url.Values{"tag": {args[1]}}, nil); err != nil {
				return err
			}
			fmt.Fprintln(s.Out, args[0])
			return nil
		},
	}
}
