package define

import (
	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/core/logopt"
)

// Log completes what a container says of its log by the daemon's defaults, refuses what can't be, and sets where `logs`
// will read.
func Log(c *core.Container, defaults core.LogConfig) error {
	log := &c.Host.LogConfig
	log.Type, log.Config = logopt.Merge(log.Type, log.Config, defaults.Type, defaults.Config)
	if err := logopt.Check(log.Type, log.Config); err != nil {
		return core.Invalid("%w", err)
	}
	c.LogPath = logopt.Path(log.Type, log.Config, c.Dir, string(c.ID))
	return nil
}
