package wire

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"

	"github.com/berth-engine/berth/core"
)

// DecodeBuild reads the query of POST /build. Auth comes in a header and is left to the caller.
func DecodeBuild(query url.Values) (core.BuildOptions, error) {
	options := core.BuildOptions{
		Tags:         query["t"],
		Dockerfile:   query.Get("dockerfile"),
		Target:       query.Get("target"),
		ExtraHosts:   hosts(query["extrahosts"]),
		NetworkMode:  query.Get("networkmode"),
		Platform:     query.Get("platform"),
		NoCache:      Truth(query.Get("nocache")),
		Pull:         Truth(query.Get("pull")),
		Quiet:        Truth(query.Get("q")),
		Squash:       Truth(query.Get("squash")),
		Remote:       query.Get("remote"),
		Memory:       number(query.Get("memory")),
		MemorySwap:   number(query.Get("memswap")),
		CPUShares:    number(query.Get("cpushares")),
		CPUPeriod:    number(query.Get("cpuperiod")),
		CPUQuota:     number(query.Get("cpuquota")),
		CpusetCpus:   query.Get("cpusetcpus"),
		CpusetMems:   query.Get("cpusetmems"),
		CgroupParent: query.Get("cgroupparent"),
		SessionID:    query.Get("session"),
		BuildID:      query.Get("buildid"),
		Version:      query.Get("version"),
	}
	switch options.Version {
	case "":
		options.Version = "1"
	case "1", "2":
	default:
		return options, core.Invalid("invalid version %q", options.Version)
	}
	if len(query["securityopt"]) > 0 {
		return options, core.Invalid("security options are not supported on linux")
	}
	if isolation := query.Get("isolation"); isolation != "" && !strings.EqualFold(isolation, "default") {
		return options, core.Invalid("unsupported isolation: %q", isolation)
	}
	if s := query.Get("shmsize"); s != "" {
		size, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return options, core.Invalid("invalid shmsize %q: %s", s, reason(err))
		}
		options.ShmSize = size
	}
	var ulimits []*container.Ulimit
	for _, field := range []struct {
		name, problem string
		into          any
	}{
		{"buildargs", "error reading build args", &options.BuildArgs},
		{"labels", "error reading labels", &options.Labels},
		{"cachefrom", "error reading cache-from", &options.CacheFrom},
		{"ulimits", "error reading ulimit settings", &ulimits},
	} {
		if s := query.Get(field.name); s != "" {
			if err := json.Unmarshal([]byte(s), field.into); err != nil {
				return options, core.Invalid("%s: %s", field.problem, err.Error())
			}
		}
	}
	options.Ulimits = eachFrom(ulimits, ulimitFrom)
	if outputs := query.Get("outputs"); outputs != "" && outputs != "[]" && outputs != "null" {
		return options, core.NotImplemented("Berth does not have build outputs on this endpoint yet: use BuildKit's protocol (docker buildx, berth build)")
	}
	return options, nil
}

// hosts splits entries that clients join with commas.
func hosts(entries []string) (out []string) {
	for _, entry := range entries {
		for _, host := range strings.Split(entry, ",") {
			if host != "" {
				out = append(out, host)
			}
		}
	}
	return out
}

// Truth reads a switch of a query the way Docker does: anything but nothing, "0", "no", "false" and "none" is on.
func Truth(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// number reads a number of a query; like Docker it takes what is none for zero.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// BuildPruned shows what POST /build/prune removed.
func BuildPruned(p core.Pruned) any {
	return build.CachePruneReport{CachesDeleted: p.Deleted, SpaceReclaimed: p.Reclaimed}
}

func cacheRecord(r core.BuildCacheRecord) build.CacheRecord { return build.CacheRecord(r) }
