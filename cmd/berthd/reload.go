package main

import (
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine"
	"github.com/berth-engine/berth/runtime"
)

// reloader changes settings while the daemon runs: log level and debug, labels, shutdown-timeout, runtimes and
// default-runtime, CDI folders. All others are read at the start only.
type reloader struct {
	engine    *engine.Engine
	processes *runtime.Runtime
	known     core.Info
}

// reload reads flags and file again. Settings that can't be read change nothing.
func (r *reloader) reload(c *config, log *slog.Logger) {
	next, err := load(os.Args[1:])
	if err != nil {
		log.Error("the settings stay as they are", "error", err)
		return
	}
	c.LogLevel, c.Debug, c.ShutdownTimeout = next.LogLevel, next.Debug, next.ShutdownTimeout
	c.Labels, c.Runtimes, c.DefaultRuntime = next.Labels, next.Runtimes, next.DefaultRuntime
	c.CDISpecDirs, c.Features = next.CDISpecDirs, next.Features
	c.setLevel()
	r.processes.Change(c.programs(), c.cdiFolders())
	r.known.Labels, r.known.Debug = c.Labels, c.LogLevel == "debug"
	r.known.DefaultRuntime, r.known.Runtimes, r.known.CDISpecDirs = c.DefaultRuntime, c.runtimeNames(), c.cdiFolders()
	r.engine.Reload(r.known, c.runtimeNames())
	r.engine.Publish(core.Event{Type: "daemon", Action: "reload", ID: r.known.ID, Attributes: map[string]string{
		"name": r.known.Name, "debug": strconv.FormatBool(r.known.Debug), "labels": strings.Join(c.Labels, ","),
		"default-runtime": c.DefaultRuntime, "runtimes": strings.Join(c.runtimeNames(), ","),
		"shutdown-timeout": strconv.Itoa(c.ShutdownTimeout), "cdi-spec-dirs": strings.Join(c.cdiFolders(), ","),
	}})
	log.Info("the settings were read again", "signal", "SIGHUP")
}

// setLevel tells the log how much it may say.
func (c *config) setLevel() {
	var level slog.Level
	if err := level.UnmarshalText([]byte(strings.Replace(c.LogLevel, "fatal", "error", 1))); err != nil {
		level = slog.LevelInfo // check has refused anything else
	}
	c.level.Set(level)
}
