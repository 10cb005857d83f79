package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stream"
)

type starting struct {
	attach, interactive bool
	keys                string
}

// NewStart is `start`.
func NewStart(s *session.Session) *cobra.Command {
	var o starting
	cmd := &cobra.Command{
		Use:               "start [OPTIONS] CONTAINER [CONTAINER...]",
		Annotations:       session.Brief,
		Short:             "Start one or more stopped containers",
		Args:              session.AtLeast(1),
		ValidArgsFunction: completeContainers(s, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := s.Client()
			if err != nil {
				return err
			}
			if !o.attach && !o.interactive {
				return s.Each(args, func(name string) error { return start(cmd.Context(), api, name) })
			}
			if len(args) > 1 {
				return errors.New("you cannot start and attach multiple containers at once")
			}
			return o.foreground(s.Watch(cmd.Context()), s, api, args[0])
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.attach, "attach", "a", false, "Attach STDOUT/STDERR and forward signals")
	f.BoolVarP(&o.interactive, "interactive", "i", false, "Attach container's STDIN")
	f.StringVar(&o.keys, "detach-keys", "", "Override the key sequence for detaching a container")
	return cmd
}

func (o starting) foreground(ctx context.Context, s *session.Session, api *client.Client, name string) error {
	c, err := inspect(ctx, api, name)
	if err != nil {
		return err
	}
	keys, err := detachKeys(s, o.keys)
	if err != nil {
		return err
	}
	f := foreground{session: s, api: api, id: c.ID, tty: c.Config.Tty, keys: keys, keyText: o.keys, proxy: true,
		remove: c.HostConfig != nil && c.HostConfig.AutoRemove,
		stdin:  o.interactive && c.Config.OpenStdin, stdout: true, stderr: true}
	return f.run(ctx, func(err error) error { return err })
}

func inspect(ctx context.Context, api *client.Client, name string) (container.InspectResponse, error) {
	var c container.InspectResponse
	err := api.Get(ctx, path(name, "json"), nil, &c)
	if err == nil && (c.Config == nil || c.State == nil) {
		err = fmt.Errorf("the daemon's description of %s is not complete", name)
	}
	return c, err
}

type attaching struct {
	noStdin, proxy bool
	keys           string
}

// NewAttach is `attach`.
func NewAttach(s *session.Session) *cobra.Command {
	var o attaching
	cmd := &cobra.Command{
		Use:               "attach [OPTIONS] CONTAINER",
		Short:             "Attach local standard input, output, and error streams to a running container",
		Args:              session.Exactly(1),
		ValidArgsFunction: completeContainers(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), s, args[0])
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.noStdin, "no-stdin", false, "Do not attach STDIN")
	f.BoolVar(&o.proxy, "sig-proxy", true, "Proxy all received signals to the process")
	f.StringVar(&o.keys, "detach-keys", "", "Override the key sequence for detaching a container")
	return cmd
}

func (o attaching) run(ctx context.Context, s *session.Session, name string) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	c, err := inspect(ctx, api, name)
	if err != nil {
		return err
	}
	switch {
	case !c.State.Running:
		return errors.New("cannot attach to a stopped container, start it first")
	case c.State.Paused:
		return errors.New("cannot attach to a paused container, unpause it first")
	case c.State.Restarting:
		return errors.New("cannot attach to a restarting container, wait until it is running")
	}
	keys, err := detachKeys(s, o.keys)
	if err != nil {
		return err
	}
	f := foreground{session: s, api: api, id: c.ID, tty: c.Config.Tty, keys: keys, keyText: o.keys,
		stdin: !o.noStdin && c.Config.OpenStdin, stdout: true, stderr: true}
	if f.stdin && f.tty && !s.In.IsTerminal() {
		return errors.New("cannot attach stdin to a TTY-enabled container because stdin is not a terminal")
	}
	if o.proxy && !f.tty {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.proxy && !f.tty {
		defer stream.ForwardSignals(ctx, func(ctx context.Context, signal string) error { return kill(ctx, api, c.ID, signal) })()
	}
	waiting := make(chan waiter, 1)
	go func() { waiting <- waitFor(ctx, api, c.ID, "") }()
	conn, err := attach(ctx, api, c.ID, attachOptions{stdin: f.stdin, stdout: true, stderr: true, keys: o.keys})
	exit := <-waiting
	if err != nil {
		return err
	}
	if exit.err != nil {
		return errors.Join(exit.err, conn.Close())
	}
	if f.tty {
		defer stream.FollowSize(ctx, s.Out, true, func(ctx context.Context, height, width uint) error {
			return resize(ctx, api, path(c.ID, "resize"), height, width)
		})()
	}
	err = f.attachment(conn).Run(ctx)
	if errors.Is(err, stream.ErrDetached) {
		fmt.Fprintln(s.Err, "read escape sequence")
		return nil
	}
	if err != nil {
		return err
	}
	return exitCode(<-exit.status)
}
