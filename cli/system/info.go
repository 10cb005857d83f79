package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/config"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/session"
)

// information is what --format sees: the daemon's fields, and the client's beside them.
type information struct {
	*system.Info
	UserName     string   `json:",omitempty"`
	ServerErrors []string `json:",omitempty"`
	ClientInfo   clientInfo
}

type clientInfo struct {
	Debug   bool
	Version string
	Context string
	Plugins []string
}

// NewInfo is `info` and `system info`.
func NewInfo(s *session.Session, b Build) *cobra.Command {
	var text string
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "info [OPTIONS]",
		Annotations:       session.Brief,
		Short:             "Display system-wide information",
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				text = "json"
			}
			return showInfo(cmd.Context(), s, b, text)
		},
	}
	format.InspectFlag(cmd.Flags(), &text, &asJSON)
	return cmd
}

func showInfo(ctx context.Context, s *session.Session, b Build, text string) error {
	i := information{Info: &system.Info{}, ClientInfo: clientInfo{Debug: s.Flags.Debug, Version: b.Version, Context: s.ContextName(), Plugins: []string{}}}
	api, err := s.Client()
	if err == nil {
		err = api.Get(ctx, "/info", nil, i.Info)
	}
	if err != nil {
		i.ServerErrors = append(i.ServerErrors, err.Error())
	} else if auth, credErr := s.Config().Credentials(ctx, config.IndexServer); credErr == nil {
		i.UserName = auth.Username
	}
	if text != "" {
		return errors.Join(formatInfo(s.Out, text, i), err)
	}
	fmt.Fprintf(s.Out, "Client: Berth\n Version:    %s\n Context:    %s\n Debug Mode: %v\n\nServer:\n", b.Version, i.ClientInfo.Context, i.ClientInfo.Debug)
	if err != nil {
		for _, e := range i.ServerErrors {
			fmt.Fprintln(s.Err, "ERROR:", e)
		}
		return &session.ExitError{Code: 1, Text: "errors pretty printing info"}
	}
	writeInfo(s.Out, i)
	for _, warning := range i.Warnings {
		fmt.Fprintln(s.Err, warning)
	}
	return nil
}

func formatInfo(out io.Writer, text string, i information) error {
	if text != "json" {
		return format.One(out, text, i)
	}
	line, err := json.Marshal(i)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

func writeInfo(out io.Writer, i information) {
	line := func(indent int, name string, value any) {
		if text, ok := value.(string); ok && text == "" {
			return
		}
		fmt.Fprintf(out, "%s%s: %v\n", strings.Repeat(" ", indent), name, value)
	}
	line(1, "Containers", i.Containers)
	line(2, "Running", i.ContainersRunning)
	line(2, "Paused", i.ContainersPaused)
	line(2, "Stopped", i.ContainersStopped)
	line(1, "Images", i.Images)
	line(1, "Server Version", i.ServerVersion)
	line(1, "Storage Driver", i.Driver)
	for _, pair := range i.DriverStatus {
		line(2, pair[0], pair[1])
	}
	line(1, "Logging Driver", i.LoggingDriver)
	line(1, "Cgroup Driver", i.CgroupDriver)
	line(1, "Cgroup Version", i.CgroupVersion)
	fmt.Fprintf(out, " Plugins:\n  Volume: %s\n  Network: %s\n", strings.Join(i.Plugins.Volume, " "), strings.Join(i.Plugins.Network, " "))
	if len(i.Plugins.Authorization) > 0 {
		fmt.Fprintf(out, "  Authorization: %s\n", strings.Join(i.Plugins.Authorization, " "))
	}
	fmt.Fprintf(out, "  Log: %s\n", strings.Join(i.Plugins.Log, " "))
	writeList(out, "CDI spec directories", i.CDISpecDirs)
	fmt.Fprintf(out, " Swarm: %v\n", orInactive(i.Swarm.LocalNodeState))
	writeRuntimes(out, i)
	writeMachine(out, i, line)
	line(1, "HTTP Proxy", i.HTTPProxy)
	line(1, "HTTPS Proxy", i.HTTPSProxy)
	line(1, "No Proxy", i.NoProxy)
	line(1, "Username", i.UserName)
	writeList(out, "Labels", i.Labels)
	line(1, "Experimental", i.ExperimentalBuild)
	writeRegistries(out, i)
	line(1, "Live Restore Enabled", i.LiveRestoreEnabled)
	line(1, "Product License", i.ProductLicense)
	if len(i.DefaultAddressPools) > 0 {
		fmt.Fprintln(out, " Default Address Pools:")
		for _, pool := range i.DefaultAddressPools {
			fmt.Fprintf(out, "   Base: %s, Size: %d\n", pool.Base, pool.Size)
		}
	}
	if i.FirewallBackend != nil {
		line(1, "Firewall Backend", i.FirewallBackend.Driver)
		for _, pair := range i.FirewallBackend.Info {
			line(2, pair[0], pair[1])
		}
	}
	fmt.Fprintln(out)
}

func orInactive(state swarm.LocalNodeState) swarm.LocalNodeState {
	if state == "" {
		return swarm.LocalNodeStateInactive
	}
	return state
}

func writeList(out io.Writer, title string, list []string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(out, " %s:\n", title)
	for _, item := range list {
		fmt.Fprintf(out, "  %s\n", item)
	}
}

func writeRuntimes(out io.Writer, i information) {
	if len(i.Runtimes) > 0 {
		var names []string
		for name := range i.Runtimes {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintf(out, " Runtimes: %s\n Default Runtime: %s\n", strings.Join(names, " "), i.DefaultRuntime)
	}
	for _, part := range []struct{ name, value string }{
		{"Init Binary", i.InitBinary}, {"containerd version", i.ContainerdCommit.ID}, {"runc version", i.RuncCommit.ID}, {"init version", i.InitCommit.ID},
	} {
		if part.value != "" {
			fmt.Fprintf(out, " %s: %s\n", part.name, part.value)
		}
	}
	if len(i.SecurityOptions) == 0 {
		return
	}
	fmt.Fprintln(out, " Security Options:")
	for _, text := range i.SecurityOptions {
		for field := range strings.SplitSeq(text, ",") {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "name":
				fmt.Fprintf(out, "  %s\n", value)
			case "profile":
				fmt.Fprintf(out, "   Profile: %s\n", value)
			}
		}
	}
}

func writeMachine(out io.Writer, i information, line func(int, string, any)) {
	line(1, "Kernel Version", i.KernelVersion)
	line(1, "Operating System", i.OperatingSystem)
	line(1, "OSType", i.OSType)
	line(1, "Architecture", i.Architecture)
	line(1, "CPUs", i.NCPU)
	line(1, "Total Memory", units.BytesSize(float64(i.MemTotal)))
	line(1, "Name", i.Name)
	line(1, "ID", i.ID)
	line(1, "Docker Root Dir", i.DockerRootDir)
	line(1, "Debug Mode", i.Debug)
	if i.Debug {
		line(2, "File Descriptors", i.NFd)
		line(2, "Goroutines", i.NGoroutines)
		line(2, "System Time", i.SystemTime)
		line(2, "EventsListeners", i.NEventsListener)
	}
}

func writeRegistries(out io.Writer, i information) {
	if i.RegistryConfig == nil {
		return
	}
	var insecure []string
	for _, index := range i.RegistryConfig.IndexConfigs {
		if !index.Secure {
			insecure = append(insecure, index.Name)
		}
	}
	sort.Strings(insecure)
	for _, network := range i.RegistryConfig.InsecureRegistryCIDRs {
		insecure = append(insecure, network.String())
	}
	writeList(out, "Insecure Registries", insecure)
	writeList(out, "Registry Mirrors", i.RegistryConfig.Mirrors)
}
