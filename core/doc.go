// Package core holds the words of Berth: what a container, an image, a network, a volume, an event is.
//
// Types here carry no behaviour beyond what follows from their own fields, touch neither disk nor kernel,
// and are shared by every other room of the house. JSON tags are those of Berth's own records on disk;
// the shapes that travel over the Docker Engine API live in api/wire.
package core

import "strings"

// ContainerID is the 64 hexadecimal digits that name a container for its whole life.
type ContainerID string

// ExecID is the 64 hexadecimal digits that name a process started inside a running container.
type ExecID string

// ImageID is the digest of what a reference points to ("sha256:…"): the manifest of the image.
type ImageID string

// NetworkID is the 64 hexadecimal digits that name a network.
type NetworkID string

// Short is the first twelve digits, the way people quote a container.
func (id ContainerID) Short() string { return short(string(id)) }

// Short is the first twelve digits, the way people quote a network.
func (id NetworkID) Short() string { return short(string(id)) }

// Short is the first twelve digits behind the algorithm, the way people quote an image.
func (id ImageID) Short() string {
	_, hex, found := strings.Cut(string(id), ":")
	if !found {
		hex = string(id)
	}
	return short(hex)
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
