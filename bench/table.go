package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/peer"
)

// report is what the JSON file holds; the table is made from it.
type report struct {
	Date    time.Time       `json:"date"`
	Took    string          `json:"took"`
	Machine measure.Machine `json:"machine"`
	Peers   []peerReport    `json:"peers"`
	Rows    []rowReport     `json:"rows"`
	Notes   []string        `json:"notes,omitempty"`
}

type peerReport struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Version string `json:"version,omitempty"`
	Absent  string `json:"absent,omitempty"`
}

type rowReport struct {
	Group  string             `json:"group"`
	Name   string             `json:"name"`
	Title  string             `json:"title"`
	Unit   string             `json:"unit"`
	Higher bool               `json:"higher_is_better"`
	Cells  map[string]*cell   `json:"cells"`
	Ratios map[string]float64 `json:"ratios,omitempty"` // the first peer's measure.Median by each other's
	Best   float64            `json:"ratio_to_best,omitempty"`
}

// makeReport puts the results together. Ratios are of the first peer, which is berth, to each other one.
func makeReport(s *suite, groups []group) report {
	r := report{Date: time.Now(), Machine: measure.ThisMachine(s.root), Notes: s.notes}
	for _, p := range s.peers {
		r.Peers = append(r.Peers, peerReport{Name: p.Name, Kind: p.Kind, Version: p.version(), Absent: p.absent})
	}
	for _, g := range groups {
		for _, line := range g.rows {
			cells := s.results[line.name]
			if !s.wanted(g, line) || allSkipped(cells) {
				continue
			}
			out := rowReport{Group: g.name, Name: line.name, Title: line.title, Unit: line.unit, Higher: line.higher, Cells: cells}
			out.compare(r.Peers)
			r.Rows = append(r.Rows, out)
		}
	}
	return r
}

// allSkipped says that a row has nothing to show: no sample and no failure.
func allSkipped(cells map[string]*cell) bool {
	for _, c := range cells {
		if len(c.Samples) > 0 || len(c.Failures) > 0 {
			return false
		}
	}
	return true
}

// compare computes the ratios. The best of the others is an engine, or where no engine has a value, a bare runtime.
func (r *rowReport) compare(peers []peerReport) {
	if len(peers) < 2 {
		return
	}
	own := r.Cells[peers[0].Name]
	if own == nil || len(own.Samples) == 0 {
		return
	}
	r.Ratios = map[string]float64{}
	best, found := 0.0, false
	for _, p := range peers[1:] {
		c := r.Cells[p.Name]
		if c == nil || len(c.Samples) == 0 || c.Median == 0 {
			continue
		}
		r.Ratios[p.Name] = own.Median / c.Median
		if p.Kind == peer.Bare {
			continue
		}
		if !found || (r.Higher && c.Median > best) || (!r.Higher && c.Median < best) {
			best, found = c.Median, true
		}
	}
	if found {
		r.Best = own.Median / best
	}
}

// writeJSON writes the report for programs.
func (r report) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// writeMarkdown writes the report for people.
func (r report) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmark of %s\n\n", r.Date.Format("2006-01-02 15:04"))
	fmt.Fprintf(&b, "%s, %d cores, %d MB, Linux %s, %s, data of the bench on %s. It took %s.\n\n",
		r.Machine.CPU, r.Machine.Cores, r.Machine.MemoryMB, r.Machine.Kernel, r.Machine.Cgroups, r.Machine.FileSystem, r.Took)
	var present []peerReport
	for _, p := range r.Peers {
		if p.Absent != "" {
			fmt.Fprintf(&b, "* %s: absent: %s\n", p.Name, p.Absent)
			continue
		}
		present = append(present, p)
		fmt.Fprintf(&b, "* %s: %s\n", p.Name, p.Version)
	}
	failures := r.writeRows(&b, present)
	for i, text := range failures {
		fmt.Fprintf(&b, "%s[%d] %s\n", map[bool]string{true: "\n", false: ""}[i == 0], i+1, text)
	}
	for _, text := range r.Notes {
		fmt.Fprintf(&b, "\nNote: %s\n", text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRows writes the table and returns the failures that its cells refer to.
func (r report) writeRows(b *strings.Builder, present []peerReport) []string {
	if len(r.Rows) == 0 || len(present) == 0 {
		b.WriteString("\nNothing was measured.\n")
		return nil
	}
	var failures []string
	others := present[1:]
	if r.Peers[0].Absent != "" { // without berth there is nothing to put in relation
		others = nil
	}
	header := []string{"name", "measurement", "unit"}
	for _, p := range present {
		header = append(header, p.Name)
	}
	for _, p := range others {
		header = append(header, present[0].Name+" ÷ "+p.Name)
	}
	engines := len(slices.DeleteFunc(slices.Clone(others), func(p peerReport) bool { return p.Kind == peer.Bare }))
	if engines > 1 {
		header = append(header, "÷ best")
	}
	fmt.Fprintf(b, "\n| %s |\n|---|---|---|%s\n", strings.Join(header, " | "), strings.Repeat("---:|", len(header)-3))
	for _, line := range r.Rows {
		unit := line.unitText()
		fields := []string{line.Name, line.Title, unit}
		for _, p := range present {
			text, failure := cellText(line.Cells[p.Name])
			if failure != "" {
				mark := p.Name + ": " + failure
				at := slices.Index(failures, mark)
				if at < 0 {
					failures, at = append(failures, mark), len(failures)
				}
				text += fmt.Sprintf(" [%d]", at+1)
			}
			fields = append(fields, text)
		}
		for _, p := range others {
			fields = append(fields, ratioText(line.Ratios[p.Name]))
		}
		if engines > 1 {
			fields = append(fields, ratioText(line.Best))
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(fields, " | "))
	}
	b.WriteString("\nMedians. ↑: more is better; all else: less is better. –: nothing to measure there.\n")
	return failures
}

func (r rowReport) unitText() string {
	if r.Higher {
		return r.Unit + " ↑"
	}
	return r.Unit
}

// cellText is a cell as people read it, and the last failure when there was one.
func cellText(c *cell) (text, failure string) {
	if c == nil || len(c.Samples) == 0 && len(c.Failures) == 0 {
		return "–", ""
	}
	if n := len(c.Failures); n > 0 {
		failure = strings.ReplaceAll(strings.Join(strings.Fields(c.Failures[n-1]), " "), "|", "¦")
	}
	if len(c.Samples) == 0 {
		return "failed", failure
	}
	text = numberText(c.Median)
	if n := len(c.Failures); n > 0 {
		text += fmt.Sprintf(" (%d failed)", n)
	}
	return text, failure
}

// numberText shows three significant digits, and whole numbers from 100 on.
func numberText(v float64) string {
	switch size := math.Abs(v); {
	case size >= 100:
		return fmt.Sprintf("%.0f", v)
	case size >= 10:
		return fmt.Sprintf("%.1f", v)
	case size >= 0.1 || size == 0:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func ratioText(v float64) string {
	if v == 0 {
		return "–"
	}
	return numberText(v)
}
