package compat

import "testing"

// TestDockerCLI runs the flows of the docker command line against one daemon, side by side.
func TestDockerCLI(t *testing.T) {
	t.Parallel()
	s := newSuite(t, 1)
	for _, flow := range []struct {
		name string
		run  func(*cli)
	}{
		{"run: exit codes", runCodes},
		{"run: streams", runStreams},
		{"run: what the process is given", runDefinition},
		{"run: a terminal", runTerminal},
		{"run: limits", runLimits},
		{"run: names and files", runNames},
		{"run: volumes", runVolumes},
		{"run: networks", runNetworks},
		{"run: published ports", runPorts},
		{"run: restart policies", runRestart},
		{"run: health", runHealth},
		{"run: further options", runOptions},
		{"run: signals", runSignals},
		{"attach and detach", attach},
		{"exec", execute},
		{"logs", logs},
		{"ps", list},
		{"inspect", inspect},
		{"start, stop, restart", startStop},
		{"pause, rename, update, top, stats, wait", tend},
		{"rm", remove},
		{"events", events},
		{"images", images},
		{"save, load, import", transfer},
		{"cp, diff, commit, export", copying},
		{"registry", registry},
		{"build: classic", buildClassic},
		{"build: buildx", buildBuildx},
		{"network", networks},
		{"volume", volumes},
		{"errors", mistakes},
	} {
		t.Run(flow.name, func(t *testing.T) {
			t.Parallel()
			flow.run(s.on(t))
		})
	}
}
