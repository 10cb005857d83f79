package container

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stream"
)

type logging struct {
	follow, timestamps, details bool
	since, until, tail          string
}

// NewLogs is `logs`.
func NewLogs(s *session.Session) *cobra.Command {
	var o logging
	cmd := &cobra.Command{
		Use:               "logs [OPTIONS] CONTAINER",
		Short:             "Fetch the logs of a container",
		Args:              session.Exactly(1),
		ValidArgsFunction: completeContainers(s, 1),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), s, args[0]) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "Follow log output")
	f.StringVar(&o.since, "since", "", `Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	f.StringVar(&o.until, "until", "", `Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)`)
	f.BoolVarP(&o.timestamps, "timestamps", "t", false, "Show timestamps")
	f.BoolVar(&o.details, "details", false, "Show extra details provided to logs")
	f.StringVarP(&o.tail, "tail", "n", "all", "Number of lines to show from the end of the logs")
	return cmd
}

func (o logging) run(ctx context.Context, s *session.Session, name string) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	query := url.Values{"stdout": {"1"}, "stderr": {"1"}, "tail": {o.tail}}
	now := time.Now()
	for key, text := range map[string]string{"since": o.since, "until": o.until} {
		if text == "" {
			continue
		}
		moment, err := option.Timestamp(text, now)
		if err != nil {
			return errors.New(`invalid value for "` + key + `": ` + err.Error())
		}
		query.Set(key, moment)
	}
	for key, on := range map[string]bool{"follow": o.follow, "timestamps": o.timestamps, "details": o.details} {
		if on {
			query.Set(key, "1")
		}
	}
	resp, err := api.Send(ctx, client.Request{Method: http.MethodGet, Path: path(name, "logs"), Query: query})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	framed, err := isFramed(ctx, api, name, resp)
	if err != nil {
		return err
	}
	if framed {
		return stream.Split(s.Out, s.Err, resp.Body)
	}
	_, err = io.Copy(s.Out, resp.Body)
	return err
}

// isFramed asks the content type, and the container where an old daemon does not say.
func isFramed(ctx context.Context, api *client.Client, name string, resp *http.Response) (bool, error) {
	switch kind := resp.Header.Get("Content-Type"); {
	case strings.HasPrefix(kind, "application/vnd.docker.multiplexed-stream"):
		return true, nil
	case strings.HasPrefix(kind, "application/vnd.docker.raw-stream"):
		if minor, err := strconv.Atoi(strings.TrimPrefix(api.Version(), "1.")); err == nil && minor >= 42 {
			return false, nil
		}
	}
	c, err := inspect(ctx, api, name)
	if err != nil {
		return false, err
	}
	return !c.Config.Tty, nil
}
