// Package measure takes times, memory and medians, and says on which machine.
package measure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Median is the middle value, or the mean of the two in the middle. No values: 0.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Percentile is the smallest value that at least p percent of the values do not exceed (nearest rank).
func Percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(p/100*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// Milliseconds is a duration as the number that the tables show.
func Milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// PerSecond is an amount divided by a duration. A duration of nothing gives 0, since it measured nothing.
func PerSecond(amount float64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return amount / d.Seconds()
}

// Pause lets a time go by that belongs to what is measured (memory that settles); it is no way to wait for something.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ready asks a server of another program until it answers. Such a program announces its readiness through nothing
// but its answer, so asking again is the only way; the limit is the context's and ten seconds at most.
func Ready(ctx context.Context, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", what, err)
		}
	}
}

// PSS sums the proportional set sizes of Processes in MB (10^6 bytes). A process that is gone adds nothing.
func PSS(pids []int) (float64, error) {
	total := 0.0
	for _, pid := range pids {
		file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		kilobytes, err := parsePSS(file)
		file.Close()
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		total += float64(kilobytes) * 1024 / 1e6
	}
	return total, nil
}

// parsePSS reads the line "Pss:" of a smaps_rollup file (proc(5)), in units of 1,024 bytes.
func parsePSS(r io.Reader) (int64, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		rest, found := strings.CutPrefix(lines.Text(), "Pss:")
		if !found {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) != 2 || fields[1] != "kB" {
			return 0, fmt.Errorf("strange line of smaps_rollup: %q", lines.Text())
		}
		return strconv.ParseInt(fields[0], 10, 64)
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, errors.New("smaps_rollup has no line \"Pss:\"")
}

// Process is one entry of /proc.
type Process struct {
	PID, Parent int
	Name        string // as the kernel keeps it: at most 15 bytes
}

// Processes lists what runs. Processes that end meanwhile are left out.
func Processes() ([]Process, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var list []Process
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if p, err := ParseStat(string(data)); err == nil {
			list = append(list, p)
		}
	}
	return list, nil
}

// ParseStat reads number, name and parent of a /proc/PID/stat line. The name may hold blanks and brackets of its own.
func ParseStat(line string) (Process, error) {
	opening, closing := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if opening < 1 || closing < opening {
		return Process{}, fmt.Errorf("strange line of stat: %q", line)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line[:opening]))
	if err != nil {
		return Process{}, err
	}
	rest := strings.Fields(line[closing+1:])
	if len(rest) < 2 {
		return Process{}, fmt.Errorf("short line of stat: %q", line)
	}
	parent, err := strconv.Atoi(rest[1])
	if err != nil {
		return Process{}, err
	}
	return Process{PID: pid, Parent: parent, Name: line[opening+1 : closing]}, nil
}

// Descendants are all Processes below root, without root.
func Descendants(list []Process, root int) []Process {
	var below []Process
	for _, p := range list {
		if p.Parent == root && p.PID != root {
			below = append(below, p)
			below = append(below, Descendants(list, p.PID)...)
		}
	}
	return below
}

// Written reads how many bytes a process has written through system calls (wchar of /proc/PID/io).
func Written(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, found := strings.CutPrefix(line, "wchar:"); found {
			return strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/io has no line \"wchar:\"", pid)
}
