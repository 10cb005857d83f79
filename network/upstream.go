package network

import (
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/network/files"
)

// upstream is what the host asks: its resolv.conf, or what is behind the stub that this names.
type upstream struct {
	mu     sync.Mutex // guards both
	conf   watched
	behind watched // path "": a stub is a server like any other
}

// watched is a file that is read again when it changed.
type watched struct {
	path string
	conf files.ResolvConf
	last stamp
}

// stamp tells a file that was changed, in place or by another one under its name.
type stamp struct {
	device, inode uint64
	size          int64
	modified      time.Time
	changed       syscall.Timespec
}

// Where systemd-resolved keeps the servers behind its stub, and what the stub is.
const (
	resolvedConf = "/run/systemd/resolve/resolv.conf"
	resolvedStub = "127.0.0.53"
	hostConf     = "/etc/resolv.conf"
)

func newUpstream(path string) *upstream {
	if path != "" {
		return &upstream{conf: watched{path: path}}
	}
	return &upstream{conf: watched{path: hostConf}, behind: watched{path: resolvedConf}}
}

// get gives what the files say now. One that is not there says nothing.
func (u *upstream) get() files.ResolvConf {
	u.mu.Lock()
	defer u.mu.Unlock()
	conf, _ := u.conf.get()
	if u.behind.path != "" && len(conf.Servers) == 1 && conf.Servers[0].String() == resolvedStub {
		if behind, ok := u.behind.get(); ok {
			return behind
		}
	}
	return conf
}

// get reads the file if it must; false: it is not there.
func (w *watched) get() (files.ResolvConf, bool) {
	info, err := os.Stat(w.path)
	if err != nil {
		w.conf, w.last = files.ResolvConf{}, stamp{}
		return w.conf, false
	}
	stat := info.Sys().(*syscall.Stat_t)
	if now := (stamp{stat.Dev, stat.Ino, info.Size(), info.ModTime(), stat.Ctim}); now != w.last {
		if data, err := os.ReadFile(w.path); err == nil {
			w.conf, w.last = files.Parse(data), now
		}
	}
	return w.conf, true
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
