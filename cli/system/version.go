// Package system holds the commands that are about the daemon as a whole, and `inspect`, which is about anything.
package system

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/session"
)

// Build says what program this is.
type Build struct {
	Version, Commit, Built string
}

// versions are what --format sees.
type versions struct {
	Client clientVersion
	Server *system.VersionResponse
}

type clientVersion struct {
	Platform          *system.PlatformInfo `json:",omitempty"`
	Version           string
	APIVersion        string `json:"ApiVersion"`
	DefaultAPIVersion string
	GitCommit         string
	GoVersion         string
	Os                string
	Arch              string
	BuildTime         string `json:",omitempty"`
	Context           string
}

// ServerOK reports whether the daemon answered.
func (v versions) ServerOK() bool { return v.Server != nil }

// NewVersion is `version`.
func NewVersion(s *session.Session, b Build) *cobra.Command {
	var text string
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "version [OPTIONS]",
		Annotations:       session.Brief,
		Short:             "Show the Berth version information",
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				text = "json"
			}
			return showVersion(cmd.Context(), s, b, text)
		},
	}
	format.InspectFlag(cmd.Flags(), &text, &asJSON)
	return cmd
}

func showVersion(ctx context.Context, s *session.Session, b Build, text string) error {
	v := versions{Client: clientVersion{
		Platform: &system.PlatformInfo{Name: "Berth"}, Version: b.Version, APIVersion: client.MaxVersion, DefaultAPIVersion: client.MaxVersion,
		GitCommit: b.Commit, GoVersion: runtime.Version(), Os: runtime.GOOS, Arch: runtime.GOARCH, BuildTime: readableTime(b.Built),
		Context: s.ContextName(),
	}}
	api, err := s.Client()
	if err == nil {
		var server system.VersionResponse
		if err = api.Get(ctx, "/version", nil, &server); err == nil {
			v.Server = &server
			v.Client.APIVersion = api.Version()
		}
	}
	var showErr error
	if text != "" {
		showErr = format.One(s.Out, text, v)
	} else {
		showErr = writeVersion(s.Out, v)
	}
	if err != nil {
		return err
	}
	return showErr
}

func readableTime(text string) string {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.Format(time.ANSIC)
	}
	return text
}

func writeVersion(out io.Writer, v versions) error {
	w := tabwriter.NewWriter(out, 20, 1, 1, ' ', 0)
	api := v.Client.APIVersion
	if api != v.Client.DefaultAPIVersion {
		api += " (downgraded from " + v.Client.DefaultAPIVersion + ")"
	}
	fmt.Fprintf(w, "Client: %s\n Version:\t%s\n API version:\t%s\n Go version:\t%s\n Git commit:\t%s\n Built:\t%s\n OS/Arch:\t%s/%s\n Context:\t%s\n",
		v.Client.Platform.Name, v.Client.Version, api, v.Client.GoVersion, v.Client.GitCommit, v.Client.BuildTime, v.Client.Os, v.Client.Arch, v.Client.Context)
	if v.Server != nil {
		writeServer(w, v.Server)
	}
	return w.Flush()
}

func writeServer(w io.Writer, server *system.VersionResponse) {
	fmt.Fprintf(w, "\nServer: %s\n", server.Platform.Name)
	components := server.Components
	if len(components) == 0 {
		components = []system.ComponentVersion{{Name: "Engine", Version: server.Version, Details: map[string]string{
			"ApiVersion": server.APIVersion, "MinAPIVersion": server.MinAPIVersion, "GoVersion": server.GoVersion, "GitCommit": server.GitCommit,
			"BuildTime": server.BuildTime, "Os": server.Os, "Arch": server.Arch, "Experimental": fmt.Sprint(server.Experimental),
		}}}
	}
	for _, c := range components {
		fmt.Fprintf(w, " %s:\n  Version:\t%s\n", c.Name, c.Version)
		d := c.Details
		if c.Name == "Engine" {
			fmt.Fprintf(w, "  API version:\t%s (minimum version %s)\n  Go version:\t%s\n  Git commit:\t%s\n  Built:\t%s\n  OS/Arch:\t%s/%s\n  Experimental:\t%s\n",
				d["ApiVersion"], d["MinAPIVersion"], d["GoVersion"], d["GitCommit"], readableTime(d["BuildTime"]), d["Os"], d["Arch"], d["Experimental"])
			continue
		}
		keys := make([]string, 0, len(d))
		for key := range d {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			fmt.Fprintf(w, "  %s:\t%s\n", key, strings.TrimSpace(d[key]))
		}
	}
}
