// Package wire knows what travels over the Docker Engine API: it decodes requests into the values of core, and
// turns the values of core into the shapes of moby/moby/api, as each version of the API shows them.
//
// It is the only door to moby/moby/api on the engine's side. Encoders return a value for encoding/json; decoders
// take bytes or query strings, never trust them, and answer with core.Invalid in Docker's words.
// What differs between versions of the API lives in version.go and legacy.go.
package wire

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
)

// Version is a version of the Engine API, such as 1.44.
type Version struct {
	Major, Minor int
}

// The range of versions that is spoken.
var (
	MinVersion = Version{1, 40}
	MaxVersion = Version{1, 56}
)

// String is "1.44".
func (v Version) String() string { return strconv.Itoa(v.Major) + "." + strconv.Itoa(v.Minor) }

// Before reports whether v is older than 1.minor.
func (v Version) Before(minor int) bool { return v.Major < 1 || v.Major == 1 && v.Minor < minor }

// ParseVersion reads "1.44"; ok is false when it is no version.
func ParseVersion(s string) (v Version, ok bool) {
	major, minor, dotted := strings.Cut(s, ".")
	if !dotted || len(major) > 4 || len(minor) > 4 {
		return Version{}, false
	}
	for _, digits := range []string{major, minor} {
		if digits == "" || strings.Trim(digits, "0123456789") != "" {
			return Version{}, false
		}
	}
	v.Major, _ = strconv.Atoi(major) // digits only, and few: can't fail
	v.Minor, _ = strconv.Atoi(minor)
	return v, true
}

// Check says, in Docker's words, why a version is not spoken.
func (v Version) Check() error {
	if v.Before(MinVersion.Minor) {
		return core.Invalid("client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", v, MinVersion)
	}
	if v.Major > MaxVersion.Major || v.Minor > MaxVersion.Minor {
		return core.Invalid("client version %s is too new. Maximum supported API version is %s", v, MaxVersion)
	}
	return nil
}

// needs says that a field needs a newer version of the API.
func needs(field string, minor int) error {
	return core.Invalid("%s needs API v%s or newer", field, fmt.Sprintf("1.%d", minor))
}
