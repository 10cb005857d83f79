package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/bench/peer"
)

// newSuite has two engines that exist by name only, and one that is absent.
func newSuite(o options) *suite {
	s := &suite{options: o, tag: "berth-bench-test", log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		results: map[string]map[string]*cell{}, stash: map[string]map[string]string{}}
	for _, name := range []string{"berth", "docker"} {
		config := peer.Config{Name: name, Kind: name}
		s.peers = append(s.peers, &column{Config: config, engine: &peer.Engine{Config: config, Version: "1"}})
	}
	s.peers = append(s.peers, &column{Config: peer.Config{Name: "podman", Kind: peer.Podman}, absent: "podman is not installed"})
	return s
}

// fakeGroup writes down its calls and yields the number of each.
func fakeGroup(calls *[]string, fail func(engine string, call int) error) group {
	return group{
		name: "fake", warm: true,
		rows:   []row{{name: "speed", title: "a speed", unit: "per s", higher: true}, {name: "time", title: "a time", unit: "ms"}},
		before: func(*suite, int) error { *calls = append(*calls, "round"); return nil },
		setup: func(_ context.Context, _ *suite, e *peer.Engine) error {
			*calls = append(*calls, "+"+e.Name)
			return nil
		},
		once: func(_ context.Context, _ *suite, e *peer.Engine, keep record) error {
			*calls = append(*calls, e.Name)
			if err := fail(e.Name, len(*calls)); err != nil {
				return err
			}
			keep("time", float64(len(*calls)))
			keep("speed", 2*float64(len(*calls)))
			return nil
		},
		teardown: func(_ context.Context, _ *suite, e *peer.Engine) error {
			*calls = append(*calls, "-"+e.Name)
			return nil
		},
	}
}

func noFailure(string, int) error { return nil }

func TestPeersTakeTurnsInEachRound(t *testing.T) {
	t.Parallel()
	var calls []string
	s := newSuite(options{rounds: 2})
	if err := s.run(t.Context(), []group{fakeGroup(&calls, noFailure)}); err != nil {
		t.Fatal(err)
	}
	want := "+berth +docker round berth docker round berth docker round berth docker -berth -docker"
	if got := strings.Join(calls, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := s.results["time"]["berth"].Samples; !slices.Equal(got, []float64{7, 10}) {
		t.Errorf("the round that warms up was recorded: %v", got)
	}
}

func TestAGroupThatIsAloneGoesThroughOneEngineAfterTheOther(t *testing.T) {
	t.Parallel()
	var calls []string
	g := fakeGroup(&calls, noFailure)
	g.alone, g.warm, g.before = true, false, nil
	if err := newSuite(options{rounds: 2}).run(t.Context(), []group{g}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(calls, " "); got != "+berth berth berth -berth +docker docker docker -docker" {
		t.Errorf("got %s", got)
	}
}

func TestAnEngineThatFailsIsLeftOutAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	var calls []string
	s := newSuite(options{rounds: 5})
	g := fakeGroup(&calls, func(engine string, _ int) error {
		if engine == "docker" {
			return errors.New("it broke")
		}
		return nil
	})
	if err := s.run(t.Context(), []group{g}); err != nil {
		t.Fatal(err)
	}
	if n := len(s.results["time"]["berth"].Samples); n != 5 {
		t.Errorf("berth has %d samples", n)
	}
	if c := s.results["time"]["docker"]; len(c.Failures) != failuresToGiveUp || len(c.Samples) != 0 {
		t.Errorf("docker: %+v", c)
	}
	if !slices.Contains(calls, "-docker") {
		t.Error("what failed was not cleaned up")
	}
}

func TestASetupThatFailsIsCleanedUp(t *testing.T) {
	t.Parallel()
	var calls []string
	g := fakeGroup(&calls, noFailure)
	g.setup = func(_ context.Context, _ *suite, e *peer.Engine) error { return errors.New("no network") }
	s := newSuite(options{rounds: 1})
	if err := s.run(t.Context(), []group{g}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(calls, " "); got != "-berth -docker" {
		t.Errorf("got %s", got)
	}
	if got := s.results["speed"]["berth"].Failures; len(got) != 1 || got[0] != "no network" {
		t.Errorf("got %v", got)
	}
}

func TestCtrlCEndsTheRoundsAndCleansUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var calls []string
	g := fakeGroup(&calls, func(string, int) error { cancel(); return nil })
	if err := newSuite(options{rounds: 9}).run(ctx, []group{g}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(calls, " "); got != "+berth +docker round berth -berth -docker" {
		t.Errorf("got %s", got)
	}
}

func TestOnlyAndSkipNameGroupsAndRows(t *testing.T) {
	t.Parallel()
	g := runGroup()
	bridge, none := g.rows[0], g.rows[1]
	for name, test := range map[string]struct {
		options      options
		bridge, none bool
	}{
		"neither":                      {options{}, true, true},
		"the group":                    {options{only: []string{"run"}}, true, true},
		"a row":                        {options{only: []string{"run-none"}}, false, true},
		"another group":                {options{only: []string{"port"}}, false, false},
		"without a row":                {options{skip: []string{"run-none"}}, true, false},
		"a group but for one of its":   {options{only: []string{"run"}, skip: []string{"run-bridge"}}, false, true},
		"a group that is also skipped": {options{only: []string{"run"}, skip: []string{"run"}}, false, false},
	} {
		if gotBridge, gotNone := test.options.wanted(g, bridge), test.options.wanted(g, none); gotBridge != test.bridge || gotNone != test.none {
			t.Errorf("%s: bridge %t, none %t", name, gotBridge, gotNone)
		}
	}
}

func TestRowsOfAllGroupsHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, g := range allGroups() {
		for _, r := range g.rows {
			if seen[r.name] || r.title == "" || r.unit == "" {
				t.Errorf("row %+v of group %s", r, g.name)
			}
			seen[r.name] = true
		}
	}
}

func TestParseRefusesWhatCantBe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"-n 0":                        "must be positive",
		"-only nonsense":              `no measurement "nonsense"`,
		"-skip nonsense":              `no measurement "nonsense"`,
		"extra":                       `unknown argument: "extra"`,
		"-crowd -1":                   "must be positive",
		"-peer name=berth,kind=berth": `two peers have the name "berth"`,
	} {
		if _, err := parse(strings.Fields(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	c, err := parse([]string{"-quick", "-n", "50", "-only", "run,port", "-only", "life"})
	if err != nil || c.rounds > 3 || c.imageMB > 40 || len(c.only) != 3 || len(c.peers) != 4 || c.portSeconds > time.Second {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestLinesThatWereChangedOrLostAreNoticed(t *testing.T) {
	t.Parallel()
	whole := make([]byte, 1_000_000)
	if _, err := io.ReadFull(newLines(), whole); err != nil {
		t.Fatal(err)
	}
	feed := func(data []byte) error {
		check := &lineCheck{}
		for len(data) > 0 { // in pieces that do not end where lines do
			n := min(len(data), 777)
			if _, err := check.Write(data[:n]); err != nil {
				return err
			}
			data = data[n:]
		}
		return check.expect(1)
	}
	if err := feed(whole); err != nil {
		t.Errorf("all of it: %v", err)
	}
	if err := feed(whole[:999_900]); err == nil {
		t.Error("a lost line went unnoticed")
	}
	if err := feed(append(slices.Clone(whole[:50]), whole[51:]...)); err == nil {
		t.Error("a lost byte went unnoticed")
	}
	changed := slices.Clone(whole)
	changed[500_000] ^= 1
	if err := feed(changed); err == nil {
		t.Error("a changed byte went unnoticed")
	}
}

func TestSideBySideStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	done := make(chan int, 100)
	if err := sideBySide(100, func(i int) error { done <- i; return nil }); err != nil || len(done) != 100 {
		t.Errorf("%d of 100 done, %v", len(done), err)
	}
	failure := errors.New("enough")
	if err := sideBySide(100, func(int) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}

func TestFreePortsAreDifferent(t *testing.T) {
	t.Parallel()
	ports, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ports)
	if len(slices.Compact(ports)) != 20 {
		t.Errorf("got %v", ports)
	}
}
