package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/session"
)

// readStatus reads the answer to a wait.
func readStatus(body io.Reader) waitResult {
	var response container.WaitResponse
	if err := json.NewDecoder(body).Decode(&response); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the connection to the daemon was lost before the container ended")
		}
		return waitResult{code: daemonFailure, err: fmt.Errorf("error waiting for container: %w", err)}
	}
	if response.Error != nil && response.Error.Message != "" {
		return waitResult{code: daemonFailure, err: fmt.Errorf("error waiting for container: %s", response.Error.Message)}
	}
	return waitResult{code: int(response.StatusCode)}
}

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
