package define

import (
	"cmp"

	"github.com/docker/go-units"

	"github.com/berth-engine/berth/core"
)

// checkStorage refuses storage options that can't be kept.
func checkStorage(options map[string]string, d *Defaults) error {
	if len(options) > 0 && !d.LayerQuota {
		return core.Invalid("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
	}
	for key, value := range options {
		if key != "size" {
			return core.Invalid("unknown option %s", key)
		}
		if _, err := units.RAMInBytes(value); err != nil {
			return core.Invalid("%w", err)
		}
	}
	return nil
}

// LayerSize is how many bytes a container's writable layer may take; 0: as many as there are.
func LayerSize(c *core.Container, d *Defaults) int64 {
	size, _ := units.RAMInBytes(c.Host.StorageOpt["size"]) // checkStorage has refused what is no size
	return cmp.Or(max(size, 0), d.LayerSize)
}
