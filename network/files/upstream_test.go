package files

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-engine/berth/lib/atomicfile"
)

func TestServersFollowTheHost(t *testing.T) {
	dir := t.TempDir()
	conf, behind := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "resolved.conf")
	u := &Upstream{conf: watched{path: conf}, behind: watched{path: behind}}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expectServers := func(what, want string) {
		t.Helper()
		if got := fmt.Sprint(u.Get().Servers); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	write := func(path, server string) {
		t.Helper()
		check(os.WriteFile(path, []byte("nameserver "+server+"\n"), 0o644))
	}
	expectServers("no file", "[]")
	write(conf, "10.0.0.1")
	expectServers("a file that came", "[10.0.0.1]")
	// In place, of the same length, and with the old times: that of the last change of the inode is the kernel's.
	info, err := os.Stat(conf)
	check(err)
	write(conf, "10.0.0.22")
	expectServers("written in place", "[10.0.0.22]")
	check(atomicfile.WriteFile(conf, []byte("nameserver 10.0.0.3\n"), 0o644, false))
	check(os.Chtimes(conf, info.ModTime(), info.ModTime()))
	expectServers("another file under its name", "[10.0.0.3]")
	// systemd-resolved was installed.
	write(conf, resolvedStub)
	expectServers("a stub without what is behind", "["+resolvedStub+"]")
	write(behind, "10.0.0.4")
	expectServers("what is behind the stub", "[10.0.0.4]")
	write(behind, "10.0.0.55")
	expectServers("what is behind it changed", "[10.0.0.55]")
	// A link that leads elsewhere.
	check(os.Remove(conf))
	check(os.Symlink(behind, conf))
	expectServers("a link", "[10.0.0.55]")
	check(os.Remove(conf))
	expectServers("a file that went", "[]")
}
