// Package peer speaks to what is measured: engines by their command lines and APIs, wherever they live, and bare runtimes.
package peer

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// The kinds of peers.
const (
	Berth  = "berth"
	Docker = "docker"
	Podman = "podman"
	Bare   = "oci" // a runtime without an engine: runc, crun
)

// Config says how a peer is reached: one --peer flag, or one entry of the file that --peers names.
type Config struct {
	Name    string            `json:"name"`             // the column's title
	Kind    string            `json:"kind"`             // berth, docker, podman, oci
	CLI     string            `json:"cli,omitempty"`    // the command; the kind's own name when empty
	Host    string            `json:"host,omitempty"`   // the API: unix://PATH or tcp://ADDRESS:PORT
	PidFile string            `json:"pid,omitempty"`    // the daemon's; without it the socket tells who listens
	Prefix  string            `json:"prefix,omitempty"` // a command that runs its arguments where the peer lives
	Env     map[string]string `json:"env,omitempty"`
}

// Parse reads name=docker,kind=docker,cli=/usr/bin/docker,host=unix:///run/docker.sock,env.DOCKER_CONFIG=/tmp/x.
// A value that holds commas stands in double quotes.
func Parse(text string) (Config, error) {
	p := Config{Env: map[string]string{}}
	fields, err := splitFields(text)
	if err != nil {
		return p, err
	}
	for _, field := range fields {
		key, value, found := strings.Cut(field, "=")
		if !found {
			return p, fmt.Errorf("peer %q: %q is not key=value", text, field)
		}
		switch {
		case key == "name":
			p.Name = value
		case key == "kind":
			p.Kind = value
		case key == "cli":
			p.CLI = value
		case key == "host":
			p.Host = value
		case key == "pid":
			p.PidFile = value
		case key == "prefix":
			p.Prefix = value
		case strings.HasPrefix(key, "env.") && len(key) > len("env."):
			p.Env[strings.TrimPrefix(key, "env.")] = value
		default:
			return p, fmt.Errorf("peer %q: unknown key %q", text, key)
		}
	}
	return p.Complete()
}

// splitFields cuts at commas outside double quotes, and takes the quotes off.
func splitFields(text string) ([]string, error) {
	var fields []string
	var field strings.Builder
	quoted := false
	for _, r := range text {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ',' && !quoted:
			fields = append(fields, field.String())
			field.Reset()
		default:
			field.WriteRune(r)
		}
	}
	if quoted {
		return nil, fmt.Errorf("peer %q: a quotation mark is not closed", text)
	}
	return append(fields, field.String()), nil
}

// Complete fills in what follows from the rest.
func (p Config) Complete() (Config, error) {
	if p.Kind == "" {
		p.Kind = map[string]string{"docker": Docker, "podman": Podman, "runc": Bare, "crun": Bare}[p.Name]
	}
	if !slices.Contains([]string{Berth, Docker, Podman, Bare}, p.Kind) {
		return p, fmt.Errorf("peer %q: kind must be berth, docker, podman or oci", p.Name)
	}
	if p.Name == "" {
		return p, fmt.Errorf("a peer of kind %s has no name", p.Kind)
	}
	if p.CLI == "" {
		p.CLI = p.Kind
		if p.Kind == Bare {
			p.CLI = p.Name
		}
	}
	if p.Kind == Docker && p.Host == "" {
		p.Host = "unix:///var/run/docker.sock"
	}
	return p, nil
}

// Load reads a JSON array of peers.
func Load(path string) ([]Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []Config
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range list {
		if list[i], err = list[i].Complete(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return list, nil
}

// Installed are those that a machine may have installed.
func Installed() []Config {
	var list []Config
	for _, name := range []string{"docker", "podman", "runc", "crun"} {
		if p, err := (Config{Name: name}).Complete(); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// Missing says why a peer without a prefix can't be there, or nothing.
func (p Config) Missing() string {
	if p.Prefix != "" {
		return ""
	}
	if _, err := exec.LookPath(p.CLI); err != nil {
		return fmt.Sprintf("%s is not installed", p.CLI)
	}
	return ""
}
