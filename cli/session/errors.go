package session

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// ExitError ends the program with a code. With an empty text nothing is printed.
type ExitError struct {
	Code int
	Text string
}

func (e *ExitError) Error() string { return e.Text }

// UsageError is a mistake on the command line: the text says how to get help.
func UsageError(cmd *cobra.Command, code int, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return &ExitError{Code: code, Text: fmt.Sprintf("%s\n\nUsage:  %s\n\nRun '%s --help' for more information", text, cmd.UseLine(), cmd.CommandPath())}
}

// Exactly wants n arguments.
func Exactly(n int) cobra.PositionalArgs {
	return count(func(got int) bool { return got == n }, "requires %d argument%s", n)
}

// AtLeast wants n arguments or more.
func AtLeast(n int) cobra.PositionalArgs {
	return count(func(got int) bool { return got >= n }, "requires at least %d argument%s", n)
}

// AtMost wants n arguments or fewer.
func AtMost(n int) cobra.PositionalArgs {
	return count(func(got int) bool { return got <= n }, "requires at most %d argument%s", n)
}

// Between wants a to b arguments.
func Between(a, b int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= a && len(args) <= b {
			return nil
		}
		return UsageError(cmd, 1, "%s: '%s' requires at least %d and at most %d arguments", Program(cmd), cmd.CommandPath(), a, b)
	}
}

// None wants no argument.
func None(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return UsageError(cmd, 1, "%s: '%s' accepts no arguments", Program(cmd), cmd.CommandPath())
}

func count(ok func(int) bool, sentence string, n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if ok(len(args)) {
			return nil
		}
		plural := "s"
		if n == 1 {
			plural = ""
		}
		return UsageError(cmd, 1, "%s: '%s' "+sentence, Program(cmd), cmd.CommandPath(), n, plural)
	}
}

// Program is the first word of the command's path.
func Program(cmd *cobra.Command) string {
	name, _, _ := strings.Cut(cmd.CommandPath(), " ")
	return filepath.Base(name)
}

// Each runs do for every name, prints the name (unless do prints) for each success, and joins the failures: one name
// that fails does not keep the others from their turn.
func (s *Session) Each(names []string, do func(name string) error) error {
	var failed []error
	for _, name := range names {
		if err := do(name); err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintln(s.Out, name)
	}
	return errors.Join(failed...)
}

// WithHelp shows an error the way `run` and `create` do, with where to find help, and ends with a code.
func WithHelp(cmd *cobra.Command, err error, code int) error {
	return &ExitError{Code: code, Text: fmt.Sprintf("%s: %v\n\nRun '%s --help' for more information", Program(cmd), err, cmd.CommandPath())}
}
