// Package stats shows what containers use, live.
package stats

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	containers "github.com/berth-engine/berth/cli/container"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/session"
)

type measuring struct {
	all, noStream, noTrunc, asJSON bool
	format                         string
}

// New is `stats`.
func New(s *session.Session) *cobra.Command {
	var o measuring
	cmd := &cobra.Command{
		Use:               "stats [OPTIONS] [CONTAINER...]",
		Short:             "Display a live stream of container(s) resource usage statistics",
		ValidArgsFunction: containers.Complete(s, -1),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), s, args) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Show all containers (default shows just running)")
	f.BoolVar(&o.noStream, "no-stream", false, "Disable streaming stats and only pull the first result")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	format.Flag(f, &o.format, &o.asJSON)
	return cmd
}

// gauge is the last measurement of one container.
type gauge struct {
	mu     sync.Mutex // guards what follows
	ref    string     // as the user wrote it, or the ID
	sample container.StatsResponse
	valid  bool
	err    error
	stop   context.CancelFunc
}

func (o *measuring) run(ctx context.Context, s *session.Session, names []string) error {
	api, err := s.Client()
	if err != nil {
		return err
	}
	if o.asJSON {
		o.format = "json"
	}
	if o.format == "" {
		o.format = s.Config().StatsFormat
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	panel := &panel{api: api, stream: !o.noStream}
	if len(names) > 0 {
		for _, name := range names {
			panel.add(ctx, name)
		}
	} else if err := panel.addAll(ctx, o.all); err != nil {
		return err
	}
	if err := panel.first(names); err != nil {
		return err
	}
	if o.noStream {
		return o.show(s.Out, panel.rows(!o.noTrunc))
	}
	if len(names) == 0 {
		go panel.watch(ctx)
	}
	return o.live(ctx, s, panel)
}

// live draws the table each half second; the clock is for the eyes only, samples come by themselves.
func (o *measuring) live(ctx context.Context, s *session.Session, p *panel) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		var frame bytes.Buffer
		if err := o.show(&frame, p.rows(!o.noTrunc)); err != nil {
			return err
		}
		if s.Out.IsTerminal() {
			text := strings.ReplaceAll(frame.String(), "\n", "\x1b[K\n")
			fmt.Fprint(s.Out, "\x1b[H"+text+"\x1b[J")
		} else if _, err := s.Out.Write(frame.Bytes()); err != nil {
			return err
		}
		if p.ended() {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (o *measuring) show(out io.Writer, rows []statsRow) error {
	return format.Rows(format.Table{Out: out, Format: o.format,
		Default: "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
		Headers: format.Headers{"Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
			"MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS"}}, rows)
}

// panel is the set of gauges on show.
type panel struct {
	api    *client.Client
	stream bool

	mu     sync.Mutex // guards gauges; taken before a gauge's own
	gauges []*gauge
	ready  []chan struct{}
}

func (p *panel) addAll(ctx context.Context, all bool) error {
	query := url.Values{}
	if all {
		query.Set("all", "1")
	}
	var list []container.Summary
	if err := p.api.Get(ctx, "/containers/json", query, &list); err != nil {
		return err
	}
	for _, c := range list {
		p.add(ctx, c.ID)
	}
	return nil
}

func (p *panel) add(ctx context.Context, ref string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.gauges {
		if g.ref == ref {
			return
		}
	}
	ctx, stop := context.WithCancel(ctx)
	g := &gauge{ref: ref, stop: stop}
	ready := make(chan struct{})
	p.gauges = append(p.gauges, g)
	p.ready = append(p.ready, ready)
	go p.measure(ctx, g, ready)
}

func (p *panel) remove(ref string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, g := range p.gauges {
		if g.ref == ref {
			g.stop()
			p.gauges = append(p.gauges[:i], p.gauges[i+1:]...)
			return
		}
	}
}

// measure follows one container until it is gone; ready is closed at the first sample or failure.
func (p *panel) measure(ctx context.Context, g *gauge, ready chan struct{}) {
	var once sync.Once
	done := func() { once.Do(func() { close(ready) }) }
	defer done()
	err := p.follow(ctx, g, done)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		g.err = err
	}
}

func (p *panel) follow(ctx context.Context, g *gauge, done func()) error {
	query := url.Values{"stream": {"0"}}
	if p.stream {
		query.Set("stream", "1")
	}
	resp, err := p.api.Send(ctx, client.Request{Method: http.MethodGet, Path: "/containers/" + url.PathEscape(g.ref) + "/stats", Query: query})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for samples := 0; ; samples++ {
		var sample container.StatsResponse
		if err := dec.Decode(&sample); err != nil {
			if errors.Is(err, io.EOF) && samples > 0 {
				return nil
			}
			return err
		}
		g.mu.Lock()
		g.sample, g.valid = sample, true
		g.mu.Unlock()
		// The first of a stream has nothing to compare itself with: its share of the processor is unknown.
		if !p.stream || samples > 0 || sample.PreCPUStats.CPUUsage.TotalUsage > 0 {
			done()
		}
	}
}

// first waits until each gauge shows something. A name that was asked for and does not exist is an error.
func (p *panel) first(names []string) error {
	p.mu.Lock()
	ready, gauges := p.ready, append([]*gauge(nil), p.gauges...)
	p.mu.Unlock()
	for _, r := range ready {
		<-r
	}
	if len(names) == 0 {
		return nil
	}
	var failed []error
	for _, g := range gauges {
		g.mu.Lock()
		if g.err != nil && !g.valid {
			failed = append(failed, g.err)
		}
		g.mu.Unlock()
	}
	return errors.Join(failed...)
}

// watch adds containers that start and drops those that end.
func (p *panel) watch(ctx context.Context) {
	query := session.FilterQuery(`{"type":{"container":true},"event":{"start":true,"die":true}}`)
	resp, err := p.api.Send(ctx, client.Request{Method: http.MethodGet, Path: "/events", Query: query})
	if err != nil {
		return
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var e events.Message
		if err := dec.Decode(&e); err != nil {
			return
		}
		switch e.Action {
		case events.ActionStart:
			p.add(ctx, e.Actor.ID)
		case events.ActionDie:
			p.remove(e.Actor.ID)
		}
	}
}

// ended reports whether every container that was asked for is gone.
func (p *panel) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.gauges {
		g.mu.Lock()
		failed := g.err != nil
		g.mu.Unlock()
		if !failed {
			return false
		}
	}
	return len(p.gauges) > 0
}

func (p *panel) rows(short bool) []statsRow {
	p.mu.Lock()
	defer p.mu.Unlock()
	rows := make([]statsRow, 0, len(p.gauges))
	for _, g := range p.gauges {
		g.mu.Lock()
		rows = append(rows, statsRow{ref: g.ref, s: g.sample, known: g.valid && g.err == nil, short: short})
		g.mu.Unlock()
	}
	return rows
}

type statsRow struct {
	ref          string
	s            container.StatsResponse
	known, short bool
}

// Container as the user wrote it.
func (r statsRow) Container() string { return r.ref }

// ID of the container.
func (r statsRow) ID() string {
	if r.s.ID == "" {
		return format.ID(r.ref, r.short)
	}
	return format.ID(r.s.ID, r.short)
}

// Name of the container.
func (r statsRow) Name() string {
	if name := strings.TrimPrefix(r.s.Name, "/"); name != "" {
		return name
	}
	return "--"
}

// CPUPerc is the share of one processor: two in full use are 200 %.
func (r statsRow) CPUPerc() string {
	if !r.known {
		return "--"
	}
	return fmt.Sprintf("%.2f%%", cpuPercent(r.s))
}

func cpuPercent(s container.StatsResponse) float64 {
	used := float64(s.CPUStats.CPUUsage.TotalUsage) - float64(s.PreCPUStats.CPUUsage.TotalUsage)
	passed := float64(s.CPUStats.SystemUsage) - float64(s.PreCPUStats.SystemUsage)
	if used <= 0 || passed <= 0 {
		return 0
	}
	cpus := float64(s.CPUStats.OnlineCPUs)
	if cpus == 0 {
		cpus = float64(len(s.CPUStats.CPUUsage.PercpuUsage))
	}
	return used / passed * cpus * 100
}

// memory in use without the page cache that can be given up at once (cgroup v1 and v2 call it differently).
func memory(m container.MemoryStats) float64 {
	for _, name := range []string{"total_inactive_file", "inactive_file"} {
		if cache, ok := m.Stats[name]; ok && cache < m.Usage {
			return float64(m.Usage - cache)
		}
	}
	return float64(m.Usage)
}

// MemUsage is memory in use and its limit.
func (r statsRow) MemUsage() string {
	if !r.known {
		return "-- / --"
	}
	return units.BytesSize(memory(r.s.MemoryStats)) + " / " + units.BytesSize(float64(r.s.MemoryStats.Limit))
}

// MemPerc is memory in use as a share of the limit.
func (r statsRow) MemPerc() string {
	if !r.known {
		return "--"
	}
	if r.s.MemoryStats.Limit == 0 {
		return "0.00%"
	}
	return fmt.Sprintf("%.2f%%", memory(r.s.MemoryStats)/float64(r.s.MemoryStats.Limit)*100)
}

// NetIO is what was received and sent.
func (r statsRow) NetIO() string {
	if !r.known {
		return "--"
	}
	var received, sent float64
	for _, n := range r.s.Networks {
		received += float64(n.RxBytes)
		sent += float64(n.TxBytes)
	}
	return units.HumanSizeWithPrecision(received, 3) + " / " + units.HumanSizeWithPrecision(sent, 3)
}

// BlockIO is what was read and written.
func (r statsRow) BlockIO() string {
	if !r.known {
		return "--"
	}
	var read, written uint64
	for _, b := range r.s.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(b.Op) {
		case "read":
			read += b.Value
		case "write":
			written += b.Value
		}
	}
	return units.HumanSizeWithPrecision(float64(read), 3) + " / " + units.HumanSizeWithPrecision(float64(written), 3)
}

// PIDs is the number of processes and threads.
func (r statsRow) PIDs() string {
	if !r.known {
		return "--"
	}
	return fmt.Sprint(r.s.PidsStats.Current)
}
