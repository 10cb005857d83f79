package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stream"
)

// running is `run`.
type running struct {
	creation
	detach, proxy bool
	detachKeys    string
}

// NewRun is `run`.
func NewRun(s *session.Session) *cobra.Command {
	var r running
	cmd := &cobra.Command{
		Use:               "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create and run a new container from an image",
		Args:              session.AtLeast(1),
		ValidArgsFunction: completeImages(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.image, r.args = args[0], args[1:]
			return r.run(cmd, s)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&r.detach, "detach", "d", false, "Run container in background and print container ID")
	f.BoolVar(&r.proxy, "sig-proxy", true, "Proxy received signals to the process")
	f.StringVar(&r.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	r.flags(cmd, s)
	return cmd
}

func (r *running) run(cmd *cobra.Command, s *session.Session) error {
	if err := r.check(); err != nil {
		return session.WithHelp(cmd, err, daemonFailure)
	}
	r.proxies(s)
	request, err := r.request(cmd.Flags())
	if err != nil {
		return session.WithHelp(cmd, err, daemonFailure)
	}
	if err := r.streams(request, s); err != nil {
		return session.WithHelp(cmd, err, daemonFailure)
	}
	keys, err := detachKeys(s, r.detachKeys)
	if err != nil {
		return session.WithHelp(cmd, err, daemonFailure)
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	id, err := r.create(cmd.Context(), s, api, request)
	if err != nil {
		return session.WithHelp(cmd, err, startCode(err))
	}
	if r.detach {
		if err := start(context.WithoutCancel(cmd.Context()), api, id); err != nil {
			return session.WithHelp(cmd, err, startCode(err))
		}
		fmt.Fprintln(s.Out, id)
		return nil
	}
	f := foreground{session: s, api: api, id: id, tty: request.Tty, keys: keys, keyText: r.detachKeys, remove: r.remove, proxy: r.proxy,
		stdin: request.AttachStdin, stdout: request.AttachStdout, stderr: request.AttachStderr}
	return f.run(cmd.Context(), func(err error) error { return session.WithHelp(cmd, err, startCode(err)) })
}

// streams decides what to attach to and whether that makes sense.
func (r *running) streams(request *container.CreateRequest, s *session.Session) error {
	if r.detach {
		if len(r.attach.Values) > 0 {
			return errors.New("conflicting options: cannot specify both --attach and --detach")
		}
		request.AttachStdin, request.AttachStdout, request.AttachStderr, request.StdinOnce = false, false, false, false
	} else if request.AttachStdin && request.Tty && !s.In.IsTerminal() {
		return errors.New("cannot attach stdin to a TTY-enabled container because stdin is not a terminal")
	}
	if height, width := s.Out.Size(); request.Tty && height > 0 {
		request.HostConfig.ConsoleSize = [2]uint{height, width}
	}
	return nil
}

// foreground runs a container that exists, with its streams here, until it ends or the user leaves it.
type foreground struct {
	session               *session.Session
	api                   *client.Client
	id                    string
	tty, remove, proxy    bool
	stdin, stdout, stderr bool
	keys                  []byte
	keyText               string
}

// run attaches and asks for the exit status, both at once and both before the start, so that nothing is missed.
func (f foreground) run(ctx context.Context, failed func(error) error) error {
	condition := container.WaitConditionNextExit
	if f.remove {
		condition = container.WaitConditionRemoved
	}
	if f.proxy {
		// The container decides when it is over: an interrupt is a signal for it.
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if f.proxy {
		defer stream.ForwardSignals(ctx, func(ctx context.Context, signal string) error { return kill(ctx, f.api, f.id, signal) })()
	}
	waiting := make(chan waiter, 1)
	go func() { waiting <- waitFor(ctx, f.api, f.id, condition) }()
	conn, err := attach(ctx, f.api, f.id, attachOptions{stdin: f.stdin, stdout: f.stdout, stderr: f.stderr, keys: f.keyText})
	exit := <-waiting
	if err = errors.Join(err, exit.err); err != nil {
		if conn != nil {
			err = errors.Join(err, conn.Close())
		}
		return failed(err)
	}
	local := make(chan error, 1)
	go func() { local <- f.attachment(conn).Run(ctx) }()
	if err := start(ctx, f.api, f.id); err != nil {
		cancel()
		// The attachment ends first, so that the terminal is as it was when the sentence is printed.
		conn.Close()
		if streamErr := <-local; errors.Is(streamErr, stream.ErrDetached) {
			err = errors.Join(err, streamErr)
		}
		return failed(err)
	}
	if f.tty {
		defer stream.FollowSize(ctx, f.session.Out, false, func(ctx context.Context, height, width uint) error {
			return resize(ctx, f.api, "/containers/"+f.id+"/resize", height, width)
		})()
	}
	return f.end(cancel, exit, local)
}

func (f foreground) attachment(conn *client.Stream) stream.Attachment {
	a := stream.Attachment{Conn: conn, Tty: f.tty, DetachKeys: f.keys}
	if f.stdin {
		a.In = f.session.In
	}
	if f.stdout {
		a.Stdout = f.session.Out
	}
	if f.stderr {
		a.Stderr = f.session.Err
		if f.tty {
			a.Stderr = f.session.Out
		}
	}
	return a
}

// end waits for the streams and for the status, whichever comes first.
func (f foreground) end(cancel context.CancelFunc, exit waiter, local <-chan error) error {
	select {
	case err := <-local:
		if errors.Is(err, stream.ErrDetached) {
			return nil
		}
		if err != nil {
			return err
		}
		return exitCode(<-exit.status)
	case status := <-exit.status:
		// The process has ended; what it said last may still be on the way.
		if !f.stdout && !f.stderr {
			cancel()
		} else if err := <-local; errors.Is(err, stream.ErrDetached) {
			return nil
		}
		return exitCode(exit.late(status))
	}
}

// waiter is a registered wait: status gives one value. late asks once more, of a daemon that is back, when that value
// is that the daemon was lost.
type waiter struct {
	status <-chan waitResult
	late   func(waitResult) waitResult
	err    error
}

type waitResult struct {
	code int
	err  error
}

// waitFor returns when the daemon has registered the wait.
func waitFor(ctx context.Context, api *client.Client, id string, condition container.WaitCondition) waiter {
	w := waiting{api: api, id: id, condition: condition, since: time.Now()}
	resp, err := w.ask(ctx)
	if err != nil {
		return waiter{err: err}
	}
	status := make(chan waitResult, 1)
	go func() { status <- w.result(ctx, resp) }()
	late := func(status waitResult) waitResult {
		if w.api.IsLocal() {
			return insist(ctx, status, w.again)
		}
		return status
	}
	return waiter{status: status, late: late}
}

func exitCode(r waitResult) error {
	if errors.Is(r.err, context.Canceled) {
		return context.Canceled
	}
	if r.err != nil {
		return &session.ExitError{Code: daemonFailure, Text: r.err.Error()}
	}
	if r.code != 0 {
		return &session.ExitError{Code: r.code}
	}
	return nil
}

// startCode is the exit code for a container that did not start: 127 when its program was not found, 126 when it can't
// be executed, 125 for the rest.
func startCode(err error) int {
	text := strings.ToLower(err.Error()) // crun begins a reason of the kernel's with a capital
	for _, sign := range []string{"executable file not found", "no such file or directory", "system cannot find the file specified"} {
		if strings.Contains(text, sign) {
			return 127
		}
	}
	if strings.Contains(text, "permission denied") || strings.Contains(text, "is a directory") {
		var connection *client.ConnectionError
		if !errors.As(err, &connection) {
			return 126
		}
	}
	return daemonFailure
}

// start starts a container. A daemon that dies over it may have done so: the next one knows.
func start(ctx context.Context, api *client.Client, id string) error {
	w := waiting{api: api, id: id, since: time.Now()}
	err := api.Post(ctx, "/containers/"+url.PathEscape(id)+"/start", nil, nil, nil)
	asked := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) // it was there
	if !asked || !api.IsLocal() || insist(ctx, waitResult{err: errLost}, w.started).err != nil {
		return err
	}
	return nil
}

func detachKeys(s *session.Session, text string) ([]byte, error) {
	if text == "" {
		text = s.Config().DetachKeys
	}
	return stream.ParseDetachKeys(text)
}

type attachOptions struct {
	stdin, stdout, stderr, logs bool
	keys                        string
}

func attach(ctx context.Context, api *client.Client, id string, o attachOptions) (*client.Stream, error) {
	query := url.Values{"stream": {"1"}}
	for name, on := range map[string]bool{"stdin": o.stdin, "stdout": o.stdout, "stderr": o.stderr, "logs": o.logs} {
		if on {
			query.Set(name, "1")
		}
	}
	if o.keys != "" {
		query.Set("detachKeys", o.keys)
	}
	return api.Hijack(ctx, client.Request{Path: "/containers/" + url.PathEscape(id) + "/attach", Query: query})
}

func resize(ctx context.Context, api *client.Client, path string, height, width uint) error {
	return api.Post(ctx, path, url.Values{"h": {fmt.Sprint(height)}, "w": {fmt.Sprint(width)}}, nil, nil)
}

func kill(ctx context.Context, api *client.Client, id, signal string) error {
	query := url.Values{}
	if signal != "" {
		query.Set("signal", signal)
	}
	return api.Post(ctx, "/containers/"+url.PathEscape(id)+"/kill", query, nil, nil)
}
