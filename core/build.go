package core

import "time"

// BuildOptions are those of `POST /build`, the classic build.
type BuildOptions struct {
	Tags         []string
	Dockerfile   string // path inside the context; empty: "Dockerfile"
	Target       string
	BuildArgs    map[string]*string
	Labels       map[string]string
	CacheFrom    []string
	ExtraHosts   []string
	NetworkMode  string
	Platform     string
	NoCache      bool
	Pull         bool
	Quiet        bool
	Squash       bool
	Remote       string // a URL or git reference in place of the context
	ShmSize      int64
	Ulimits      []Ulimit
	Memory       int64
	MemorySwap   int64
	CPUShares    int64
	CPUPeriod    int64
	CPUQuota     int64
	CpusetCpus   string
	CpusetMems   string
	CgroupParent string
	SessionID    string
	BuildID      string
	Version      string                  // "1": classic output; "2": BuildKit's trace as aux
	Auth         map[string]RegistryAuth // by registry host
}

// BuildCacheRecord is a piece of the build cache.
type BuildCacheRecord struct {
	ID          string
	Parents     []string
	Type        string
	Description string
	InUse       bool
	Shared      bool
	Size        int64
	CreatedAt   time.Time
	LastUsedAt  *time.Time
	UsageCount  int
}
