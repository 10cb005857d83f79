package container

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/session"
)

// verb makes a command that does one thing to each container of its arguments and prints the names.
func verb(s *session.Session, use, short string, do func(ctx context.Context, api *client.Client, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:               use,
		Annotations:       session.Brief,
		Short:             short,
		Args:              session.AtLeast(1),
		ValidArgsFunction: completeContainers(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			return s.Parallel(args, func(name string) error { return do(cmd.Context(), api, name) })
		},
	}
}

func path(name, action string) string {
	if action == "" {
		return "/containers/" + url.PathEscape(name)
	}
	return "/containers/" + url.PathEscape(name) + "/" + action
}

// NewStop is `stop`.
func NewStop(s *session.Session) *cobra.Command {
	return stopLike(s, "stop", "Stop one or more running containers", "stop")
}

// NewRestart is `restart`.
func NewRestart(s *session.Session) *cobra.Command {
	return stopLike(s, "restart", "Restart one or more containers", "restart")
}

func stopLike(s *session.Session, name, short, action string) *cobra.Command {
	var signal string
	var timeout, old int
	var cmd *cobra.Command
	cmd = verb(s, name+" [OPTIONS] CONTAINER [CONTAINER...]", short, func(ctx context.Context, api *client.Client, container string) error {
		query := url.Values{}
		if signal != "" {
			query.Set("signal", signal)
		}
		switch {
		case cmd.Flags().Changed("timeout"):
			query.Set("t", strconv.Itoa(timeout))
		case cmd.Flags().Changed("time"):
			query.Set("t", strconv.Itoa(old))
		}
		return api.Post(ctx, path(container, action), query, nil, nil)
	})
	f := cmd.Flags()
	f.StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	f.IntVarP(&timeout, "timeout", "t", 0, "Seconds to wait before killing the container")
	f.IntVar(&old, "time", 0, "Seconds to wait before killing the container")
	hide(f, "time")
	cmd.MarkFlagsMutuallyExclusive("timeout", "time")
	return cmd
}

// NewKill is `kill`.
func NewKill(s *session.Session) *cobra.Command {
	var signal string
	cmd := verb(s, "kill [OPTIONS] CONTAINER [CONTAINER...]", "Kill one or more running containers",
		func(ctx context.Context, api *client.Client, name string) error { return kill(ctx, api, name, signal) })
	cmd.Flags().StringVarP(&signal, "signal", "s", "", "Signal to send to the container")
	return cmd
}

// NewPause is `pause`.
func NewPause(s *session.Session) *cobra.Command {
	return verb(s, "pause CONTAINER [CONTAINER...]", "Pause all processes within one or more containers",
		func(ctx context.Context, api *client.Client, name string) error {
			return api.Post(ctx, path(name, "pause"), nil, nil, nil)
		})
}

// NewUnpause is `unpause`.
func NewUnpause(s *session.Session) *cobra.Command {
	return verb(s, "unpause CONTAINER [CONTAINER...]", "Unpause all processes within one or more containers",
		func(ctx context.Context, api *client.Client, name string) error {
			return api.Post(ctx, path(name, "unpause"), nil, nil, nil)
		})
}

// NewRemove is `rm`.
func NewRemove(s *session.Session) *cobra.Command {
	var force, link, volumes bool
	cmd := verb(s, "rm [OPTIONS] CONTAINER [CONTAINER...]", "Remove one or more containers",
		func(ctx context.Context, api *client.Client, name string) error {
			query := url.Values{}
			for key, on := range map[string]bool{"force": force, "link": link, "v": volumes} {
				if on {
					query.Set(key, "1")
				}
			}
			err := api.Delete(ctx, path(name, ""), query, nil)
			if force && client.IsNotFound(err) {
				// What is wanted is that it is gone.
				fmt.Fprintln(s.Err, err)
				return nil
			}
			return err
		})
	cmd.Aliases = []string{"remove"}
	f := cmd.Flags()
	f.BoolVarP(&force, "force", "f", false, "Force the removal of a running container (uses SIGKILL)")
	f.BoolVarP(&link, "link", "l", false, "Remove the specified link")
	f.BoolVarP(&volumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	return cmd
}

// NewRename is `rename`.
func NewRename(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "rename CONTAINER NEW_NAME",
		Annotations:       session.Brief,
		Short:             "Rename a container",
		Args:              session.Exactly(2),
		ValidArgsFunction: completeContainers(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			return api.Post(cmd.Context(), path(args[0], "rename"), url.Values{"name": {args[1]}}, nil, nil)
		},
	}
}
