package runtime

import (
	"os"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/core/logopt"
)

// logPrefix is what Docker says in front of why a log driver can't begin.
const logPrefix = "failed to create task for container: failed to initialize logging driver: "

// logOf plans where a container's output goes; nil: nowhere.
func (r *Runtime) logOf(c *core.Container, path string) (*logopt.Plan, error) {
	log := c.Host.LogConfig
	if log.Type == logopt.None {
		return nil, nil
	}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, core.Internal("%w", err)
	}
	plan, err := logopt.New(log.Type, path, hostname, logopt.Facts{
		ContainerID: string(c.ID), ContainerName: "/" + c.Name, ContainerEntrypoint: c.Path, ContainerArgs: c.Args,
		ContainerImageID: string(c.ImageID), ContainerImageName: c.Config.Image, ContainerCreated: c.Created,
		ContainerEnv: c.Config.Env, ContainerLabels: c.Config.Labels,
		DaemonName: "docker", // tags and filters of log servers are made for it
		Config:     log.Config,
	})
	if err != nil {
		return nil, core.Internal("%s%w", logPrefix, err)
	}
	if plan.Remote != nil {
		plan.Remote.Tunnel = r.options.TunnelPath
	}
	return &plan, nil
}
