package server

import (
	"net/http"

	"github.com/berth-engine/berth/core"
)

// absent answers for an endpoint that Docker has and Berth does not have yet.
func absent(what string) handler {
	return func(*call) error { return core.NotImplemented("Berth does not have %s yet", what) }
}

// noSwarm answers as a Docker engine that is not in a swarm.
func noSwarm(*call) error {
	return core.Unavailable(`This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`)
}

// noCluster answers for a change of a volume, which only those of a swarm can have.
func noCluster(*call) error {
	return core.Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")
}

// notInSwarm answers for leaving a swarm.
func notInSwarm(*call) error { return core.Unavailable("This node is not part of a swarm") }

func noPlugins(c *call) error { return c.json(http.StatusOK, []struct{}{}) }

func noPlugin(c *call) error { return core.NotFound("plugin %q not found", c.name) }
