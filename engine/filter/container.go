// Package filter makes conditions of what users give with --filter: which keys there are, what a value means, and
// Docker's sentences for those that mean nothing.
package filter

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

// listKeys are the filters of `ps`.
var listKeys = []string{"ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network", "publish", "since", "status", "volume"}

// states are the values of the filter status.
var states = []string{"created", "running", "paused", "restarting", "removing", "exited", "dead"}

// verdicts are the values of the filter health.
var verdicts = []string{"none", "starting", "healthy", "unhealthy"}

// Containers makes one condition of the options of `ps`. created finds a container and tells when it was made.
func Containers(ctx context.Context, options core.ContainerListOptions, created func(ref string) (time.Time, error), images Images) (func(*core.Container) bool, error) {
	if err := Keys(options.Filters, listKeys); err != nil {
		return nil, err
	}
	for _, value := range options.Filters["status"] {
		if !slices.Contains(states, value) {
			return nil, core.Invalid("invalid filter 'status=%s': invalid value for state (%s): must be one of %s", value, value, strings.Join(states, ", "))
		}
	}
	for _, value := range options.Filters["exited"] {
		if _, err := strconv.Atoi(value); err != nil {
			return nil, core.Invalid("invalid filter 'exited=%s': %w", value, err)
		}
	}
	for _, value := range options.Filters["health"] {
		if !slices.Contains(verdicts, value) {
			return nil, core.Invalid("invalid filter 'health=%s': invalid value for health (%s): must be one of %s", value, value, strings.Join(verdicts, ", "))
		}
	}
	before, err := moment(created, options.Filters["before"])
	if err != nil {
		return nil, err
	}
	since, err := moment(created, options.Filters["since"])
	if err != nil {
		return nil, err
	}
	all := options.All || options.Limit > 0 || len(options.Filters["status"]) > 0
	descendant := ancestors(ctx, options.Filters["ancestor"], images)
	return func(c *core.Container) bool {
		if !all && !c.State.Running() && c.State.Status != core.StatusRestarting {
			return false
		}
		if !before.IsZero() && !c.Created.Before(before) || !since.IsZero() && !c.Created.After(since) {
			return false
		}
		for key, values := range options.Filters {
			if key == "ancestor" && descendant(c) {
				continue
			}
			if !listHolds(c, key, values) {
				return false
			}
		}
		return true
	}, nil
}

// Keys refuses a key that is not one of those known.
func Keys(filters core.Filters, known []string) error {
	for key := range filters {
		if !slices.Contains(known, key) {
			return core.Invalid("invalid filter '%s'", key)
		}
	}
	return nil
}

// moment is when the container that before or since names was created.
func moment(created func(string) (time.Time, error), refs []string) (time.Time, error) {
	if len(refs) == 0 {
		return time.Time{}, nil
	}
	return created(refs[len(refs)-1])
}

// listHolds reports whether one of the values of a filter holds; labels must all hold.
func listHolds(c *core.Container, key string, values []string) bool {
	if key == "label" {
		return !slices.ContainsFunc(values, func(v string) bool { return !Label(c.Config.Labels, v) })
	}
	holds := map[string]func(string) bool{
		"id":     func(v string) bool { return strings.HasPrefix(string(c.ID), v) },
		"name":   func(v string) bool { return nameHolds(c.Name, v) },
		"status": func(v string) bool { return string(c.State.Status) == v },
		"exited": func(v string) bool {
			return !c.State.Running() && !c.State.FinishedAt.IsZero() && strconv.Itoa(c.State.ExitCode) == v
		},
		"health": func(v string) bool {
			health := core.HealthNone
			if c.State.Health != nil {
				health = c.State.Health.Status
			}
			return string(health) == v
		},
		"ancestor": func(v string) bool {
			return c.Config.Image == v || strings.TrimSuffix(c.Config.Image, ":latest") == strings.TrimSuffix(v, ":latest") ||
				strings.HasPrefix(string(c.ImageID), v) || strings.HasPrefix(strings.TrimPrefix(string(c.ImageID), "sha256:"), v)
		},
		"network": func(v string) bool {
			for name, e := range c.Endpoints {
				if name == v || e.NetworkID != "" && strings.HasPrefix(string(e.NetworkID), v) {
					return true
				}
			}
			return false
		},
		"volume": func(v string) bool {
			return slices.ContainsFunc(c.Mounts, func(m core.Mount) bool { return m.Name == v || m.Source == v || m.Destination == v })
		},
		"publish": func(v string) bool {
			return slices.ContainsFunc(c.Published, func(p core.PublishedPort) bool { return portHolds(p.HostPort, p.Port.Protocol, v) })
		},
		"expose": func(v string) bool {
			return slices.ContainsFunc(c.Config.ExposedPorts, func(p core.Port) bool { return portHolds(p.Number, p.Protocol, v) })
		},
		"is-task":   func(v string) bool { return v != "true" && v != "1" },
		"isolation": func(string) bool { return true },
	}[key]
	return holds == nil || slices.ContainsFunc(values, holds)
}

// portHolds reports whether a port is the one, or in the range, of "80", "80/udp", "8000-9000/tcp".
func portHolds(port uint16, protocol core.Protocol, value string) bool {
	numbers, proto, _ := strings.Cut(value, "/")
	first, last, err := define.PortRange(numbers)
	return err == nil && first <= port && port <= last && (proto == "" || proto == string(protocol))
}

// nameHolds matches a name as `ps --filter name=` does: a regular expression that may hit any part of it.
func nameHolds(name, pattern string) bool {
	if strings.Contains("/"+name, pattern) {
		return true
	}
	re, err := regexp.Compile(pattern)
	return err == nil && (re.MatchString(name) || re.MatchString("/"+name))
}
