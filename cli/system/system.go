package system

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/session"
)

// New is `system` with its commands.
func New(s *session.Session, b Build) *cobra.Command {
	return session.Group("system", "Manage Berth", newUsage(s), NewInfo(s, b), newPrune(s), NewEvents(s), newDialStdio(s))
}

// newDialStdio is `system dial-stdio`: the other end of an ssh:// connection.
func newDialStdio(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:    "dial-stdio",
		Short:  "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
		Args:   session.None,
		Hidden: true,
		RunE:   func(cmd *cobra.Command, _ []string) error { return dialStdio(cmd.Context(), s) },
	}
}

func dialStdio(ctx context.Context, s *session.Session) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	conn, err := api.DialRaw(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent, received := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, s.In)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			err = errors.Join(err, half.CloseWrite())
		}
		sent <- err
	}()
	go func() {
		_, err := io.Copy(s.Out, conn)
		received <- err
	}()
	select {
	case err := <-received:
		// The daemon said all it had to say.
		return err
	case err := <-sent:
		if err != nil {
			return err
		}
		return <-received
	}
}
