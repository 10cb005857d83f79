package container

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stream"
)

type executing struct {
	keys, user, workdir               string
	interactive, tty, detach, privied bool
	env, envFiles                     option.List
}

// NewExec is `exec`.
func NewExec(s *session.Session) *cobra.Command {
	var o executing
	cmd := &cobra.Command{
		Use:               "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short:             "Execute a command in a running container",
		Args:              session.AtLeast(2),
		ValidArgsFunction: completeContainers(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), s, args[0], args[1:])
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	o.env.Check = option.CheckEnv
	f.StringVar(&o.keys, "detach-keys", "", "Override the key sequence for detaching a container")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	f.BoolVarP(&o.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	f.BoolVarP(&o.detach, "detach", "d", false, "Detached mode: run command in the background")
	f.StringVarP(&o.user, "user", "u", "", `Username or UID (format: "<name|uid>[:<group|gid>]")`)
	f.BoolVar(&o.privied, "privileged", false, "Give extended privileges to the command")
	f.VarP(&o.env, "env", "e", "Set environment variables")
	f.Var(&o.envFiles, "env-file", "Read in a file of environment variables")
	f.StringVarP(&o.workdir, "workdir", "w", "", "Working directory inside the container")
	return cmd
}

func (o *executing) run(ctx context.Context, s *session.Session, name string, command []string) error {
	env, err := option.Environment(o.envFiles.Values, o.env.Values)
	if err != nil {
		return err
	}
	keys, err := detachKeys(s, o.keys)
	if err != nil {
		return err
	}
	if !o.detach && o.interactive && o.tty && !s.In.IsTerminal() {
		return errors.New("cannot attach stdin to a TTY-enabled container because stdin is not a terminal")
	}
	spec := container.ExecCreateRequest{User: o.user, Privileged: o.privied, Tty: o.tty, Env: env, WorkingDir: o.workdir, Cmd: command, DetachKeys: o.keys}
	var size *[2]uint
	if !o.detach {
		spec.AttachStdin, spec.AttachStdout, spec.AttachStderr = o.interactive, true, true
		if height, width := s.Out.Size(); o.tty && height > 0 {
			size = &[2]uint{height, width}
			spec.ConsoleSize = size
		}
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	var made container.ExecCreateResponse
	if err := api.Post(ctx, path(name, "exec"), nil, spec, &made); err != nil {
		return err
	}
	if made.ID == "" {
		return errors.New("exec ID empty")
	}
	start := container.ExecStartRequest{Detach: o.detach, Tty: o.tty, ConsoleSize: size}
	if o.detach {
		return api.Post(ctx, execPath(made.ID, "start"), nil, start, nil)
	}
	return o.foreground(ctx, s, api, made.ID, start, keys)
}

func (o *executing) foreground(ctx context.Context, s *session.Session, api *client.Client, id string, start container.ExecStartRequest, keys []byte) error {
	conn, err := api.Hijack(ctx, client.Request{Path: execPath(id, "start"), JSON: start})
	if err != nil {
		var refused *client.Error
		if errors.As(err, &refused) {
			return &session.ExitError{Code: execCode(err), Text: err.Error()}
		}
		return err
	}
	a := stream.Attachment{Conn: conn, Stdout: s.Out, Stderr: s.Err, Tty: o.tty, DetachKeys: keys}
	if o.interactive {
		a.In = s.In
	}
	if o.tty {
		defer stream.FollowSize(ctx, s.Out, false, func(ctx context.Context, height, width uint) error {
			return resize(ctx, api, execPath(id, "resize"), height, width)
		})()
	}
	err = a.Run(ctx)
	if errors.Is(err, stream.ErrDetached) {
		fmt.Fprintln(s.Err, "read escape sequence")
		return nil
	}
	if err != nil {
		return err
	}
	return execStatus(ctx, api, id)
}

// execCode follows startCode, but a refusal for another reason is an ordinary failure.
func execCode(err error) int {
	if code := startCode(err); code != daemonFailure {
		return code
	}
	return 1
}

func execStatus(ctx context.Context, api *client.Client, id string) error {
	var state container.ExecInspectResponse
	if err := api.Get(ctx, execPath(id, "json"), nil, &state); err != nil {
		return err
	}
	if state.ExitCode != nil && *state.ExitCode != 0 {
		return &session.ExitError{Code: *state.ExitCode}
	}
	return nil
}

func execPath(id, action string) string { return "/exec/" + url.PathEscape(id) + "/" + action }
