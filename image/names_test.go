package image

import (
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

// state prints the images with their names, "<none>" for a dangling one.
func (o *testOrgan) state(names map[core.ImageID]string) string {
	o.t.Helper()
	list, err := o.Images().List(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	var lines []string
	for _, image := range list {
		tags := strings.Join(image.RepoTags, ",")
		if tags == "" {
			tags = "<none>"
		}
		lines = append(lines, names[image.ID]+"="+tags)
	}
	return strings.Join(sorted(lines), " ")
}

func sorted(list []string) []string {
	for i := range list {
		for j := i; j > 0 && list[j] < list[j-1]; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	return list
}

func TestDeleteFollowsDockersRules(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, delete string // "ID" stands for the ID of image A
		tags         []string
		force        bool
		deleted      string // "U:…" and "D" lines
		sentence     string
		left         string
	}{
		{"the last name takes the image along", "app:1", nil, false, "U:app:1 D", "", "B=other:1"},
		{"a name is untagged while others are left", "app:1", []string{"app:2"}, false, "U:app:1", "", "A=app:2 B=other:1"},
		{"an ID takes all names of one repository", "ID", []string{"app:2"}, false, "U:app:1 U:app:2 D", "", "B=other:1"},
		{"an ID of several repositories must be forced", "ID", []string{"copy:1"}, false, "", "(must be forced) - image is referenced in multiple repositories", "A=app:1,copy:1 B=other:1"},
		{"and can be", "ID", []string{"copy:1"}, true, "U:app:1 U:copy:1 D", "", "B=other:1"},
		{"a digest takes the names of its repository", "app@ID", []string{"app:2", "copy:1"}, false, "U:app:1 U:app:2", "", "A=copy:1 B=other:1"},
		{"what is not there is not found", "app:9", nil, true, "", "No such image: app:9", "A=app:1 B=other:1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newTestOrgan(t)
			o.mustLoad(simple(t, "app:1", "one"))
			o.mustLoad(simple(t, "other:1", "two"))
			for _, tag := range c.tags {
				o.tag("app:1", tag)
			}
			a := o.lookup("app:1").ID
			names := map[core.ImageID]string{a: "A", o.lookup("other:1").ID: "B"}
			deleted, err := o.Images().Delete(t.Context(), strings.Replace(c.delete, "ID", string(a), 1), c.force, true)
			if c.sentence != "" {
				wantError(t, err, c.sentence)
			} else if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, line := range deleted {
				if line.Untagged != "" {
					lines = append(lines, "U:"+line.Untagged)
				} else if line.Deleted == string(a) {
					lines = append(lines, "D")
				}
			}
			if got := strings.Join(lines, " "); got != c.deleted {
				t.Errorf("deleted %q, want %q", got, c.deleted)
			}
			if got := o.state(names); got != c.left {
				t.Errorf("left %q, want %q", got, c.left)
			}
		})
	}
}

func TestDeletedImagesLeaveTheDisk(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "app:1", "one"))
	if _, err := o.Images().Delete(t.Context(), "app:1", false, true); err != nil {
		t.Fatal(err)
	}
	if blobs, snapshots := o.blobCount(); blobs != 0 || snapshots != 0 {
		t.Errorf("left %d blobs and %d snapshots", blobs, snapshots)
	}
	if got := strings.Join(o.events[1:2], ""); got != "untag app:1" {
		t.Errorf("events were %q", o.events)
	}
}

func TestImageThatLosesItsNameDangles(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "app:1", "one"))
	names := map[core.ImageID]string{o.lookup("app:1").ID: "A"}
	a := string(o.lookup("app:1").ID)
	out, err := o.load(simple(t, "app:1", "two"))
	if err != nil || !strings.Contains(out, "renaming the old one with ID "+a+" to empty string") {
		t.Errorf("printed %q, %v", out, err)
	}
	names[o.lookup("app:1").ID] = "B"
	if got := o.state(names); got != "A=<none> B=app:1" {
		t.Fatalf("images are %q", got)
	}
	o.blobCount() // a collection, which keeps it
	if dangling := o.lookup(a); len(dangling.RepoTags) != 0 || len(dangling.RepoDigests) != 0 {
		t.Errorf("it has names: %v %v", dangling.RepoTags, dangling.RepoDigests)
	}
	o.tag(a, "again:1")
	if got := o.state(names); got != "A=again:1 B=app:1" {
		t.Errorf("with a new name images are %q", got)
	}
	o.tag("app:1", "again:1")
	if _, err := o.Images().Delete(t.Context(), a, false, true); err != nil {
		t.Fatal(err)
	}
	if got := o.state(names); got != "B=again:1,app:1" {
		t.Errorf("after the removal images are %q", got)
	}
}

func TestBuildersNamesFollowTheSameRules(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "app:1", "one"))
	o.mustLoad(simple(t, "app:2", "two"))
	a, b := o.lookup("app:1"), o.lookup("app:2")
	store, ctx := o.Stores().Images, t.Context()
	if _, err := store.Create(ctx, images.Image{Name: "docker.io/library/app:1", Target: descriptorOf(b)}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("creating a name that is there: %v", err)
	}
	if _, err := store.Update(ctx, images.Image{Name: "docker.io/library/new:1", Target: descriptorOf(b)}); !errdefs.IsNotFound(err) {
		t.Errorf("updating a name that is not there: %v", err)
	}
	if _, err := store.Update(ctx, images.Image{Name: "docker.io/library/app:1", Target: descriptorOf(b)}); err != nil {
		t.Fatal(err)
	}
	if got := o.state(map[core.ImageID]string{a.ID: "A", b.ID: "B"}); got != "A=<none> B=app:1,app:2" {
		t.Errorf("images are %q", got)
	}
}

func TestTagRefusesBadNames(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "app:1", "one"))
	for target, sentence := range map[string]string{
		"UPPER": "must be lowercase", "a b": "invalid reference format", "": "invalid reference format",
		"app@" + string(o.lookup("app:1").ID): "refusing to create a tag with a digest reference",
		"sha256:abc":                          "refusing to create an ambiguous tag",
	} {
		err := o.Catalog().Tag(t.Context(), "app:1", target)
		wantError(t, err, sentence)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v has the wrong class", target, err)
		}
	}
	wantError(t, o.Catalog().Tag(t.Context(), "none", "x"), "No such image: none:latest")
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "app:1", "one"))
	o.mustLoad(simple(t, "app:1", "two"))
	o.mustLoad(simple(t, "example.com/team/other:1", "three"))
	cases := map[string]struct {
		filters core.Filters
		count   int
	}{
		"no filter":                     {nil, 3},
		"dangling":                      {core.Filters{"dangling": {"true"}}, 1},
		"not dangling":                  {core.Filters{"dangling": {"false"}}, 2},
		"by name":                       {core.Filters{"reference": {"app"}}, 1},
		"by name and tag":               {core.Filters{"reference": {"app:1"}}, 1},
		"by another tag":                {core.Filters{"reference": {"app:2"}}, 0},
		"by pattern":                    {core.Filters{"reference": {"*/team/*"}}, 1},
		"by one of two names":           {core.Filters{"reference": {"app", "example.com/team/other"}}, 2},
		"by label":                      {core.Filters{"label": {"maker"}}, 3},
		"by label and value":            {core.Filters{"label": {"maker=test"}}, 3},
		"by label and another value":    {core.Filters{"label": {"maker=nobody"}}, 0},
		"by two labels, one is missing": {core.Filters{"label": {"maker", "none"}}, 0},
		"until yesterday":               {core.Filters{"until": {"24h"}}, 3}, // the test's images have no date
		"until long ago":                {core.Filters{"until": {"0001-01-01"}}, 0},
		"since itself":                  {core.Filters{"since": {"app:1"}}, 0},
	}
	for name, c := range cases {
		list, err := o.Catalog().List(t.Context(), core.ImageListOptions{Filters: c.filters, SharedSize: true})
		if err != nil || len(list) != c.count {
			t.Errorf("%s: %d images, want %d (%v)", name, len(list), c.count, err)
		}
	}
	for name, filters := range map[string]core.Filters{
		"invalid filter 'color'": {"color": {"red"}}, "invalid filter 'dangling=[maybe]'": {"dangling": {"maybe"}},
		"failed to parse value as time or duration": {"until": {"tomorrow"}}, "No such image": {"before": {"none"}},
	} {
		_, err := o.Catalog().List(t.Context(), core.ImageListOptions{Filters: filters})
		wantError(t, err, name)
	}
}

func TestPruneTakesWhatNobodyUses(t *testing.T) {
	t.Parallel()
	o := newTestOrgan(t)
	o.mustLoad(simple(t, "app:1", "one"))
	o.mustLoad(simple(t, "app:1", "two"))
	o.mustLoad(simple(t, "used:1", "three"))
	used := o.lookup("used:1").ID
	inUse := func(id core.ImageID) bool { return id == used }
	pruned, err := o.Images().Prune(t.Context(), nil, inUse)
	if err != nil || len(pruned.Images) != 1 || pruned.Reclaimed == 0 {
		t.Errorf("pruned %+v, %v", pruned, err)
	}
	pruned, err = o.Images().Prune(t.Context(), core.Filters{"dangling": {"false"}, "label": {"maker"}}, inUse)
	if err != nil || len(pruned.Images) != 2 {
		t.Errorf("pruned %+v, %v", pruned, err)
	}
	if got := o.state(map[core.ImageID]string{used: "U"}); got != "U=used:1" {
		t.Errorf("left %q", got)
	}
	_, err = o.Images().Prune(t.Context(), core.Filters{"reference": {"x"}}, inUse)
	wantError(t, err, "invalid filter 'reference'")
}
