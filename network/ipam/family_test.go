package ipam

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func space(t *testing.T) *Space {
	t.Helper()
	s, err := NewSpace(append(Defaults(), Base{netip.MustParsePrefix("fd00::/48"), 64}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAFamilyGivesFromItsSubnetsInTurn(t *testing.T) {
	s := space(t)
	f, pools, err := s.Open(Wish{Pools: []core.IPPool{
		{Subnet: netip.MustParsePrefix("10.1.0.0/30")},
		{Subnet: netip.MustParsePrefix("fd01::/64")},
		{Subnet: netip.MustParsePrefix("10.2.0.0/24"), Range: netip.MustParsePrefix("10.2.0.128/31"), Gateway: netip.MustParseAddr("10.2.0.9"), Aux: map[string]netip.Addr{"printer": netip.MustParseAddr("10.2.0.128")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(pools[0].Gateway, pools[1].Gateway, pools[2].Gateway); got != "10.1.0.1 invalid IP 10.2.0.9" {
		t.Errorf("gateways: %s", got)
	}
	for _, want := range []string{"10.1.0.2/30 10.1.0.1", "10.2.0.129/24 10.2.0.9"} {
		address, gateway, err := f.Next()
		if got := fmt.Sprint(address, " ", gateway); err != nil || got != want {
			t.Errorf("got %s %v, want %s", got, err, want)
		}
	}
	if _, _, err := f.Next(); !errdefs.IsUnavailable(err) {
		t.Errorf("used up: %v", err)
	}
	// Outside of the range an address can be asked for.
	if address, gateway, err := f.Take(netip.MustParseAddr("10.2.0.5")); err != nil || address.String() != "10.2.0.5/24" || gateway.String() != "10.2.0.9" {
		t.Errorf("chosen: %v %v %v", address, gateway, err)
	}
	for ip, class := range map[string]func(error) bool{"10.2.0.5": errdefs.IsPermissionDenied, "10.2.0.128": errdefs.IsPermissionDenied, "10.3.0.1": errdefs.IsInvalidArgument, "fd01::5": errdefs.IsInvalidArgument} {
		if _, _, err := f.Take(netip.MustParseAddr(ip)); !class(err) {
			t.Errorf("%s: %v", ip, err)
		}
	}
	// The network, its broadcast, the gateway, the printer, and two containers; nothing of the range is left.
	if taken, free := f.Subnets()[1].Use(); taken != 6 || free != 0 {
		t.Errorf("use: %d taken, %d free", taken, free)
	}
	f.Release(netip.MustParseAddr("10.1.0.2"))
	if address, _, err := f.Next(); err != nil || address.String() != "10.1.0.2/30" {
		t.Errorf("released: %v %v", address, err)
	}
	f.Close()
	if again, _, err := s.Open(Wish{Pools: []core.IPPool{{Subnet: netip.MustParsePrefix("10.2.0.0/16")}}}); err != nil {
		t.Errorf("after Close: %v", err)
	} else {
		again.Close()
	}
}

func TestAFamilyThatCantBeTakesNothing(t *testing.T) {
	s := space(t)
	for what, pools := range map[string][]core.IPPool{
		"a gateway that an auxiliary address has": {{Subnet: netip.MustParsePrefix("10.1.0.0/24"), Gateway: netip.MustParseAddr("10.1.0.1"), Aux: map[string]netip.Addr{"a": netip.MustParseAddr("10.1.0.1")}}},
		"an auxiliary address outside":            {{Subnet: netip.MustParsePrefix("10.1.0.0/24"), Aux: map[string]netip.Addr{"a": netip.MustParseAddr("10.9.0.1")}}},
		"two that overlap":                        {{Subnet: netip.MustParsePrefix("10.1.0.0/24")}, {Subnet: netip.MustParsePrefix("10.1.0.0/16")}},
	} {
		if _, _, err := s.Open(Wish{Pools: pools}); err == nil {
			t.Errorf("%s: taken", what)
		}
		f, _, err := s.Open(Wish{Pools: []core.IPPool{{Subnet: netip.MustParsePrefix("10.1.0.0/16")}}})
		if err != nil {
			t.Errorf("%s left something: %v", what, err)
		}
		f.Close()
	}
}

func TestWithoutAGatewayNoneIsTaken(t *testing.T) {
	s := space(t)
	f, pools, err := s.Open(Wish{IPv6: true, NoGateway: true})
	if err != nil || len(pools) != 1 || pools[0].Gateway.IsValid() {
		t.Fatalf("%v %v", pools, err)
	}
	if address, gateway, err := f.Next(); err != nil || gateway.IsValid() || address.Addr() != f.Subnet().Addr().Next() {
		t.Errorf("%v %v %v", address, gateway, err)
	}
	if _, free := f.Subnets()[0].Use(); free != math.MaxUint64 {
		t.Errorf("free: %d", free)
	}
	var none *Family
	none.Release(f.Subnet().Addr())
	none.Close()
	if none.Subnet().IsValid() || none.Gateway().IsValid() || len(none.Subnets()) > 0 {
		t.Error("a family that is not there has something")
	}
}
