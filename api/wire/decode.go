package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/registry"

	"github.com/berth-engine/berth/core"
)

// decode reads one JSON document into out, and refuses anything behind it.
func decode(body []byte, out any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(out); err != nil {
		if errors.Is(err, io.EOF) {
			return core.Invalid("invalid JSON: got EOF while reading request body")
		}
		return core.Invalid("invalid JSON: %s", err.Error())
	}
	if dec.More() {
		return core.Invalid("unexpected content after JSON")
	}
	return nil
}

// decodeOptional is decode for requests whose body may be empty.
func decodeOptional(body []byte, out any) error {
	if len(body) == 0 {
		return nil
	}
	return decode(body, out)
}

// DecodeFilters reads the query parameter "filters" in both spellings: {"label":["a=b"]} and {"label":{"a=b":true}}.
func DecodeFilters(s string) (core.Filters, error) {
	if s == "" {
		return nil, nil
	}
	var sets map[string]map[string]bool
	if err := json.Unmarshal([]byte(s), &sets); err == nil {
		filters := make(core.Filters, len(sets))
		for key, values := range sets {
			filters[key] = slices.Sorted(maps.Keys(values))
		}
		return filters, nil
	}
	var lists map[string][]string
	if err := json.Unmarshal([]byte(s), &lists); err != nil {
		return nil, core.Invalid("invalid filter")
	}
	return core.Filters(lists), nil
}

// platformPart is what Docker quotes when a component of a platform is none.
const platformPart = "^[A-Za-z0-9_.-]+$"

func isPlatformPart(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r)) {
			return false
		}
	}
	return s != ""
}

// ParsePlatform reads "linux/arm64/v8", "linux" or "arm64". Empty is the zero platform: any.
func ParsePlatform(s string) (core.Platform, error) {
	if s == "" {
		return core.Platform{}, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) > 3 {
		return core.Platform{}, core.Invalid("%q: cannot parse platform specifier: invalid argument", s)
	}
	for i, part := range parts {
		if i == 0 {
			part, _, _ = strings.Cut(part, "(") // linux(version): the version of the operating system
		}
		if !isPlatformPart(part) {
			return core.Platform{}, core.Invalid("%q is an invalid component of %q: platform specifier component must match %q: invalid argument", part, s, platformPart)
		}
	}
	p := core.Platform{}
	p.OS, p.OSVersion, _ = strings.Cut(strings.ToLower(parts[0]), "(")
	p.OSVersion = strings.TrimSuffix(p.OSVersion, ")")
	switch {
	case len(parts) == 1 && knownOS(p.OS):
		p.Architecture = runtime.GOARCH
	case len(parts) == 1:
		p.OS, p.Architecture = "linux", p.OS
	default:
		p.Architecture = strings.ToLower(parts[1])
		if len(parts) == 3 {
			p.Variant = strings.ToLower(parts[2])
		}
	}
	normalise(&p)
	return p, nil
}

func knownOS(name string) bool {
	switch name {
	case "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "illumos", "aix", "android", "plan9", "wasip1", "wasi":
		return true
	}
	return false
}

// normalise replaces the names that people and kernels use for processors by Go's.
func normalise(p *core.Platform) {
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "i386", "i686":
		p.Architecture = "386"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	switch {
	case p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8"):
		p.Variant = ""
	case p.Architecture == "amd64" && p.Variant == "v1":
		p.Variant = ""
	case p.Architecture == "arm" && len(p.Variant) == 1:
		p.Variant = "v" + p.Variant
	}
}

// DecodePlatform reads a platform as the JSON of the OCI image specification. Empty is the zero platform: any.
func DecodePlatform(s string) (core.Platform, error) {
	if s == "" {
		return core.Platform{}, nil
	}
	var p struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
		OSVersion    string `json:"os.version"`
	}
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		return core.Platform{}, core.Invalid("failed to parse platform: %s", err.Error())
	}
	if p.OS == "" && p.Architecture == "" && (p.Variant != "" || p.OSVersion != "") {
		return core.Platform{}, core.Invalid("optional platform fields provided, but no os or architecture set")
	}
	if p.OS == "" || p.Architecture == "" {
		return core.Platform{}, core.Invalid("both OS and Architecture must be provided")
	}
	platform := core.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}
	normalise(&platform)
	return platform, nil
}

// DecodeTime reads seconds since 1970 with an optional fraction ("1700000000.123456789"), or a date of RFC 3339.
// Empty and "0" are the zero time: no bound.
func DecodeTime(s string) (time.Time, error) {
	if s == "" || s == "0" {
		return time.Time{}, nil
	}
	whole, fraction, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		if t, dateErr := time.Parse(time.RFC3339Nano, s); dateErr == nil {
			return t, nil
		}
		return time.Time{}, core.Invalid("invalid timestamp %q: %s", s, reason(err))
	}
	if seconds > math.MaxInt32*1000 || seconds < -math.MaxInt32*1000 {
		return time.Time{}, core.Invalid("invalid timestamp %q: value out of range", s)
	}
	nanos := int64(0)
	if fraction != "" {
		if len(fraction) > 9 {
			fraction = fraction[:9]
		}
		n, err := strconv.ParseUint(fraction, 10, 32)
		if err != nil {
			return time.Time{}, core.Invalid("invalid timestamp %q: %s", s, reason(err))
		}
		nanos = int64(n)
		for range 9 - len(fraction) {
			nanos *= 10
		}
	}
	return time.Unix(seconds, nanos), nil
}

// reason is what is wrong with a number, without the name of the function that found out.
func reason(err error) string {
	var number *strconv.NumError
	if errors.As(err, &number) {
		return number.Err.Error()
	}
	return err.Error()
}

// DecodeAuth reads the header X-Registry-Auth: base64 of JSON. Like Docker it treats what it can't read as absent.
func DecodeAuth(header string) *core.RegistryAuth {
	var shape registry.AuthConfig
	if header == "" || json.Unmarshal(unbase64(header), &shape) != nil {
		return nil
	}
	auth := registryAuth(shape)
	if auth == (core.RegistryAuth{}) {
		return nil
	}
	return &auth
}

// DecodeAuths reads the header X-Registry-Config: base64 of a JSON object by registry. What can't be read is absent.
func DecodeAuths(header string) map[string]core.RegistryAuth {
	var shapes map[string]registry.AuthConfig
	if header == "" || json.Unmarshal(unbase64(header), &shapes) != nil {
		return nil
	}
	auths := make(map[string]core.RegistryAuth, len(shapes))
	for host, shape := range shapes {
		auths[host] = registryAuth(shape)
	}
	return auths
}

// DecodeLogin reads the body of POST /auth.
func DecodeLogin(body []byte) (core.RegistryAuth, error) {
	var shape registry.AuthConfig
	if err := decode(body, &shape); err != nil {
		return core.RegistryAuth{}, err
	}
	return registryAuth(shape), nil
}

// LoginResponse is the answer to POST /auth.
func LoginResponse(status, identityToken string) any {
	return registry.AuthResponse{Status: status, IdentityToken: identityToken}
}

func registryAuth(shape registry.AuthConfig) core.RegistryAuth {
	auth := core.RegistryAuth{
		Username:      shape.Username,
		Password:      shape.Password,
		IdentityToken: shape.IdentityToken,
		RegistryToken: shape.RegistryToken,
		ServerAddress: shape.ServerAddress,
	}
	if auth.Username == "" && shape.Auth != "" {
		user, password, _ := strings.Cut(string(unbase64(shape.Auth)), ":")
		auth.Username, auth.Password = user, strings.TrimRight(password, "\x00")
	}
	return auth
}

// unbase64 reads either alphabet, padded or not; nil when it is neither.
func unbase64(s string) []byte {
	s = strings.TrimRight(s, "=")
	encoding := base64.RawURLEncoding
	if strings.ContainsAny(s, "+/") {
		encoding = base64.RawStdEncoding
	}
	decoded, err := encoding.DecodeString(s)
	if err != nil {
		return nil
	}
	return decoded
}
