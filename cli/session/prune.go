package session

import (
	"context"
	"fmt"
	"net/url"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/option"
)

// Prune describes a command that removes what is not used.
type Prune struct {
	Short, Warning string
	// All, when not empty, is the explanation of a flag --all, and AllWarning the question with it.
	All, AllWarning string
	Run             func(ctx context.Context, api *client.Client, filters string, all bool) (Pruned, error)
}

// Pruned is what was removed.
type Pruned struct {
	Title    string
	Lines    []string
	Space    int64 // bytes
	HasSpace bool
}

// PruneCommand makes the command.
func PruneCommand(s *Session, p Prune) *cobra.Command {
	var force, all bool
	var filter option.Filters
	cmd := &cobra.Command{
		Use:               "prune [OPTIONS]",
		Short:             p.Short,
		Args:              None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				warning := p.Warning
				if all {
					warning = p.AllWarning
				}
				if err := s.Confirm(cmd.Context(), warning); err != nil {
					return err
				}
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			done, err := p.Run(cmd.Context(), api, filter.Encode(), all)
			if err != nil {
				return err
			}
			s.ShowPruned(done)
			if done.HasSpace {
				fmt.Fprintf(s.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(done.Space)))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "Do not prompt for confirmation")
	f.Var(&filter, "filter", `Provide filter values (e.g. "until=24h")`)
	if p.All != "" {
		f.BoolVarP(&all, "all", "a", false, p.All)
	}
	return cmd
}

// ShowPruned prints what was removed; nothing when nothing was.
func (s *Session) ShowPruned(p Pruned) {
	if len(p.Lines) == 0 {
		return
	}
	fmt.Fprintln(s.Out, p.Title)
	for _, line := range p.Lines {
		fmt.Fprintln(s.Out, line)
	}
	fmt.Fprintln(s.Out)
}

// FilterQuery is the query for encoded filters.
func FilterQuery(filters string) url.Values {
	query := url.Values{}
	if filters != "" {
		query.Set("filters", filters)
	}
	return query
}
