package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/berth-engine/berth/bench/measure"
	"github.com/berth-engine/berth/bench/payload"
	"github.com/berth-engine/berth/bench/peer"
)

// buildGroup is a build of ten steps, COPY and RUN in turn, on busybox: when nothing of it is known, and again.
func buildGroup() group {
	return group{
		name: "build",
		rounds: func(o options) int {
			if o.quick {
				return 1
			}
			return min(5, o.rounds)
		},
		warm: true,
		rows: []row{
			{name: "build-cold", title: "build of ten steps by the client, cold", unit: "ms"},
			{name: "build-cached", title: "the same again, cached", unit: "ms"},
			{name: "build-api-cold", title: "build of ten steps by POST /build (classic), cold", unit: "ms"},
			{name: "build-api-cached", title: "the same again, cached", unit: "ms"},
		},
		setup: func(ctx context.Context, s *suite, e *peer.Engine) error {
			if err := e.RememberCaches(ctx); err != nil {
				return err
			}
			if e.Kind == peer.Docker {
				if _, err := e.Run(ctx, "buildx", "version"); err != nil {
					s.note("%s has no buildx: its client builds in the classic way", e.Name)
				}
			}
			return nil
		},
		once: func(ctx context.Context, s *suite, e *peer.Engine, keep record) error {
			if err := buildByClient(ctx, s, e, keep); err != nil {
				return err
			}
			if e.API == nil {
				return nil
			}
			return buildByAPI(ctx, e, keep)
		},
		teardown: func(ctx context.Context, _ *suite, e *peer.Engine) error {
			return errors.Join(e.RemoveImages(ctx, "/built"), e.RemoveCaches(ctx))
		},
	}
}

func buildByClient(ctx context.Context, s *suite, e *peer.Engine, keep record) (err error) {
	dir := s.path("context-" + e.Name)
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := payload.WriteContext(dir, e.Image("busybox"), payload.Steps(uint64(time.Now().UnixNano()))); err != nil {
		return err
	}
	tag := e.Image("built")
	build := func() (time.Duration, error) {
		a, err := e.Do(ctx, peer.Call{Args: []string{"build", "--label", e.Tag, "-t", tag, dir}, Limit: 5 * time.Minute})
		return a.Elapsed, err
	}
	return twice(ctx, e, tag, "build", build, keep)
}

func buildByAPI(ctx context.Context, e *peer.Engine, keep record) error {
	files := payload.Steps(uint64(time.Now().UnixNano()))
	tag := e.Image("built-api")
	build := func() (time.Duration, error) {
		files, err := payload.TarContext(e.Image("busybox"), files)
		if err != nil {
			return 0, err
		}
		begin := time.Now()
		log, err := e.API.Build(ctx, tag, e.Tag, files)
		elapsed := time.Since(begin)
		if err == nil && !strings.Contains(log, "Successfully built") {
			err = fmt.Errorf("%s: POST /build said at last: %s", e.Name, peer.LastLines(log))
		}
		return elapsed, err
	}
	return twice(ctx, e, tag, "build-api", build, keep)
}

// twice builds cold and cached, and checks that the last step ran the first time only.
func twice(ctx context.Context, e *peer.Engine, tag, rows string, build func() (time.Duration, error), keep record) error {
	cold, err := build()
	if err != nil {
		return err
	}
	first, err := proof(ctx, e, tag)
	if err != nil {
		return err
	}
	cached, err := build()
	if err != nil {
		return err
	}
	second, err := proof(ctx, e, tag)
	if err != nil {
		return err
	}
	if first != second {
		return fmt.Errorf("%s: the second build was not cached: its last step ran again", e.Name)
	}
	keep(rows+"-cold", measure.Milliseconds(cold))
	keep(rows+"-cached", measure.Milliseconds(cached))
	return nil
}

// proof reads what the steps of a build left: a count that must be right, and the mark of the last step's run.
func proof(ctx context.Context, e *peer.Engine, tag string) (string, error) {
	a, err := e.Run(ctx, "run", "--rm", "--label", e.Tag, tag, "cat", "/o3", "/uuid")
	if err != nil {
		return "", err
	}
	count, uuid, found := strings.Cut(a.Out, "\n")
	if !found || !strings.HasPrefix(count, "100000 ") || len(uuid) != 36 {
		return "", fmt.Errorf("%s: the built image holds %q", e.Name, a.Out)
	}
	return uuid, nil
}
