package crash

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

const numberNames = 230

// TestNoNameIsLostWhileTheDaemonDiesAgainAndAgain: a container asks for its own name without a pause. What it asks while
// there is no daemon is answered at the second attempt of the program that asks, 2.5 seconds later.
func TestNoNameIsLostWhileTheDaemonDiesAgainAndAgain(t *testing.T) {
	t.Parallel()
	d, _ := begin(t, numberNames)
	const asks = `lost=0; until [ -e /stop ]; do
	if nslookup asker 127.0.0.11 >/tmp/said 2>&1; then echo found; else lost=$((lost+1)); cat /tmp/said; fi
done; exit $lost`
	if err := errors.Join(
		d.Do(http.MethodPost, "/networks/create", map[string]any{"Name": "lake"}, nil),
		d.Do(http.MethodPost, "/containers/create?name=asker", map[string]any{
			"Image": "busybox", "Cmd": []string{"sh", "-c", asks}, "HostConfig": map[string]any{"NetworkMode": "lake"},
		}, nil),
		d.Do(http.MethodPost, "/containers/asker/start", nil, nil),
	); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		since := time.Now()
		if err := d.Follow("asker", since, "found"); err != nil {
			t.Fatal(err)
		}
		again(t, d, nil)
	}
	if err := d.Follow("asker", time.Now(), "found"); err != nil {
		t.Fatal(err)
	}
	if err := run(d, "asker", "touch", "/stop"); err != nil {
		t.Fatal(err)
	}
	if lost := waitFor(t, d, "asker"); lost != 0 {
		t.Errorf("%d questions were not answered", lost)
	}
}
