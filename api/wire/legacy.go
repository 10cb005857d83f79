package wire

import (
	"net/netip"

	"github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/storage"
	"github.com/moby/moby/api/types/system"

	"github.com/berth-engine/berth/core"
)

// The types below embed a shape of today and add, or hide, the fields that older versions of the API showed.

// inspectUpTo51 has the network settings of the default bridge a second time, one level up.
type inspectUpTo51 struct {
	*container.InspectResponse
	Config          configUpTo51
	NetworkSettings networkSettingsUpTo51
}

// summaryUpTo51 has no address at a port that is not published.
type summaryUpTo51 struct {
	container.Summary
	Ports []portUpTo51
}

type portUpTo51 struct {
	IP          string `json:",omitempty"`
	PrivatePort uint16
	PublicPort  uint16 `json:",omitempty"`
	Type        string
}

// legacySummary shows a line of `ps` as versions before 1.52 do.
func legacySummary(s container.Summary) summaryUpTo51 {
	return summaryUpTo51{Summary: s, Ports: each(s.Ports, func(p container.PortSummary) portUpTo51 {
		shape := portUpTo51{PrivatePort: p.PrivatePort, PublicPort: p.PublicPort, Type: p.Type}
		if p.IP.IsValid() {
			shape.IP = p.IP.String()
		}
		return shape
	})}
}

// configUpTo51 shows a container-wide MAC address, and the instructions of ONBUILD even when there are none.
type configUpTo51 struct {
	*container.Config
	MacAddress string `json:",omitempty"`
	OnBuild    []string
}

type networkSettingsUpTo51 struct {
	*container.NetworkSettings
	Bridge                 string
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	SecondaryIPAddresses   []string
	SecondaryIPv6Addresses []string
	EndpointID             string
	Gateway                netip.Addr
	GlobalIPv6Address      netip.Addr
	GlobalIPv6PrefixLen    int
	IPAddress              netip.Addr
	IPPrefixLen            int
	IPv6Gateway            netip.Addr
	MacAddress             network.HardwareAddr
}

// legacyInspect shows a container as the version does.
func legacyInspect(shape *container.InspectResponse, c *core.Container, version Version) any {
	if version.Before(45) {
		// Until 1.44 the short ID and the hostname were listed among the aliases of user-defined networks.
		for name, e := range shape.NetworkSettings.Networks {
			if name != network.NetworkBridge && name != network.NetworkHost && name != network.NetworkNone {
				e.Aliases = appendMissing(e.Aliases, core.ContainerID(shape.ID).Short(), shape.Config.Hostname)
			}
		}
	}
	if !version.Before(52) {
		return shape
	}
	shape.Storage = nil
	shape.GraphDriver = &storage.DriverData{Name: snapshotter}
	old := inspectUpTo51{
		InspectResponse: shape,
		Config:          configUpTo51{Config: shape.Config, OnBuild: shape.Config.OnBuild},
		NetworkSettings: networkSettingsUpTo51{NetworkSettings: shape.NetworkSettings},
	}
	if e := c.Endpoints[c.Host.NetworkMode]; e != nil && e.WantMAC != nil {
		old.Config.MacAddress = e.WantMAC.String()
	}
	if e := shape.NetworkSettings.Networks[network.NetworkBridge]; e != nil {
		s := &old.NetworkSettings
		s.EndpointID = e.EndpointID
		s.Gateway = e.Gateway
		s.GlobalIPv6Address, s.GlobalIPv6PrefixLen = e.GlobalIPv6Address, e.GlobalIPv6PrefixLen
		s.IPAddress, s.IPPrefixLen = e.IPAddress, e.IPPrefixLen
		s.IPv6Gateway = e.IPv6Gateway
		s.MacAddress = e.MacAddress
	}
	return old
}

// appendMissing adds what is not in the list yet, in a list of its own.
func appendMissing(in []string, more ...string) []string {
	out := make([]string, 0, len(in)+len(more))
	seen := map[string]bool{"": true}
	for _, s := range append(out, append(in[:len(in):len(in)], more...)...) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// imageUpTo43 had the size twice.
type imageUpTo43 struct {
	image.Summary
	VirtualSize int64
}

// imageInspectUpTo51 shows fields that are left out today when they are empty.
type imageInspectUpTo51 struct {
	*image.InspectResponse
	Parent        string
	Comment       string
	DockerVersion string
	Author        string
	Config        any
	VirtualSize   *int64 `json:",omitempty"` // until 1.43
}

// imageConfigUpTo51 shows the lists and maps of an image's configuration even when they are empty.
type imageConfigUpTo51 struct {
	*v1.DockerOCIImageConfig
	User       string
	Env        []string
	Cmd        []string
	Entrypoint []string
	Volumes    map[string]struct{}
	WorkingDir string
	Labels     map[string]string
	OnBuild    []string
}

// imageConfigUpTo49 has the fields of a container too, always empty.
type imageConfigUpTo49 struct {
	imageConfigUpTo51
	Hostname     string
	Domainname   string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Image        string
}

// legacyImage shows an image as the version does.
func legacyImage(shape *image.InspectResponse, img *core.Image, version Version) any {
	if version.Before(48) {
		shape.Descriptor = nil
	}
	if !version.Before(52) {
		if img.Parent == "" {
			return shape
		}
		return struct {
			*image.InspectResponse
			Parent string
		}{shape, string(img.Parent)}
	}
	shape.GraphDriver = &storage.DriverData{Name: snapshotter}
	c := shape.Config
	oldConfig := imageConfigUpTo51{
		DockerOCIImageConfig: c, User: c.User, Env: c.Env, Cmd: c.Cmd, Entrypoint: c.Entrypoint,
		Volumes: c.Volumes, WorkingDir: c.WorkingDir, Labels: c.Labels, OnBuild: c.OnBuild,
	}
	old := imageInspectUpTo51{
		InspectResponse: shape,
		Parent:          string(img.Parent),
		Comment:         img.Comment,
		Author:          img.Author,
		Config:          oldConfig,
	}
	if version.Before(50) {
		old.Config = imageConfigUpTo49{imageConfigUpTo51: oldConfig}
	}
	if version.Before(44) {
		old.VirtualSize = &shape.Size
	}
	return old
}

// eventUpTo51 repeats what clients of Docker 1.9 read.
type eventUpTo51 struct {
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
	events.Message
}

// legacyEvent shows an event as the version does.
func legacyEvent(shape events.Message, version Version) any {
	if !version.Before(52) {
		return shape
	}
	old := eventUpTo51{Message: shape}
	switch shape.Type {
	case events.ContainerEventType:
		old.Status, old.ID, old.From = string(shape.Action), shape.Actor.ID, shape.Actor.Attributes["image"]
	case events.ImageEventType:
		old.Status, old.ID = string(shape.Action), shape.Actor.ID
	}
	return old
}

// diskUsageUpTo52 lists the objects themselves; until 1.51 there was nothing else.
type diskUsageUpTo52 struct {
	system.DiskUsage
	LayersSize int64
	Images     any `json:",omitempty"`
	Containers any `json:",omitempty"`
	Volumes    any `json:",omitempty"`
	BuildCache any `json:",omitempty"`
}

// infoUpTo49 has switches of the bridge's netfilter module, and until 1.48 commits twice.
type infoUpTo49 struct {
	system.Info
	RegistryConfig    any
	BridgeNfIptables  bool
	BridgeNfIp6tables bool
	ContainerdCommit  any
	RuncCommit        any
	InitCommit        any
}

// commitUpTo48 says which commit was expected: the one that is there.
type commitUpTo48 struct {
	ID       string
	Expected string
}

// legacyInfo shows the daemon as the version does.
func legacyInfo(shape system.Info, version Version) any {
	if version.Before(44) {
		for name, runtime := range shape.Runtimes {
			runtime.Status = nil
			shape.Runtimes[name] = runtime
		}
	}
	if version.Before(49) {
		shape.FirewallBackend = nil
	}
	if !version.Before(50) {
		return shape
	}
	commit := func(c system.Commit) any {
		if version.Before(49) {
			return commitUpTo48{ID: c.ID, Expected: c.ID}
		}
		return c
	}
	old := infoUpTo49{
		Info:             shape,
		RegistryConfig:   shape.RegistryConfig,
		ContainerdCommit: commit(shape.ContainerdCommit),
		RuncCommit:       commit(shape.RuncCommit),
		InitCommit:       commit(shape.InitCommit),
	}
	if version.Before(47) {
		old.RegistryConfig = registryUpTo46{ServiceConfig: shape.RegistryConfig}
	}
	return old
}

// registryUpTo46 names registries that layers of others may be pushed to: none.
type registryUpTo46 struct {
	*registry.ServiceConfig
	AllowNondistributableArtifactsCIDRs     []string
	AllowNondistributableArtifactsHostnames []string
}
