package filter

import (
	"slices"
	"strings"
	"time"

	"github.com/berth-engine/berth/core"
)

// Flag reads a filter that is true or false.
func Flag(filters core.Filters, key string, otherwise bool) (bool, error) {
	for _, value := range filters[key] {
		switch strings.ToLower(value) {
		case "1", "true":
			return true, nil
		case "0", "false":
			return false, nil
		}
		return false, core.Invalid("invalid filter '%s=%s'", key, value)
	}
	return otherwise, nil
}

// Prune makes one condition of the filters that every prune knows: label, label!, until.
func Prune(filters core.Filters) (func(created time.Time, labels map[string]string) bool, error) {
	var until time.Time
	if values := filters["until"]; len(values) > 0 {
		if len(values) > 1 {
			return nil, core.Invalid("more than one until filter specified")
		}
		var err error
		if until, err = core.Moment(values[0]); err != nil {
			return nil, err
		}
	}
	return func(created time.Time, labels map[string]string) bool {
		if !until.IsZero() && !created.Before(until) {
			return false
		}
		for _, condition := range filters["label"] {
			if !Label(labels, condition) {
				return false
			}
		}
		// As in Docker: what has all of them stays.
		kept := filters["label!"]
		return len(kept) == 0 || slices.ContainsFunc(kept, func(condition string) bool { return !Label(labels, condition) })
	}, nil
}
