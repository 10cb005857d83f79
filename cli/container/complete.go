package container

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/session"
)

// completeContainers offers the names of containers for the first limit arguments (-1: all). A daemon that does not
// answer at once offers nothing: a person is waiting for the shell.
func completeContainers(s *session.Session, limit int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if limit >= 0 && len(args) >= limit {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return containerNames(cmd.Context(), s, args), cobra.ShellCompDirectiveNoFileComp
	}
}

func containerNames(ctx context.Context, s *session.Session, except []string) []string {
	api, err := s.Client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var list []container.Summary
	if err := api.Get(ctx, "/containers/json", url.Values{"all": {"1"}}, &list); err != nil {
		return nil
	}
	taken := map[string]bool{}
	for _, name := range except {
		taken[name] = true
	}
	var names []string
	for _, c := range list {
		for _, name := range c.Names {
			if name = strings.TrimPrefix(name, "/"); !taken[name] {
				names = append(names, name)
			}
		}
	}
	return names
}

// Complete offers the names of containers, to commands about several kinds of things.
func Complete(s *session.Session, limit int) cobra.CompletionFunc {
	return completeContainers(s, limit)
}

func completeImages(s *session.Session, limit int) cobra.CompletionFunc {
	return session.CompleteImages(s, limit)
}

// completeRunFlags offers values for the flags that name things.
func completeRunFlags(cmd *cobra.Command, s *session.Session) {
	offer := func(flag string, f cobra.CompletionFunc) {
		if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
			panic(err) // the flag is not declared: a mistake in this package
		}
	}
	containers := func(prefix string) cobra.CompletionFunc {
		return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []string
			for _, name := range containerNames(cmd.Context(), s, nil) {
				names = append(names, prefix+name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}
	}
	offer("volumes-from", containers(""))
	offer("link", containers(""))
	offer("ipc", containers("container:"))
	offer("pid", containers("container:"))
	offer("network", session.CompleteNetworks(s, -1))
	offer("restart", cobra.FixedCompletions([]string{"no", "always", "on-failure", "unless-stopped"}, cobra.ShellCompDirectiveNoFileComp))
	offer("pull", cobra.FixedCompletions([]string{"always", "missing", "never"}, cobra.ShellCompDirectiveNoFileComp))
	offer("log-driver", cobra.FixedCompletions([]string{"fluentd", "gelf", "journald", "json-file", "local", "none", "syslog"}, cobra.ShellCompDirectiveNoFileComp))
}
