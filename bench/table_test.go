package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/peer"
)

// cells makes one cell for each of berth, docker, podman; 0 makes none.
func cells(berth, docker, podman float64) map[string]*cell {
	all := map[string]*cell{}
	for name, value := range map[string]float64{"berth": berth, "docker": docker, "podman": podman} {
		if value != 0 {
			all[name] = &cell{Median: value, Samples: []float64{value}}
		}
	}
	return all
}

func testPeers() []peerReport {
	return []peerReport{{Name: "berth", Kind: peer.Berth, Version: "1"}, {Name: "docker", Kind: peer.Docker, Version: "28"},
		{Name: "podman", Kind: peer.Podman, Version: "5"}, {Name: "crun", Kind: peer.Bare, Absent: "crun is not installed"}}
}

func TestTheTable(t *testing.T) {
	t.Parallel()
	failed := cells(30, 0, 0)
	failed["docker"] = &cell{Failures: []string{"no |space|\nleft"}}
	failed["podman"] = &cell{Median: 60, Samples: []float64{60}, Failures: []string{"once", "twice"}}
	rows := []rowReport{
		{Name: "start", Title: "start", Unit: "ms", Cells: cells(20, 200, 80)},
		{Name: "rate", Title: "rate", Unit: "per s", Higher: true, Cells: cells(60, 12, 20)},
		{Name: "half", Title: "half", Unit: "ms", Cells: failed},
		{Name: "api", Title: "api", Unit: "ms", Cells: cells(1.234, 9.87, 0)},
	}
	for i := range rows {
		rows[i].compare(testPeers())
	}
	r := report{Date: time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC), Took: "5s", Peers: testPeers(), Rows: rows, Notes: []string{"no buildx"},
		Machine: measure.Machine{CPU: "A CPU", Cores: 2, MemoryMB: 100, Kernel: "6.1", Cgroups: "cgroup v2", FileSystem: "ext4"}}
	var b strings.Builder
	if err := r.writeMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	want := `# Benchmark of 2026-01-02 03:04

A CPU, 2 cores, 100 MB, Linux 6.1, cgroup v2, data of the bench on ext4. It took 5s.

* berth: 1
* docker: 28
* podman: 5
* crun: absent: crun is not installed

| name | measurement | unit | berth | docker | podman | berth ÷ docker | berth ÷ podman | ÷ best |
|---|---|---|---:|---:|---:|---:|---:|---:|
| start | start | ms | 20.0 | 200 | 80.0 | 0.10 | 0.25 | 0.25 |
| rate | rate | per s ↑ | 60.0 | 12.0 | 20.0 | 5.00 | 3.00 | 3.00 |
| half | half | ms | 30.0 | failed [1] | 60.0 (2 failed) [2] | – | 0.50 | 0.50 |
| api | api | ms | 1.23 | 9.87 | – | 0.13 | – | 0.13 |

Medians. ↑: more is better; all else: less is better. –: nothing to measure there.

[1] docker: no ¦space¦ left
[2] podman: twice

Note: no buildx
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestATableWithoutBerthHasNoRatios(t *testing.T) {
	t.Parallel()
	peers := []peerReport{{Name: "berth", Kind: peer.Berth, Absent: "berthd does not answer"}, {Name: "docker", Kind: peer.Docker, Version: "28"}, {Name: "podman", Kind: peer.Podman}}
	line := rowReport{Name: "start", Title: "start", Unit: "ms", Cells: cells(0, 200, 80)}
	line.compare(peers)
	var b strings.Builder
	if err := (report{Peers: peers, Rows: []rowReport{line}}).writeMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Contains(got, "÷") || !strings.Contains(got, "* berth: absent: berthd does not answer") || !strings.Contains(got, "| start | start | ms | 200 | 80.0 |") {
		t.Errorf("got:\n%s", got)
	}
}

func TestBareRuntimesAreNotTheBestEngine(t *testing.T) {
	t.Parallel()
	peers := []peerReport{{Name: "berth"}, {Name: "docker", Kind: peer.Docker}, {Name: "runc", Kind: peer.Bare}}
	line := rowReport{Cells: map[string]*cell{"berth": {Median: 30, Samples: []float64{30}}, "docker": {Median: 150, Samples: []float64{150}}, "runc": {Median: 20, Samples: []float64{20}}}}
	line.compare(peers)
	if line.Best != 0.2 || line.Ratios["runc"] != 1.5 {
		t.Errorf("got %+v", line)
	}
}

func TestTheReportLeavesOutWhatNobodyMeasured(t *testing.T) {
	t.Parallel()
	s := newSuite(options{rounds: 1})
	s.root = t.TempDir()
	var calls []string
	g := fakeGroup(&calls, noFailure)
	idle := group{name: "idle", rows: []row{{name: "idle", title: "idle", unit: "ms"}}, once: g.once, skip: func(*suite, *peer.Engine) string { return "nothing here" }}
	if err := s.run(t.Context(), []group{g, idle}); err != nil {
		t.Fatal(err)
	}
	r := makeReport(s, []group{g, idle})
	if len(r.Rows) != 2 || r.Rows[0].Name != "speed" {
		t.Errorf("rows: %+v", r.Rows)
	}
	var b strings.Builder
	if err := r.writeJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil || len(back.Rows) != 2 || back.Peers[2].Absent == "" {
		t.Errorf("got %+v, %v", back, err)
	}
}

func TestNumbersHaveThreeDigits(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]string{0: "0.00", 1234.5: "1234", 99.96: "100.0", 12.34: "12.3", 1.234: "1.23", 0.123: "0.12", 0.01234: "0.0123"} {
		if got := numberText(value); got != want {
			t.Errorf("%v: got %s, want %s", value, got, want)
		}
	}
}
