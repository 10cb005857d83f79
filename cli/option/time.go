package option

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Timestamp turns what people write for a moment into seconds since 1970 with nine digits behind the point, as the API
// wants it: a duration back from now ("42m"), an RFC 3339 date with or without zone, or seconds with or without fraction.
func Timestamp(text string, now time.Time) (string, error) {
	if d, err := time.ParseDuration(text); text != "0" && err == nil {
		return unix(now.Add(-d)), nil
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01-02Z07:00",
	} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return unix(t), nil
		}
	}
	if strings.Contains(text, "-") && !strings.HasPrefix(text, "-") {
		return "", fmt.Errorf("failed to parse value as time or duration: %q", text)
	}
	seconds, fraction, hasFraction := strings.Cut(text, ".")
	if _, err := strconv.ParseInt(seconds, 10, 64); err != nil {
		return "", fmt.Errorf("failed to parse value as time or duration: %q", text)
	}
	if hasFraction {
		if _, err := strconv.ParseUint(fraction, 10, 64); err != nil {
			return "", fmt.Errorf("failed to parse value as time or duration: %q", text)
		}
	}
	return text, nil
}

func unix(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }
