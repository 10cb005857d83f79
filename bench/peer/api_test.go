package peer

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeEngine serves a handler on a UNIX socket until the test ends.
func fakeEngine(t *testing.T, handler http.HandlerFunc) *API {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })
	api, err := NewAPI("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func TestPingAgreesOnAVersion(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{"1.41": "/v1.41", "1.55": "/v1.44", "": "/v1.44", "2": "/v1.44"} {
		var paths []string
		api := fakeEngine(t, func(w http.ResponseWriter, r *http.Request) {
			paths = append(paths, r.URL.Path)
			w.Header().Set("Api-Version", header)
		})
		if err := api.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := api.Start(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(paths, " "); got != "/_ping "+want+"/containers/x/start" {
			t.Errorf("%q: got %s", header, got)
		}
	}
}

func TestARefusalIsAnErrorWithItsSentence(t *testing.T) {
	t.Parallel()
	api := fakeEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"No such image: x"}`, http.StatusNotFound)
	})
	if _, err := api.Create(t.Context(), Definition{Image: "x"}); err == nil || !strings.Contains(err.Error(), "No such image: x") {
		t.Errorf("got %v", err)
	}
}

func TestABuildThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	api := fakeEngine(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("t") != "good" {
			http.Error(w, `{"stream":"Step 1/2"}{"error":"it broke"}`, http.StatusOK)
			return
		}
		http.Error(w, `{"stream":"Step 1/2\n"}{"stream":"Successfully built 1\n"}`, http.StatusOK)
	})
	if log, err := api.Build(t.Context(), "good", "l", strings.NewReader("")); err != nil || !strings.Contains(log, "Successfully built") {
		t.Errorf("got %q, %v", log, err)
	}
	if _, err := api.Build(t.Context(), "bad", "l", strings.NewReader("")); err == nil || err.Error() != "it broke" {
		t.Errorf("got %v", err)
	}
}

func TestTheSocketTellsWhoListens(t *testing.T) {
	t.Parallel()
	api := fakeEngine(t, func(http.ResponseWriter, *http.Request) {})
	if pid, err := api.listener(); err != nil || pid != os.Getpid() {
		t.Errorf("got %d, %v", pid, err)
	}
}

func TestOnlySocketsThatCanBeMeasuredAreHosts(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"", "ssh://x", "/run/docker.sock"} {
		if _, err := NewAPI(host); err == nil {
			t.Errorf("%q: no error", host)
		}
	}
}
