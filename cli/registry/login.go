package registry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/moby/api/types/registry"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/config"
	"github.com/berth-engine/berth/cli/session"
)

type login struct {
	username, password string
	passwordStdin      bool
}

// NewLogin is `login`.
func NewLogin(s *session.Session) *cobra.Command {
	var l login
	cmd := &cobra.Command{
		Use:               "login [OPTIONS] [SERVER]",
		Short:             "Authenticate to a registry",
		Long:              "Authenticate to a registry.\nWithout a server, Docker Hub is meant.",
		Args:              session.AtMost(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			server := ""
			if len(args) == 1 {
				server = args[0]
			}
			return l.run(cmd.Context(), s, serverOf(server))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&l.username, "username", "u", "", "Username")
	f.StringVarP(&l.password, "password", "p", "", "Password or Personal Access Token (PAT)")
	f.BoolVar(&l.passwordStdin, "password-stdin", false, "Take the Password or Personal Access Token (PAT) from stdin")
	return cmd
}

// serverOf takes what people add to a host name away.
func serverOf(text string) string {
	bare := strings.TrimPrefix(strings.TrimPrefix(text, "https://"), "http://")
	host, _, _ := strings.Cut(bare, "/")
	return Server(host)
}

func (l *login) run(ctx context.Context, s *session.Session, server string) error {
	if err := l.checkPassword(s); err != nil {
		return err
	}
	known, err := s.Config().Credentials(ctx, server)
	if err != nil {
		return err
	}
	auth := registry.AuthConfig{Username: l.username, Password: l.password, ServerAddress: server}
	if l.username == "" && l.password == "" && (known.Username != "" && known.Password != "" || known.IdentityToken != "") {
		fmt.Fprintf(s.Err, "Authenticating with existing credentials...\n")
		auth = known
	} else if err := ask(s, &auth, known.Username); err != nil {
		return err
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	var answer registry.AuthResponse
	if err := api.Post(ctx, "/auth", nil, auth, &answer); err != nil {
		return err
	}
	if answer.IdentityToken != "" {
		auth.Password, auth.IdentityToken = "", answer.IdentityToken
	}
	plain, err := s.Config().Store(ctx, auth)
	if err != nil {
		return fmt.Errorf("error saving credentials: %w", err)
	}
	if plain {
		fmt.Fprintf(s.Err, "\nWARNING! Your credentials are stored unencrypted in '%s'.\nConfigure a credential helper (credsStore) to remove this warning.\n\n", s.Config().Dir()+"/config.json")
	}
	if answer.Status == "" {
		answer.Status = "Login Succeeded"
	}
	fmt.Fprintln(s.Out, answer.Status)
	return nil
}

func (l *login) checkPassword(s *session.Session) error {
	if l.password != "" {
		fmt.Fprintln(s.Err, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
		if l.passwordStdin {
			return errors.New("conflicting options: cannot specify both --password and --password-stdin")
		}
	}
	if !l.passwordStdin {
		return nil
	}
	if l.username == "" {
		return errors.New("the --password-stdin option requires --username to be set")
	}
	text, err := io.ReadAll(s.In)
	if err != nil {
		return err
	}
	l.password = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if l.password == "" {
		return errors.New("password is empty")
	}
	return nil
}

func ask(s *session.Session, auth *registry.AuthConfig, suggested string) error {
	if auth.Username != "" && auth.Password != "" {
		return nil
	}
	if !s.In.IsTerminal() {
		return errors.New("cannot perform an interactive login from a non-TTY device")
	}
	if auth.Username == "" {
		if suggested != "" {
			fmt.Fprintf(s.Out, "Username (%s): ", suggested)
		} else {
			fmt.Fprint(s.Out, "Username: ")
		}
		line, err := bufio.NewReader(s.In).ReadString('\n')
		if err != nil {
			return err
		}
		if auth.Username = strings.TrimSpace(line); auth.Username == "" {
			auth.Username = suggested
		}
	}
	if auth.Username == "" {
		return errors.New("username is required")
	}
	if auth.Password == "" {
		fmt.Fprint(s.Out, "Password: ")
		password, err := s.In.ReadPassword()
		fmt.Fprintln(s.Out)
		if err != nil {
			return err
		}
		auth.Password = password
	}
	if auth.Password == "" {
		return errors.New("password is required")
	}
	return nil
}

// NewLogout is `logout`.
func NewLogout(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "logout [SERVER]",
		Short:             "Log out from a registry",
		Long:              "Log out from a registry.\nWithout a server, Docker Hub is meant.",
		Args:              session.AtMost(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			server := config.IndexServer
			if len(args) == 1 {
				server = serverOf(args[0])
			}
			known, err := s.Config().Erase(cmd.Context(), server)
			if err != nil {
				return fmt.Errorf("could not erase credentials: %w", err)
			}
			if !known {
				fmt.Fprintf(s.Out, "Not logged in to %s\n", server)
				return nil
			}
			fmt.Fprintf(s.Out, "Removing login credentials for %s\n", server)
			return nil
		},
	}
}
