package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/berth-engine/berth/api/wire"
	"github.com/berth-engine/berth/core"
)

// discard is a client that reads fast.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
func (d discard) Flush()                      {}

func BenchmarkRequest(b *testing.B) {
	_, ts := daemon(b)
	handler := ts.Config.Handler
	for _, path := range []string{"/v1.56/_ping", "/v1.56/containers/web/json", "/v1.44/containers/web/json", "/v1.56/images/a/b/json"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			request := httptest.NewRequest("GET", path, nil)
			for b.Loop() {
				handler.ServeHTTP(discard{http.Header{}}, request)
			}
		})
	}
}

func BenchmarkListOfAThousandContainers(b *testing.B) {
	views := make([]core.ContainerView, 1000)
	for i := range views {
		views[i] = core.ContainerView{
			Container: &core.Container{
				ID: core.ContainerID(fmt.Sprintf("%064d", i)), Name: fmt.Sprint("c", i), Path: "sh", Args: []string{"-c", "true"},
				State:     core.State{Status: core.StatusRunning, StartedAt: time.Now()},
				Endpoints: map[string]*core.Endpoint{"bridge": {}},
			},
			SizeRw: -1, SizeRoot: -1,
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := json.NewEncoder(io.Discard).Encode(wire.ContainerList(views, wire.MaxVersion, time.Now())); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLogLines(b *testing.B) {
	j, ts := daemon(b)
	handler := ts.Config.Handler
	line := core.LogLine{Line: make([]byte, 100), Time: time.Now()}
	b.SetBytes(100)
	j.lines = make([]core.LogLine, b.N)
	for i := range j.lines {
		j.lines[i] = line
	}
	b.ResetTimer()
	handler.ServeHTTP(discard{http.Header{}}, httptest.NewRequest("GET", "/containers/web/logs?stdout=1", nil))
}
