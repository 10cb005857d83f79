// Package main is Berth's ruler: the same work on berth and on whatever of docker, podman, runc and crun is there, in
// turn within each round, so that the noise of the machine hits all; medians and ratios as a Markdown table, and every
// sample as JSON. docs/benchmarks.md says how to run it and what each row means.
//
// A run is a suite (suite.go): it opens the peers (bench/peer, which also starts a berthd for it), imports two small
// images into each (bench/payload), goes through the groups of measurements (group_*.go, by means of bench/measure) and
// removes what it made, also after Ctrl-C. A group checks that what it measured has really happened; a failure is a cell
// of the table (table.go), and the others go on.
//
// The program is also what runs in its containers (bench/tool): a server, a load generator, a writer of log lines.
// Therefore it must be built with CGO_ENABLED=0.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/peer"
	"github.com/berth-engine/berth/bench/tool"
)

func main() {
	if found, err := tool.Run(os.Args[1:]); found {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := bench(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings is the whole command line.
type settings struct {
	options
	peers        []peer.Config
	root         string
	berth        string // the folder of berth, berthd and berth-shim
	berthHost    string
	json, output string
	noBerth      bool
}

// allGroups is the order of the table. Memory comes after what makes an engine work, as it says.
func allGroups() []group {
	return []group{runGroup(), apiGroup(), lifeGroup(), clientGroup(), manyGroup(), memoryGroup(), buildGroup(), logsGroup(), portGroup(),
		networkGroup(), portsGroup(), namesGroup(), imageGroup(), crowdGroup()}
}

// parse reads the command line.
func parse(args []string) (settings, error) {
	var c settings
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&c.rounds, "n", 20, "rounds of the short measurements")
	f.BoolVar(&c.quick, "quick", false, "few rounds and small amounts: to see that all works, not to compare")
	f.IntVar(&c.containers, "containers", 100, "containers of the group many")
	f.IntVar(&c.idle, "idle", 20, "containers of the group memory")
	f.IntVar(&c.imageMB, "image-mb", 400, "size of the large image")
	f.IntVar(&c.logMB, "log-mb", 100, "size of what is logged")
	f.IntVar(&c.crowd, "crowd", 0, "other containers that run in the group crowd (0: leave the group out; 500 for the long run)")
	f.BoolVar(&c.crowdPorts, "crowd-ports", false, "each container of the group crowd publishes a port on 127.0.0.1")
	f.DurationVar(&c.portSeconds, "port-time", 2*time.Second, "how long each way to a port is measured")
	f.IntVar(&c.connections, "connections", 16, "connections at a time where requests are counted")
	f.DurationVar(&c.settle, "settle", 3*time.Second, "time to settle before memory is read")
	f.StringVar(&c.registry, "registry", "docker-registry", "command of the registry")
	f.StringVar(&c.root, "root", os.TempDir(), "where the bench makes its folder, berthd's data included: a journalled file system, like the peers'")
	f.StringVar(&c.berth, "berth", "", "folder of berth, berthd and berth-shim (without: the bench's own, or bin)")
	f.StringVar(&c.berthHost, "berth-host", "", "a running berthd to measure instead of one of the bench's own: unix://PATH")
	f.BoolVar(&c.noBerth, "no-berth", false, "measure the peers only")
	f.StringVar(&c.json, "json", "", "file for all samples")
	f.StringVar(&c.output, "o", "", "file for the table, besides the standard output")
	list := func(target *[]string) func(string) error {
		return func(text string) error { *target = append(*target, strings.Split(text, ",")...); return nil }
	}
	f.Func("only", "groups or rows to measure, with commas: "+strings.Join(names(allGroups()), " "), list(&c.only))
	f.Func("skip", "groups or rows to leave out, with commas", list(&c.skip))
	f.Func("peer", "a peer: name=docker,kind=docker,cli=PATH,host=unix://PATH,pid=FILE,prefix=\"COMMAND\",env.NAME=VALUE (again for more; without: those installed)", func(text string) error {
		p, err := peer.Parse(text)
		c.peers = append(c.peers, p)
		return err
	})
	f.Func("peers", "a JSON file of peers, with the keys of --peer", func(path string) error {
		list, err := peer.Load(path)
		c.peers = append(c.peers, list...)
		return err
	})
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unknown argument: %q", f.Arg(0))
	}
	return c.complete()
}

// complete applies --quick and the defaults, and refuses what can't be.
func (c settings) complete() (settings, error) {
	if c.quick {
		c.rounds, c.containers, c.idle, c.imageMB, c.logMB = min(c.rounds, 3), min(c.containers, 16), min(c.idle, 5), min(c.imageMB, 40), min(c.logMB, 10)
		c.portSeconds, c.settle = min(c.portSeconds, 300*time.Millisecond), min(c.settle, time.Second)
	}
	if c.rounds < 1 || c.containers < 1 || c.idle < 1 || c.imageMB < 1 || c.logMB < 1 || c.connections < 1 || c.crowd < 0 {
		return c, errors.New("rounds and amounts must be positive")
	}
	if c.peers == nil {
		c.peers = peer.Installed()
	}
	seen := map[string]bool{peer.Berth: true}
	for _, p := range c.peers {
		if seen[p.Name] {
			return c, fmt.Errorf("two peers have the name %q", p.Name)
		}
		seen[p.Name] = true
	}
	return c, errors.Join(checkNames(allGroups(), c.only), checkNames(allGroups(), c.skip))
}

// bench is one run from the command line to the table.
func bench(ctx context.Context, args []string) (err error) {
	c, err := parse(args)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if static, err := measure.IsStatic(self); err != nil {
		return err
	} else if !static {
		return errors.New("the bench must be built with CGO_ENABLED=0, since it also runs inside its containers")
	}
	if os.Geteuid() != 0 {
		return errors.New("the bench needs root, as the daemons that it starts and measures do")
	}
	if c.berth == "" {
		c.berth = besideOr(self, "bin")
	}
	base, err := filepath.Abs(c.root)
	if err != nil {
		return err
	}
	root, err := os.MkdirTemp(base, "berth-bench-")
	if err != nil {
		return err
	}
	s := &suite{options: c.options, tag: fmt.Sprintf("berth-bench-%d", os.Getpid()), root: root, self: self,
		log: slog.New(slog.NewTextHandler(os.Stderr, nil)), results: map[string]map[string]*cell{}, stash: map[string]map[string]string{}}
	begin := time.Now()
	daemon := s.open(ctx, c)
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
		defer cancel()
		problem := s.close(undo)
		if daemon != nil {
			problem = errors.Join(problem, daemon.Stop())
		}
		err = errors.Join(err, problem, removeRoot(root))
	}()
	if err := s.begin(ctx); err != nil {
		return err
	}
	interrupted := s.run(ctx, allGroups())
	r := makeReport(s, allGroups())
	r.Took = time.Since(begin).Round(time.Second).String()
	return errors.Join(interrupted, r.write(c))
}

// besideOr is the folder of this program when berthd is in it too, and another one else.
func besideOr(self, other string) string {
	dir := filepath.Dir(self)
	if _, err := os.Stat(filepath.Join(dir, "berthd")); err == nil {
		return dir
	}
	return other
}

// write puts the report where the flags say, and on the standard output.
func (r report) write(c settings) error {
	problems := []error{r.writeMarkdown(os.Stdout)}
	for path, write := range map[string]func(io.Writer) error{c.json: r.writeJSON, c.output: r.writeMarkdown} {
		if path == "" {
			continue
		}
		file, err := os.Create(path)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		problems = append(problems, write(file), file.Close())
	}
	return errors.Join(problems...)
}

// open finds the peers; berth is the first. What is not there stays in the list as absent.
func (s *suite) open(ctx context.Context, c settings) *peer.Daemon {
	own := peer.Config{Name: peer.Berth, Kind: peer.Berth, CLI: filepath.Join(c.berth, "berth"), Host: c.berthHost}
	var daemon *peer.Daemon
	if !c.noBerth {
		p := &column{Config: own}
		if c.berthHost == "" {
			var err error
			if daemon, err = peer.StartDaemon(ctx, filepath.Join(c.berth, "berthd"), s.path("berth")); err != nil {
				p.absent = err.Error()
			} else {
				p.Host = daemon.Host
			}
		}
		s.peers = append(s.peers, p)
	}
	for _, config := range c.peers {
		s.peers = append(s.peers, &column{Config: config, absent: config.Missing()})
	}
	for _, p := range s.peers {
		if p.absent != "" || p.Kind == peer.Bare {
			continue
		}
		p.engine = &peer.Engine{Config: p.Config, Tag: s.tag}
		if daemon != nil && p.Kind == peer.Berth {
			p.engine.DaemonPID = daemon.PID()
		}
		if err := p.engine.Open(ctx, s.root); err != nil {
			p.absent = peer.LastLines(err.Error())
		}
	}
	return daemon
}

// begin measures the engines while they are untouched, then gives them their images.
func (s *suite) begin(ctx context.Context) error {
	for _, p := range s.peers {
		if p.engine == nil || p.absent != "" {
			continue
		}
		idle, err := s.idleMemory(ctx, p.engine)
		if err != nil {
			s.note("%s: memory of the idle engine: %v", p.Name, err)
			continue
		}
		s.keep(p.engine, "idle", strconv.FormatFloat(idle, 'f', -1, 64))
	}
	if err := s.makeImages(ctx); err != nil {
		return err
	}
	for _, p := range s.peers {
		if p.Kind != peer.Bare || p.absent != "" {
			continue
		}
		var err error
		if p.runtime, err = peer.OpenRuntime(ctx, p.Config, s.tag, s.path("oci-"+p.Name), s.path("rootfs")); err != nil {
			p.absent = err.Error()
		}
	}
	return ctx.Err()
}

// removeRoot removes the bench's folder, unless something is still mounted in it: what lies behind a mount is not ours.
func removeRoot(root string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], root+"/") {
			return fmt.Errorf("%s is left behind, since %s is still mounted", root, fields[1])
		}
	}
	return os.RemoveAll(root)
}
