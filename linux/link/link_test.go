package link

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/linux/netns"
)

// inside runs f with a socket in a network namespace of its own.
func inside(t *testing.T, f func(*Conn) error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	ns, err := netns.New(func(*os.File) error {
		c, err := Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return f(c)
	})
	if err != nil {
		t.Fatal(err)
	}
	ns.Close()
}

func TestABatchDoesEverything(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	inside(t, func(c *Conn) error {
		other, err := netns.New(nil)
		if err != nil {
			return err
		}
		defer other.Close()
		var b Batch
		b.Up("lo")
		b.AddBridge(Bridge{Name: "br0", MTU: 1400, MAC: mac})
		b.AddBridge(Bridge{Name: "br0", MTU: 1400, MAC: mac}) // there already
		b.Quiet("br0")
		b.Up("br0")
		b.Settle("br0")
		b.AddVeth(Veth{Host: "veth0", Peer: "eth0", PeerMAC: mac, MTU: 1400, NS: int(other.Fd())})
		if err := c.Apply(t.Context(), &b); err != nil {
			return err
		}
		br, err := Find("br0")
		if err != nil {
			return err
		}
		if index, err := c.Index("br0"); err != nil || index != br.Index {
			t.Errorf("index: %d, want %d: %v", index, br.Index, err)
		}
		if _, err := c.Index("nowhere"); !errors.Is(err, ErrNotFound) {
			t.Errorf("index of nothing: %v", err)
		}
		b = Batch{}
		b.Enslave("veth0", br.Index, Port{Isolated: true, Hairpin: true})
		b.AddAddress(br.Index, netip.MustParsePrefix("10.0.0.1/24"))
		b.AddAddress(br.Index, netip.MustParsePrefix("10.0.0.1/24"))
		b.AddAddress(br.Index, netip.MustParsePrefix("fd00::1/64"))
		b.SetDefaultRoute(br.Index, false, netip.MustParseAddr("10.0.0.2"))
		b.SetDefaultRoute(br.Index, false, netip.MustParseAddr("10.0.0.3"))
		port, err := Find("veth0")
		if err != nil {
			return err
		}
		b.Retire(port.Index)
		if err := c.Apply(t.Context(), &b); err != nil {
			return err
		}
		list, err := List()
		if err != nil {
			return err
		}
		for _, l := range list {
			if l.Name == "veth0" && (l.Master != br.Index || l.Kind != "veth" || l.Peer != 2) {
				t.Errorf("veth0: %+v", l)
			}
		}
		addrs, err := Addresses(br.Index)
		if err != nil {
			return err
		}
		for _, want := range []string{"10.0.0.1/24", "fd00::1/64"} {
			if !slices.Contains(addrs, netip.MustParsePrefix(want)) {
				t.Errorf("%s is not among %v", want, addrs)
			}
		}
		routes, err := Routes()
		if err != nil {
			return err
		}
		if !slices.Contains(routes, netip.MustParsePrefix("10.0.0.0/24")) || slices.ContainsFunc(routes, func(p netip.Prefix) bool { return p.Bits() == 0 }) {
			t.Errorf("routes: %v", routes)
		}
		err = netns.Do(other, func() error {
			eth, err := Find("eth0")
			if err == nil && (eth.MTU != 1400 || eth.MAC.String() != mac.String()) {
				t.Errorf("eth0: %+v", eth)
			}
			return err
		})
		if err != nil {
			return err
		}
		b = Batch{}
		b.DeleteAddress(br.Index, netip.MustParsePrefix("10.0.0.1/24"))
		b.DeleteAddress(br.Index, netip.MustParsePrefix("10.0.0.1/24"))
		b.Delete("veth0")
		b.Delete("veth0")
		b.Retire(port.Index)
		b.Delete("br0")
		return c.Apply(t.Context(), &b)
	})
}

func TestAnErrorSaysWhatFailed(t *testing.T) {
	inside(t, func(c *Conn) error {
		var b Batch
		b.Up("lo")
		b.Up("nowhere")
		b.SetMTU("lo", 1000)
		err := c.Apply(t.Context(), &b)
		if !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "switch on nowhere") {
			t.Errorf("got %v", err)
		}
		lo, err := Find("lo")
		if err != nil || lo.MTU != 1000 {
			t.Errorf("what follows a failure is not done: %+v %v", lo, err)
		}
		if _, err := Find("nowhere"); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if err := Sysctl("ipv4/nowhere", "1"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		c.Close()
		if err := c.Apply(t.Context(), &b); !errors.Is(err, unix.EBADF) {
			t.Errorf("after Close: %v", err)
		}
		return nil
	})
}

func TestAPairIsRemovedByOneEnd(t *testing.T) {
	inside(t, func(c *Conn) error {
		other, err := netns.New(nil)
		if err != nil {
			return err
		}
		defer other.Close()
		var b Batch
		b.AddBridge(Bridge{Name: "br0", MTU: 1500, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 7}})
		if err := c.Apply(t.Context(), &b); err != nil {
			return err
		}
		br, err := Find("br0")
		if err != nil {
			return err
		}
		for range 3 {
			var b Batch
			b.AddVeth(Veth{Host: "veth0", Peer: "eth0", PeerMAC: net.HardwareAddr{2, 0, 0, 0, 0, 8}, MTU: 1500, Master: br.Index, NS: int(other.Fd())})
			b.Up("veth0")
			if err := c.Apply(t.Context(), &b); err != nil {
				return err
			}
			for range 2 { // the second time it is not there
				if err := Remove(t.Context(), "veth0"); err != nil {
					return err
				}
			}
			if Exists("veth0") {
				t.Error("the end that was named is there")
			}
		}
		return Remove(t.Context(), "")
	})
}
