package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/peer"
)

// row is one line of the table.
type row struct {
	name   string // as --only and --skip know it
	title  string
	unit   string
	higher bool // more is better
}

// record takes one sample of a row.
type record func(row string, value float64)

// group is work that yields samples of a few rows.
type group struct {
	name     string
	rows     []row
	rounds   func(options) int               // nil: --rounds
	warm     bool                            // a round goes before that is not recorded
	alone    bool                            // one engine after the other, since each would weigh on the next
	before   func(s *suite, round int) error // once a round, for all engines, measured by none
	setup    func(context.Context, *suite, *peer.Engine) error
	once     func(context.Context, *suite, *peer.Engine, record) error
	teardown func(context.Context, *suite, *peer.Engine) error
	bare     func(context.Context, *suite, *peer.Runtime, record) error
	leaves   bool                              // a round that fails may leave containers
	skip     func(*suite, *peer.Engine) string // why this engine has nothing to measure here; empty: it has
}

// options are the flags that measurements look at.
type options struct {
	rounds      int
	quick       bool
	containers  int           // of the group "many"
	idle        int           // containers of the group "memory"
	imageMB     int           // of the group "image"
	logMB       int           // of the group "logs"
	crowd       int           // of the group "crowd"; 0: left out
	crowdPorts  bool          // each container of the group "crowd" publishes a port
	portSeconds time.Duration // of each measurement through a port
	connections int
	settle      time.Duration // before memory is read
	registry    string        // the command docker-registry
	only, skip  []string
}

// suite is one run of the bench.
type suite struct {
	options
	tag     string // marks all that this run makes
	root    string // the bench's own directory; removed at the end
	self    string // this program
	log     *slog.Logger
	peers   []*column
	results map[string]map[string]*cell  // row, peer
	stash   map[string]map[string]string // what setup made for once, by engine
	notes   []string
}

// column is one peer, in the table and before.
type column struct {
	peer.Config
	absent  string // why it is not there
	engine  *peer.Engine
	runtime *peer.Runtime
}

// version is what the peer says of itself.
func (p *column) version() string {
	switch {
	case p.engine != nil:
		return p.engine.Version
	case p.runtime != nil:
		return p.runtime.Version
	}
	return ""
}

// cell is what came of one row on one peer.
type cell struct {
	Median   float64   `json:"median"`
	Min      float64   `json:"min"`
	Max      float64   `json:"max"`
	Samples  []float64 `json:"samples"`
	Failures []string  `json:"failures,omitempty"`
	Skipped  string    `json:"skipped,omitempty"`
}

// failuresToGiveUp is how many rounds of a group may fail on one engine before it is left out of the rest.
const failuresToGiveUp = 2

// wanted says whether a row was asked for. --only and --skip name rows or whole groups.
func (o options) wanted(g group, r row) bool {
	names := func(list []string) bool { return slices.Contains(list, g.name) || slices.Contains(list, r.name) }
	return (len(o.only) == 0 || names(o.only)) && !names(o.skip)
}

// run measures all groups that were asked for. What fails stands in its cells; an error means that the user ended it.
func (s *suite) run(ctx context.Context, groups []group) error {
	for _, g := range groups {
		g.rows = slices.DeleteFunc(slices.Clone(g.rows), func(r row) bool { return !s.wanted(g, r) })
		if len(g.rows) == 0 {
			continue
		}
		rounds := s.rounds
		if g.rounds != nil {
			rounds = g.rounds(s.options)
		}
		s.log.Info("measuring", "group", g.name, "rounds", rounds)
		measure.SyncDisk()
		if g.alone {
			for _, p := range s.peers {
				s.turns(ctx, g, []*column{p}, rounds)
			}
		} else {
			s.turns(ctx, g, s.peers, rounds)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// turns runs a group: in each round every peer once.
func (s *suite) turns(ctx context.Context, g group, peers []*column, rounds int) {
	var ready []*column
	for _, p := range peers {
		if s.prepare(ctx, g, p) {
			ready = append(ready, p)
		}
	}
	failed := map[*column]int{}
	first := 0
	if g.warm {
		first = -1
	}
	for round := first; round < rounds && ctx.Err() == nil; round++ {
		if g.before != nil && len(ready) > 0 {
			if err := g.before(s, round); err != nil {
				s.note("%s: %v", g.name, err)
				break
			}
		}
		for _, p := range ready {
			if failed[p] >= failuresToGiveUp || ctx.Err() != nil {
				continue
			}
			keep := func(name string, value float64) { s.sample(g, p, name, value, round >= 0) }
			if err := s.one(ctx, g, p, keep); err != nil && ctx.Err() == nil {
				failed[p]++
				s.fail(g, p, err)
			}
		}
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
	defer cancel()
	for _, p := range ready {
		s.clear(undo, g, p)
	}
}

// clear undoes what a group set up on one peer, and removes the containers that a failure may have left.
func (s *suite) clear(ctx context.Context, g group, p *column) {
	if p.engine == nil {
		return
	}
	var err error
	if g.teardown != nil {
		err = g.teardown(ctx, s, p.engine)
	}
	if g.leaves {
		err = errors.Join(err, p.engine.RemoveAll(ctx))
	}
	if err != nil {
		s.note("%s: cleaning up after %s: %v", p.Name, g.name, err)
	}
}

// prepare sets up one peer; false means that the group can't be measured on it, and its cells say why.
func (s *suite) prepare(ctx context.Context, g group, p *column) bool {
	if p.absent != "" || ctx.Err() != nil {
		return false
	}
	if p.runtime != nil {
		if g.bare == nil {
			s.skipped(g, p, "not of a bare runtime")
		}
		return g.bare != nil
	}
	if g.once == nil {
		s.skipped(g, p, "of bare runtimes only")
		return false
	}
	if g.skip != nil {
		if reason := g.skip(s, p.engine); reason != "" {
			s.skipped(g, p, reason)
			return false
		}
	}
	if g.setup == nil {
		return true
	}
	if err := g.setup(ctx, s, p.engine); err != nil {
		s.fail(g, p, err)
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		s.clear(undo, g, p)
		return false
	}
	return true
}

func (s *suite) one(ctx context.Context, g group, p *column, keep record) error {
	if p.runtime != nil {
		return g.bare(ctx, s, p.runtime, keep)
	}
	return g.once(ctx, s, p.engine, keep)
}

// cellOf is the cell of a row and a peer.
func (s *suite) cellOf(name, peer string) *cell {
	if s.results[name] == nil {
		s.results[name] = map[string]*cell{}
	}
	if s.results[name][peer] == nil {
		s.results[name][peer] = &cell{}
	}
	return s.results[name][peer]
}

// sample keeps one value of a row that was asked for.
func (s *suite) sample(g group, p *column, name string, value float64, keep bool) {
	if !keep || !slices.ContainsFunc(g.rows, func(r row) bool { return r.name == name }) {
		return
	}
	c := s.cellOf(name, p.Name)
	c.Samples = append(c.Samples, value)
	c.Median, c.Min, c.Max = measure.Median(c.Samples), slices.Min(c.Samples), slices.Max(c.Samples)
}

// fail writes a failure into those cells of the group that lack a sample, or into all.
func (s *suite) fail(g group, p *column, err error) {
	s.log.Warn("failed", "peer", p.Name, "group", g.name, "error", err)
	fewest := -1
	for _, r := range g.rows {
		if n := len(s.cellOf(r.name, p.Name).Samples); fewest < 0 || n < fewest {
			fewest = n
		}
	}
	for _, r := range g.rows {
		if c := s.cellOf(r.name, p.Name); len(c.Samples) == fewest {
			c.Failures = append(c.Failures, err.Error())
		}
	}
}

func (s *suite) skipped(g group, p *column, reason string) {
	for _, r := range g.rows {
		s.cellOf(r.name, p.Name).Skipped = reason
	}
}

func (s *suite) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.log.Warn(text)
	s.notes = append(s.notes, text)
}

// keep and recall carry values from a group's setup to its rounds.
func (s *suite) keep(e *peer.Engine, key, value string) {
	if s.stash[e.Name] == nil {
		s.stash[e.Name] = map[string]string{}
	}
	s.stash[e.Name][key] = value
}

func (s *suite) recall(e *peer.Engine, key string) string { return s.stash[e.Name][key] }

// path is a file of the bench's own directory.
func (s *suite) path(parts ...string) string {
	return filepath.Join(append([]string{s.root}, parts...)...)
}

// close removes from every engine what the bench made, and then its own directory.
func (s *suite) close(ctx context.Context) error {
	var problems []error
	for _, p := range s.peers {
		if p.engine != nil {
			if err := p.engine.Clean(ctx); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", p.Name, err))
			}
		}
	}
	return errors.Join(problems...)
}

// writeFile writes a file of the bench's own directory in one go.
func (s *suite) writeFile(name string, write func(io.Writer) error) (string, error) {
	path := s.path(name)
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return "", err
	}
	return path, nil
}

// names lists all groups and rows, for --help and for checking --only and --skip.
func names(groups []group) []string {
	var list []string
	for _, g := range groups {
		list = append(list, g.name)
		for _, r := range g.rows {
			list = append(list, r.name)
		}
	}
	return list
}

// checkNames refuses names that no group or row has.
func checkNames(groups []group, asked []string) error {
	known := names(groups)
	for _, name := range asked {
		if !slices.Contains(known, name) {
			return fmt.Errorf("there is no measurement %q; there are: %s", name, strings.Join(known, " "))
		}
	}
	return nil
}
