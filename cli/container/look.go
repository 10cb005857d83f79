package container

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/session"
)

// NewTop is `top`.
func NewTop(s *session.Session) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "top CONTAINER [ps OPTIONS]",
		Annotations:       session.Brief,
		Short:             "Display the running processes of a container",
		Args:              session.AtLeast(1),
		ValidArgsFunction: completeContainers(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if len(args) > 1 {
				query.Set("ps_args", strings.Join(args[1:], " "))
			}
			var top container.TopResponse
			if err := api.Get(cmd.Context(), path(args[0], "top"), query, &top); err != nil {
				return err
			}
			w := tabwriter.NewWriter(s.Out, 20, 1, 3, ' ', 0)
			fmt.Fprintln(w, strings.Join(top.Titles, "\t"))
			for _, process := range top.Processes {
				fmt.Fprintln(w, strings.Join(process, "\t"))
			}
			return w.Flush()
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// Find describes one container, for inspection.
func Find(ctx context.Context, api *client.Client, name string, size bool) (format.Inspected, error) {
	query := url.Values{}
	if size {
		query.Set("size", "1")
	}
	var raw []byte
	if err := api.Get(ctx, path(name, "json"), query, &raw); err != nil {
		return format.Inspected{}, err
	}
	var c container.InspectResponse
	if err := json.Unmarshal(raw, &c); err != nil {
		return format.Inspected{}, fmt.Errorf("the daemon's description of %s is not what was expected: %w", name, err)
	}
	return format.Inspected{Raw: raw, Typed: c}, nil
}

// NewInspect is `container inspect`.
func NewInspect(s *session.Session) *cobra.Command {
	var text string
	var asJSON, size bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] CONTAINER [CONTAINER...]",
		Annotations:       session.Brief,
		Short:             "Display detailed information on one or more containers",
		Args:              session.AtLeast(1),
		ValidArgsFunction: completeContainers(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			if asJSON {
				text = "json"
			}
			return format.Inspect(s.Out, text, args, func(name string) (format.Inspected, error) {
				return Find(cmd.Context(), api, name, size)
			})
		},
	}
	format.InspectFlag(cmd.Flags(), &text, &asJSON)
	cmd.Flags().BoolVarP(&size, "size", "s", false, "Display total file sizes")
	return cmd
}

// NewPort is `port`.
func NewPort(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "port CONTAINER [PRIVATE_PORT[/PROTO]]",
		Annotations:       session.Brief,
		Short:             "List port mappings or a specific mapping for the container",
		Args:              session.Between(1, 2),
		ValidArgsFunction: completeContainers(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			c, err := inspect(cmd.Context(), api, args[0])
			if err != nil {
				return err
			}
			var ports network.PortMap
			if c.NetworkSettings != nil {
				ports = c.NetworkSettings.Ports
			}
			wanted := ""
			if len(args) == 2 {
				wanted = args[1]
			}
			lines, err := portLines(ports, args[0], wanted)
			for _, line := range lines {
				fmt.Fprintln(s.Out, line)
			}
			return err
		},
	}
}

func portLines(ports network.PortMap, name, wanted string) ([]string, error) {
	if wanted != "" {
		port, err := network.ParsePort(wanted)
		if err != nil {
			return nil, err
		}
		bindings := ports[port]
		if len(bindings) == 0 {
			return nil, fmt.Errorf("no public port '%s' published for %s", port, name)
		}
		var lines []string
		for _, b := range bindings {
			lines = append(lines, bindingText(b))
		}
		return lines, nil
	}
	var keys []network.Port
	for port := range ports {
		keys = append(keys, port)
	}
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].Num() != keys[j].Num() {
			return keys[i].Num() < keys[j].Num()
		}
		return keys[i].Proto() < keys[j].Proto()
	})
	var lines []string
	for _, port := range keys {
		for _, b := range ports[port] {
			lines = append(lines, fmt.Sprintf("%s -> %s", port, bindingText(b)))
		}
	}
	return lines, nil
}

func bindingText(b network.PortBinding) string { return hostText(b.HostIP) + ":" + b.HostPort }

// NewPrune is `container prune`.
func NewPrune(s *session.Session) *cobra.Command {
	return session.PruneCommand(s, session.Prune{
		Short:   "Remove all stopped containers",
		Warning: "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?",
		Run: func(ctx context.Context, api *client.Client, filters string, _ bool) (session.Pruned, error) {
			return Prune(ctx, api, filters)
		},
	})
}

// Prune removes containers that do not run.
func Prune(ctx context.Context, api *client.Client, filters string) (session.Pruned, error) {
	var report container.PruneReport
	err := api.Call(ctx, http.MethodPost, "/containers/prune", session.FilterQuery(filters), nil, &report)
	return session.Pruned{Title: "Deleted Containers:", Lines: report.ContainersDeleted, Space: int64(report.SpaceReclaimed), HasSpace: true}, err
}
