package option

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

func TestPorts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec, err string
		want      map[string]string // port to "address|host port"
	}{
		"a port alone is published where the host chooses": {spec: "80", want: map[string]string{"80/tcp": "|"}},
		"host and container":                           {spec: "8080:80", want: map[string]string{"80/tcp": "|8080"}},
		"UDP on one address":                           {spec: "127.0.0.1:53:5353/UDP", want: map[string]string{"5353/udp": "127.0.0.1|53"}},
		"an address without host port":                 {spec: "127.0.0.1::80", want: map[string]string{"80/tcp": "127.0.0.1|"}},
		"IPv6 in brackets":                             {spec: "[::1]:8080:80", want: map[string]string{"80/tcp": "::1|8080"}},
		"ranges of the same length":                    {spec: "8000-8001:80-81", want: map[string]string{"80/tcp": "|8000", "81/tcp": "|8001"}},
		"a range on the host for one port is a choice": {spec: "8000-8010:80", want: map[string]string{"80/tcp": "|8000-8010"}},
		"the long form":                                {spec: "published=8080,target=80,protocol=udp", want: map[string]string{"80/udp": "|8080"}},
		"ranges of different length are refused":       {spec: "8000-8001:80-85", err: "invalid ranges specified for container and host Ports: 80-85 and 8000-8001"},
		"a word is no port":                            {spec: "web", err: "invalid containerPort: web"},
		"nothing behind the colon":                     {spec: "8080:", err: "no port specified: 8080:<empty>"},
		"an unknown protocol":                          {spec: "80/quic", err: "invalid proto: quic"},
		"a name in place of an address":                {spec: "localhost:80:80", err: "invalid IP address: localhost"},
		"a port that is too high":                      {spec: "70000", err: "invalid containerPort: 70000"},
		"a host port that is a word":                   {spec: "x:80", err: "invalid hostPort: x"},
		"a range that runs backwards":                  {spec: "90-80", err: "invalid containerPort: 90-80"},
		"the long form without a target":               {spec: "published=80", err: "invalid port mapping: target is missing"},
		"the long form with an unknown key":            {spec: "foo=80", err: "invalid field key: foo"},
	} {
		exposed, bindings, err := Ports([]string{c.spec})
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error %v, want %q", name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := map[string]string{}
		for port, list := range bindings {
			if _, ok := exposed[port]; !ok {
				t.Errorf("%s: %s is published but not exposed", name, port)
			}
			address := ""
			if list[0].HostIP.IsValid() {
				address = list[0].HostIP.String()
			}
			got[port.String()] = address + "|" + list[0].HostPort
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func FuzzPorts(f *testing.F) {
	for _, seed := range []string{"80", "1-2:3-4/udp", "[::1]:1:2", "a=b,target=1", ":::", "65535-65535:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		exposed, bindings, err := Ports([]string{spec})
		if err == nil && len(exposed) != len(bindings) {
			t.Errorf("%q: %d exposed, %d bound", spec, len(exposed), len(bindings))
		}
	})
}

func TestMounts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec, err string
		check     func(mount.Mount) bool
	}{
		"a bind": {spec: "type=bind,src=/a,dst=/b,ro", check: func(m mount.Mount) bool {
			return m.Type == mount.TypeBind && m.Source == "/a" && m.Target == "/b" && m.ReadOnly
		}},
		"a volume without a type": {spec: "src=v,target=/b,volume-nocopy", check: func(m mount.Mount) bool { return m.Type == mount.TypeVolume && m.VolumeOptions.NoCopy }},
		"tmpfs with size and mode": {spec: "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770", check: func(m mount.Mount) bool {
			return m.TmpfsOptions.SizeBytes == 1<<20 && m.TmpfsOptions.Mode == 0o1770
		}},
		"options of another type are refused": {spec: "type=bind,src=/a,dst=/b,volume-nocopy", err: "cannot mix 'volume-*' options with mount type 'bind'"},
		"an unknown option":                   {spec: "type=bind,foo=1", err: "unknown option 'foo' in 'foo=1'"},
		"a key without a value":               {spec: "type", err: "invalid field 'type' must be a key=value pair"},
		"a value that is no truth":            {spec: "dst=/b,ro=maybe", err: `invalid value for 'ro': invalid boolean value ("maybe"): must be one of "true", "1", "false", or "0" (default "true")`},
		"nothing":                             {spec: " ", err: "value is empty"},
	} {
		var m Mounts
		err := m.Set(c.spec)
		switch {
		case c.err != "":
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error %v, want %q", name, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case !c.check(m.Values[0]):
			t.Errorf("%s: %+v", name, m.Values[0])
		}
	}
}

func TestVolumes(t *testing.T) {
	t.Parallel()
	here, err := filepath.Abs("./x")
	if err != nil {
		t.Fatal(err)
	}
	binds, anonymous, err := Volumes([]string{"/data", "name:/b", "/a:/b:ro", "./x:/y"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"name:/b", "/a:/b:ro", here + ":/y"}; !reflect.DeepEqual(binds, want) {
		t.Errorf("binds %v, want %v", binds, want)
	}
	if _, ok := anonymous["/data"]; !ok || len(anonymous) != 1 {
		t.Errorf("anonymous %v", anonymous)
	}
	for _, bad := range []string{"", ":/x", "/a:", "/a:/b:ro:z"} {
		if _, _, err := Volumes([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	var n Networks
	for _, text := range []string{"front", "name=back,alias=db,alias=sql,ip=10.0.0.9,driver-opt=a=b,gw-priority=-1"} {
		if err := n.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if n.Mode() != "front" {
		t.Errorf("mode %q", n.Mode())
	}
	back := n.Values[1]
	if back.Target != "back" || len(back.Aliases) != 2 || back.IPv4.String() != "10.0.0.9" || back.DriverOpts["a"] != "b" || back.GwPriority != -1 {
		t.Errorf("%+v", back)
	}
	for bad, want := range map[string]string{
		"alias=x":         "network name/id is not specified",
		"name=x,foo=1":    "invalid field key foo",
		"name=x,ip=1.2.3": `ParseAddr("1.2.3"): IPv4 address too short`,
	} {
		if err := n.Set(bad); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %q", bad, err, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("BERTH_TEST_SET", "from here")
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("\xef\xbb\xbf# comment\n\nA=1\n  B= two \nBERTH_TEST_SET\nBERTH_TEST_UNSET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Environment([]string{file}, []string{"C=3"})
	if want := []string{"A=1", "B= two ", "BERTH_TEST_SET=from here", "C=3"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if err := os.WriteFile(file, []byte("A B=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Environment([]string{file}, nil); err == nil || err.Error() != "variable 'A B' contains whitespaces" {
		t.Errorf("error %v", err)
	}
	if got, err := CheckEnv("BERTH_TEST_SET"); err != nil || got != "BERTH_TEST_SET=from here" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := CheckEnv("=x"); err == nil || err.Error() != "invalid environment variable: =x" {
		t.Errorf("error %v", err)
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	nodes, cdi, err := Devices([]string{"/dev/null", "/dev/null:/dev/x", "/dev/null:r", "/dev/null:/dev/y:rw", "vendor.com/gpu=all"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range nodes {
		got = append(got, n.PathInContainer+" "+n.CgroupPermissions)
	}
	if want := []string{"/dev/null rwm", "/dev/x rwm", "/dev/null r", "/dev/y rw"}; !reflect.DeepEqual(got, want) || cdi[0] != "vendor.com/gpu=all" {
		t.Errorf("%q %q", got, cdi)
	}
	for _, bad := range []string{"", "/a:/b:rrw", "/a:/b:rw:x", "/a:b"} {
		if _, _, err := Devices([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for text, ok := range map[string]bool{"c 1:3 rwm": true, "a *:* r": true, "x 1:3 r": false, "c 1 r": false, "c 1:x r": false} {
		if _, err := CheckDeviceRule(text); (err == nil) != ok {
			t.Errorf("rule %q: %v", text, err)
		}
	}
}

func TestSecurityOptions(t *testing.T) {
	t.Parallel()
	profile := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(profile, []byte("{\n \"a\": 1 }"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := SecurityOptions([]string{"no-new-privileges", "label=disable", "seccomp=unconfined", "seccomp=" + profile, "systempaths=unconfined"})
	want := []string{"no-new-privileges", "label=disable", "seccomp=unconfined", `seccomp={"a":1}`, "systempaths=unconfined"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	rest, masked, readonly := SystemPaths(got)
	if len(rest) != 4 || masked == nil || readonly == nil {
		t.Errorf("%q %v %v", rest, masked, readonly)
	}
	if _, err := SecurityOptions([]string{"nonsense"}); err == nil || !strings.Contains(err.Error(), "invalid --security-opt") {
		t.Errorf("error %v", err)
	}
}

func TestSmallValues(t *testing.T) {
	t.Parallel()
	var cpus CPUs
	if err := cpus.Set("1.5"); err != nil || cpus != 1_500_000_000 {
		t.Errorf("cpus %d, %v", cpus, err)
	}
	if err := cpus.Set("0.0000000001"); err == nil {
		t.Error("too precise a number was taken")
	}
	swap := Bytes{Unlimited: true}
	if err := swap.Set("-1"); err != nil || swap.Value != -1 {
		t.Errorf("swap %v, %v", swap, err)
	}
	var memory Bytes
	if err := memory.Set("64m"); err != nil || memory.Value != 64<<20 {
		t.Errorf("memory %v, %v", memory, err)
	}
	if p, err := RestartPolicy("on-failure:3"); err != nil || p.Name != "on-failure" || p.MaximumRetryCount != 3 {
		t.Errorf("policy %v, %v", p, err)
	}
	if _, err := RestartPolicy("on-failure:x"); err == nil {
		t.Error("a word was taken for a number")
	}
	var gpus GPUs
	if err := gpus.Set(`"device=0,1",driver=nvidia`); err != nil || len(gpus.Values[0].DeviceIDs) != 2 {
		t.Errorf("gpus %v, %v", gpus.Values, err)
	}
	var filters Filters
	if err := filters.Set("Status = running"); err != nil || filters.Encode() != `{"status":{"running":true}}` {
		t.Errorf("filters %s, %v", filters.Encode(), err)
	}
	for text, want := range map[string]string{"db:10.0.0.1": "db:10.0.0.1", "db=[::1]": "db:::1", "gw:host-gateway": "gw:host-gateway"} {
		if got, err := CheckHost(text); err != nil || got != want {
			t.Errorf("host %q: %q, %v", text, got, err)
		}
	}
	if _, err := network.ParsePort("80"); err != nil {
		t.Error(err)
	}
}

func TestTimestamp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for text, want := range map[string]string{
		"5s":                   "1767323040.000000006",
		"2026-01-02T03:04:05Z": "1767323045.000000000",
		"2026-01-02":           "1767312000.000000000",
		"1767323045.5":         "1767323045.5",
		"0":                    "0",
	} {
		if got, err := Timestamp(text, now); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	if _, err := Timestamp("yesterday", now); err == nil {
		t.Error("a word was taken for a time")
	}
}
