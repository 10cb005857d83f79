package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/moby/moby/api/types/image"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/registry"
	"github.com/berth-engine/berth/cli/session"
)

// NewTag is `tag`.
func NewTag(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Annotations:       session.Brief,
		Short:             "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
		Args:              session.Exactly(2),
		ValidArgsFunction: session.CompleteImages(s, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := registry.Parse(args[1])
			if err != nil {
				return fmt.Errorf("error parsing reference: %q is not a valid repository/tag: %w", args[1], err)
			}
			if target.Digest != "" {
				return errors.New("refusing to create a tag with a digest reference")
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			query := url.Values{"repo": {target.Repository()}, "tag": {target.WithDefaultTag().Tag}}
			return api.Post(cmd.Context(), "/images/"+escape(args[0])+"/tag", query, nil, nil)
		},
	}
}

// NewRemove is `rmi` and `image rm`, by name.
func NewRemove(s *session.Session, name string, aliases ...string) *cobra.Command {
	var force, noPrune bool
	var platforms option.List
	cmd := &cobra.Command{
		Use:               name + " [OPTIONS] IMAGE [IMAGE...]",
		Annotations:       session.Brief,
		Short:             "Remove one or more images",
		Aliases:           aliases,
		Args:              session.AtLeast(1),
		ValidArgsFunction: session.CompleteImages(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{}
			if force {
				query.Set("force", "1")
			}
			if noPrune {
				query.Set("noprune", "1")
			}
			for _, platform := range platforms.Values {
				p, err := parsePlatform(platform)
				if err != nil {
					return err
				}
				query.Add("platforms", p)
			}
			return remove(cmd.Context(), s, args, query, force)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "Force removal of the image")
	f.BoolVar(&noPrune, "no-prune", false, "Do not delete untagged parents")
	f.Var(&platforms, "platform", `Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")`)
	return cmd
}

func remove(ctx context.Context, s *session.Session, names []string, query url.Values, force bool) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		var done []image.DeleteResponse
		err := api.Delete(ctx, "/images/"+escape(name), query, &done)
		if force && client.IsNotFound(err) {
			// What is wanted is that it is gone.
			fmt.Fprintln(s.Err, err)
			continue
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for _, d := range done {
			fmt.Fprintln(s.Out, deletion(d))
		}
	}
	return errors.Join(failed...)
}

func deletion(d image.DeleteResponse) string {
	if d.Deleted != "" {
		return "Deleted: " + d.Deleted
	}
	return "Untagged: " + d.Untagged
}

// Find describes one image, for inspection.
func Find(ctx context.Context, api *client.Client, name, platform string) (format.Inspected, error) {
	query := url.Values{}
	if platform != "" {
		p, err := parsePlatform(platform)
		if err != nil {
			return format.Inspected{}, err
		}
		query.Set("platform", p)
	}
	var raw []byte
	if err := api.Get(ctx, "/images/"+escape(name)+"/json", query, &raw); err != nil {
		return format.Inspected{}, err
	}
	var i image.InspectResponse
	if err := json.Unmarshal(raw, &i); err != nil {
		return format.Inspected{}, fmt.Errorf("the daemon's description of %s is not what was expected: %w", name, err)
	}
	return format.Inspected{Raw: raw, Typed: i}, nil
}

// NewInspect is `image inspect`.
func NewInspect(s *session.Session) *cobra.Command {
	var text, platform string
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] IMAGE [IMAGE...]",
		Annotations:       session.Brief,
		Short:             "Display detailed information on one or more images",
		Args:              session.AtLeast(1),
		ValidArgsFunction: session.CompleteImages(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			if asJSON {
				text = "json"
			}
			return format.Inspect(s.Out, text, args, func(name string) (format.Inspected, error) {
				return Find(cmd.Context(), api, name, platform)
			})
		},
	}
	format.InspectFlag(cmd.Flags(), &text, &asJSON)
	cmd.Flags().StringVar(&platform, "platform", "", `Inspect a specific platform of the multi-platform image. Formatted as "os/arch[/variant]"`)
	return cmd
}

// NewPrune is `image prune`.
func NewPrune(s *session.Session) *cobra.Command {
	return session.PruneCommand(s, session.Prune{
		Short:      "Remove unused images",
		Warning:    "WARNING! This will remove all dangling images.\nAre you sure you want to continue?",
		All:        "Remove all unused images, not just dangling ones",
		AllWarning: "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?",
		Run: func(ctx context.Context, api *client.Client, filters string, all bool) (session.Pruned, error) {
			return Prune(ctx, api, filters, all)
		},
	})
}

// Prune removes images that nothing uses; without all only those without a name.
func Prune(ctx context.Context, api *client.Client, filters string, all bool) (session.Pruned, error) {
	merged := map[string]map[string]bool{}
	if filters != "" {
		if err := json.Unmarshal([]byte(filters), &merged); err != nil {
			return session.Pruned{}, err
		}
	}
	merged["dangling"] = map[string]bool{fmt.Sprint(!all): true}
	text, err := json.Marshal(merged)
	if err != nil {
		return session.Pruned{}, err
	}
	var report image.PruneReport
	if err := api.Call(ctx, http.MethodPost, "/images/prune", session.FilterQuery(string(text)), nil, &report); err != nil {
		return session.Pruned{}, err
	}
	done := session.Pruned{Title: "Deleted Images:", Space: int64(report.SpaceReclaimed), HasSpace: true}
	for _, d := range report.ImagesDeleted {
		line := deletion(d)
		done.Lines = append(done.Lines, strings.ToLower(line[:1])+line[1:])
	}
	return done, nil
}
