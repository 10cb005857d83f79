package netns

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
)

func interfaces(t *testing.T) int {
	t.Helper()
	list, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestThreadsComeBack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	ns, err := New(func(*os.File) error {
		if n := interfaces(t); n != 1 {
			t.Errorf("a new namespace has %d interfaces", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := Do(ns, func() error { interfaces(t); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		at, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && at != home {
			t.Errorf("thread %s stayed in %s", task.Name(), at)
		}
	}
	again, err := Duplicate(ns)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestAnErrorOfSetupIsGiven(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	mine := errors.New("mine")
	if _, err := New(func(*os.File) error { return mine }); !errors.Is(err, mine) {
		t.Error(err)
	}
	if _, err := OfProcess(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		ns, err := New(nil)
		if err != nil {
			b.Fatal(err)
		}
		ns.Close()
	}
}
