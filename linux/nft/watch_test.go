package nft

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/berth-engine/berth/linux/netns"
)

func TestWatchSeesWhatIsRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	table := Table{Family: IPv4, Name: "berth_watch", Chains: []Chain{{Name: "forward", Type: "filter", Hook: "forward", Rules: []Rule{{Accept()}}}}}
	lost := make(chan struct{}, 100)
	ended := make(chan error, 1)
	ns, err := netns.New(func(ns *os.File) error {
		watcher, err := Dial(ns)
		if err != nil {
			return err
		}
		go func() {
			defer watcher.Close()
			ended <- netns.Do(ns, func() error { return watcher.Watch(ctx, table.Name, func() { lost <- struct{}{} }) })
		}()
		<-lost // the watch stands
		conn, err := Dial(ns)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.Apply(ctx, table); err != nil {
			return err
		}
		<-lost // Apply replaces
		if whole, err := conn.Intact(table); err != nil || !whole {
			t.Errorf("intact: %t %v", whole, err)
		}
		if err := conn.Remove(ctx, table); err != nil {
			return err
		}
		select {
		case <-lost:
		case <-ctx.Done():
			t.Error("nobody noticed")
		}
		if whole, err := conn.Intact(table); err != nil || whole {
			t.Errorf("intact: %t %v", whole, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
