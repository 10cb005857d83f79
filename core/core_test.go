package core_test

import (
	"testing"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
)

func TestMoments(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"10m", "1h30m", "1700000000", "1700000000.5", "2026-01-02", "2026-01-02T03:04:05Z", "2026-01-02T03:04"} {
		if at, err := core.Moment(good); err != nil || at.IsZero() {
			t.Errorf("%s: %v, %v", good, at, err)
		}
	}
	for _, bad := range []string{"", "soon", "12:00", "-", "NaN", "1e300"} {
		if _, err := core.Moment(bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestConfinement(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options    []string
		privileged bool
		enabled    bool
		want       string
	}{
		"a host without AppArmor":                    {nil, false, false, ""},
		"nothing is named":                           {nil, false, true, core.AppArmorProfile},
		"privileged":                                 {nil, true, true, core.Unconfined},
		"a profile is named":                         {[]string{"apparmor=mine"}, false, true, "mine"},
		"privileged, and a profile is named":         {[]string{"apparmor=mine"}, true, true, "mine"},
		"none is wanted":                             {[]string{"apparmor=unconfined"}, false, true, core.Unconfined},
		"a profile is named where there can be none": {[]string{"apparmor:mine"}, false, false, "mine"},
	} {
		got, err := core.Confinement(&core.HostConfig{SecurityOpt: test.options, Privileged: test.privileged}, test.enabled)
		if err != nil || got != test.want {
			t.Errorf("%s: %q, want %q (%v)", name, got, test.want, err)
		}
	}
	if _, err := core.Confinement(&core.HostConfig{SecurityOpt: []string{"nonsense"}}, true); !errdefs.IsInvalidArgument(err) {
		t.Errorf("an option that is none: %v", err)
	}
}

// FuzzWords reads the words of clients that core knows how to read: what is refused is the client's mistake, and what a
// port is written as is read as that port again.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{"", "80", "80/udp", "99999", "80/tcp/udp", "0x50", "-1", "apparmor=", "seccomp:unconfined", "label=level:s0:c1,c2", "systempaths", "no-new-privileges:maybe", "1.", ".5", "1.9999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if port, err := core.ParsePort(s); err == nil {
			if again, err := core.ParsePort(port.String()); err != nil || again != port {
				t.Errorf("the port %q is %v, and %v when that is read (%v)", s, port, again, err)
			}
		} else if !errdefs.IsInvalidArgument(err) {
			t.Errorf("the port %q: %v", s, err)
		}
		if _, err := core.ParseSecurity([]string{s}); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("the option %q: %v", s, err)
		}
		if _, err := core.Moment(s); err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("the moment %q: %v", s, err)
		}
	})
}
