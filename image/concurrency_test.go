package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"

	"github.com/berth-engine/berth/core"
)

func TestCollectionsNeverTakeWhatAContainerStandsOn(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	var group errgroup.Group
	for worker := range 4 {
		group.Go(func() error {
			for round := range 8 {
				if err := o.useAndForget(worker, round); err != nil {
					return fmt.Errorf("worker %d, round %d: %w", worker, round, err)
				}
			}
			return nil
		})
	}
	stop := make(chan struct{})
	collected := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				collected <- nil
				return
			default:
			}
			if err := o.gc.collect(background(t)); err != nil {
				collected <- err
				return
			}
		}
	}()
	err := group.Wait()
	close(stop)
	if err := errors.Join(err, <-collected); err != nil {
		t.Fatal(err)
	}
	if blobs, snapshots := o.blobCount(); blobs != 0 || snapshots != 0 {
		t.Errorf("left %d blobs and %d snapshots", blobs, snapshots)
	}
}

// useAndForget loads an image that other workers load too, makes a container on it, takes the image's name away while
// the container is there, and looks whether everything below the container is still in place.
func (o *testOrgan) useAndForget(worker, round int) error {
	name := fmt.Sprintf("worker%d:1", worker)
	archive := simple(o.t, name, fmt.Sprint("round ", round))
	if err := o.Transfers().Load(background(o.t), bytes.NewReader(archive), core.Platform{}, true, nil); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	image, err := o.Images().Lookup(background(o.t), name, core.Platform{})
	if err != nil {
		return fmt.Errorf("lookup: %w", err)
	}
	id := containerID(worker)
	if err := o.Layers().Create(background(o.t), id, image); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if _, err := o.Images().Delete(background(o.t), name, true, true); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	mounts, err := o.Layers().Mounts(background(o.t), id)
	if err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	lower, _, _ := strings.Cut(strings.TrimPrefix(mounts[0].Options[0], "lowerdir="), ":")
	if _, err := os.Stat(lower + "/hello"); err != nil {
		return fmt.Errorf("the layer below: %w", err)
	}
	return o.Layers().Remove(background(o.t), id)
}

func TestPullsOfOneImageAtOnce(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	registry := newFakeRegistry(t, tarOf(t, file("a", strings.Repeat("a", 1<<20))), tarOf(t, file("b", strings.Repeat("b", 1<<20))))
	var group errgroup.Group
	for range 4 {
		group.Go(func() error { _, err := o.pull(registry.name(), nil); return err })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	o.lookup(registry.name())
	if _, snapshots := o.blobCount(); snapshots != 2 {
		t.Errorf("there are %d snapshots", snapshots)
	}
}

func TestPartOfAnIndexIsSavedAndLoaded(t *testing.T) {
	t.Parallel()
	from, to := newTestOrgan(t), newTestOrgan(t)
	l := newLayout(t)
	s390x := host()
	s390x.Architecture = "s390x"
	gone := l.image(s390x, tarOf(t, file("s390x", "")))
	l.name(l.list(gone, l.image(host(), tarOf(t, file("native", "")))), "multi:1")
	delete(l.blobs, gone.Digest.Encoded())
	from.mustLoad(l.tar())
	var saved bytes.Buffer
	if err := from.Transfers().Save(t.Context(), []string{"multi:1"}, core.Platform{}, &saved); err != nil {
		t.Fatal(err)
	}
	to.mustLoad(saved.Bytes())
	if to.lookup("multi:1").ID != from.lookup("multi:1").ID {
		t.Error("the image changed its ID")
	}
	err := from.Transfers().Save(t.Context(), []string{"multi:1"}, core.Platform{OS: "linux", Architecture: "s390x"}, io.Discard)
	if !errdefs.IsNotFound(err) {
		t.Errorf("saving the platform that is not here: %v", err)
	}
}
