package link

import (
	"context"
	"fmt"

	"github.com/vishvananda/netlink"
)

// WatchRoutes calls changed whenever a route of the namespace of the calling thread came or went, until the context ends;
// first once the watch stands. Changes that come while it runs are told together afterwards.
func WatchRoutes(ctx context.Context, changed func()) error {
	updates, done := make(chan netlink.RouteUpdate, 64), make(chan struct{})
	if err := netlink.RouteSubscribe(updates, done); err != nil {
		return fmt.Errorf("watch the routes: %w", err)
	}
	defer func() {
		close(done)
		go drain(updates)
	}()
	for {
		changed()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-updates:
			if !ok {
				return fmt.Errorf("watch the routes: the kernel sends no more")
			}
			for len(updates) > 0 {
				<-updates
			}
		}
	}
}
