package filter

import (
	"strings"

	"github.com/berth-engine/berth/core"
)

// Event applies the filters of `docker events`.
func Event(event core.Event, filters core.Filters) bool {
	for key, values := range filters {
		if !eventHolds(event, key, values) {
			return false
		}
	}
	return true
}

func eventHolds(event core.Event, key string, values []string) bool {
	for _, value := range values {
		switch key {
		case "event":
			// "health_status" selects all of its kinds, "exec_start" all commands.
			action, _, _ := strings.Cut(event.Action, ":")
			if value == event.Action || value == action {
				return true
			}
		case "type":
			if value == event.Type {
				return true
			}
		case "scope":
			if value == "local" {
				return true
			}
		case "label":
			if Label(event.Attributes, value) {
				return true
			}
		case "image":
			if event.Type == "image" && (value == event.ID || value == event.Attributes["name"]) || event.Attributes["image"] == value {
				return true
			}
		case "container", "network", "volume", "daemon", "plugin", "builder":
			if event.Type == key && (strings.HasPrefix(event.ID, value) || strings.HasPrefix(event.Attributes["name"], strings.TrimPrefix(value, "/"))) {
				return true
			}
		}
	}
	return false
}

// Label reports whether labels have a "key" or "key=value".
func Label(labels map[string]string, condition string) bool {
	key, want, hasValue := strings.Cut(condition, "=")
	got, ok := labels[key]
	return ok && (!hasValue || got == want)
}
