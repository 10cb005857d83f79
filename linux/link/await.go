package link

import (
	"context"
	"errors"
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

// Remove removes an interface, or a pair by one of its ends, in the namespace of the calling thread, and returns when the
// kernel says that it is gone: nothing can be sent through it any more, and its name is free. What the kernel cleans up
// after that (rcu_barrier in netdev_run_todo, some 10 ms) goes on in the background. One that is not there, or has no
// name, is no error.
func Remove(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	found, err := Find(name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	conn, err := Dial()
	if err != nil {
		return err
	}
	updates, done := make(chan netlink.LinkUpdate), make(chan struct{})
	if err := netlink.LinkSubscribe(updates, done); err != nil {
		conn.Close()
		return fmt.Errorf("watch the interfaces: %w", err)
	}
	defer func() {
		close(done)
		go drain(updates)
	}()
	removed := make(chan error, 1)
	go func() {
		defer conn.Close()
		var batch Batch
		batch.Delete(name)
		removed <- conn.Apply(context.WithoutCancel(ctx), &batch)
	}()
	for {
		select {
		case err := <-removed:
			return err
		case u, ok := <-updates:
			if !ok {
				return <-removed
			}
			// A bridge that lost a port says so in the same words, but for its family.
			if u.Header.Type == unix.RTM_DELLINK && u.Family == unix.AF_UNSPEC && int(u.Index) == found.Index {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain lets the reader of a subscription that is being closed come to its end.
func drain[T any](updates <-chan T) {
	for range updates {
	}
}
