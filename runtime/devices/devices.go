// Package devices gives containers the devices that they ask for by name and not by path: those that are described by
// files of the Container Device Interface (https://github.com/cncf-tags/container-device-interface), GPUs among them.
// The files are read when a container asks for such a device, and at no other time.
package devices

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"

	"github.com/berth-engine/berth/core"
)

// gpus are the kinds of devices that GPU requests mean, by driver; without a driver the first one wins that is
// described.
var gpus = []struct {
	driver string
	kind   string
	// can are the capabilities that may be asked for.
	can []string
}{
	{"nvidia", "nvidia.com/gpu", []string{"gpu", "nvidia", "compute", "compat32", "graphics", "utility", "video", "display"}},
	{"amd", "amd.com/gpu", []string{"gpu", "amd"}},
}

// Inject changes the spec so that the container gets what the requests ask for. folders hold the descriptions; without
// any there are no such devices.
func Inject(folders []string, spec *specs.Spec, requests []core.DeviceRequest) error {
	if len(requests) == 0 {
		return nil
	}
	if len(folders) == 0 {
		return unknown(requests[0])
	}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(folders...), cdi.WithAutoRefresh(false))
	if err != nil {
		return core.Internal("CDI device injection failed: %w", err)
	}
	var names []string
	for _, request := range requests {
		found, err := resolve(request, cache.ListDevices())
		if err != nil {
			return err
		}
		names = append(names, found...)
	}
	if len(names) == 0 {
		return nil
	}
	if _, err := cache.InjectDevices(spec, names...); err != nil {
		return core.Invalid("CDI device injection failed: %w", err)
	}
	return nil
}

// unknown is Docker's answer to a request that no driver can satisfy.
func unknown(r core.DeviceRequest) error {
	return core.Invalid("could not select device driver %q with capabilities: %v", r.Driver, r.Capabilities)
}

// resolve turns a request into qualified names of devices, vendor/class=name. described are all that there are.
func resolve(r core.DeviceRequest, described []string) ([]string, error) {
	if r.Driver == "cdi" {
		switch {
		case r.Count != 0:
			return nil, core.Invalid("unexpected count in CDI device request")
		case len(r.Options) > 0:
			return nil, core.Invalid("unexpected options in CDI device request")
		}
		return r.DeviceIDs, nil
	}
	kind := ""
	for _, gpu := range gpus {
		there := slices.ContainsFunc(described, func(name string) bool { return isOf(name, gpu.kind) })
		if kind == "" && there && cmp.Or(r.Driver, gpu.driver) == gpu.driver && (r.Driver != "" || able(r.Capabilities, gpu.can)) {
			kind = gpu.kind
		}
	}
	if kind == "" {
		return nil, unknown(r)
	}
	ids := r.DeviceIDs
	switch {
	case r.Count != 0 && len(ids) > 0:
		return nil, core.Invalid("cannot set both Count and DeviceIDs on device request")
	case r.Count < 0:
		ids = []string{"all"}
	default:
		for n := range r.Count {
			ids = append(ids, strconv.Itoa(n))
		}
	}
	var names []string
	for _, id := range ids {
		if slices.Contains(described, id) || isOf(id, kind) {
			names = append(names, id)
		} else {
			names = append(names, kind+"="+id)
		}
	}
	return names, nil
}

func isOf(name, kind string) bool {
	return len(name) > len(kind) && name[:len(kind)] == kind && name[len(kind)] == '='
}

// able reports whether one of the sets that would do is a part of what there is.
func able(sets [][]string, can []string) bool {
	return slices.ContainsFunc(sets, func(set []string) bool {
		return !slices.ContainsFunc(set, func(c string) bool { return !slices.Contains(can, c) })
	})
}
