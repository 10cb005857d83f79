package define_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/engine/define"
)

func TestPublishedPortsComeAndGo(t *testing.T) {
	t.Parallel()
	type ports = map[core.Port][]core.PortBinding
	tcp := func(n uint16) core.Port { return core.Port{Number: n, Protocol: core.TCP} }
	any := func(list ...string) (b []core.PortBinding) {
		for _, port := range list {
			b = append(b, core.PortBinding{HostPort: port})
		}
		return b
	}
	lo := []core.PortBinding{{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "8080"}}
	for name, test := range map[string]struct {
		mode       string
		has        ports
		all        bool
		held       []core.PublishedPort
		come, gone ports
		want       string
		err        string
	}{
		"a port comes":                     {has: ports{tcp(80): any("8080")}, come: ports{tcp(80): any("8081")}, want: "map[80/tcp:[{invalid IP 8080} {invalid IP 8081}]] false"},
		"the first one":                    {come: ports{tcp(80): nil}, want: "map[80/tcp:[{invalid IP }]] false"},
		"one that is there":                {has: ports{tcp(80): any("8080")}, come: ports{tcp(80): any("8080")}, want: "map[80/tcp:[{invalid IP 8080}]] false"},
		"all of a port go":                 {has: ports{tcp(80): any("8080", "8081"), tcp(81): any("1")}, gone: ports{tcp(80): nil}, want: "map[81/tcp:[{invalid IP 1}]] false"},
		"one of two goes":                  {has: ports{tcp(80): any("8080", "8081")}, gone: ports{tcp(80): any("8080")}, want: "map[80/tcp:[{invalid IP 8081}]] false"},
		"an exchange":                      {has: ports{tcp(80): any("8080")}, gone: ports{tcp(80): any("8080")}, come: ports{tcp(80): lo}, want: "map[80/tcp:[{127.0.0.1 8080}]] false"},
		"one that the host chose":          {has: ports{tcp(80): any("", "9")}, held: []core.PublishedPort{{Port: tcp(80), HostPort: 32768}}, gone: ports{tcp(80): any("32768")}, want: "map[80/tcp:[{invalid IP 9}]] false"},
		"one of a range":                   {has: ports{tcp(80): any("9", "8000-8010")}, held: []core.PublishedPort{{Port: tcp(80), HostPort: 8003}}, gone: ports{tcp(80): any("8003")}, want: "map[80/tcp:[{invalid IP 9}]] false"},
		"one of all that are exposed":      {all: true, gone: ports{tcp(80): nil}, want: "map[443/tcp:[{invalid IP }]] false"},
		"one besides all that are exposed": {all: true, come: ports{tcp(90): any("90")}, want: "map[90/tcp:[{invalid IP 90}]] true"},
		"one that is not there":            {gone: ports{tcp(80): any("8080")}, err: "No public port '8080:80/tcp' published for web"},
		"a number of the host":             {has: ports{tcp(80): any("8080")}, gone: ports{tcp(8080): nil}, err: "No public port '8080/tcp' published for web (the host's port 8080 leads to 80/tcp: name it as 8080:80/tcp)"},
		"a wrong number":                   {come: ports{tcp(80): any("x")}, err: `invalid port specification: "x"`},
		"port 0":                           {come: ports{tcp(0): any("1")}, err: `invalid port specification: "0/tcp"`},
		"the host's network":               {mode: "host", come: ports{tcp(80): any("1")}, err: "conflicting options: port publishing and the host type network mode"},
		"another container's network":      {mode: "container:x", come: ports{tcp(80): any("1")}, err: "conflicting options: port publishing and the container type network mode"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &core.Container{Name: "web", Published: test.held}
			c.Host.PortBindings, c.Host.PublishAllPorts, c.Host.NetworkMode = test.has, test.all, test.mode
			c.Config.ExposedPorts = []core.Port{tcp(80), tcp(443)}
			before := fmt.Sprint(c.Host.PortBindings)
			next, err := define.Publish(c, test.come, test.gone)
			if err != nil || test.err != "" {
				if fmt.Sprint(err) != test.err {
					t.Errorf("error %v, want %s", err, test.err)
				}
				return
			}
			if got := fmt.Sprint(next.Host.PortBindings, next.Host.PublishAllPorts); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if after := fmt.Sprint(c.Host.PortBindings); after != before {
				t.Errorf("the container itself was changed to %s", after)
			}
			if test.come[tcp(90)] != nil && len(next.Config.ExposedPorts) != 3 {
				t.Errorf("exposed: %v", next.Config.ExposedPorts)
			}
		})
	}
}
