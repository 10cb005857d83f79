package files

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func content(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestResolvConf(t *testing.T) {
	host := Parse([]byte("# comment\n; another\nnameserver 127.0.0.1\nnameserver 192.0.2.53\nnameserver fd00::53\nnameserver garbage\nnameserver\nsearch a.example b.example\noptions ndots:2 rotate\nsortlist 192.0.2.0\n"))
	one := []netip.Addr{netip.MustParseAddr("10.0.0.53")}
	rest := "search a.example b.example\noptions ndots:2 rotate\nsortlist 192.0.2.0\n"
	for _, c := range []struct {
		what string
		conf ResolvConf
		want string
	}{
		{"as it is", host, "nameserver 127.0.0.1\nnameserver 192.0.2.53\nnameserver fd00::53\n" + rest},
		{"outside", host.Outside(false), "nameserver 192.0.2.53\n" + rest},
		{"outside with IPv6", host.Outside(true), "nameserver 192.0.2.53\nnameserver fd00::53\n" + rest},
		{"embedded", host.Embedded(netip.MustParseAddr("127.0.0.11")), "nameserver 127.0.0.11\n" + rest},
		{"embedded without options", ResolvConf{}.Embedded(netip.MustParseAddr("127.0.0.11")), "nameserver 127.0.0.11\noptions ndots:0\n"},
		{"nothing left", ResolvConf{}.Outside(false), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"},
		{"overridden", host.Override(one, []string{"."}, []string{"timeout:1"}), "nameserver 10.0.0.53\noptions timeout:1\nsortlist 192.0.2.0\n"},
	} {
		dir := t.TempDir()
		if err := c.conf.Write(dir); err != nil {
			t.Fatal(err)
		}
		if got := content(t, dir, "resolv.conf"); got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.what, got, c.want)
		}
	}
	if s := fmt.Sprint(host.Servers); s != "[127.0.0.1 192.0.2.53 fd00::53]" {
		t.Errorf("a variant changed the original: %s", s)
	}
}

func TestHostsAreRewrittenInPlace(t *testing.T) {
	dir := t.TempDir()
	if err := WriteHosts(dir, true, nil); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(dir, "hosts"))
	if err != nil {
		t.Fatal(err)
	}
	err = WriteHosts(dir, false, []Host{{netip.MustParseAddr("172.17.0.2"), "web.example web"}, {netip.Addr{}, "nobody"}})
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(dir, "hosts"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("another file took the place: %v", err)
	}
	if got := content(t, dir, "hosts"); got != "127.0.0.1\tlocalhost\n172.17.0.2\tweb.example web\n" {
		t.Error(got)
	}
	if err := WriteHostname(dir, "web"); err != nil || content(t, dir, "hostname") != "web\n" {
		t.Error(err)
	}
	if err := WriteHostHosts(dir, []Host{{netip.MustParseAddr("192.0.2.9"), "extra"}}); err != nil {
		t.Error(err)
	}
}
