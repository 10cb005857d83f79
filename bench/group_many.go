package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/peer"
)

// atATime is how many clients work side by side where many containers are made.
const atATime = 8

// manyGroup is the rate at which containers come and go.
func manyGroup() group {
	return group{
		name:   "many",
		leaves: true,
		rounds: few,
		rows: []row{
			{name: "many-run", title: "run -d of many containers, 8 at a time", unit: "per s", higher: true},
			{name: "many-rm", title: "rm -f of these, 8 at a time", unit: "per s", higher: true},
		},
		once: func(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
			begin := time.Now()
			ids, err := crowd(ctx, e, s.containers)
			elapsed := time.Since(begin)
			if err == nil {
				err = allRun(ctx, e, ids)
			}
			if err != nil {
				return errors.Join(err, disperse(context.WithoutCancel(ctx), e, ids))
			}
			keep("many-run", measure.PerSecond(float64(len(ids)), elapsed))
			begin = time.Now()
			if err := disperse(ctx, e, ids); err != nil {
				return err
			}
			keep("many-rm", measure.PerSecond(float64(len(ids)), time.Since(begin)))
			return none(ctx, e)
		},
	}
}

// few is the number of rounds of work that takes long.
func few(o options) int {
	if o.quick {
		return 1
	}
	return max(1, min(3, o.rounds))
}

// crowd runs n containers with options, eight at a time, and returns those that run. The order of the numbers means nothing.
func crowd(ctx context.Context, e *peer.Engine, n int, options ...string) ([]string, error) {
	var lock sync.Mutex // guards ids
	var ids []string
	err := sideBySide(n, func(int) error {
		id, err := e.Container(ctx, append(slices.Clone(options), e.Image("busybox"), "sleep", "3600")...)
		if err != nil {
			return err
		}
		lock.Lock()
		defer lock.Unlock()
		ids = append(ids, id)
		return nil
	})
	return ids, err
}

// allRun checks that each of the containers runs.
func allRun(ctx context.Context, e *peer.Engine, ids []string) error {
	a, err := e.Run(ctx, "ps", "-q", "--no-trunc", "--filter", "label="+e.Tag)
	if err != nil {
		return err
	}
	running := strings.Fields(a.Out)
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(running, id) })
	if len(missing) > 0 {
		return fmt.Errorf("%s: %d of %d containers do not run", e.Name, len(missing), len(ids))
	}
	return nil
}

// disperse removes containers, eight at a time.
func disperse(ctx context.Context, e *peer.Engine, ids []string) error {
	return sideBySide(len(ids), func(i int) error {
		_, err := e.Run(ctx, "rm", "-f", ids[i])
		return err
	})
}

// none checks that no container of the bench is left.
func none(ctx context.Context, e *peer.Engine) error {
	a, err := e.Run(ctx, "ps", "-a", "-q", "--filter", "label="+e.Tag)
	if err == nil && a.Out != "" {
		err = fmt.Errorf("%s: %d containers are left", e.Name, len(strings.Fields(a.Out)))
	}
	return err
}

// sideBySide does n things, eight at a time, and returns the first error; after one, nothing new begins.
func sideBySide(n int, do func(i int) error) error {
	work := make(chan int, n)
	for i := range n {
		work <- i
	}
	close(work)
	var group sync.WaitGroup
	failures := make(chan error, atATime)
	stop := make(chan struct{})
	var once sync.Once
	for range atATime {
		group.Go(func() {
			for i := range work {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(i); err != nil {
					failures <- err
					once.Do(func() { close(stop) })
					return
				}
			}
		})
	}
	group.Wait()
	close(failures)
	return <-failures
}

// memoryGroup is what an engine takes while nothing happens.
func memoryGroup() group {
	return group{
		name:   "memory",
		leaves: true,
		rounds: func(options) int { return 1 },
		rows: []row{
			{name: "memory-idle", title: "idle engine, before the first container (PSS)", unit: "MB"},
			{name: "memory-used", title: "idle engine, after 60 runs and the measurements before (PSS)", unit: "MB"},
			{name: "memory-monitor", title: "monitor process per idle container (PSS)", unit: "MB"},
		},
		once: memoryOnce,
	}
}

func memoryOnce(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
	if idle := s.recall(e, "idle"); idle != "" {
		value, err := strconv.ParseFloat(idle, 64)
		if err != nil {
			return err
		}
		keep("memory-idle", value)
	}
	for range 60 {
		if _, err := e.Run(ctx, "run", "--rm", "--label", e.Tag, e.Image("busybox"), "true"); err != nil {
			return err
		}
	}
	used, err := s.idleMemory(ctx, e)
	if err != nil {
		return err
	}
	keep("memory-used", used)
	ids, err := crowd(ctx, e, s.idle)
	if err == nil {
		err = allRun(ctx, e, ids)
	}
	if err == nil {
		err = s.monitors(ctx, e, ids, keep)
	}
	return errors.Join(err, disperse(context.WithoutCancel(ctx), e, ids))
}

// idleMemory is what the daemon and its companions take, after a time to settle. An engine without a daemon takes nothing.
func (s *suite) idleMemory(ctx context.Context, e *peer.Engine) (float64, error) {
	if e.API != nil && e.DaemonPID == 0 {
		return 0, fmt.Errorf("%s: which process is the daemon? (pid= of --peer)", e.Name)
	}
	if err := measure.Pause(ctx, s.settle); err != nil {
		return 0, err
	}
	pids, err := e.Processes()
	if err != nil {
		return 0, err
	}
	return measure.PSS(pids)
}

// monitors measures the parents of the containers' first processes: shims, conmons.
func (s *suite) monitors(ctx context.Context, e *peer.Engine, ids []string, keep record) error {
	if err := measure.Pause(ctx, s.settle); err != nil {
		return err
	}
	parents := map[int]bool{}
	var list []int
	for _, id := range ids {
		text, err := e.Field(ctx, id, "{{.State.Pid}}")
		if err != nil {
			return err
		}
		stat, err := os.ReadFile("/proc/" + text + "/stat")
		if err != nil {
			return err
		}
		p, err := measure.ParseStat(string(stat))
		if err != nil {
			return err
		}
		if p.Parent <= 1 || p.Parent == e.DaemonPID {
			return fmt.Errorf("%s: container %s has no monitor: its parent is process %d", e.Name, id, p.Parent)
		}
		if !parents[p.Parent] {
			parents[p.Parent], list = true, append(list, p.Parent)
		}
	}
	total, err := measure.PSS(list)
	if err == nil {
		keep("memory-monitor", total/float64(len(ids)))
	}
	return err
}

// crowdGroup is whether an engine gets slower as containers pile up.
func crowdGroup() group {
	return group{
		name:   "crowd",
		leaves: true,
		alone:  true,
		rows: []row{
			{name: "crowd-start-0", title: "start with no other container", unit: "ms"},
			{name: "crowd-start-n", title: "start with the crowd running", unit: "ms"},
			{name: "crowd-start-x", title: "start: with the crowd ÷ without", unit: "×"},
			{name: "crowd-ps-0", title: "ps of one container with no other", unit: "ms"},
			{name: "crowd-ps-n", title: "ps of one container with the crowd running", unit: "ms"},
			{name: "crowd-ps-x", title: "ps: with the crowd ÷ without", unit: "×"},
		},
		rounds: func(options) int { return 1 },
		skip: func(s *suite, _ *peer.Engine) string {
			if s.crowd == 0 {
				return "--crowd is 0"
			}
			return ""
		},
		once: func(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
			start, ps, err := s.startAndList(ctx, e, "0", keep)
			if err != nil {
				return err
			}
			ids, err := crowd(ctx, e, s.crowd, s.published()...)
			if err == nil {
				err = allRun(ctx, e, ids)
			}
			if err == nil {
				var startN, psN float64
				if startN, psN, err = s.startAndList(ctx, e, "n", keep); err == nil {
					keep("crowd-start-x", startN/start)
					keep("crowd-ps-x", psN/ps)
				}
			}
			return errors.Join(err, disperse(context.WithoutCancel(ctx), e, ids))
		},
	}
}

// published are the options of the containers of the group "crowd".
func (s *suite) published() []string {
	if s.crowdPorts {
		return []string{"-p", "127.0.0.1::80"}
	}
	return nil
}

// startAndList starts one container again and again, lists it each time, and returns the medians.
func (s *suite) startAndList(ctx context.Context, e *peer.Engine, suffix string, keep record) (start, ps float64, err error) {
	var starts, lists []float64
	for range s.rounds + 1 {
		create := append([]string{"create", "--label", e.Tag}, s.published()...)
		a, err := e.Run(ctx, append(create, e.Image("busybox"), "sleep", "600")...)
		if err != nil {
			return 0, 0, err
		}
		id := a.Out
		started, err := e.Run(ctx, "start", id)
		if err != nil {
			return 0, 0, err
		}
		listed, err := e.Run(ctx, "ps", "-q", "--no-trunc", "--filter", "id="+id)
		if err == nil && listed.Out != id {
			err = fmt.Errorf("%s: ps shows %q instead of one container", e.Name, listed.Out)
		}
		if err := errors.Join(err, e.Remove(ctx, id)); err != nil {
			return 0, 0, err
		}
		starts, lists = append(starts, measure.Milliseconds(started.Elapsed)), append(lists, measure.Milliseconds(listed.Elapsed))
	}
	for i := range s.rounds { // the first one only warmed up
		keep("crowd-start-"+suffix, starts[i+1])
		keep("crowd-ps-"+suffix, lists[i+1])
	}
	return measure.Median(starts[1:]), measure.Median(lists[1:]), nil
}
