package core

import "time"

// Event is something that happened to an object. Type and Action are Docker's words
// (docs.docker.com/reference/cli/docker/system/events).
type Event struct {
	Type       string // "container", "image", "network", "volume", "builder", "daemon", …
	Action     string // "create", "start", "die", "exec_create: sh", …
	ID         string // of the object
	Attributes map[string]string
	Time       time.Time
}
