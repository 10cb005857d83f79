package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
)

// Apply applies Dockerfile instructions to a configuration: those that `docker import --change` takes. The
// instructions are single lines; their forms are Docker's (docs.docker.com/reference/dockerfile).
func Apply(config *Settings, changes []string) error {
	for _, change := range changes {
		change = strings.TrimSpace(change)
		if change == "" || strings.HasPrefix(change, "#") {
			continue
		}
		instruction, rest, _ := strings.Cut(strings.ReplaceAll(change, "\t", " "), " ")
		if err := applyChange(config, strings.ToUpper(instruction), strings.TrimSpace(rest)); err != nil {
			return err
		}
	}
	return nil
}

func applyChange(config *Settings, instruction, rest string) error {
	if rest == "" && instruction != "CMD" && instruction != "ENTRYPOINT" {
		return core.Invalid("%s requires at least one argument", instruction)
	}
	switch instruction {
	case "CMD":
		config.Cmd = command(rest)
	case "ENTRYPOINT":
		config.Entrypoint = command(rest)
	case "ENV":
		return eachPair(instruction, rest, func(key, value string) { config.Env = setEnv(config.Env, key, value) })
	case "LABEL":
		return eachPair(instruction, rest, func(key, value string) {
			if config.Labels == nil {
				config.Labels = map[string]string{}
			}
			config.Labels[key] = value
		})
	case "EXPOSE":
		return expose(config, strings.Fields(rest))
	case "VOLUME":
		return volumes(config, rest)
	case "USER":
		config.User = rest
	case "WORKDIR":
		config.WorkingDir = rest
	case "STOPSIGNAL":
		config.StopSignal = rest
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
func command(text string) []string {
	if list, ok := jsonList(text); ok {
		return list
	}
	if text == "" {
		return nil
	}
	return []string{"/bin/sh", "-c", text}
}

func jsonList(text string) (list []string, ok bool) {
	if !strings.HasPrefix(text, "[") {
		return nil, false
	}
	err := json.Unmarshal([]byte(text), &list)
	return list, err == nil
}

// eachPair reads "key=value key2='a value'", or the old form "key a value".
func eachPair(instruction, rest string, set func(key, value string)) error {
	words, err := splitWords(rest)
	if err != nil {
		return core.Invalid("%s: %w", instruction, err)
	}
	if key, value, found := strings.Cut(rest, " "); !strings.Contains(words[0], "=") {
		if !found {
			return core.Invalid("%s must have two arguments", instruction)
		}
		set(key, strings.TrimSpace(value))
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

// splitWords splits at blanks as a shell does, quotes and backslashes taken away.
func splitWords(text string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, c := range text {
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' && c != '$' {
				word.WriteRune('\\')
			}
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, inWord = c, true
		case quote == 0 && c == ' ':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, core.Invalid("unexpected end of statement while looking for matching %s-quote", map[rune]string{'\'': "single", '"': "double"}[quote])
	}
	if escaped {
		word.WriteRune('\\')
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		words = []string{""}
	}
	return words, nil
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

func volumes(config *Settings, rest string) error {
	list, ok := jsonList(rest)
	if !ok {
		list = strings.Fields(rest)
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
