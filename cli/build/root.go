package build

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/session"
)

// Main runs the command line of berth-build, which is that of berth: `berth` hands its arguments over as they are. It
// gives the exit status.
func Main(ctx context.Context, s *session.Session, args []string) int {
	root := &cobra.Command{
		Use:              "berth [OPTIONS] COMMAND",
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true,
	}
	f := root.Flags()
	f.StringVar(&s.Flags.ConfigDir, "config", "", "Location of client config files")
	f.StringVarP(&s.Flags.Context, "context", "c", "", "Name of the context to use to connect to the daemon")
	f.BoolVarP(&s.Flags.Debug, "debug", "D", false, "Enable debug mode")
	f.StringArrayVarP(&s.Flags.Hosts, "host", "H", nil, "Daemon socket to connect to")
	f.StringVarP(&s.Flags.LogLevel, "log-level", "l", "info", "Set the logging level")
	f.BoolVar(&s.Flags.TLS, "tls", false, "Use TLS; implied by --tlsverify")
	f.BoolVar(&s.Flags.TLSVerify, "tlsverify", false, "Use TLS and verify the remote")
	f.StringVar(&s.Flags.CACert, "tlscacert", "", "Trust certs signed only by this CA")
	f.StringVar(&s.Flags.Cert, "tlscert", "", "Path to TLS certificate file")
	f.StringVar(&s.Flags.Key, "tlskey", "", "Path to TLS key file")
	root.AddCommand(New(s))
	for _, name := range []string{"image", "builder", "buildx"} {
		group := &cobra.Command{Use: name, Short: "Build images"}
		group.AddCommand(New(s))
		root.AddCommand(group)
	}
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return session.UsageError(cmd, 125, "%s", err)
	})
	root.PersistentPreRun = func(*cobra.Command, []string) { s.Flags.TLSVerifySet = f.Changed("tlsverify") }
	return exitStatus(s, root.ExecuteContext(ctx))
}

// exitStatus shows an error and gives the exit status that goes with it.
func exitStatus(s *session.Session, err error) int {
	if err == nil {
		return 0
	}
	code, text := 1, err.Error()
	var exit *session.ExitError
	if errors.As(err, &exit) {
		code = exit.Code
	}
	if text != "" {
		fmt.Fprintln(s.Err, strings.TrimRight(text, "\n"))
	}
	return code
}
