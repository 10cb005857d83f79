package firewall

import (
	"context"

	"github.com/berth-engine/berth/linux/nft"
)

// Watch calls lost whenever something may have been removed from the packet filter, until the context ends.
func Watch(ctx context.Context, lost func()) error { return nft.Watch(ctx, lost) }
