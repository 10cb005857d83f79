package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/berth-engine/berth/cli/client"
)

// errLost says that a wait went with the daemon that it was asked of.
var errLost = errors.New("the connection to the daemon was lost before the container ended")

// patience is how long a daemon may be away, and the first and the longest pause between two questions whether it is back.
const (
	patience   = time.Minute
	firstPause = 20 * time.Millisecond
	longPause  = time.Second
)

// waiting is a wait that outlives the daemon: containers and the streams of those who are attached do, so the exit
// status can still be had from the next one.
type waiting struct {
	api       *client.Client
	id        string
	condition container.WaitCondition
	since     time.Time // the end that is waited for is not older
}

// ask registers the wait and returns when the daemon has.
func (w waiting) ask(ctx context.Context) (*http.Response, error) {
	query := url.Values{}
	if w.condition != "" {
		query.Set("condition", string(w.condition))
	}
	return w.api.Send(ctx, client.Request{Method: http.MethodPost, Path: path(w.id, "wait"), Query: query})
}

// result reads the answer; when the daemon goes away instead it asks the one that comes after it, at growing intervals
// and for as long as patience lasts without an answer.
func (w waiting) result(ctx context.Context, resp *http.Response) waitResult {
	status := readStatus(resp.Body)
	resp.Body.Close()
	if !w.api.IsLocal() {
		// A connection over the network is lost for more reasons, and the container's output with it.
		return status
	}
	return insist(ctx, status, w.again)
}

// insist asks again while the answer is that the daemon was lost.
func insist(ctx context.Context, status waitResult, again func(context.Context) waitResult) waitResult {
	deadline, pause := time.Now().Add(patience), firstPause
	for errors.Is(status.err, errLost) && time.Now().Before(deadline) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return waitResult{code: daemonFailure, err: ctx.Err()}
		}
		began := time.Now()
		status = again(ctx)
		pause = min(2*pause, longPause)
		if time.Since(began) > patience { // there was a daemon for a while
			deadline, pause = time.Now().Add(patience), firstPause
		}
	}
	return status
}

// again asks the daemon that is there now.
func (w waiting) again(ctx context.Context) waitResult {
	resp, err := w.ask(ctx)
	var unreachable *client.ConnectionError
	switch {
	case errors.As(err, &unreachable):
		return waitResult{code: daemonFailure, err: fmt.Errorf("error waiting for container: %w", errLost)}
	case client.IsNotFound(err): // it ended and was removed (--rm) meanwhile
		if code, known := w.told(ctx); known {
			return waitResult{code: code}
		}
		return waitResult{code: daemonFailure, err: err}
	case err != nil:
		return waitResult{code: daemonFailure, err: err}
	}
	defer resp.Body.Close()
	// Who waits for the next end is too late for one that came before the daemon did. That was told as an event.
	if w.condition == container.WaitConditionNextExit {
		if code, known := w.told(ctx); known {
			return waitResult{code: code}
		}
	}
	return readStatus(resp.Body)
}

// started asks the daemon that is there now whether the container has started.
func (w waiting) started(ctx context.Context) waitResult {
	c, err := inspect(ctx, w.api, w.id)
	var unreachable *client.ConnectionError
	switch {
	case errors.As(err, &unreachable):
		return waitResult{err: errLost}
	case err == nil:
		if at, _ := time.Parse(time.RFC3339Nano, c.State.StartedAt); at.Before(w.since) {
			err = errors.New("the daemon ended before the container had started")
		}
	case client.IsNotFound(err): // it ended and was removed (--rm)
		if _, known := w.told(ctx); known {
			err = nil
		}
	}
	return waitResult{err: err}
}

// told looks for the end of the container among the events that the daemon has kept.
func (w waiting) told(ctx context.Context) (code int, known bool) {
	conditions, err := json.Marshal(map[string][]string{"type": {"container"}, "event": {string(events.ActionDie)}, "container": {w.id}})
	if err != nil {
		return 0, false
	}
	query := url.Values{"filters": {string(conditions)}, "since": {stamp(w.since)}, "until": {stamp(time.Now())}}
	resp, err := w.api.Send(ctx, client.Request{Method: http.MethodGet, Path: "/events", Query: query})
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	for values := json.NewDecoder(resp.Body); ; {
		var event events.Message
		if err := values.Decode(&event); err != nil {
			return 0, false
		}
		if event.Actor.ID == w.id || event.Actor.Attributes["name"] == w.id {
			code, err := strconv.Atoi(event.Actor.Attributes["exitCode"])
			return code, err == nil
		}
	}
}

// stamp is a time as the API wants it.
func stamp(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// readStatus reads the answer to a wait.
func readStatus(body io.Reader) waitResult {
	var response container.WaitResponse
	if err := json.NewDecoder(body).Decode(&response); err != nil {
		var syntax *json.SyntaxError
		if !errors.As(err, &syntax) && !errors.Is(err, context.Canceled) {
			err = errLost
		}
		return waitResult{code: daemonFailure, err: fmt.Errorf("error waiting for container: %w", err)}
	}
	if response.Error != nil && response.Error.Message != "" {
		return waitResult{code: daemonFailure, err: fmt.Errorf("error waiting for container: %s", response.Error.Message)}
	}
	return waitResult{code: int(response.StatusCode)}
}
