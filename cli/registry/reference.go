// Package registry holds what commands share about registries: reading image references, finding credentials, pulling,
// and the commands login and logout.
package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-engine/berth/cli/config"
)

// hub is the domain that is meant when none is written.
const hub = "docker.io"

// Reference is an image name taken apart: domain/path[:tag][@digest].
type Reference struct {
	Domain, Name string // "docker.io", "library/busybox"
	Tag, Digest  string
}

// Parse reads a reference as people write it. Upper case in a name is refused, since registries do.
func Parse(text string) (Reference, error) {
	bad := errors.New("invalid reference format")
	rest, digest, hasDigest := strings.Cut(text, "@")
	if hasDigest && !validDigest(digest) || rest == "" {
		return Reference{}, bad
	}
	r := Reference{Digest: digest}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		r.Tag, rest = rest[i+1:], rest[:i]
		if !validTag(r.Tag) {
			return Reference{}, bad
		}
	}
	r.Domain, r.Name = splitDomain(rest)
	if strings.ToLower(r.Name) != r.Name {
		return Reference{}, fmt.Errorf("invalid reference format: repository name (%s) must be lowercase", r.Name)
	}
	if !validPath(r.Name) {
		return Reference{}, bad
	}
	return r, nil
}

func splitDomain(text string) (domain, name string) {
	first, rest, found := strings.Cut(text, "/")
	if !found || !strings.ContainsAny(first, ".:") && first != "localhost" && strings.ToLower(first) == first {
		domain, name = hub, text
	} else {
		domain, name = first, rest
	}
	if domain == "index.docker.io" {
		domain = hub
	}
	if domain == hub && !strings.Contains(name, "/") {
		name = "library/" + name
	}
	return domain, name
}

func validPath(path string) bool {
	if len(path) == 0 || len(path) > 255 {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || !alphanumeric(part[0]) || !alphanumeric(part[len(part)-1]) {
			return false
		}
		for i := range len(part) {
			if c := part[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
				return false
			}
		}
		if strings.Contains(part, "..") || strings.Contains(part, "___") {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

func validTag(tag string) bool {
	if tag == "" || len(tag) > 128 || tag[0] == '.' || tag[0] == '-' {
		return false
	}
	for i := range len(tag) {
		c := tag[i]
		if !alphanumeric(c) && (c < 'A' || c > 'Z') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

func validDigest(digest string) bool {
	algorithm, hex, found := strings.Cut(digest, ":")
	if !found || algorithm == "" || len(hex) < 32 {
		return false
	}
	return isHex(hex)
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// LooksLikeID reports whether a text can be the ID of an image.
func LooksLikeID(text string) bool {
	hex := strings.TrimPrefix(text, "sha256:")
	return len(hex) <= 64 && isHex(hex)
}

// WithDefaultTag adds "latest" when there is neither tag nor digest.
func (r Reference) WithDefaultTag() Reference {
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	return r
}

// Repository is the name without what comes behind it, the way people write it.
func (r Reference) Repository() string {
	if r.Domain == hub {
		return strings.TrimPrefix(r.Name, "library/")
	}
	return r.Domain + "/" + r.Name
}

// Familiar is the whole the way people write it, with the tag.
func (r Reference) Familiar() string {
	return r.Repository() + r.WithDefaultTag().suffix()
}

// String is the whole with nothing left out.
func (r Reference) String() string { return r.Domain + "/" + r.Name + r.WithDefaultTag().suffix() }

func (r Reference) suffix() string {
	s := ""
	if r.Tag != "" {
		s = ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// Server is the key of the registry's credentials.
func (r Reference) Server() string { return Server(r.Domain) }

// Server is the key under which a registry's credentials are kept.
func Server(domain string) string {
	switch domain {
	case "", hub, "index.docker.io", "registry-1.docker.io":
		return config.IndexServer
	}
	return domain
}
