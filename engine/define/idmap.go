package define

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
)

// IDMapPrefix begins the annotations that say how the owners of a mount's files are mapped; behind it stands the mount's
// destination. An annotation, so that every client can set it. The value is crun's: "uids=0-1000-1;gids=0-1000-1#5-5-1", ranges of
// three numbers: the first one on the disk, the first one that is seen, and how many.
const IDMapPrefix = "io.berth.idmap:"

// idMaps puts the maps that annotations ask for onto their mounts.
func idMaps(annotations map[string]string, mounts []core.Mount) error {
	for key, value := range annotations {
		target, found := strings.CutPrefix(key, IDMapPrefix)
		if !found {
			continue
		}
		target = filepath.Clean(target)
		at := slices.IndexFunc(mounts, func(m core.Mount) bool { return m.Destination == target })
		if at < 0 {
			return core.Invalid("idmap of %s: nothing is mounted there", target)
		}
		if kind := mounts[at].Type; kind != core.MountBind && kind != core.MountVolume {
			return core.Invalid("idmap of %s: only binds and volumes can be id-mapped, not a mount of type %s", target, kind)
		}
		maps, err := parseIDMaps(value)
		if err != nil {
			return core.Invalid("idmap of %s: %w", target, err)
		}
		mounts[at].IDs = maps
	}
	return nil
}

func parseIDMaps(text string) (maps core.IDMaps, err error) {
	for part := range strings.SplitSeq(text, ";") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "uids":
			maps.UIDs, err = parseRanges(value)
		case "gids":
			maps.GIDs, err = parseRanges(value)
		default:
			err = core.Invalid("%q is neither uids=… nor gids=…", part)
		}
		if err != nil {
			return maps, err
		}
	}
	if len(maps.UIDs) == 0 || len(maps.GIDs) == 0 {
		return maps, core.Invalid("both are needed: uids=DISK-SEEN-SIZE;gids=DISK-SEEN-SIZE")
	}
	return maps, nil
}

func parseRanges(text string) (ranges []core.IDMap, err error) {
	for one := range strings.SplitSeq(text, "#") {
		var numbers [3]uint32
		parts := strings.Split(one, "-")
		if len(parts) != len(numbers) {
			return nil, core.Invalid("%q is not DISK-SEEN-SIZE", one)
		}
		for i, part := range parts {
			n, err := strconv.ParseUint(part, 10, 32)
			if err != nil {
				return nil, core.Invalid("%q is not DISK-SEEN-SIZE", one)
			}
			numbers[i] = uint32(n)
		}
		if numbers[2] == 0 {
			return nil, core.Invalid("the range %q is empty", one)
		}
		ranges = append(ranges, core.IDMap{Disk: numbers[0], Seen: numbers[1], Size: numbers[2]})
	}
	return ranges, nil
}
