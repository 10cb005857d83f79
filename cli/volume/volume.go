// Package volume holds the commands about volumes.
package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
)

// New is `volume` with its commands.
func New(s *session.Session) *cobra.Command {
	return session.Group("volume", "Manage volumes", newList(s), newInspect(s), newCreate(s), newRemove(s), newPrune(s),
		newExport(s), newImport(s), newClone(s), newRename(s), newSnapshot(s), newRollback(s))
}

func newList(s *session.Session) *cobra.Command {
	var quiet, asJSON bool
	var text string
	var filter option.Filters
	cmd := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Annotations:       session.Brief,
		Short:             "List volumes",
		Aliases:           []string{"list"},
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			var answer volume.ListResponse
			if err := api.Get(cmd.Context(), "/volumes", session.FilterQuery(filter.Encode()), &answer); err != nil {
				return err
			}
			for _, warning := range answer.Warnings {
				fmt.Fprintf(s.Err, "WARNING: %s\n", warning)
			}
			sort.Slice(answer.Volumes, func(i, j int) bool { return answer.Volumes[i].Name < answer.Volumes[j].Name })
			switch {
			case asJSON:
				text = "json"
			case quiet && (text == "" || text == "table"):
				text = "{{.Name}}"
			case text == "":
				text = s.Config().VolumesFormat
			}
			return format.Rows(format.Table{Out: s.Out, Format: text, Default: "table {{.Driver}}\t{{.Name}}", Headers: Headers()}, Rows(answer.Volumes))
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&quiet, "quiet", "q", false, "Only display volume names")
	f.VarP(&filter, "filter", "f", `Provide filter values (e.g. "dangling=true")`)
	format.Flag(f, &text, &asJSON)
	return cmd
}

// Headers are the titles of the columns of a list of volumes.
func Headers() format.Headers {
	return format.Headers{"Name": "VOLUME NAME", "Driver": "DRIVER", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS",
		"Links": "LINKS", "Size": "SIZE", "Availability": "AVAILABILITY", "Group": "GROUP", "Status": "STATUS"}
}

// Row shows a volume in a list. Its methods are the placeholders of --format.
type Row struct{ v volume.Volume }

// Rows makes rows of volumes.
func Rows(list []volume.Volume) []Row {
	rows := make([]Row, len(list))
	for i, v := range list {
		rows[i] = Row{v}
	}
	return rows
}

// Name of the volume.
func (r Row) Name() string { return r.v.Name }

// Driver that keeps it.
func (r Row) Driver() string { return r.v.Driver }

// Scope is local or global.
func (r Row) Scope() string { return r.v.Scope }

// Mountpoint is where it is on the host.
func (r Row) Mountpoint() string { return r.v.Mountpoint }

// Labels as pairs.
func (r Row) Labels() string { return format.Labels(r.v.Labels) }

// Label is the value of one label.
func (r Row) Label(name string) string { return r.v.Labels[name] }

// Links is the number of containers that use it.
func (r Row) Links() string {
	if r.v.UsageData == nil {
		return "N/A"
	}
	return fmt.Sprint(r.v.UsageData.RefCount)
}

// Size on the disk.
func (r Row) Size() string {
	if r.v.UsageData == nil {
		return "N/A"
	}
	return units.HumanSize(float64(r.v.UsageData.Size))
}

// Group is of cluster volumes.
func (r Row) Group() string {
	if r.v.ClusterVolume == nil {
		return "N/A"
	}
	return r.v.ClusterVolume.Spec.Group
}

// Availability is of cluster volumes.
func (r Row) Availability() string {
	if r.v.ClusterVolume == nil {
		return "N/A"
	}
	return string(r.v.ClusterVolume.Spec.Availability)
}

// Status is of cluster volumes.
func (r Row) Status() string { return "N/A" }

func path(name string) string { return "/volumes/" + url.PathEscape(name) }

// Find describes one volume, for inspection.
func Find(ctx context.Context, api *client.Client, name string) (format.Inspected, error) {
	var raw []byte
	if err := api.Get(ctx, path(name), nil, &raw); err != nil {
		return format.Inspected{}, err
	}
	var v volume.Volume
	if err := json.Unmarshal(raw, &v); err != nil {
		return format.Inspected{}, fmt.Errorf("the daemon's description of %s is not what was expected: %w", name, err)
	}
	return format.Inspected{Raw: raw, Typed: v}, nil
}

func newInspect(s *session.Session) *cobra.Command {
	var text string
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] VOLUME [VOLUME...]",
		Annotations:       session.Brief,
		Short:             "Display detailed information on one or more volumes",
		Args:              session.AtLeast(1),
		ValidArgsFunction: session.CompleteVolumes(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			if asJSON {
				text = "json"
			}
			return format.Inspect(s.Out, text, args, func(name string) (format.Inspected, error) { return Find(cmd.Context(), api, name) })
		},
	}
	format.InspectFlag(cmd.Flags(), &text, &asJSON)
	return cmd
}

func newCreate(s *session.Session) *cobra.Command {
	var driver, name string
	var options option.Map
	var labels option.List
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] [VOLUME]",
		Annotations:       session.Brief,
		Short:             "Create a volume",
		Args:              session.AtMost(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if name != "" {
					return errors.New("conflicting options: cannot specify a volume-name through both --name and as a positional arg")
				}
				name = args[0]
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			var made volume.Volume
			request := volume.CreateRequest{Driver: driver, DriverOpts: options.Values, Labels: option.PairMap(labels.Values), Name: name}
			if err := api.Post(cmd.Context(), "/volumes/create", nil, request, &made); err != nil {
				return err
			}
			fmt.Fprintln(s.Out, made.Name)
			return nil
		},
	}
	f := cmd.Flags()
	labels.Check = option.CheckLabel
	f.StringVarP(&driver, "driver", "d", "local", "Specify volume driver name")
	f.StringVar(&name, "name", "", "Specify volume name")
	f.Lookup("name").Hidden = true
	f.VarP(&options, "opt", "o", "Set driver specific options")
	f.Var(&labels, "label", "Set metadata for a volume")
	return cmd
}

func newRemove(s *session.Session) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm [OPTIONS] VOLUME [VOLUME...]",
		Annotations:       session.Brief,
		Short:             "Remove one or more volumes",
		Long:              "Remove one or more volumes. You cannot remove a volume that is in use by a container; one with snapshots is removed by --force only.",
		Aliases:           []string{"remove"},
		Args:              session.AtLeast(1),
		ValidArgsFunction: session.CompleteVolumes(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if force {
				query.Set("force", "1")
			}
			return s.Each(args, func(name string) error { return api.Delete(cmd.Context(), path(name), query, nil) })
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the removal of one or more volumes")
	return cmd
}

func newPrune(s *session.Session) *cobra.Command {
	return session.PruneCommand(s, session.Prune{
		Short:      "Remove unused local volumes",
		Warning:    "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue?",
		All:        "Remove all unused volumes, not just anonymous ones",
		AllWarning: "WARNING! This will remove all local volumes not used by at least one container.\nAre you sure you want to continue?",
		Run: func(ctx context.Context, api *client.Client, filters string, all bool) (session.Pruned, error) {
			return Prune(ctx, api, filters, all)
		},
	})
}

// Prune removes volumes that no container uses; without all only those that nobody named.
func Prune(ctx context.Context, api *client.Client, filters string, all bool) (session.Pruned, error) {
	if all {
		merged := map[string]map[string]bool{}
		if filters != "" {
			if err := json.Unmarshal([]byte(filters), &merged); err != nil {
				return session.Pruned{}, err
			}
		}
		merged["all"] = map[string]bool{"true": true}
		text, err := json.Marshal(merged)
		if err != nil {
			return session.Pruned{}, err
		}
		filters = string(text)
	}
	var report volume.PruneReport
	err := api.Call(ctx, http.MethodPost, "/volumes/prune", session.FilterQuery(filters), nil, &report)
	return session.Pruned{Title: "Deleted Volumes:", Lines: report.VolumesDeleted, Space: int64(report.SpaceReclaimed), HasSpace: true}, err
}
