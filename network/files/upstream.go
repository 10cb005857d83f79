package files

import (
	"os"
	"sync"
	"syscall"
	"time"
)

// Upstream is what the host asks: its resolv.conf, or what is behind the stub that this names.
type Upstream struct {
	mu     sync.Mutex // guards both
	conf   watched
	behind watched // path "": a stub is a server like any other
}

// watched is a file that is read again when it changed.
type watched struct {
	path string
	conf ResolvConf
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

// NewUpstream looks at a file; path empty: /etc/resolv.conf, and where that names the stub of systemd-resolved its own list
// of servers.
func NewUpstream(path string) *Upstream {
	if path != "" {
		return &Upstream{conf: watched{path: path}}
	}
	return &Upstream{conf: watched{path: hostConf}, behind: watched{path: resolvedConf}}
}

// Get gives what the files say now. One that is not there says nothing.
func (u *Upstream) Get() ResolvConf {
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
func (w *watched) get() (ResolvConf, bool) {
	info, err := os.Stat(w.path)
	if err != nil {
		w.conf, w.last = ResolvConf{}, stamp{}
		return w.conf, false
	}
	stat := info.Sys().(*syscall.Stat_t)
	if now := (stamp{stat.Dev, stat.Ino, info.Size(), info.ModTime(), stat.Ctim}); now != w.last {
		if data, err := os.ReadFile(w.path); err == nil {
			w.conf, w.last = Parse(data), now
		}
	}
	return w.conf, true
}
