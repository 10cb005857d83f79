package image

import (
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

// commit commits a container that stands on an image.
func (o *testOrgan) commit(id core.ContainerID, base core.Image, change func(*core.Commit)) (core.Image, error) {
	o.t.Helper()
	request := core.Commit{ID: id, Image: base.ID, Platform: base.Platform, Settings: base.Config, CreatedBy: "a command"}
	request.Ref = "made:1"
	if change != nil {
		change(&request)
	}
	if _, err := o.Transfers().Commit(o.t.Context(), request); err != nil {
		return core.Image{}, err
	}
	return o.lookup("made:1"), nil
}

func TestCommitMakesALayerOfWhatAContainerChanged(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "base:1", "old"))
	base := o.lookup("base:1")
	o.create(containerID(1), "base:1")
	root := mounted(t, o.mounts(containerID(1)))
	write(t, root+"/new", "new")
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) < 2 {
		t.Fatalf("the image holds %v (%v)", entries, err)
	}
	gone := entries[0].Name()
	if gone == "new" {
		gone = entries[1].Name()
	}
	if err := os.RemoveAll(root + "/" + gone); err != nil {
		t.Fatal(err)
	}
	made, err := o.commit(containerID(1), base, func(c *core.Commit) {
		c.Author, c.Comment, c.Changes = "me", "why", []string{"ENV A=1", "CMD [\"x\"]"}
	})
	if err != nil {
		t.Fatal(err)
	}
	if made.Author != "me" || made.Comment != "why" || made.Parent != base.ID || len(made.DiffIDs) != len(base.DiffIDs)+1 || len(made.Config.Cmd) != 1 {
		t.Errorf("the image is %+v", made)
	}
	if last := made.History[len(made.History)-1]; last.CreatedBy != "a command" || last.EmptyLayer || len(made.History) != len(base.History)+1 {
		t.Errorf("its history is %+v", made.History)
	}
	o.create(containerID(2), "made:1")
	again := mounted(t, o.mounts(containerID(2)))
	if contentOf(t, again+"/new") != "new" {
		t.Error("what was new is not there")
	}
	if _, err := os.Stat(again + "/" + gone); !os.IsNotExist(err) {
		t.Errorf("what was removed is there: %v", err)
	}
	changes, err := o.Layers().Changes(t.Context(), containerID(2))
	if err != nil || len(changes) != 0 {
		t.Errorf("a container of the new image has changed %v (%v)", changes, err)
	}
}

func TestCommitOfNothingMakesNoLayer(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "base:1", "old"))
	base := o.lookup("base:1")
	o.create(containerID(1), "base:1")
	made, err := o.commit(containerID(1), base, nil)
	if err != nil {
		t.Fatal(err)
	}
	if last := made.History[len(made.History)-1]; len(made.DiffIDs) != len(base.DiffIDs) || !last.EmptyLayer {
		t.Errorf("the image has the layers %v and the history %+v", made.DiffIDs, made.History)
	}
}

func TestCommitWorksWhenTheImageHasLostItsName(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "base:1", "old"))
	base := o.lookup("base:1")
	o.create(containerID(1), "base:1")
	if _, err := o.Images().Delete(t.Context(), "base:1", true, true); err != nil {
		t.Fatal(err)
	}
	if err := o.gc.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	root := mounted(t, o.mounts(containerID(1)))
	write(t, root+"/new", "new")
	if _, err := o.commit(containerID(1), base, nil); err != nil {
		t.Fatal(err)
	}
	o.create(containerID(2), "made:1")
	if contentOf(t, mounted(t, o.mounts(containerID(2)))+"/new") != "new" {
		t.Error("what was new is not there")
	}
}

func TestCommitRefusesWhatIsWrongAndLeavesNothing(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "base:1", "old"))
	base := o.lookup("base:1")
	o.create(containerID(1), "base:1")
	for sentence, change := range map[string]func(*core.Commit){
		"must be lowercase":                 func(c *core.Commit) { c.Ref = "UPPER" },
		"run is not a valid change command": func(c *core.Commit) { c.Changes = []string{"RUN x"} },
		"digest reference":                  func(c *core.Commit) { c.Ref = "a@" + string(base.ID) },
	} {
		if _, err := o.commit(containerID(1), base, change); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), sentence) {
			t.Errorf("the error is %v, want %q", err, sentence)
		}
	}
	if _, err := o.commit(containerID(3), base, nil); !errdefs.IsNotFound(err) {
		t.Errorf("of a container that is not there: %v", err)
	}
	if got := o.state(map[core.ImageID]string{base.ID: "base"}); got != "base=base:1" {
		t.Errorf("there is %s", got)
	}
}
