// Package config reads and writes the configuration file of an image.
package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/berth-engine/berth/core"
)

// File is the configuration of an image: OCI's with Docker's additions
// (github.com/moby/docker-image-spec, specs-go/v1).
type File struct {
	Created *time.Time `json:"created"`
	Author  string     `json:"author,omitempty"`
	ocispec.Platform
	Comment string            `json:"comment,omitempty"`
	Parent  string            `json:"parent,omitempty"`
	Config  Settings          `json:"config"`
	RootFS  ocispec.RootFS    `json:"rootfs"`
	History []ocispec.History `json:"history"`
}

// Settings are what a container inherits.
type Settings struct {
	ocispec.ImageConfig
	Hostname    string            `json:",omitempty"`
	Domainname  string            `json:",omitempty"`
	Healthcheck *core.Healthcheck `json:",omitempty"`
	ArgsEscaped bool              `json:",omitempty"`
	OnBuild     []string          `json:",omitempty"`
	StopTimeout *int              `json:",omitempty"`
	Shell       []string          `json:",omitempty"`
}

// Image says what the API shows of the file. The target is what names of the image point to.
func (c *File) Image(target ocispec.Descriptor) core.Image {
	image := core.Image{
		ID: core.ImageID(target.Digest), MediaType: target.MediaType, ContentSize: target.Size,
		Comment: c.Comment, Author: c.Author, Parent: core.ImageID(c.Parent), Platform: FromOCI(c.Platform), Labels: c.Config.Labels,
	}
	if c.Created != nil {
		image.Created = *c.Created
	}
	for _, id := range c.RootFS.DiffIDs {
		image.DiffIDs = append(image.DiffIDs, id.String())
	}
	for _, step := range c.History {
		entry := core.ImageHistory{ID: "<missing>", CreatedBy: step.CreatedBy, Comment: step.Comment, EmptyLayer: step.EmptyLayer}
		if step.Created != nil {
			entry.Created = *step.Created
		}
		image.History = append(image.History, entry)
	}
	from := c.Config
	image.Config = core.Config{
		Hostname: from.Hostname, Domainname: from.Domainname, User: from.User, Env: from.Env, Cmd: from.Cmd, Entrypoint: from.Entrypoint,
		Healthcheck: from.Healthcheck, ArgsEscaped: from.ArgsEscaped, Volumes: from.Volumes, WorkingDir: from.WorkingDir,
		OnBuild: from.OnBuild, Labels: from.Labels, StopSignal: from.StopSignal, StopTimeout: from.StopTimeout, Shell: from.Shell,
	}
	for _, exposed := range slices.Sorted(maps.Keys(from.ExposedPorts)) {
		if port, ok := parsePort(exposed); ok {
			image.Config.ExposedPorts = append(image.Config.ExposedPorts, port)
		}
	}
	return image
}

// Of gives what a container's configuration says to those that start from its image.
func Of(c core.Config) Settings {
	settings := Settings{Healthcheck: c.Healthcheck, ArgsEscaped: c.ArgsEscaped, OnBuild: slices.Clone(c.OnBuild), Shell: c.Shell}
	settings.ImageConfig = ocispec.ImageConfig{
		User: c.User, Env: slices.Clone(c.Env), Entrypoint: c.Entrypoint, Cmd: c.Cmd, Volumes: maps.Clone(c.Volumes),
		WorkingDir: c.WorkingDir, Labels: maps.Clone(c.Labels), StopSignal: c.StopSignal,
	}
	for _, port := range c.ExposedPorts {
		if settings.ExposedPorts == nil {
			settings.ExposedPorts = map[string]struct{}{}
		}
		settings.ExposedPorts[port.String()] = struct{}{}
	}
	return settings
}

// parsePort reads "80" or "53/udp". What is neither is left out, as Docker does with other people's images.
func parsePort(text string) (core.Port, bool) {
	number, protocol, found := strings.Cut(text, "/")
	if !found {
		protocol = string(core.TCP)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	port := core.Port{Number: uint16(n), Protocol: core.Protocol(strings.ToLower(protocol))}
	return port, err == nil && (port.Protocol == core.TCP || port.Protocol == core.UDP || port.Protocol == core.SCTP)
}

// ToOCI and FromOCI convert platforms.
func ToOCI(p core.Platform) ocispec.Platform {
	return ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}
}

// FromOCI is the other direction of ToOCI.
func FromOCI(p ocispec.Platform) core.Platform {
	return core.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}
}
