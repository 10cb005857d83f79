package firewall

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/berth-engine/berth/linux/netns"
)

func TestApply(t *testing.T) {
	s := State{
		Networks: []Network{{Bridge: "berth0", Masquerade: true}, {Bridge: "br-1", Internal: true}},
		Publications: []Publication{
			{6, netip.IPv4Unspecified(), 8080, netip.MustParseAddrPort("172.17.0.2:80")},
			{17, netip.MustParseAddr("127.0.0.1"), 53, netip.MustParseAddrPort("172.17.0.2:53")},
			{6, netip.IPv6Unspecified(), 8080, netip.MustParseAddrPort("[fd00::2]:80")},
		},
	}
	fmt.Println(Tables("berth", s)[0])
	_, err := netns.New(func(*os.File) error {
		f, err := New("berth")
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Set(t.Context(), s); err != nil {
			return fmt.Errorf("set %w", err)
		}
		if err := f.Set(t.Context(), s); err != nil {
			return err
		}
		if err := f.Add(t.Context(), State{Networks: []Network{{Bridge: "x"}}}); err != nil {
			return fmt.Errorf("add %w", err)
		}
		if err := f.Delete(t.Context(), State{Networks: []Network{{Bridge: "x"}}}); err != nil {
			return err
		}
		out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
		fmt.Println(string(out))
		if err := f.Remove(t.Context()); err != nil {
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
