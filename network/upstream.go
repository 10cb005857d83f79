package network

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/network/files"
)

// upstream is the host's resolv.conf, read again when it changed.
type upstream struct {
	path string

	mu    sync.Mutex // guards all below
	conf  files.ResolvConf
	mtime time.Time
	size  int64
}

// Where systemd-resolved keeps the servers behind its stub, and what the stub is.
const (
	resolvedConf = "/run/systemd/resolve/resolv.conf"
	resolvedStub = "127.0.0.53"
	hostConf     = "/etc/resolv.conf"
)

func newUpstream(path string) *upstream {
	if path != "" {
		return &upstream{path: path}
	}
	data, err := os.ReadFile(hostConf)
	if err == nil {
		servers := files.Parse(data).Servers
		if len(servers) == 1 && servers[0].String() == resolvedStub {
			return &upstream{path: resolvedConf}
		}
	}
	return &upstream{path: hostConf}
}

// get gives what the file says now. One that is not there says nothing.
func (u *upstream) get() files.ResolvConf {
	u.mu.Lock()
	defer u.mu.Unlock()
	info, err := os.Stat(u.path)
	if err != nil {
		u.conf, u.mtime = files.ResolvConf{}, time.Time{}
		return u.conf
	}
	if !info.ModTime().Equal(u.mtime) || info.Size() != u.size {
		if data, err := os.ReadFile(u.path); err == nil {
			u.conf, u.mtime, u.size = files.Parse(data), info.ModTime(), info.Size()
		}
	}
	return u.conf
}

// resolvConf is what a container asks before any change for its network: the host's words, the daemon's and its own
// over them.
func (s *shared) resolvConf(dns core.HostConfig) files.ResolvConf {
	servers, search, options := dns.DNS, dns.DNSSearch, dns.DNSOptions
	if len(servers) == 0 {
		servers = s.options.DNS
	}
	if len(search) == 0 {
		search = s.options.DNSSearch
	}
	if len(options) == 0 {
		options = s.options.DNSOptions
	}
	return s.upstream.get().Override(slices.Clone(servers), search, options)
}
