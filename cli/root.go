// Package cli is the command line of Berth: it puts the commands of its folders together under the names that docker
// gives them, reads the flags in front, runs one command, and turns its error into words and an exit code.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-engine/berth/cli/session"
)

// Options are what main knows.
type Options struct {
	Args    []string // without the program's name
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
	Version string
	Commit  string
	Built   string
}

// Run runs one command and gives the exit code.
func Run(ctx context.Context, o Options) int {
	s := session.New(o.In, o.Out, o.Err, o.Version)
	defer s.Unwatch()
	defer func() {
		if err := s.In.Restore(); err != nil {
			fmt.Fprintln(o.Err, err)
		}
	}()
	root := newRoot(s, o)
	root.SetArgs(o.Args)
	root.SetIn(o.In)
	root.SetOut(o.Out)
	root.SetErr(o.Err)
	return report(s, o.Err, root.ExecuteContext(ctx))
}

// report prints an error, if there is something to say, and finds the exit code.
func report(s *session.Session, out io.Writer, err error) int {
	if err == nil {
		return 0
	}
	var exit *session.ExitError
	if errors.As(err, &exit) {
		if exit.Text != "" {
			fmt.Fprintln(out, exit.Text)
		}
		return exit.Code
	}
	if s.Interrupted() && errors.Is(err, context.Canceled) {
		return 130
	}
	fmt.Fprintln(out, err)
	return 1
}

func newRoot(s *session.Session, o Options) *cobra.Command {
	root := &cobra.Command{
		Use:              "berth [OPTIONS] COMMAND [ARG...]",
		Short:            "Build, ship and run containers",
		SilenceErrors:    true,
		SilenceUsage:     true,
		TraverseChildren: true,
		Version:          fmt.Sprintf("%s, build %s", o.Version, orUnknown(o.Commit)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return session.Unknown(cmd, args[0])
			}
			return cmd.Help()
		},
		Args:              cobra.ArbitraryArgs,
		CompletionOptions: cobra.CompletionOptions{DisableDescriptions: true},
	}
	root.SetVersionTemplate("Berth version {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(help)
	root.SetUsageFunc(func(cmd *cobra.Command) error { help(cmd, nil); return nil })
	root.Flags().BoolP("version", "v", false, "Print version information and quit")
	root.PersistentFlags().Bool("help", false, "Print usage")
	root.PersistentFlags().Lookup("help").Hidden = true
	globalFlags(root.Flags(), s)
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		s.Flags.TLSVerifySet = root.Flags().Changed("tlsverify")
		if !session.IsBrief(cmd) {
			cmd.SetContext(s.Watch(cmd.Context()))
		}
	}
	addCommands(root, s, o)
	// The command for completions, which is large, is wanted by itself and in the list of all.
	if found, _, err := root.Find(o.Args); err == nil && found != root {
		root.CompletionOptions.DisableDefaultCmd = true
	}
	if err := root.RegisterFlagCompletionFunc("context", completeContexts(s)); err != nil {
		panic(err) // the flag is declared above
	}
	return root
}

func globalFlags(f *pflag.FlagSet, s *session.Session) {
	g := &s.Flags
	f.StringVar(&g.ConfigDir, "config", "", "Location of client config files (default \"$HOME/.docker\")")
	f.StringVarP(&g.Context, "context", "c", "", `Name of the context to use to connect to the daemon (overrides BERTH_HOST and DOCKER_HOST and the context set with "berth context use")`)
	f.BoolVarP(&g.Debug, "debug", "D", false, "Enable debug mode")
	f.StringArrayVarP(&g.Hosts, "host", "H", nil, "Daemon socket to connect to")
	f.StringVarP(&g.LogLevel, "log-level", "l", "info", `Set the logging level ("debug", "info", "warn", "error", "fatal")`)
	f.BoolVar(&g.TLS, "tls", false, "Use TLS; implied by --tlsverify")
	f.StringVar(&g.CACert, "tlscacert", "", "Trust certs signed only by this CA")
	f.StringVar(&g.Cert, "tlscert", "", "Path to TLS certificate file")
	f.StringVar(&g.Key, "tlskey", "", "Path to TLS key file")
	f.BoolVar(&g.TLSVerify, "tlsverify", false, "Use TLS and verify the remote")
}

// flagError is the mistake of a flag that is not there or has a wrong value, with the nearest name that is there.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	text := err.Error()
	if near := nearestFlag(cmd, text); near != "" {
		text += "\n\nDid you mean --" + near + "?"
	}
	return session.UsageError(cmd, 125, "%s", text)
}

func nearestFlag(cmd *cobra.Command, text string) string {
	name, found := strings.CutPrefix(text, "unknown flag: --")
	if !found {
		return ""
	}
	best, distance := "", 3
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if d := editDistance(name, f.Name); d < distance {
			best, distance = f.Name, d
		}
	})
	return best
}

// editDistance counts the letters to add, drop or change (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}
