package core

import (
	"encoding/json"
	"time"
)

// Image is a local image: a manifest with its configuration, for one platform.
type Image struct {
	ID           ImageID // the digest of the reference's target: manifest or index
	RepoTags     []string
	RepoDigests  []string
	Parent       ImageID
	Comment      string
	Created      time.Time
	Author       string
	Platform     Platform
	Config       Config // Image, AttachX and the like are empty
	Size         int64  // bytes of content and unpacked layers, as `docker images` shows
	DiffIDs      []string
	History      []ImageHistory
	LastTagged   time.Time
	Labels       map[string]string
	MediaType    string // of the descriptor that ID names
	ContentSize  int64  // bytes of that descriptor
	ConfigDigest string
	// Manifest is the digest of this platform's manifest: ID itself, unless that names an index. Stored is the bytes
	// of content that it takes: manifest, configuration and layers as they travel.
	Manifest     string
	ManifestType string // its media type
	ManifestSize int64  // bytes of the manifest itself
	Stored       int64
	// RawConfig is the configuration blob, byte by byte.
	RawConfig json.RawMessage
}

// ImageHistory is a step that made an image.
type ImageHistory struct {
	ID         string // "<missing>" for steps that left no image
	Created    time.Time
	CreatedBy  string
	Tags       []string
	Size       int64
	Comment    string
	EmptyLayer bool
}

// ImageDelete is a line of the answer to a removal: one of the two is set.
type ImageDelete struct {
	Untagged string
	Deleted  string
}

// RegistryAuth is how to log in to a registry.
type RegistryAuth struct {
	Username      string
	Password      string
	IdentityToken string
	RegistryToken string
	ServerAddress string
}

// Progress is one step of a long work. Where a field is empty it does not apply.
type Progress struct {
	ID      string // what the line is about: a layer's short digest, a tag
	Status  string // "Downloading", "Pull complete", …
	Current int64  // bytes
	Total   int64  // bytes, 0: not known
	Stream  string // text as it is (build output, load)
	Error   error  // ends the work
	Aux     any    // a value for machines: wire encodes it as JSON (an image's ID, a push result, BuildKit's trace)
	AuxID   string // the id that goes with Aux ("moby.buildkit.trace")
}

// ProgressFunc receives progress. It must not block for long; calls come from one goroutine at a time.
type ProgressFunc func(Progress)
