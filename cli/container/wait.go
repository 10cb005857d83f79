package container

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/session"
)

// NewWait is `wait`.
func NewWait(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "wait CONTAINER [CONTAINER...]",
		Short:             "Block until one or more containers stop, then print their exit codes",
		Args:              session.AtLeast(1),
		ValidArgsFunction: completeContainers(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			var failed []error
			for _, name := range args {
				w := waitFor(cmd.Context(), api, name, "")
				if w.err != nil {
					failed = append(failed, w.err)
					continue
				}
				status := <-w.status
				if status.err != nil {
					failed = append(failed, status.err)
					continue
				}
				fmt.Fprintln(s.Out, status.code)
			}
			return errors.Join(failed...)
		},
	}
}
