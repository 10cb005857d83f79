package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/peer"
)

// runGroup is the whole way: a client, a new container, its end and its removal.
func runGroup() group {
	return group{
		name: "run",
		warm: true,
		rows: []row{
			{name: "run-bridge", title: "run --rm busybox true, default bridge", unit: "ms"},
			{name: "run-none", title: "run --rm busybox true, network none", unit: "ms"},
			{name: "run-host", title: "run --rm busybox true, host's network", unit: "ms"},
		},
		once: func(ctx context.Context, _ *suite, e *peer.Engine, keep record) error {
			for _, network := range []string{"bridge", "none", "host"} {
				args := []string{"run", "--rm", "--label", e.Tag}
				if network != "bridge" {
					args = append(args, "--network", network)
				}
				a, err := e.Run(ctx, append(args, e.Image("busybox"), "true")...)
				if err != nil {
					return err
				}
				keep("run-"+network, measure.Milliseconds(a.Elapsed))
			}
			return nil
		},
		bare: func(ctx context.Context, _ *suite, r *peer.Runtime, keep record) error {
			for _, network := range []string{"none", "host"} {
				elapsed, err := r.Run(ctx, network)
				if err != nil {
					return err
				}
				keep("run-"+network, measure.Milliseconds(elapsed))
			}
			return nil
		},
	}
}

// apiGroup is the same without the client: what the engine itself takes.
func apiGroup() group {
	return group{
		name:   "api",
		leaves: true,
		warm:   true,
		rows: []row{
			{name: "api-run", title: "API alone: create, start, wait, remove", unit: "ms"},
			{name: "api-create", title: "of these: create", unit: "ms"},
			{name: "api-start", title: "of these: start", unit: "ms"},
			{name: "api-wait", title: "of these: wait", unit: "ms"},
			{name: "api-remove", title: "of these: remove", unit: "ms"},
		},
		skip: needsAPI,
		once: func(ctx context.Context, _ *suite, e *peer.Engine, keep record) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			times := []time.Time{time.Now()}
			lap := func() { times = append(times, time.Now()) }
			id, err := e.API.Create(ctx, peer.Definition{Image: e.Image("busybox"), Cmd: []string{"true"}, Labels: map[string]string{e.Tag: ""}})
			if err != nil {
				return err
			}
			lap()
			if err := e.API.Start(ctx, id); err != nil {
				return errors.Join(err, e.API.Remove(ctx, id))
			}
			lap()
			code, err := e.API.Wait(ctx, id)
			if err == nil && code != 0 {
				err = fmt.Errorf("true ended with code %d", code)
			}
			lap()
			if err := errors.Join(err, e.API.Remove(ctx, id)); err != nil {
				return err
			}
			lap()
			for i, name := range []string{"api-create", "api-start", "api-wait", "api-remove"} {
				keep(name, measure.Milliseconds(times[i+1].Sub(times[i])))
			}
			keep("api-run", measure.Milliseconds(times[4].Sub(times[0])))
			return nil
		},
	}
}

func needsAPI(_ *suite, e *peer.Engine) string {
	if e.API == nil {
		return "no API"
	}
	return ""
}

// lifeGroup is each verb of a container's life on its own.
func lifeGroup() group {
	return group{
		name:   "life",
		leaves: true,
		warm:   true,
		rows: []row{
			{name: "create", title: "create", unit: "ms"},
			{name: "start", title: "start", unit: "ms"},
			{name: "exec", title: "exec true", unit: "ms"},
			{name: "stop", title: "stop -t 0 of a sleep", unit: "ms"},
			{name: "rm", title: "rm of a stopped one", unit: "ms"},
			{name: "rm-f", title: "rm -f of a running one", unit: "ms"},
		},
		once: lifeOnce,
	}
}

func lifeOnce(ctx context.Context, _ *suite, e *peer.Engine, keep record) error {
	a, err := e.Run(ctx, "create", "--label", e.Tag, e.Image("busybox"), "sleep", "600")
	if err != nil {
		return err
	}
	id := a.Out
	keep("create", measure.Milliseconds(a.Elapsed))
	if a, err = e.Run(ctx, "start", id); err != nil {
		return err
	}
	keep("start", measure.Milliseconds(a.Elapsed))
	if err := expectRunning(ctx, e, id, true); err != nil {
		return err
	}
	if a, err = e.Run(ctx, "exec", id, "true"); err != nil {
		return err
	}
	keep("exec", measure.Milliseconds(a.Elapsed))
	if a, err = e.Run(ctx, "stop", "-t", "0", id); err != nil {
		return err
	}
	keep("stop", measure.Milliseconds(a.Elapsed))
	if err := expectRunning(ctx, e, id, false); err != nil {
		return err
	}
	if a, err = e.Run(ctx, "rm", id); err != nil {
		return err
	}
	keep("rm", measure.Milliseconds(a.Elapsed))
	if err := e.Gone(ctx, id); err != nil {
		return err
	}
	if id, err = e.Container(ctx, e.Image("busybox"), "sleep", "600"); err != nil {
		return err
	}
	if a, err = e.Run(ctx, "rm", "-f", id); err != nil {
		return err
	}
	keep("rm-f", measure.Milliseconds(a.Elapsed))
	return e.Gone(ctx, id)
}

func expectRunning(ctx context.Context, e *peer.Engine, id string, want bool) error {
	is, err := e.IsRunning(ctx, id)
	if err == nil && is != want {
		err = fmt.Errorf("%s: running is %t, not %t", e.Name, is, want)
	}
	return err
}

// clientGroup is what the command line costs before the engine does anything.
func clientGroup() group {
	return group{
		name: "client",
		warm: true,
		rows: []row{
			{name: "client-alone", title: "client alone: --version", unit: "ms"},
			{name: "client-version", title: "client and one answer: version", unit: "ms"},
			{name: "client-ps", title: "client and one list: ps", unit: "ms"},
		},
		once: func(ctx context.Context, _ *suite, e *peer.Engine, keep record) error {
			for name, args := range map[string][]string{"client-alone": {"--version"}, "client-version": {"version"}, "client-ps": {"ps"}} {
				a, err := e.Run(ctx, args...)
				if err != nil {
					return err
				}
				if a.Out == "" {
					return fmt.Errorf("%s %v printed nothing", e.Name, args)
				}
				keep(name, measure.Milliseconds(a.Elapsed))
			}
			return nil
		},
	}
}
