package core

// CreateRequest is a container to be. Config and Host are as the client sent them.
type CreateRequest struct {
	Name      string
	Config    Config
	Host      HostConfig
	Endpoints map[string]*Endpoint
	Platform  Platform // zero: any
}

// RemoveOptions of a container.
type RemoveOptions struct {
	Force   bool // kill it first
	Volumes bool // its anonymous volumes too
	Link    bool // not the container but the link of this name
}

// StopOptions of stop and restart.
type StopOptions struct {
	Signal  string // empty: the container's
	Timeout *int   // seconds; nil: the container's; negative: forever
}

// UpdateRequest changes a container.
type UpdateRequest struct {
	Resources Resources      // fields that are zero stay as they are
	Policy    *RestartPolicy // nil: stays
	// Publish are bindings that come. Unpublish are those that go; an empty list stands for all of that port. Both nil:
	// nothing changes.
	Publish, Unpublish map[Port][]PortBinding
}

// Ports tells whether published ports change.
func (r UpdateRequest) Ports() bool { return len(r.Publish)+len(r.Unpublish) > 0 }

// UpdateResult is what an update led to.
type UpdateResult struct {
	Warnings []string
	// Bindings are the ports that are published after the update asked for a change of them.
	Bindings map[Port][]PortBinding
}

// WaitResult is how a wait ended.
type WaitResult struct {
	Code int
	Err  error
}

// StatsSample is a measurement with whose it is. A container that does not run has zero Stats.
type StatsSample struct {
	ID    ContainerID
	Name  string
	Stats Stats
}

// AttachOptions of an attachment. Logs replays what was written before; Stream goes on from there.
type AttachOptions struct {
	Stdin, Stdout, Stderr bool
	Logs, Stream          bool
	DetachKeys            string // as the user writes them: "ctrl-p,ctrl-q"; empty: the default
}

// ExecStartOptions of an exec.
type ExecStartOptions struct {
	Detach      bool
	Tty         bool
	ConsoleSize [2]uint // height, width
}

// ImageListOptions of a list of images.
type ImageListOptions struct {
	All        bool // also those between
	SharedSize bool
	Filters    Filters
}

// ImportRequest of an import.
type ImportRequest struct {
	Ref      string // empty: no tag
	Message  string
	Changes  []string // Dockerfile instructions: "CMD …", "ENV …"
	Platform Platform
}

// NetworkView is a network with who is in it.
type NetworkView struct {
	Network
	Attached []Attachment
	Use      []SubnetUse
}

// Info is what the daemon knows of itself and its host.
type Info struct {
	ID                                  string
	Name                                string
	Running, Paused, Stopped, Images    int
	RootDir                             string
	Driver                              string // "overlayfs"
	DriverStatus                        [][2]string
	CgroupDriver, CgroupVersion         string
	KernelVersion, OperatingSystem      string
	OSVersion, OSType, Architecture     string
	CPUs                                int
	Memory                              int64
	Labels                              []string
	Debug, Experimental, LiveRestore    bool
	Goroutines, FileDescriptors         int
	EventsListeners                     int
	DefaultRuntime                      string
	Runtimes                            []string
	SecurityOptions                     []string
	InsecureRegistries, Mirrors         []string
	LogDrivers, NetworkDrivers, Volumes []string
	CDISpecDirs                         []string
	LoggingDriver                       string // the default one; empty: json-file
	HTTPProxy, HTTPSProxy, NoProxy      string
	Warnings                            []string
	Limits                              HostLimits
}

// HostLimits are the kernel's abilities that `docker info` lists, and those that limits of containers are checked with.
type HostLimits struct {
	Memory, Swap, CPUCfs, CPUShares, CPUSet, Pids, OomKillDisable, IPv4Forwarding bool
	Swappiness, Realtime, BlockWeight, BlockThrottle                              bool
	Processors, MemoryNodes                                                       string // of the root cpuset: "0-3"
}

// Hijack takes over the HTTP connection after the status line and headers were sent. framed: the output carries the
// 8-byte headers. The engine fills the directions in and hands the result to the runtime.
type Hijack func(framed bool) (Streams, error)
