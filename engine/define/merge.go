// Package define completes and checks the definition of a container: pure functions from what the user and the image
// say to what the engine works with, with Docker's sentences for what can't be.
package define

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
)

// Config puts the user's words on top of the image's.
func Config(user, image core.Config) core.Config {
	if user.User == "" {
		user.User = image.User
	}
	for _, port := range image.ExposedPorts {
		if !slices.Contains(user.ExposedPorts, port) {
			user.ExposedPorts = append(slices.Clip(user.ExposedPorts), port)
		}
	}
	user.Env = mergeEnv(user.Env, image.Env)
	user.Labels = MergeMaps(user.Labels, image.Labels)
	user.Volumes = MergeMaps(user.Volumes, image.Volumes)
	if len(user.Entrypoint) == 0 {
		if len(user.Cmd) == 0 {
			user.Cmd, user.ArgsEscaped = image.Cmd, image.ArgsEscaped
		}
		if user.Entrypoint == nil {
			user.Entrypoint = image.Entrypoint
		}
	}
	if len(user.Entrypoint) == 1 && user.Entrypoint[0] == "" {
		user.Entrypoint = nil // `--entrypoint ""` takes the image's away
	}
	if user.WorkingDir == "" {
		user.WorkingDir = image.WorkingDir
	}
	user.Healthcheck = mergeHealthcheck(user.Healthcheck, image.Healthcheck)
	if user.StopSignal == "" {
		user.StopSignal = image.StopSignal
	}
	if user.StopTimeout == nil {
		user.StopTimeout = image.StopTimeout
	}
	if user.Shell == nil {
		user.Shell = image.Shell
	}
	return user
}

// mergeEnv keeps what the user set and adds what only the image has.
func mergeEnv(user, image []string) []string {
	set := make(map[string]bool, len(user))
	for _, entry := range user {
		key, _, _ := strings.Cut(entry, "=")
		set[key] = true
	}
	merged := slices.Clip(user)
	for _, entry := range image {
		if key, _, _ := strings.Cut(entry, "="); !set[key] {
			merged = append(merged, entry)
		}
	}
	return merged
}

// MergeMaps is the image's map with the user's on top.
func MergeMaps[V any](user, image map[string]V) map[string]V {
	if len(image) == 0 {
		return user
	}
	merged := maps.Clone(image)
	maps.Copy(merged, user)
	return merged
}

func mergeHealthcheck(user, image *core.Healthcheck) *core.Healthcheck {
	if user == nil || image == nil {
		if user == nil {
			return image
		}
		return user
	}
	merged := *user
	if len(merged.Test) == 0 {
		merged.Test = image.Test
	}
	for _, pair := range []struct{ to, from *time.Duration }{
		{&merged.Interval, &image.Interval}, {&merged.Timeout, &image.Timeout},
		{&merged.StartPeriod, &image.StartPeriod}, {&merged.StartInterval, &image.StartInterval},
	} {
		if *pair.to == 0 {
			*pair.to = *pair.from
		}
	}
	if merged.Retries == 0 {
		merged.Retries = image.Retries
	}
	return &merged
}

// Command splits entrypoint and command into the executable and its arguments.
func Command(config *core.Config) (string, []string, error) {
	words := append(slices.Clone(config.Entrypoint), config.Cmd...)
	if len(words) == 0 || words[0] == "" && len(words) == 1 {
		return "", nil, core.Invalid("no command specified")
	}
	return words[0], words[1:], nil
}

// Environment is what the process gets: defaults first, the user's and the image's words over them.
func Environment(c *core.Container) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + c.Config.Hostname}
	if c.Config.Tty {
		env = append(env, "TERM=xterm")
	}
	for _, entry := range c.Config.Env {
		key, _, hasValue := strings.Cut(entry, "=")
		i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, key+"=") })
		switch {
		case i >= 0 && hasValue:
			env[i] = entry
		case i >= 0:
			env = slices.Delete(env, i, i+1) // "KEY" alone takes the variable away
		case hasValue:
			env = append(env, entry)
		}
	}
	return env
}

// ExecEnvironment is what a further process gets: the container's environment with the exec's words over it.
func ExecEnvironment(c *core.Container, spec core.ExecSpec) []string {
	with := *c
	with.Config.Tty = spec.Tty
	with.Config.Env = append(slices.Clone(c.Config.Env), spec.Env...)
	return Environment(&with)
}

// RestartWanted reports whether the policy wants the container to run again after this end.
func RestartWanted(c *core.Container, status core.ExitStatus) bool {
	if c.StoppedByUser {
		return false
	}
	switch policy := c.Host.RestartPolicy; policy.Name {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return status.Code != 0 && (policy.MaximumRetryCount == 0 || c.RestartCount < policy.MaximumRetryCount)
	}
	return false
}

// Exit codes of processes that could not start, which the docker CLI hands on.
const (
	ExitNotExecutable = 126
	ExitNotFound      = 127
	ExitNotStarted    = 128
)

// StartExitCode is what a client's exit status shall be when a process could not start: 127 not found, 126 not executable, 128 anything else.
func StartExitCode(err error) int {
	text := strings.ToLower(err.Error()) // crun begins a reason of the kernel's with a capital
	for _, missing := range []string{"executable file not found", "no such file or directory", "system cannot find the file"} {
		if strings.Contains(text, missing) {
			return ExitNotFound
		}
	}
	for _, denied := range []string{"permission denied", "not a directory", "is a directory"} {
		if strings.Contains(text, denied) {
			return ExitNotExecutable
		}
	}
	return ExitNotStarted
}
