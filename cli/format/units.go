package format

import (
	"fmt"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/go-units"
)

// Size is a number of bytes with three digits in powers of 1000: "1.23GB".
func Size(bytes int64) string { return units.HumanSizeWithPrecision(float64(bytes), 3) }

// Ago is the time since a moment in words: "2 hours ago"; nothing for a zero moment.
func Ago(now, then time.Time) string {
	if then.IsZero() || then.Unix() <= 0 {
		return ""
	}
	return units.HumanDuration(now.Sub(then)) + " ago"
}

// ShortID is the first twelve digits behind the algorithm.
func ShortID(id string) string {
	if _, hex, found := strings.Cut(id, ":"); found {
		id = hex
	}
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// ID is ShortID when short is wanted.
func ID(id string, short bool) string {
	if short {
		return ShortID(id)
	}
	return id
}

// Ellipsis shortens a text to a number of characters, the last of which says that something is missing.
func Ellipsis(s string, limit int) string {
	if limit <= 0 || utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)
	return string(runes[:limit-1]) + "…"
}

// Labels is "a=1,b=2" in alphabetical order.
func Labels(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for k, v := range labels {
		pairs = append(pairs, fmt.Sprintf("%s=%s", k, v))
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ",")
}
