// Package network holds the commands about networks.
package network

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"

	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
)

// New is `network` with its commands.
func New(s *session.Session) *cobra.Command {
	return session.Group("network", "Manage networks",
		newList(s), newInspect(s), newCreate(s), newRemove(s), newConnect(s), newDisconnect(s), newUpdate(s), newPrune(s))
}

func path(name, action string) string {
	p := "/networks/" + url.PathEscape(name)
	if action != "" {
		p += "/" + action
	}
	return p
}

func newList(s *session.Session) *cobra.Command {
	var quiet, noTrunc, asJSON bool
	var text string
	var filter option.Filters
	cmd := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Annotations:       session.Brief,
		Short:             "List networks",
		Aliases:           []string{"list"},
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			var list []network.Summary
			if err := api.Get(cmd.Context(), "/networks", session.FilterQuery(filter.Encode()), &list); err != nil {
				return err
			}
			sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
			rows := make([]row, len(list))
			for i, n := range list {
				rows[i] = row{n, !noTrunc}
			}
			switch {
			case asJSON:
				text = "json"
			case quiet && (text == "" || text == "table"):
				text = "{{.ID}}"
			case text == "":
				text = s.Config().NetworksFormat
			}
			return format.Rows(format.Table{Out: s.Out, Format: text, Default: "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", Headers: format.Headers{
				"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
				"Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
			}}, rows)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "Only display network IDs")
	f.BoolVar(&noTrunc, "no-trunc", false, "Do not truncate the output")
	f.VarP(&filter, "filter", "f", `Provide filter values (e.g. "driver=bridge")`)
	format.Flag(f, &text, &asJSON)
	return cmd
}

type row struct {
	n     network.Summary
	short bool
}

// ID of the network.
func (r row) ID() string { return format.ID(r.n.ID, r.short) }

// Name of the network.
func (r row) Name() string { return r.n.Name }

// Driver that makes it.
func (r row) Driver() string { return r.n.Driver }

// Scope is local or swarm.
func (r row) Scope() string { return r.n.Scope }

// IPv4 is whether it has IPv4 addresses.
func (r row) IPv4() string { return fmt.Sprint(r.n.EnableIPv4) }

// IPv6 is whether it has IPv6 addresses.
func (r row) IPv6() string { return fmt.Sprint(r.n.EnableIPv6) }

// Internal is whether it has no way out.
func (r row) Internal() string { return fmt.Sprint(r.n.Internal) }

// Labels as pairs.
func (r row) Labels() string { return format.Labels(r.n.Labels) }

// Label is the value of one label.
func (r row) Label(name string) string { return r.n.Labels[name] }

// CreatedAt is the moment of creation.
func (r row) CreatedAt() string { return r.n.Created.Format("2006-01-02 15:04:05.999999999 -0700 MST") }

// Find describes one network, for inspection.
func Find(ctx context.Context, api *client.Client, name string, verbose bool) (format.Inspected, error) {
	query := url.Values{}
	if verbose {
		query.Set("verbose", "true")
	}
	var raw []byte
	if err := api.Get(ctx, path(name, ""), query, &raw); err != nil {
		return format.Inspected{}, err
	}
	var n network.Inspect
	if err := json.Unmarshal(raw, &n); err != nil {
		return format.Inspected{}, fmt.Errorf("the daemon's description of %s is not what was expected: %w", name, err)
	}
	return format.Inspected{Raw: raw, Typed: n}, nil
}

func newInspect(s *session.Session) *cobra.Command {
	var text string
	var asJSON, verbose bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] NETWORK [NETWORK...]",
		Annotations:       session.Brief,
		Short:             "Display detailed information on one or more networks",
		Args:              session.AtLeast(1),
		ValidArgsFunction: session.CompleteNetworks(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			if asJSON {
				text = "json"
			}
			return format.Inspect(s.Out, text, args, func(name string) (format.Inspected, error) { return Find(cmd.Context(), api, name, verbose) })
		},
	}
	format.InspectFlag(cmd.Flags(), &text, &asJSON)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "Verbose output for diagnostics")
	return cmd
}

func newRemove(s *session.Session) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm NETWORK [NETWORK...]",
		Annotations:       session.Brief,
		Short:             "Remove one or more networks",
		Aliases:           []string{"remove"},
		Args:              session.AtLeast(1),
		ValidArgsFunction: session.CompleteNetworks(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			return s.Each(args, func(name string) error {
				err := api.Delete(cmd.Context(), path(name, ""), nil, nil)
				if force && client.IsNotFound(err) {
					fmt.Fprintln(s.Err, err)
					return nil
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not error if the network does not exist")
	return cmd
}

func newPrune(s *session.Session) *cobra.Command {
	return session.PruneCommand(s, session.Prune{
		Short:   "Remove all unused networks",
		Warning: "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?",
		Run: func(ctx context.Context, api *client.Client, filters string, _ bool) (session.Pruned, error) {
			return Prune(ctx, api, filters)
		},
	})
}

// Prune removes networks that no container is attached to.
func Prune(ctx context.Context, api *client.Client, filters string) (session.Pruned, error) {
	var report network.PruneReport
	err := api.Call(ctx, http.MethodPost, "/networks/prune", session.FilterQuery(filters), nil, &report)
	return session.Pruned{Title: "Deleted Networks:", Lines: report.NetworksDeleted}, err
}

func newDisconnect(s *session.Session) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "disconnect [OPTIONS] NETWORK CONTAINER",
		Annotations:       session.Brief,
		Short:             "Disconnect a container from a network",
		Args:              session.Exactly(2),
		ValidArgsFunction: session.CompleteNetworks(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			return api.Post(cmd.Context(), path(args[0], "disconnect"), nil, network.DisconnectRequest{Container: args[1], Force: force}, nil)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the container to disconnect from a network")
	return cmd
}
