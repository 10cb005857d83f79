package link

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// settling bounds how long the kernel may take to finish an IPv6 address. It takes some microseconds, more when
// interfaces come and go everywhere.
const settling = 2 * time.Second

// AwaitIPv6 calls apply, which gives IPv6 addresses to interfaces of the namespace of the calling thread, and returns when
// the kernel has finished with them: it answers before it listens to an address. An address that takes too long is not
// waited for any more; it comes all the same.
func AwaitIPv6(ctx context.Context, addresses []netip.Prefix, apply func() error) error {
	if len(addresses) == 0 {
		return apply()
	}
	updates, done := make(chan netlink.AddrUpdate), make(chan struct{})
	if err := netlink.AddrSubscribe(updates, done); err != nil {
		return fmt.Errorf("watch the addresses: %w", err)
	}
	defer func() {
		close(done)
		go drain(updates)
	}()
	if err := apply(); err != nil {
		return err
	}
	missing := map[netip.Addr]bool{}
	for _, p := range addresses {
		missing[p.Addr()] = true
	}
	late := time.NewTimer(settling)
	defer late.Stop()
	for len(missing) > 0 {
		select {
		case u, ok := <-updates:
			if !ok {
				return nil
			}
			if ip, valid := netip.AddrFromSlice(u.LinkAddress.IP); valid && u.NewAddr && u.Flags&unix.IFA_F_TENTATIVE == 0 {
				delete(missing, ip.Unmap())
			}
		case <-late.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// drain lets the reader of a subscription that is being closed come to its end.
func drain[T any](updates <-chan T) {
	for range updates {
	}
}
