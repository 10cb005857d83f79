package names

import (
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
)

// FuzzParse reads references as people write them: what is refused is the client's mistake, and what is shown of a
// reference names the same when it is given back.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "busybox", "busybox:1", "a/b/c:d", "localhost/x", "localhost:5000/x:y", "docker.io/x", "index.docker.io/library/x", "[::1]:5000/x", "[fe80::1%eth0]/x", "UPPER/x", "x:", "x@", "x@sha256:",
		"x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "x:y@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "a__b", "a..b", "a---b", "-a", "a/", "/a", "a//b", "..", "\x00", "ü",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		named, err := Parse(ref)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%q: %v", ref, err)
			}
			Familiar(ref)
			return
		}
		shown := Familiar(named.String())
		again, err := Parse(shown)
		if err != nil || again.String() != named.String() {
			t.Errorf("%q is %s, shown as %s, which is %v (%v)", ref, named, shown, again, err)
		}
		IsDangling(named.String())
		all := []images.Image{{Name: named.String()}}
		RepoTags(all)
		RepoDigests(all)
	})
}
