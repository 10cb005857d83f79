package config

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
)

// Apply applies Dockerfile instructions to a configuration: those that `--change` of `docker import` and `docker commit`
// takes. The instructions are single lines; their forms are Docker's (docs.docker.com/reference/dockerfile).
func Apply(config *Settings, changes []string) error {
	commanded := false
	for _, change := range changes {
		change = strings.TrimSpace(change)
		if change == "" || strings.HasPrefix(change, "#") {
			continue
		}
		instruction, rest, _ := strings.Cut(strings.ReplaceAll(change, "\t", " "), " ")
		instruction = strings.ToUpper(instruction)
		if err := applyChange(config, instruction, strings.TrimSpace(rest)); err != nil {
			return err
		}
		switch {
		case instruction == "CMD":
			commanded = true
		case instruction == "ENTRYPOINT" && !commanded:
			config.Cmd = nil // it was the arguments of another program
		}
	}
	return nil
}

func applyChange(config *Settings, instruction, rest string) error {
	if rest == "" && instruction != "CMD" && instruction != "ENTRYPOINT" {
		return core.Invalid("%s requires at least one argument", instruction)
	}
	env := lookupIn(config.Env) // as it was before the instruction
	switch instruction {
	case "CMD":
		config.Cmd = command(rest, config.Shell)
	case "ENTRYPOINT":
		config.Entrypoint = command(rest, config.Shell)
	case "ENV":
		return eachPair(instruction, rest, env, func(key, value string) { config.Env = setEnv(config.Env, key, value) })
	case "LABEL":
		return eachPair(instruction, rest, env, func(key, value string) {
			if config.Labels == nil {
				config.Labels = map[string]string{}
			}
			config.Labels[key] = value
		})
	case "EXPOSE":
		return expose(config, strings.Fields(expand(rest, env)))
	case "VOLUME":
		return volumes(config, rest, env)
	case "USER":
		config.User = expand(rest, env)
	case "WORKDIR":
		config.WorkingDir = path.Join("/", config.WorkingDir, expand(rest, env))
		if to := expand(rest, env); path.IsAbs(to) {
			config.WorkingDir = path.Clean(to)
		}
	case "STOPSIGNAL":
		config.StopSignal = expand(rest, env)
	case "ONBUILD":
		trigger, _, _ := strings.Cut(strings.ToUpper(rest), " ")
		if trigger == "ONBUILD" || trigger == "FROM" || trigger == "MAINTAINER" {
			return core.Invalid("%s isn't allowed as an ONBUILD trigger", trigger)
		}
		config.OnBuild = append(config.OnBuild, rest)
	case "HEALTHCHECK":
		return healthcheck(config, rest)
	default:
		return core.Invalid("%s is not a valid change command", strings.ToLower(instruction))
	}
	return nil
}

// command reads the JSON form ["a", "b"] or, failing that, takes the text as a shell's.
func command(text string, shell []string) []string {
	if list, ok := jsonList(text); ok {
		return list
	}
	if text == "" {
		return nil
	}
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(slices.Clip(shell), text)
}

func jsonList(text string) (list []string, ok bool) {
	if !strings.HasPrefix(text, "[") {
		return nil, false
	}
	err := json.Unmarshal([]byte(text), &list)
	return list, err == nil
}

// eachPair reads "key=value key2='a value'", or the old form "key a value".
func eachPair(instruction, rest string, env lookup, set func(key, value string)) error {
	words, err := splitWords(rest, env)
	if err != nil {
		return core.Invalid("%s: %w", instruction, err)
	}
	if key, value, found := strings.Cut(rest, " "); !strings.Contains(words[0], "=") {
		if !found {
			return core.Invalid("%s must have two arguments", instruction)
		}
		set(expand(key, env), expand(strings.TrimSpace(value), env))
		return nil
	}
	for _, word := range words {
		key, value, found := strings.Cut(word, "=")
		if !found {
			return core.Invalid("Syntax error - can't find = in %q. Must be of the form: name=value", word)
		}
		if key == "" {
			return core.Invalid("%s names can not be blank", instruction)
		}
		set(key, value)
	}
	return nil
}

func setEnv(env []string, key, value string) []string {
	for i, entry := range env {
		if name, _, _ := strings.Cut(entry, "="); name == key {
			env[i] = key + "=" + value
			return env
		}
	}
	return append(env, key+"="+value)
}

// expose adds ports: "80", "53/udp", "8000-8010/tcp".
func expose(config *Settings, ports []string) error {
	if config.ExposedPorts == nil {
		config.ExposedPorts = map[string]struct{}{}
	}
	for _, text := range ports {
		numbers, protocol, found := strings.Cut(text, "/")
		if !found {
			protocol = string(core.TCP)
		}
		low, high, ranged := strings.Cut(numbers, "-")
		if !ranged {
			high = low
		}
		from, fromOK := parsePort(low + "/" + protocol)
		to, toOK := parsePort(high + "/" + protocol)
		if !fromOK || !toOK || to.Number < from.Number {
			return core.Invalid("invalid containerPort: %s", text)
		}
		for number := int(from.Number); number <= int(to.Number); number++ {
			config.ExposedPorts[strconv.Itoa(number)+"/"+string(from.Protocol)] = struct{}{}
		}
	}
	return nil
}

func volumes(config *Settings, rest string, env lookup) error {
	list, ok := jsonList(rest)
	if !ok {
		list = strings.Fields(rest)
	}
	for i := range list {
		list[i] = expand(list[i], env)
	}
	added := maps.Clone(config.Volumes)
	if added == nil {
		added = map[string]struct{}{}
	}
	for _, volume := range list {
		if strings.TrimSpace(volume) == "" {
			return core.Invalid("VOLUME specified can not be an empty string")
		}
		added[volume] = struct{}{}
	}
	config.Volumes = added
	return nil
}

// healthcheck reads "NONE" or "[--interval=…] CMD …".
func healthcheck(config *Settings, rest string) error {
	check := &core.Healthcheck{}
	for strings.HasPrefix(rest, "--") {
		flag, remainder, _ := strings.Cut(rest, " ")
		if err := healthFlag(check, flag); err != nil {
			return err
		}
		rest = strings.TrimSpace(remainder)
	}
	kind, words, _ := strings.Cut(rest, " ")
	words = strings.TrimSpace(words)
	switch strings.ToUpper(kind) {
	case "NONE":
		if words != "" {
			return core.Invalid("HEALTHCHECK NONE takes no arguments")
		}
		check.Test = []string{"NONE"}
	case "CMD":
		if words == "" {
			return core.Invalid("Missing command after HEALTHCHECK CMD")
		}
		if list, ok := jsonList(words); ok {
			check.Test = append([]string{"CMD"}, list...)
		} else {
			check.Test = []string{"CMD-SHELL", words}
		}
	default:
		return core.Invalid("Unknown type %q in HEALTHCHECK (try CMD)", kind)
	}
	config.Healthcheck = check
	return nil
}

func healthFlag(check *core.Healthcheck, flag string) error {
	name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
	if name == "retries" {
		retries, err := strconv.Atoi(value)
		if err != nil || retries < 1 {
			return core.Invalid("--retries must be at least 1 (not %s)", value)
		}
		check.Retries = retries
		return nil
	}
	targets := map[string]*time.Duration{
		"interval": &check.Interval, "timeout": &check.Timeout, "start-period": &check.StartPeriod, "start-interval": &check.StartInterval,
	}
	target, known := targets[name]
	if !known {
		return core.Invalid("unknown flag: %s; known are %s and retries", name, strings.Join(slices.Sorted(maps.Keys(targets)), ", "))
	}
	duration, err := time.ParseDuration(value)
	if err != nil {
		return core.Invalid("invalid %s: %w", name, err)
	}
	if duration < time.Millisecond {
		return core.Invalid("Interval %q cannot be less than 1ms", name)
	}
	*target = duration
	return nil
}
