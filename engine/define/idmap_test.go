package define

import (
	"reflect"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func TestIDMaps(t *testing.T) {
	t.Parallel()
	mounts := func() []core.Mount {
		return []core.Mount{{Type: core.MountBind, Destination: "/data"}, {Type: core.MountTmpfs, Destination: "/run"}}
	}
	for _, test := range []struct {
		name, key, value, wrong string
		want                    core.IDMaps
	}{
		{"one range each", "/data", "uids=0-1000-1;gids=0-100-2", "", core.IDMaps{UIDs: []core.IDMap{{Seen: 1000, Size: 1}}, GIDs: []core.IDMap{{Seen: 100, Size: 2}}}},
		{"several, and a path that is not clean", "/data/", "gids=1-2-3;uids=0-1-10#10-11-10", "", core.IDMaps{
			UIDs: []core.IDMap{{Seen: 1, Size: 10}, {Disk: 10, Seen: 11, Size: 10}}, GIDs: []core.IDMap{{Disk: 1, Seen: 2, Size: 3}},
		}},
		{"users alone", "/data", "uids=0-1-1", "idmap of /data: both are needed: uids=DISK-SEEN-SIZE;gids=DISK-SEEN-SIZE", core.IDMaps{}},
		{"two numbers", "/data", "uids=0-1;gids=0-1-1", `idmap of /data: "0-1" is not DISK-SEEN-SIZE`, core.IDMaps{}},
		{"a word", "/data", "uids=0-x-1;gids=0-1-1", `idmap of /data: "0-x-1" is not DISK-SEEN-SIZE`, core.IDMaps{}},
		{"too large a number", "/data", "uids=0-4294967296-1;gids=0-1-1", `idmap of /data: "0-4294967296-1" is not DISK-SEEN-SIZE`, core.IDMaps{}},
		{"nobody", "/data", "uids=0-1-0;gids=0-1-1", `idmap of /data: the range "0-1-0" is empty`, core.IDMaps{}},
		{"another key", "/data", "pids=0-1-1", `idmap of /data: "pids=0-1-1" is neither uids=… nor gids=…`, core.IDMaps{}},
		{"nothing", "/data", "", `idmap of /data: "" is neither uids=… nor gids=…`, core.IDMaps{}},
		{"no mount", "/other", "uids=0-1-1;gids=0-1-1", "idmap of /other: nothing is mounted there", core.IDMaps{}},
		{"memory", "/run", "uids=0-1-1;gids=0-1-1", "idmap of /run: only binds and volumes can be id-mapped, not a mount of type tmpfs", core.IDMaps{}},
	} {
		list := mounts()
		err := idMaps(map[string]string{IDMapPrefix + test.key: test.value, "other": "x"}, list)
		switch {
		case test.wrong != "" && (!errdefs.IsInvalidArgument(err) || err.Error() != test.wrong):
			t.Errorf("%s: %v", test.name, err)
		case test.wrong == "" && (err != nil || !reflect.DeepEqual(list[0].IDs, test.want)):
			t.Errorf("%s: %+v, %v", test.name, list[0].IDs, err)
		}
	}
}
