package compat

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/test/daemon"
)

// TestGoldenShapes compares what the API answers with what a genuine Docker 28 does: field names, JSON types, and
// whether what is empty is null, [] or {}; of errors the sentences.
func TestGoldenShapes(t *testing.T) {
	t.Parallel()
	const file = "docker-28-shapes.txt"
	if *record != "" {
		photograph(newPeer(t, *record)).write(t, file)
		return
	}
	d := daemon.New(t, daemon.Options{Bin: daemon.Programs(t), Net: network, Number: 5})
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	compare(t, photograph(newPeer(t, d.Socket)), readGolden(t, file), shapesThatStay)
}

// shapesThatStay are the differences from Docker 28.
var shapesThatStay = []accepted{
	{`\.HostConfig\.PortBindings: {}, Docker has null`, "an empty object, as the docker CLI makes it: who reads it need not look for null"},
	{`\.Config\.ArgsEscaped: bool`, "our /build is BuildKit's frontend, which notes it for Linux too, as Docker's BuildKit does"},
	{`create: a body that is no JSON: message: `, "the name of a type in the program is no part of the answer"},
	{`disconnect again: status: 403 `, "Docker answers 500 although the client is wrong"},
	{`unpause again: `, "Docker answers 500 although the client is wrong, with one of two sentences"},
	{` info: \.(Containerd|KernelMemory)`, "there is no containerd beside Berth, and no limit of kernel memory"},
	{` info: \.(ContainerdCommit|InitCommit)\.Expected: string`, "Debian's build of Docker does not know these commits"},
	{` info: \.Runtimes\.`, "runtimes have other names here, and do not list their features"},
	{` info: \.CDISpecDirs`, "depends on the configuration"},
	{`prune images: \.ImagesDeleted\[\]\.Untagged: missing`, "Docker shows the private name of an image without a name"},
	{` stats: \.(id|name): string, Docker has none`, "Docker forgets them in a measurement that is not repeated"},
	{` stats: \.memory_stats\.stats\.`, "what the kernel tells, not a fixed selection of it"},
	{` system df.*: \.BuildCache`, "our /build keeps its steps in the build cache"},
	{` system df: \.Containers\[\]\.ImageManifestDescriptor`, "Docker shows it in ps only"},
	{`v1\.4[04] system df: \.Containers\[\]\.HostConfig\.Annotations`, "no field of that version"},
	{`v1\.4[04] system df: \.Images\[\]\.Descriptor`, "no field of that version"},
}

// photograph makes objects of every kind, asks for everything that describes them, and removes them again.
func photograph(p *peer) golden {
	s := &scene{peer: p, shapes: golden{}}
	s.build()
	s.look("v1.51")
	for _, old := range []string{"v1.44", "v1.40"} {
		s.look(old)
	}
	s.change()
	s.clear()
	return s.shapes
}

// scene is a peer and what was seen of it.
type scene struct {
	*peer
	shapes golden
	execs  map[string]string // name → ID
}

type object = map[string]any

const (
	sceneNetwork = "gs-net"
	sceneVolume  = "gs-vol"
)

// build makes the objects.
func (s *scene) build() {
	rootfs, err := os.Open(daemon.RootFS(s.T))
	if err != nil {
		s.Fatal(err)
	}
	defer rootfs.Close()
	s.must(http.MethodPost, "/images/create?fromSrc=-&repo=gs-base&changes="+url.QueryEscape(`CMD ["sh"]`)+"&changes=ENV+PATH%3D%2Fbin", rootfs, nil)
	dockerfile := "FROM gs-base\nLABEL fleet=gs\nENV SEA=north\nEXPOSE 80/tcp\nVOLUME /cargo\nWORKDIR /home\nENTRYPOINT [\"sh\", \"-c\"]\nCMD [\"exec sleep 1000\"]\nHEALTHCHECK --interval=1h --start-interval=100ms --start-period=1h CMD true\nSTOPSIGNAL TERM\nUSER 0\n"
	s.must(http.MethodPost, "/build?t=gs-web", tarOf(s.T, "Dockerfile", dockerfile), nil)
	s.must(http.MethodPost, "/networks/create", object{"Name": sceneNetwork, "Labels": object{"fleet": "gs"}, "IPAM": object{"Config": []object{{"Subnet": "10.189.253.0/24", "Gateway": "10.189.253.1"}}}}, nil)
	s.must(http.MethodPost, "/networks/create", object{"Name": "gs-plain"}, nil)
	s.must(http.MethodPost, "/volumes/create", object{"Name": sceneVolume, "Labels": object{"fleet": "gs"}}, nil)
	s.must(http.MethodPost, "/volumes/create", object{"Name": "gs-plain"}, nil)

	s.container("gs-plain", object{"Image": "gs-base"})
	s.container("gs-run", object{
		"Image": "gs-base", "Cmd": []string{"sleep", "1000"}, "Labels": object{"fleet": "gs"}, "ExposedPorts": object{"80/tcp": object{}, "81/udp": object{}},
		"HostConfig": object{
			"PortBindings": object{"80/tcp": []object{{"HostIp": "127.0.0.1", "HostPort": ""}}}, "Binds": []string{sceneVolume + ":/v", "/tmp:/host:ro", "/nameless"},
		},
	})
	s.container("gs-exit", object{"Image": "gs-base", "Cmd": []string{"sh", "-c", "echo >/made; exit 3"}, "HostConfig": object{"NetworkMode": "none"}})
	s.container("gs-health", object{"Image": "gs-web"})
	s.container("gs-tty", object{
		"Image": "gs-base", "Cmd": []string{"sleep", "1000"}, "Tty": true, "OpenStdin": true, "MacAddress": "02:42:0a:bd:fd:09",
		"HostConfig":       object{"NetworkMode": sceneNetwork},
		"NetworkingConfig": object{"EndpointsConfig": object{sceneNetwork: object{"Aliases": []string{"friend"}, "IPAMConfig": object{"IPv4Address": "10.189.253.77"}}}},
	})
	s.container("gs-host", object{"Image": "gs-base", "Cmd": []string{"sleep", "1000"}, "HostConfig": object{"NetworkMode": "host"}})
	s.container("gs-full", full())
	for _, name := range []string{"gs-run", "gs-exit", "gs-health", "gs-tty", "gs-host"} {
		s.must(http.MethodPost, "/containers/"+name+"/start", nil, nil)
	}
	s.must(http.MethodPost, "/containers/gs-exit/wait", nil, nil)
	s.await("/events?since=1&filters="+url.QueryEscape(`{"container":["gs-health"],"event":["health_status"]}`), "healthy")
	s.execs = map[string]string{}
	for name, start := range map[string]bool{"created": false, "ended": true} {
		var made struct{ ID string }
		s.must(http.MethodPost, "/containers/gs-run/exec", object{"Cmd": []string{"sh", "-c", "exit 2"}, "AttachStdout": true, "Env": []string{"A=b"}, "User": "0"}, &made)
		if start {
			s.must(http.MethodPost, "/exec/"+made.ID+"/start", object{}, nil)
		}
		s.execs[name] = made.ID
	}
}

// full is a container with every option that is not refused on a machine without special devices.
func full() object {
	return object{
		"Image": "gs-base", "Cmd": []string{"true"}, "Entrypoint": []string{"/bin/env"}, "Hostname": "ship", "Domainname": "sea", "User": "0:0", "WorkingDir": "/tmp",
		"Env": []string{"A=b"}, "Labels": object{"x": "y"}, "StopSignal": "INT", "StopTimeout": 3, "Volumes": object{"/data": object{}}, "AttachStdout": true,
		"Healthcheck": object{"Test": []string{"CMD", "true"}, "Interval": 1e9, "Timeout": 1e9, "Retries": 2, "StartPeriod": 1e9},
		"HostConfig": object{
			"CapAdd": []string{"NET_ADMIN"}, "CapDrop": []string{"CHOWN"}, "Dns": []string{"1.1.1.1"}, "DnsOptions": []string{"ndots:1"}, "DnsSearch": []string{"sea"},
			"ExtraHosts": []string{"a:1.2.3.4"}, "GroupAdd": []string{"7"}, "IpcMode": "private", "PidMode": "host", "UTSMode": "", "CgroupnsMode": "private", "OomScoreAdj": 100,
			"ReadonlyRootfs": true, "SecurityOpt": []string{"no-new-privileges"}, "Tmpfs": object{"/run": "size=1m"}, "ShmSize": 1 << 20, "Sysctls": object{"net.ipv4.ip_forward": "1"},
			"Memory": 64 << 20, "MemoryReservation": 32 << 20, "NanoCpus": 500_000_000, "CpuShares": 512, "PidsLimit": 50, "BlkioWeight": 0, "Init": true,
			"Ulimits": []object{{"Name": "nofile", "Soft": 100, "Hard": 200}}, "LogConfig": object{"Type": "json-file", "Config": object{"max-size": "1m"}},
			"RestartPolicy": object{"Name": "on-failure", "MaximumRetryCount": 2}, "Devices": []object{{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "rwm"}},
			"DeviceCgroupRules": []string{"c 1:3 rwm"}, "PublishAllPorts": true, "Annotations": object{"n": "o"},
			"Mounts": []object{{"Type": "volume", "Source": sceneVolume, "Target": "/m", "ReadOnly": true}, {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": object{"SizeBytes": 1 << 20}}, {"Type": "bind", "Source": "/tmp", "Target": "/b"}},
		},
	}
}

func (s *scene) container(name string, definition object) {
	s.Helper()
	s.must(http.MethodPost, "/v1.51/containers/create?name="+name, definition, nil)
}

// see keeps the shape of one answer.
func (s *scene) see(title, method, path string, body any) reply {
	s.Helper()
	got := s.ask(method, path, body)
	s.shapes[title] = shapeOf(s.T, got)
	return got
}

// only is a query that selects one object by name.
func only(key, name string) string {
	return "filters=" + url.QueryEscape(fmt.Sprintf(`{%q:[%q]}`, key, name))
}

// look asks for what there is in one version.
func (s *scene) look(version string) {
	for _, name := range []string{"gs-plain", "gs-run", "gs-exit", "gs-health", "gs-tty", "gs-host", "gs-full"} {
		s.see(version+" container inspect "+name, http.MethodGet, "/"+version+"/containers/"+name+"/json", nil)
		s.see(version+" ps "+name, http.MethodGet, "/"+version+"/containers/json?all=1&"+only("name", "^/"+name+"$"), nil)
	}
	for title, path := range map[string]string{
		"container inspect with size": "/containers/gs-exit/json?size=1",
		"ps with size":                "/containers/json?all=1&size=1&" + only("name", "^/gs-exit$"),
		"ps of nothing":               "/containers/json?" + only("name", "nobody"),
		"images":                      "/images/json?" + only("reference", "gs-base"),
		"images of a build":           "/images/json?" + only("reference", "gs-web"),
		"images of nothing":           "/images/json?" + only("reference", "nobody"),
		"image inspect, import":       "/images/gs-base/json",
		"image inspect, build":        "/images/gs-web/json",
		"image history":               "/images/gs-web/history",
		"networks of nothing":         "/networks?" + only("name", "nobody"),
		"network bridge":              "/networks/bridge",
		"network none":                "/networks/none",
		"network in use":              "/networks/" + sceneNetwork,
		"network in use, verbose":     "/networks/" + sceneNetwork + "?verbose=1",
		"network plain":               "/networks/gs-plain",
		"networks":                    "/networks?" + only("name", "gs-"),
		"volume":                      "/volumes/" + sceneVolume,
		"volume plain":                "/volumes/gs-plain",
		"volumes":                     "/volumes?" + only("name", "gs-"),
		"volumes of nothing":          "/volumes?" + only("name", "nobody"),
		"info":                        "/info",
		"version":                     "/version",
		"system df":                   "/system/df",
		"exec inspect, created":       "/exec/" + s.execs["created"] + "/json",
		"exec inspect, ended":         "/exec/" + s.execs["ended"] + "/json",
		"top":                         "/containers/gs-run/top",
		"top with options":            "/containers/gs-run/top?ps_args=aux",
		"changes":                     "/containers/gs-exit/changes",
		"changes of none":             "/containers/gs-plain/changes",
		"stats":                       "/containers/gs-run/stats?stream=0&one-shot=1",
		"stats of one that ended":     "/containers/gs-exit/stats?stream=0",
		"events of a container":       "/events?since=1&until=4102444800&" + only("container", "gs-run"),
		"events of a network":         "/events?since=1&until=4102444800&" + only("network", sceneNetwork),
		"events of a volume":          "/events?since=1&until=4102444800&" + only("volume", sceneVolume),
		"swarm":                       "/swarm",
		"plugins":                     "/plugins",
		"no such container":           "/containers/nobody/json",
		"no such image":               "/images/nobody/json",
		"no such network":             "/networks/nobody",
		"no such volume":              "/volumes/nobody",
		"no such exec":                "/exec/nobody/json",
		"no such page":                "/nowhere",
		"a filter that is none":       "/containers/json?" + only("colour", "red"),
		"a filter that can't be read": "/containers/json?filters=red",
		"logs of no stream":           "/containers/gs-run/logs",
		"images filter that is none":  "/images/json?" + only("colour", "red"),
		"networks filter of none":     "/networks?" + only("colour", "red"),
		"volumes filter of none":      "/volumes?" + only("colour", "red"),
		"status that is none":         "/containers/json?" + only("status", "asleep"),
		"before nobody":               "/containers/json?" + only("before", "nobody"),
	} {
		if strings.HasPrefix(title, "events") {
			path = strings.Replace(path, "until=4102444800", "until="+stampNow(), 1)
		}
		s.see(version+" "+title, http.MethodGet, "/"+version+path, nil)
	}
}

// change makes what describes itself in the answer, and what is refused.
func (s *scene) change() {
	const v = "/v1.51"
	post, del := http.MethodPost, http.MethodDelete
	for _, step := range []struct {
		title, method, path string
		body                any
	}{
		{"create a container", post, "/containers/create?name=gs-more", object{"Image": "gs-base", "Cmd": []string{"sleep", "1000"}}},
		{"create: the name is taken", post, "/containers/create?name=gs-more", object{"Image": "gs-base"}},
		{"create: no image", post, "/containers/create", object{}},
		{"create: no such image", post, "/containers/create", object{"Image": "nobody"}},
		{"create: no command", post, "/containers/create?name=gs-mute", object{"Image": "gs-base", "Cmd": []string{}, "Entrypoint": []string{""}}},
		{"create: a bad name", post, "/containers/create?name=a+b", object{"Image": "gs-base"}},
		{"create: a body that is no JSON", post, "/containers/create", "x"},
		{"start", post, "/containers/gs-more/start", nil},
		{"start again", post, "/containers/gs-more/start", nil},
		{"start nobody", post, "/containers/nobody/start", nil},
		{"update", post, "/containers/gs-more/update", object{"CpuShares": 100}},
		{"pause", post, "/containers/gs-more/pause", nil},
		{"pause again", post, "/containers/gs-more/pause", nil},
		{"exec in a paused one", post, "/containers/gs-more/exec", object{"Cmd": []string{"true"}}},
		{"remove a paused one", del, "/containers/gs-more", nil},
		{"unpause", post, "/containers/gs-more/unpause", nil},
		{"unpause again", post, "/containers/gs-more/unpause", nil},
		{"exec create", post, "/containers/gs-more/exec", object{"Cmd": []string{"true"}}},
		{"exec without a command", post, "/containers/gs-more/exec", object{}},
		{"exec in one that ended", post, "/containers/gs-exit/exec", object{"Cmd": []string{"true"}}},
		{"start no exec", post, "/exec/nobody/start", object{}},
		{"kill with a signal that is none", post, "/containers/gs-more/kill?signal=SIGNOPE", nil},
		{"kill one that ended", post, "/containers/gs-exit/kill", nil},
		{"rename to a taken name", post, "/containers/gs-more/rename?name=gs-run", nil},
		{"rename to nothing", post, "/containers/gs-more/rename", nil},
		{"resize", post, "/containers/gs-more/resize?h=20", nil},
		{"remove a running one", del, "/containers/gs-more", nil},
		{"stop", post, "/containers/gs-more/stop?t=0", nil},
		{"stop again", post, "/containers/gs-more/stop", nil},
		{"wait", post, "/containers/gs-exit/wait", nil},
		{"wait with a condition that is none", post, "/containers/gs-exit/wait?condition=never", nil},
		{"remove", del, "/containers/gs-more", nil},
		{"remove again", del, "/containers/gs-more", nil},
		{"top of one that ended", http.MethodGet, "/containers/gs-exit/top", nil},
		{"create a network", post, "/networks/create", object{"Name": "gs-more"}},
		{"create a network again", post, "/networks/create", object{"Name": "gs-more"}},
		{"remove a network in use", del, "/networks/" + sceneNetwork, nil},
		{"remove the bridge", del, "/networks/bridge", nil},
		{"connect", post, "/networks/gs-more/connect", object{"Container": "gs-run"}},
		{"connect again", post, "/networks/gs-more/connect", object{"Container": "gs-run"}},
		{"connect nobody", post, "/networks/gs-more/connect", object{"Container": "nobody"}},
		{"disconnect", post, "/networks/gs-more/disconnect", object{"Container": "gs-run"}},
		{"disconnect again", post, "/networks/gs-more/disconnect", object{"Container": "gs-run"}},
		{"remove a network", del, "/networks/gs-more", nil},
		{"create a volume", post, "/volumes/create", object{"Name": "gs-more", "DriverOpts": object{"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}},
		{"inspect a volume with options", http.MethodGet, "/volumes/gs-more", nil},
		{"create a volume with a bad name", post, "/volumes/create", object{"Name": "a b"}},
		{"remove a volume in use", del, "/volumes/" + sceneVolume, nil},
		{"remove a volume", del, "/volumes/gs-more", nil},
		{"tag", post, "/images/gs-base/tag?repo=gs-more&tag=v1", nil},
		{"tag nobody", post, "/images/nobody/tag?repo=gs-more", nil},
		{"tag with a bad name", post, "/images/gs-base/tag?repo=A", nil},
		{"untag", del, "/images/gs-more:v1", nil},
		{"remove an image in use", del, "/images/gs-web", nil},
		{"remove no image", del, "/images/nobody", nil},
		{"prune: a filter that is none", post, "/containers/prune?" + only("colour", "red"), nil},
		{"prune containers: nothing", post, "/containers/prune?" + only("label", "nobody"), nil},
		{"prune images: nothing", post, "/images/prune?" + only("label", "nobody"), nil},
		{"prune networks: nothing", post, "/networks/prune?" + only("label", "nobody"), nil},
		{"prune volumes: nothing", post, "/volumes/prune?" + only("label", "nobody"), nil},
		{"prune the build cache: nothing", post, "/build/prune?" + only("until", "24h"), nil},
		{"prune images: a filter that is none", post, "/images/prune?" + only("colour", "red"), nil},
		{"prune networks: a filter that is none", post, "/networks/prune?" + only("colour", "red"), nil},
		{"prune volumes: a filter that is none", post, "/volumes/prune?" + only("colour", "red"), nil},
		{"prune: an until that is none", post, "/containers/prune?" + only("until", "soon"), nil},
	} {
		s.see("v1.51 "+step.title, step.method, v+step.path, step.body)
	}
	for _, name := range []string{"gs-run", "gs-health", "gs-tty", "gs-host"} {
		s.must(post, "/containers/"+name+"/stop?t=0", nil, nil)
	}
	s.see("v1.51 prune containers", post, v+"/containers/prune", nil)
	s.see("v1.51 prune networks", post, v+"/networks/prune", nil)
	s.see("v1.51 prune volumes", post, v+"/volumes/prune?"+only("all", "true"), nil)
	s.see("v1.51 remove an image", del, v+"/images/gs-web", nil)
	s.must(post, "/build?t=gs-web", tarOf(s.T, "Dockerfile", "FROM gs-base\nLABEL again=yes\nRUN true\n"), nil)
	s.must(post, "/images/gs-base/tag?repo=gs-web", nil, nil)
	s.see("v1.51 prune images", post, v+"/images/prune", nil)
	s.see("v1.51 ps, empty", http.MethodGet, v+"/containers/json", nil)
	s.see("v1.51 volumes, empty", http.MethodGet, v+"/volumes", nil)
	s.see("v1.51 system df of little", http.MethodGet, v+"/system/df", nil)
}

// clear removes the rest.
func (s *scene) clear() {
	for _, image := range []string{"gs-web", "gs-base"} {
		s.must(http.MethodDelete, "/images/"+image+"?force=1", nil, nil)
	}
	s.must(http.MethodPost, "/build/prune?all=1", nil, nil)
	s.see("v1.51 system df, empty", http.MethodGet, "/v1.51/system/df", nil)
	s.see("v1.51 images, empty", http.MethodGet, "/v1.51/images/json", nil)
}

// stampNow is this moment as a number, as the API wants it.
func stampNow() string {
	now := time.Now()
	return fmt.Sprintf("%d.%09d", now.Unix(), now.Nanosecond())
}

// tarOf is an archive of one file.
func tarOf(t *testing.T, name, content string) *bytes.Buffer {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return &archive
}
