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
		if until, err = Moment(values[0]); err != nil {
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

// Moment reads what `--filter until=` takes: a duration back from now, a date, or seconds since 1970.
func Moment(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	if seconds, fraction, _ := strings.Cut(s, "."); seconds != "" && strings.Trim(seconds+fraction, "0123456789") == "" {
		d, err := time.ParseDuration(s + "s")
		if err == nil {
			return time.Unix(0, d.Nanoseconds()), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15Z07:00", "2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, core.Invalid("failed to parse value as time or duration: %q", s)
}
