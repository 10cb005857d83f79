// Package files holds the commands about the files of containers: cp, diff, commit, export.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	complete "github.com/berth-engine/berth/cli/container"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/registry"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stream"
)

func endpoint(name, action string) string {
	return "/containers/" + url.PathEscape(name) + "/" + action
}

// NewDiff is `diff`.
func NewDiff(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "diff CONTAINER",
		Short:             "Inspect changes to files or directories on a container's filesystem",
		Args:              session.Exactly(1),
		ValidArgsFunction: complete.Complete(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			var changes []container.FilesystemChange
			if err := api.Get(cmd.Context(), endpoint(args[0], "changes"), nil, &changes); err != nil {
				return err
			}
			for _, change := range changes {
				fmt.Fprintln(s.Out, change.Kind, change.Path)
			}
			return nil
		},
	}
}

// NewExport is `export`.
func NewExport(s *session.Session) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               "export [OPTIONS] CONTAINER",
		Short:             "Export a container's filesystem as a tar archive",
		Args:              session.Exactly(1),
		ValidArgsFunction: complete.Complete(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return export(cmd.Context(), s, args[0], output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to a file, instead of STDOUT")
	return cmd
}

func export(ctx context.Context, s *session.Session, name, output string) error {
	if output == "" && s.Out.IsTerminal() {
		return errors.New("cowardly refusing to save to a terminal. Use the -o flag or redirect")
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	resp, err := api.Send(ctx, client.Request{Method: http.MethodGet, Path: endpoint(name, "export")})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if output == "" {
		_, err := io.Copy(s.Out, resp.Body)
		return err
	}
	return stream.ToFile(output, "export container", resp.Body)
}

type committing struct {
	author, message string
	pause, noPause  bool
	changes         option.List
}

// NewCommit is `commit`.
func NewCommit(s *session.Session) *cobra.Command {
	var o committing
	cmd := &cobra.Command{
		Use:               "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short:             "Create a new image from a container's changes",
		Args:              session.Between(1, 2),
		ValidArgsFunction: complete.Complete(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("pause") {
				if cmd.Flags().Changed("no-pause") {
					return errors.New("conflicting options: --no-pause and --pause cannot be used together")
				}
				o.noPause = !o.pause
			}
			return commit(cmd.Context(), s, args, o)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&o.pause, "pause", "p", true, "Pause container during commit")
	f.BoolVar(&o.noPause, "no-pause", false, "Disable pausing container during commit")
	f.StringVarP(&o.message, "message", "m", "", "Commit message")
	f.StringVarP(&o.author, "author", "a", "", `Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")`)
	f.VarP(&o.changes, "change", "c", "Apply Dockerfile instruction to the created image")
	return cmd
}

func commit(ctx context.Context, s *session.Session, args []string, o committing) error {
	query := url.Values{"container": {args[0]}}
	for key, value := range map[string]string{"author": o.author, "comment": o.message} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if len(o.changes.Values) > 0 {
		query["changes"] = o.changes.Values
	}
	if o.noPause {
		query.Set("pause", "0")
	}
	if len(args) == 2 {
		reference, err := registry.Parse(args[1])
		if err != nil {
			return err
		}
		if reference.Digest != "" {
			return errors.New("refusing to create a tag with a digest reference")
		}
		query.Set("repo", reference.Repository())
		query.Set("tag", reference.WithDefaultTag().Tag)
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	var made container.CommitResponse
	if err := api.Post(ctx, "/commit", query, nil, &made); err != nil {
		return err
	}
	fmt.Fprintln(s.Out, made.ID)
	return nil
}
