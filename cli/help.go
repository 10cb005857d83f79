package cli

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// help prints what a command is for: usage, aliases, commands, options.
func help(cmd *cobra.Command, _ []string) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "Usage:  %s\n", usageLine(cmd))
	long := cmd.Long
	if long == "" {
		long = cmd.Short
	}
	if long != "" {
		fmt.Fprintf(out, "\n%s\n", long)
	}
	if len(cmd.Aliases) > 0 {
		var names []string
		for _, name := range append([]string{cmd.Name()}, cmd.Aliases...) {
			names = append(names, cmd.Parent().CommandPath()+" "+name)
		}
		fmt.Fprintf(out, "\nAliases:\n  %s\n", strings.Join(names, ", "))
	}
	if cmd.Example != "" {
		fmt.Fprintf(out, "\nExamples:\n%s\n", cmd.Example)
	}
	helpCommands(out, cmd)
	local := cmd.LocalFlags()
	if local.HasAvailableFlags() {
		title := "Options"
		if !cmd.HasParent() {
			title = "Global Options"
		}
		fmt.Fprintf(out, "\n%s:\n%s", title, flagUsages(local))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(out, "\nRun '%s COMMAND --help' for more information on a command.\n", cmd.CommandPath())
	}
}

func usageLine(cmd *cobra.Command) string {
	if cmd.HasAvailableSubCommands() && cmd.HasParent() {
		return cmd.CommandPath() + " COMMAND"
	}
	if !cmd.HasParent() {
		return cmd.Use
	}
	return cmd.UseLine()
}

func flagUsages(f *pflag.FlagSet) string { return f.FlagUsagesWrapped(100) }

// helpCommands lists the commands: groups apart from what does something.
func helpCommands(out io.Writer, cmd *cobra.Command) {
	var groups, verbs []*cobra.Command
	width := 0
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		width = max(width, len(sub.Name()))
		if sub.HasAvailableSubCommands() {
			groups = append(groups, sub)
		} else {
			verbs = append(verbs, sub)
		}
	}
	list := func(title string, commands []*cobra.Command) {
		if len(commands) == 0 {
			return
		}
		sort.Slice(commands, func(i, j int) bool { return commands[i].Name() < commands[j].Name() })
		fmt.Fprintf(out, "\n%s:\n", title)
		for _, c := range commands {
			fmt.Fprintf(out, "  %-*s  %s\n", width, c.Name(), c.Short)
		}
	}
	if len(groups) > 0 {
		list("Management Commands", groups)
	}
	list("Commands", verbs)
}
