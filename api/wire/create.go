package wire

import (
	"encoding/json"
	"maps"
	"net"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"github.com/berth-engine/berth/core"
)

// words is a command line: an array, or a single string as old clients send it.
type words []string

// UnmarshalJSON reads either spelling.
func (w *words) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*w = words{s}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}

// createRequest is container.CreateRequest with what older versions of the API had too. Cmd, Entrypoint and
// MacAddress hide the fields of the same name further down.
type createRequest struct {
	*container.Config
	Cmd              words
	Entrypoint       words
	MacAddress       string
	HostConfig       *container.HostConfig
	NetworkingConfig *network.NetworkingConfig
}

// DecodeCreate reads the body of POST /containers/create and gives a client of an older API what it expects.
// Name and platform come in the query and are left to the caller. warnings belong into the answer.
func DecodeCreate(body []byte, version Version) (request core.CreateRequest, warnings []string, err error) {
	var shape createRequest
	if err := decode(body, &shape); err != nil {
		return request, nil, err
	}
	if shape.Config == nil {
		if shape.Cmd == nil && shape.Entrypoint == nil {
			return request, nil, core.Invalid("config cannot be empty in order to create a container")
		}
		shape.Config = &container.Config{}
	}
	shape.Config.Cmd, shape.Config.Entrypoint = shape.Cmd, shape.Entrypoint
	if shape.HostConfig == nil {
		shape.HostConfig = &container.HostConfig{}
	}
	endpoints := map[string]*network.EndpointSettings{}
	if shape.NetworkingConfig != nil {
		for name, endpoint := range shape.NetworkingConfig.EndpointsConfig {
			if endpoint == nil {
				endpoint = &network.EndpointSettings{}
			}
			endpoints[name] = endpoint
		}
	}
	if err := adaptCreate(&shape, endpoints, version); err != nil {
		return request, nil, err
	}
	warnings, err = adaptEndpoints(&shape, endpoints, version)
	if err != nil {
		return request, nil, err
	}
	warnings = append(warnings, adaptPorts(shape.HostConfig, version)...)
	ignored, err := notOnLinux(&shape.HostConfig.Resources)
	if err != nil {
		return request, nil, err
	}
	warnings = append(warnings, ignored...)

	if limit := shape.HostConfig.PidsLimit; limit != nil && *limit <= 0 {
		shape.HostConfig.PidsLimit = nil // unlimited, in the only spelling that the engine sees
	}
	if swappiness := shape.HostConfig.MemorySwappiness; swappiness != nil && *swappiness == -1 {
		shape.HostConfig.MemorySwappiness = nil // the docker command's spelling of "not given"
	}
	if request.Config, err = configFrom(shape.Config); err != nil {
		return request, nil, err
	}
	if request.Host, err = hostConfigFrom(shape.HostConfig); err != nil {
		return request, nil, err
	}
	if len(endpoints) > 0 {
		request.Endpoints = make(map[string]*core.Endpoint, len(endpoints))
		for name, endpoint := range endpoints {
			request.Endpoints[name] = endpointFrom(endpoint)
		}
	}
	return request, warnings, nil
}

// adaptCreate takes away what the version of the client did not have, and refuses what it could not have meant.
func adaptCreate(shape *createRequest, endpoints map[string]*network.EndpointSettings, version Version) error {
	host := shape.HostConfig
	if version.Before(42) {
		host.ConsoleSize = [2]uint{}
	}
	if version.Before(43) {
		host.Annotations = nil
	}
	if version.Before(44) {
		if shape.Healthcheck != nil {
			shape.Healthcheck.StartInterval = 0
		}
		if len(endpoints) > 1 {
			names := slices.Sorted(maps.Keys(endpoints))
			return core.Invalid("Container cannot be created with multiple network endpoints: %s", strings.Join(names, ", "))
		}
	}
	if version.Before(48) {
		for _, endpoint := range endpoints {
			endpoint.GwPriority = 0
		}
	}
	if version.Before(56) {
		host.Umask = nil
	}
	for i := range host.Mounts {
		if err := adaptMount(&host.Mounts[i], version); err != nil {
			return err
		}
	}
	return nil
}

func adaptMount(m *mount.Mount, version Version) error {
	if version.Before(42) {
		if m.BindOptions != nil {
			m.BindOptions.CreateMountpoint = false
		}
		if m.Type != mount.TypeVolume {
			m.VolumeOptions = nil
		}
		if m.Type != mount.TypeTmpfs {
			m.TmpfsOptions = nil
		}
	}
	switch {
	case m.Type == mount.TypeCluster || m.ClusterOptions != nil:
		return core.NotImplemented("Berth does not have cluster volumes yet")
	case m.VolumeOptions != nil && m.Type != mount.TypeVolume:
		return core.Invalid("VolumeOptions must not be specified on mount type %q", string(m.Type))
	case m.BindOptions != nil && m.Type != mount.TypeBind && !version.Before(42):
		return core.Invalid("BindOptions must not be specified on mount type %q", string(m.Type))
	case m.TmpfsOptions != nil && m.Type != mount.TypeTmpfs:
		return core.Invalid("TmpfsOptions must not be specified on mount type %q", string(m.Type))
	case m.ImageOptions != nil && m.Type != mount.TypeImage:
		return core.Invalid("ImageOptions must not be specified on mount type %q", string(m.Type))
	}
	if m.Type == mount.TypeBind && version.Before(44) {
		if m.BindOptions == nil {
			m.BindOptions = &mount.BindOptions{}
		}
		if m.BindOptions.ReadOnlyForceRecursive {
			return needs("BindOptions.ReadOnlyForceRecursive", 44)
		}
		m.BindOptions.ReadOnlyNonRecursive = true // as all read-only binds were then
	}
	if m.VolumeOptions != nil && m.VolumeOptions.Subpath != "" && version.Before(45) {
		return needs("VolumeOptions.Subpath", 45)
	}
	if m.Type == mount.TypeImage && version.Before(48) {
		return needs(`Mount type "Image"`, 48)
	}
	return nil
}

// adaptEndpoints names the default network and moves a MAC address of the whole container, which the API had until
// 1.51, to the endpoint that it was meant for.
func adaptEndpoints(shape *createRequest, endpoints map[string]*network.EndpointSettings, version Version) ([]string, error) {
	host := shape.HostConfig
	if host.NetworkMode == "" || host.NetworkMode == network.NetworkDefault {
		host.NetworkMode = network.NetworkBridge
		if endpoint, ok := endpoints[network.NetworkDefault]; ok {
			delete(endpoints, network.NetworkDefault)
			endpoints[network.NetworkBridge] = endpoint
		}
	}
	if version.Before(44) && shape.MacAddress == "" {
		for _, endpoint := range endpoints {
			endpoint.MacAddress = nil // such a version would not have read it
		}
	}
	if shape.MacAddress == "" || !version.Before(52) {
		return nil, nil
	}
	mac, err := net.ParseMAC(shape.MacAddress)
	if err != nil {
		return nil, core.Invalid("invalid MAC address: %s", shape.MacAddress)
	}
	mode := host.NetworkMode
	attachable := mode != network.NetworkHost && mode != network.NetworkNone && !mode.IsContainer()
	if !attachable {
		if version.Before(44) {
			return nil, core.Invalid("conflicting options: mac-address and the network mode")
		}
		return nil, nil
	}
	endpoint := endpoints[string(mode)]
	if version.Before(44) {
		for _, only := range endpoints { // one at most; it may be spelled differently from the mode
			endpoint = only
		}
	}
	if endpoint == nil {
		if len(endpoints) > 0 {
			return nil, core.Invalid("unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks")
		}
		endpoint = &network.EndpointSettings{}
		endpoints[string(mode)] = endpoint
	}
	if !version.Before(44) && endpoint.MacAddress != nil && endpoint.MacAddress.String() != mac.String() {
		return nil, core.Invalid("the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty")
	}
	endpoint.MacAddress = network.HardwareAddr(mac)
	if version.Before(44) {
		return nil, nil
	}
	return []string{"The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."}, nil
}

// adaptPorts treats a port that is bound to an empty list: any port of the host until 1.52, nothing since.
func adaptPorts(host *container.HostConfig, version Version) (warnings []string) {
	var empty []string
	for p, bindings := range host.PortBindings {
		if len(bindings) > 0 {
			continue
		}
		if !version.Before(53) {
			delete(host.PortBindings, p)
			continue
		}
		host.PortBindings[p] = []network.PortBinding{{}}
		empty = append(empty, p.String())
	}
	if len(empty) > 0 && !version.Before(52) {
		slices.Sort(empty)
		warnings = append(warnings, "Following container port(s) have an empty list of port-bindings: "+strings.Join(empty, ", ")+". Starting with API 1.53, such bindings will be discarded.")
	}
	return warnings
}

// notOnLinux refuses limits that only Windows has, or says that they are ignored, as Docker does for each.
func notOnLinux(r *container.Resources) (warnings []string, err error) {
	switch {
	case r.IOMaximumBandwidth != 0:
		return nil, core.Invalid("invalid option: QoS maximum bandwidth configuration is not supported on linux")
	case r.IOMaximumIOps != 0:
		return nil, core.Invalid("invalid option: QoS maximum IOPs configuration is not supported on linux")
	}
	if r.CPUPercent > 0 {
		warnings = append(warnings, "linux does not support CPU percent. Percent discarded.")
	}
	if r.CPUCount > 0 {
		warnings = append(warnings, "linux does not support CPU count. Count discarded.")
	}
	return warnings, nil
}

// updateBody is the body of POST /containers/{id}/update: Docker's fields, and two of our own that its clients never send.
type updateBody struct {
	container.UpdateConfig
	// PublishPorts are bindings that come, in the shape of HostConfig.PortBindings; UnpublishPorts are bindings that go, an
	// empty list standing for all of that port.
	PublishPorts, UnpublishPorts network.PortMap
}

// DecodeUpdate reads the body of POST /containers/{id}/update.
func DecodeUpdate(body []byte, version Version) (request core.UpdateRequest, err error) {
	var shape updateBody
	if err := decodeOptional(body, &shape); err != nil {
		return request, err
	}
	if version.Before(55) {
		shape.BlkioWeightDevice, shape.BlkioDeviceReadBps, shape.BlkioDeviceWriteBps = nil, nil, nil
		shape.BlkioDeviceReadIOps, shape.BlkioDeviceWriteIOps = nil, nil
	}
	if _, err := notOnLinux(&shape.Resources); err != nil {
		return request, err
	}
	if limit := shape.PidsLimit; limit != nil && *limit <= 0 {
		shape.PidsLimit = new(int64) // unlimited
	}
	if shape.RestartPolicy.Name != "" {
		p := restartPolicyFrom(shape.RestartPolicy)
		request.Policy = &p
	}
	request.Resources = resourcesFrom(&shape.Resources)
	if request.Publish, err = portBindingsFrom(shape.PublishPorts); err == nil {
		request.Unpublish, err = portBindingsFrom(shape.UnpublishPorts)
	}
	return request, err
}

// CreateResponse is the answer to POST /containers/create.
func CreateResponse(id core.ContainerID, warnings []string) any {
	return container.CreateResponse{ID: string(id), Warnings: list(warnings)}
}

// UpdateResponse is the answer to POST /containers/{id}/update. Bindings are told to who asked for a change of them, and
// show that this daemon can do that.
func UpdateResponse(request core.UpdateRequest, result core.UpdateResult) any {
	shape := container.UpdateResponse{Warnings: result.Warnings}
	if !request.Ports() {
		return shape
	}
	return struct {
		container.UpdateResponse
		PortBindings network.PortMap
	}{shape, portBindings(result.Bindings)}
}
