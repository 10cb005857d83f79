package session

import (
	"context"
	"net/url"
	"time"

	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
)

// complete offers names from the daemon for the first limit arguments (-1: all). A daemon that does not answer within
// two seconds offers nothing: a person is waiting for the shell.
func complete(s *Session, limit int, names func(ctx context.Context, api *client.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if limit >= 0 && len(args) >= limit {
			return nil, cobra.ShellCompDirectiveDefault
		}
		api, err := s.Client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		list, err := names(ctx, api)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteImages offers the names of images.
func CompleteImages(s *Session, limit int) cobra.CompletionFunc {
	return complete(s, limit, func(ctx context.Context, api *client.Client) (names []string, err error) {
		var list []image.Summary
		err = api.Get(ctx, "/images/json", nil, &list)
		for _, i := range list {
			names = append(names, i.RepoTags...)
		}
		return names, err
	})
}

// CompleteNetworks offers the names of networks.
func CompleteNetworks(s *Session, limit int) cobra.CompletionFunc {
	return complete(s, limit, func(ctx context.Context, api *client.Client) (names []string, err error) {
		var list []network.Summary
		err = api.Get(ctx, "/networks", nil, &list)
		for _, n := range list {
			names = append(names, n.Name)
		}
		return names, err
	})
}

// CompleteVolumes offers the names of volumes.
func CompleteVolumes(s *Session, limit int) cobra.CompletionFunc {
	return complete(s, limit, func(ctx context.Context, api *client.Client) (names []string, err error) {
		var list volume.ListResponse
		err = api.Get(ctx, "/volumes", url.Values{}, &list)
		for _, v := range list.Volumes {
			names = append(names, v.Name)
		}
		return names, err
	})
}
