package bus

import (
	"slices"
	"sync"
	"testing"
)

func drain[T any](values <-chan T) (all []T) {
	for v := range values {
		all = append(all, v)
	}
	return all
}

func TestEverySubscriberGetsAllInOrder(t *testing.T) {
	t.Parallel()
	b := New[int]()
	b.Publish(0)
	first, _ := b.Subscribe(10)
	second, cancel := b.Subscribe(10)
	b.Publish(1)
	b.Publish(2)
	cancel()
	cancel()
	b.Publish(3)
	b.Close()
	b.Publish(4)
	if got := drain(first); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("the first got %v", got)
	}
	if got := drain(second); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("the cancelled one got %v", got)
	}
	late, cancel := b.Subscribe(1)
	cancel()
	if got := drain(late); len(got) != 0 || b.Subscribers() != 0 {
		t.Errorf("a closed bus gave %v to one of %d subscribers", got, b.Subscribers())
	}
}

func TestSlowSubscriberLosesTheOldest(t *testing.T) {
	t.Parallel()
	b := New[int]()
	slow, _ := b.Subscribe(3)
	for i := range 10 {
		b.Publish(i)
	}
	b.Close()
	if got := drain(slow); !slices.Equal(got, []int{7, 8, 9}) {
		t.Errorf("got %v", got)
	}
	if b.Dropped() != 7 {
		t.Errorf("%d counted as dropped", b.Dropped())
	}
}

func TestManyPublishersAndReaders(t *testing.T) {
	t.Parallel()
	b := New[int]()
	var readers, writers sync.WaitGroup
	for range 4 {
		values, _ := b.Subscribe(1000)
		readers.Go(func() {
			if n := len(drain(values)); n != 400 {
				t.Errorf("%d values arrived", n)
			}
		})
	}
	for range 4 {
		writers.Go(func() {
			for i := range 100 {
				b.Publish(i)
			}
		})
	}
	writers.Wait()
	b.Close()
	readers.Wait()
}
