package system

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/container"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/image"
	"github.com/berth-engine/berth/cli/network"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/volume"
)

// NewInspect is `inspect`: the kind of thing is found out, or given with --type.
func NewInspect(s *session.Session) *cobra.Command {
	var text, kind string
	var asJSON, size bool
	cmd := &cobra.Command{
		Use:         "inspect [OPTIONS] NAME|ID [NAME|ID...]",
		Annotations: session.Brief,
		Short:       "Return low-level information on Berth objects",
		Args:        session.AtLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("type") && kind == "" {
				return errors.New(`type is empty: must be one of "container", "image", "network", "volume"`)
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			if asJSON {
				text = "json"
			}
			finders, err := findersOf(api, kind, size)
			if err != nil {
				return err
			}
			return format.Inspect(s.Out, text, args, func(name string) (format.Inspected, error) {
				return firstFound(cmd.Context(), finders, name, kind)
			})
		},
	}
	cmd.ValidArgsFunction = completeAnything(s)
	format.InspectFlag(cmd.Flags(), &text, &asJSON)
	cmd.Flags().BoolVarP(&size, "size", "s", false, "Display total file sizes if the type is container")
	cmd.Flags().StringVar(&kind, "type", "", "Only inspect objects of the given type")
	return cmd
}

type finder struct {
	kind string
	find func(ctx context.Context, name string) (format.Inspected, error)
}

// findersOf are in the order in which a name is looked for.
func findersOf(api *client.Client, kind string, size bool) ([]finder, error) {
	all := []finder{
		{"container", func(ctx context.Context, name string) (format.Inspected, error) {
			return container.Find(ctx, api, name, size)
		}},
		{"image", func(ctx context.Context, name string) (format.Inspected, error) {
			return image.Find(ctx, api, name, "")
		}},
		{"network", func(ctx context.Context, name string) (format.Inspected, error) {
			return network.Find(ctx, api, name, false)
		}},
		{"volume", func(ctx context.Context, name string) (format.Inspected, error) { return volume.Find(ctx, api, name) }},
	}
	if kind == "" {
		return all, nil
	}
	for _, f := range all {
		if f.kind == kind {
			return []finder{f}, nil
		}
	}
	return nil, fmt.Errorf("unknown type: %q: must be one of \"container\", \"image\", \"network\", \"volume\"", kind)
}

func firstFound(ctx context.Context, finders []finder, name, kind string) (format.Inspected, error) {
	for _, f := range finders {
		found, err := f.find(ctx, name)
		switch {
		case err == nil:
			return found, nil
		case kind == "" && (client.IsNotFound(err) || isBadReference(err)):
			continue
		}
		return found, err
	}
	return format.Inspected{}, fmt.Errorf("error: no such object: %s", name)
}

// isBadReference tells a name that can't be that of an image from other refusals: it may be that of something else.
func isBadReference(err error) bool {
	var refused *client.Error
	return errors.As(err, &refused) && (refused.Status == 400 || refused.Status == 501)
}

func completeAnything(s *session.Session) cobra.CompletionFunc {
	kinds := []cobra.CompletionFunc{container.Complete(s, -1), session.CompleteImages(s, -1), session.CompleteNetworks(s, -1), session.CompleteVolumes(s, -1)}
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var all []cobra.Completion
		for _, kind := range kinds {
			names, _ := kind(cmd, args, typed)
			all = append(all, names...)
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}
