package session

import "github.com/spf13/cobra"

// Group makes a command that only has commands.
func Group(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name,
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return Unknown(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// Unknown is the mistake of a command that is not there, with the ones that are near.
func Unknown(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	text := Program(cmd) + ": unknown command: " + cmd.CommandPath() + " " + name
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += "\n\nDid you mean this?"
		for _, n := range near {
			text += "\n  " + cmd.CommandPath() + " " + n
		}
	}
	return &ExitError{Code: 1, Text: text + "\n\nRun '" + cmd.CommandPath() + " --help' for more information"}
}
