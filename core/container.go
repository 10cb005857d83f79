package core

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Container is everything that is known of one container. Its definition (Config, Host, Endpoints) changes by
// commands only; State changes with what happens to its processes.
type Container struct {
	ID      ContainerID
	Name    string // without the leading slash that the API shows
	Created time.Time

	ImageID  ImageID  // what the writable layer stands on
	Platform Platform // of the image
	Config   Config   // the image's configuration with the user's words on top
	Host     HostConfig

	// Endpoints are the networks that the container is (or will be) attached to, by network name as given.
	Endpoints map[string]*Endpoint
	// Published are the ports that are taken on the host while it runs.
	Published []PublishedPort

	// Mounts are the volumes, binds and tmpfs as resolved at creation, in the order of their destinations.
	Mounts []Mount

	Path string   // the executable: first word of entrypoint and command together
	Args []string // the words behind Path

	Dir          string // the container's folder: hosts, hostname, resolv.conf, log files
	LogPath      string // of the current file that `logs` reads; empty: the driver keeps none
	RestartCount int
	State        State
	// AppArmorProfile is what its last start confined it with: "unconfined" or a profile; empty: the host has no AppArmor.
	AppArmorProfile string
	// ProcessLabel and MountLabel are SELinux's of its processes and of its files; both are empty where SELinux is not in
	// use, and the first is also when the processes are not confined.
	ProcessLabel, MountLabel string
	// StoppedByUser is set by stop and kill and cleared by start: policies "unless-stopped" and "always" ask it.
	StoppedByUser bool
}

// Status is a container's place in the state diagram of engine/state.go.
type Status string

// The states that Docker's API knows.
const (
	StatusCreated    Status = "created"
	StatusRunning    Status = "running"
	StatusPaused     Status = "paused"
	StatusRestarting Status = "restarting"
	StatusRemoving   Status = "removing"
	StatusExited     Status = "exited"
	StatusDead       Status = "dead"
)

// State is what is true of a container's processes.
type State struct {
	Status     Status
	PID        int // of the first process, in the host's namespace; 0 when there is none
	ExitCode   int
	Error      string // why the last start failed
	OOMKilled  bool
	StartedAt  time.Time // zero when never started
	FinishedAt time.Time // zero when never finished
	Health     *Health   // nil without a health check
	// BrieflyPaused says that a pause is for the time of a copy only.
	BrieflyPaused bool
}

// Running reports whether the container has a first process (a paused container has one).
func (s State) Running() bool {
	return s.Status == StatusRunning || s.Status == StatusPaused
}

// HealthStatus is the verdict over the last health checks.
type HealthStatus string

// The verdicts that Docker's API knows.
const (
	HealthNone      HealthStatus = "none"
	HealthStarting  HealthStatus = "starting"
	HealthHealthy   HealthStatus = "healthy"
	HealthUnhealthy HealthStatus = "unhealthy"
)

// Health is the verdict with the evidence.
type Health struct {
	Status        HealthStatus
	FailingStreak int
	Log           []HealthResult // the last five, oldest first
}

// HealthResult is one run of the health check.
type HealthResult struct {
	Start, End time.Time
	ExitCode   int    // 0 healthy, anything else not; -1 the probe could not run or timed out
	Output     string // at most 4096 bytes
}

// Config is the portable part of a container's definition: what an image can say too.
type Config struct {
	Hostname        string
	Domainname      string
	User            string // name, uid, name:group, uid:gid
	AttachStdin     bool
	AttachStdout    bool
	AttachStderr    bool
	ExposedPorts    []Port
	Tty             bool
	OpenStdin       bool
	StdinOnce       bool
	Env             []string // KEY=value
	Cmd             []string
	Entrypoint      []string
	Healthcheck     *Healthcheck
	ArgsEscaped     bool
	Image           string              // the reference as the user gave it
	Volumes         map[string]struct{} // destinations that want an anonymous volume
	WorkingDir      string
	NetworkDisabled bool
	OnBuild         []string
	Labels          map[string]string
	StopSignal      string
	StopTimeout     *int // seconds; nil: the daemon's default of 10
	Shell           []string
}

// Healthcheck is how to find out whether a container does its work.
type Healthcheck struct {
	// Test is empty (inherit), ["NONE"], ["CMD", args…] or ["CMD-SHELL", command].
	Test          []string
	Interval      time.Duration // 0: 30 s
	Timeout       time.Duration // 0: 30 s
	StartPeriod   time.Duration
	StartInterval time.Duration // 0: 5 s
	Retries       int           // 0: 3
}

// Protocol of a port.
type Protocol string

// The protocols that can be published.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// Port is a port inside a container.
type Port struct {
	Number   uint16
	Protocol Protocol
}

// PortBinding is where a container's port is published on the host.
type PortBinding struct {
	HostIP   netip.Addr // invalid: every address, v4 and v6
	HostPort string     // "" or "0": the host chooses; "8080"; "8000-8010": the first free one of the range
}

// PublishedPort is a binding that holds: the host's port is chosen and taken.
type PublishedPort struct {
	Port     Port
	HostIP   netip.Addr
	HostPort uint16
}

// RestartPolicy says what happens when a container ends by itself.
type RestartPolicy struct {
	Name              string // "", "no", "always", "unless-stopped", "on-failure"
	MaximumRetryCount int    // on-failure only; 0: no limit
}

// LogConfig names a log driver and its options.
type LogConfig struct {
	Type   string
	Config map[string]string
}

// Device is a device node of the host that a container may use.
type Device struct {
	PathOnHost        string
	PathInContainer   string
	CgroupPermissions string // of "rwm"
}

// DeviceRequest asks a device driver for devices (GPUs, CDI).
type DeviceRequest struct {
	Driver       string
	Count        int
	DeviceIDs    []string
	Capabilities [][]string
	Options      map[string]string
}

// Ulimit is a resource limit of processes (getrlimit(2)); -1 means unlimited.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// WeightDevice is a proportional share of a block device.
type WeightDevice struct {
	Path   string
	Weight uint16
}

// ThrottleDevice is a limit on a block device, in bytes or operations per second.
type ThrottleDevice struct {
	Path string
	Rate uint64
}

// Resources are the limits that cgroups enforce. Zero means no limit unless said otherwise.
type Resources struct {
	CPUShares            int64
	NanoCPUs             int64 // 1e9 is one whole CPU
	CPUPeriod            int64 // µs
	CPUQuota             int64 // µs
	CPURealtimePeriod    int64 // µs
	CPURealtimeRuntime   int64 // µs
	CpusetCpus           string
	CpusetMems           string
	Memory               int64 // bytes
	MemoryReservation    int64 // bytes
	MemorySwap           int64 // bytes, memory and swap together; -1 unlimited
	MemorySwappiness     *int64
	OomKillDisable       *bool
	PidsLimit            *int64 // nil, 0 or -1: unlimited
	BlkioWeight          uint16
	BlkioWeightDevice    []WeightDevice
	BlkioDeviceReadBps   []ThrottleDevice
	BlkioDeviceWriteBps  []ThrottleDevice
	BlkioDeviceReadIOps  []ThrottleDevice
	BlkioDeviceWriteIOps []ThrottleDevice
	Devices              []Device
	DeviceCgroupRules    []string
	DeviceRequests       []DeviceRequest
	Ulimits              []Ulimit
	CgroupParent         string
}

// HostConfig is the part of a container's definition that belongs to this host.
type HostConfig struct {
	Resources

	Binds           []string // source:destination[:options], as given
	MountSpecs      []MountSpec
	VolumesFrom     []string
	VolumeDriver    string
	Tmpfs           map[string]string // destination to mount options
	ContainerIDFile string
	LogConfig       LogConfig
	NetworkMode     string // "default", "bridge", "none", "host", "container:ID", or a network
	PortBindings    map[Port][]PortBinding
	PublishAllPorts bool
	RestartPolicy   RestartPolicy
	AutoRemove      bool
	ConsoleSize     [2]uint // height, width
	Annotations     map[string]string
	CapAdd          []string
	CapDrop         []string
	CgroupnsMode    string // "", "host", "private"
	DNS             []netip.Addr
	DNSOptions      []string
	DNSSearch       []string
	ExtraHosts      []string // name:address, or name=address
	GroupAdd        []string
	IpcMode         string
	PidMode         string
	UTSMode         string
	UsernsMode      string
	Cgroup          string
	Links           []string
	OomScoreAdj     int
	Privileged      bool
	ReadonlyRootfs  bool
	SecurityOpt     []string
	StorageOpt      map[string]string
	ShmSize         int64 // bytes; 0: 64 MiB
	Sysctls         map[string]string
	Runtime         string
	Init            *bool
	Umask           *uint32
	MaskedPaths     []string // nil: the default list; empty: none
	ReadonlyPaths   []string // nil: the default list; empty: none
	Isolation       string
}

// Platform is an operating system and processor, in the words of Go.
type Platform struct {
	OS, Architecture, Variant, OSVersion string
}

// String is os/architecture[/variant].
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Exec is a further process in a running container.
type Exec struct {
	ID          ExecID
	ContainerID ContainerID
	Spec        ExecSpec
	Running     bool
	Started     bool
	PID         int
	ExitCode    int // meaningful once Started and not Running
}

// ExecSpec says what to run and how to connect it.
type ExecSpec struct {
	User         string // empty: the container's
	Privileged   bool
	Tty          bool
	ConsoleSize  [2]uint // height, width
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	DetachKeys   string
	Env          []string
	WorkingDir   string
	Cmd          []string
}

// ExitStatus is how a process ended.
type ExitStatus struct {
	Code      int // 0 to 255; 128+n for signal n
	OOMKilled bool
	At        time.Time
}

// String is "80/tcp".
func (p Port) String() string { return strconv.Itoa(int(p.Number)) + "/" + string(p.Protocol) }

// MarshalText writes "80/tcp", so that a Port can be the key of a JSON object.
func (p Port) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText writes; the protocol may be missing and is tcp then.
func (p *Port) UnmarshalText(text []byte) error {
	port, err := ParsePort(string(text))
	if err == nil {
		*p = port
	}
	return err
}

// ParsePort reads "80", "80/tcp", "53/UDP".
func ParsePort(s string) (Port, error) {
	number, proto, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return Port{}, Invalid("invalid port '%s': invalid syntax", s)
	}
	if proto == "" {
		proto = string(TCP)
	}
	switch p := Protocol(strings.ToLower(proto)); p {
	case TCP, UDP, SCTP:
		return Port{Number: uint16(n), Protocol: p}, nil
	}
	return Port{}, Invalid("invalid proto: %s", proto)
}

// MaskedPaths and ReadonlyPaths are what a container that is not privileged can't see, or not write, below /proc and
// /sys, unless its own lists say otherwise.
var (
	MaskedPaths = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)
