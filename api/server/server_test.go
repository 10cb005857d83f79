package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-engine/berth/core"
)

func TestEachEndpointDecodesItsRequestAndMakesOneCall(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, path, body string
		status             int
		call               string
	}{
		{"POST", "/v1.44/containers/create?name=web&platform=linux/arm64", `{"Image":"busybox","Cmd":["true"]}`, 201, `create "web" image=busybox cmd=["true"] platform=linux/arm64 net=bridge`},
		{"POST", "/containers/create", `{"Image":"a","Cmd":"ls"}`, 201, `create "" image=a cmd=["ls"] platform=/ net=bridge`},
		{"GET", "/v1.56/containers/json?all=1&limit=3&size=true&filters=%7B%22label%22%3A%5B%22a%22%5D%7D", "", 200, "list all=true limit=3 size=true filters=map[label:[a]]"},
		{"GET", "/containers/json?filters=%7B%22label%22%3A%7B%22b%22%3Atrue%2C%22a%22%3Atrue%7D%7D&before=x", "", 200, "list all=false limit=0 size=false filters=map[before:[x] label:[a b]]"},
		{"GET", "/containers/web/json?size=1", "", 200, "inspect web size=true"},
		{"GET", "/containers//web/json", "", 200, "inspect web size=false"},
		{"POST", "/containers/web/start", "", 204, "start web"},
		{"POST", "/containers/web/stop?t=5&signal=INT", "", 204, `stop web signal="INT" timeout=5`},
		{"POST", "/v1.41/containers/web/stop?signal=INT", "", 204, `stop web signal="" timeout=default`},
		{"POST", "/containers/web/restart?t=-1", "", 204, `restart web signal="" timeout=-1`},
		{"POST", "/containers/web/kill?signal=HUP", "", 204, "kill web HUP"},
		{"POST", "/containers/web/pause", "", 204, "pause web"},
		{"POST", "/containers/web/unpause", "", 204, "unpause web"},
		{"POST", "/containers/web/rename?name=db", "", 204, "rename web db"},
		{"POST", "/containers/web/resize?h=24&w=80", "", 200, "resize web 24 80"},
		{"POST", "/containers/web/update", `{"PublishPorts":{"80/tcp":[{"HostPort":"8081"}]},"UnpublishPorts":{"443":[]}}`, 200,
			"update web publish=map[80/tcp:[{invalid IP 8081}]] unpublish=map[443/tcp:[]]"},
		{"POST", "/containers/web/update", `{"PublishPorts":{"80/tcp":[{"HostPort":"8081","HostIp":"nowhere"}]}}`, 400, ""},
		{"POST", "/containers/web/update", `{"Memory":9,"RestartPolicy":{"Name":"always"}}`, 200, "update web memory=9 policy=&{always 0}"},
		{"POST", "/containers/prune", "", 200, "prune map[]"},
		{"DELETE", "/containers/web?force=1&v=1", "", 204, "remove web {Force:true Volumes:true Link:false}"},
		{"GET", "/containers/web/top?ps_args=-ef", "", 200, `top web "-ef"`},
		{"GET", "/containers/web/logs?stdout=1&tail=5&since=1.5&until=2", "", 200, "logs web tail=5 follow=false since=1500000000 until=2000000000"},
		{"GET", "/containers/web/logs?stderr=1&tail=all&follow=1", "", 200, "logs web tail=-1 follow=true since=-6795364578871345152 until=-6795364578871345152"},
		{"POST", "/containers/web/exec", `{"Cmd":["sh"],"Tty":true}`, 201, `exec web ["sh"] tty=true`},
		{"POST", "/exec/e1/start", `{"Detach":true}`, 200, "exec start e1 {Detach:true Tty:false ConsoleSize:[0 0]}"},
		{"GET", "/exec/e1/json", "", 200, "exec inspect e1"},
		{"POST", "/exec/e1/resize?h=1&w=2", "", 200, "exec resize e1 1 2"},
		{"HEAD", "/containers/web/archive?path=/a%20b", "", 200, "stat web /a b"},
		{"GET", "/containers/web/archive?path=/a/.", "", 200, "archive web /a/."},
		{"PUT", "/containers/web/archive?path=/a&noOverwriteDirNonDir=true&copyUIDGID=1", "tar", 200, "extract web /a keep=true user=true tar"},
		{"PUT", "/containers/web/archive?path=/a", "tar", 200, "extract web /a keep=false user=false tar"},
		{"GET", "/containers/web/changes", "", 200, "changes web"},
		{"GET", "/containers/web/export", "", 200, "export web"},
		{"POST", "/commit?container=web&repo=a&tag=b&author=me&comment=c&changes=CMD+x&changes=USER+y", "", 201, `commit web a:b by me: c ["CMD x" "USER y"] user=the container's pause=true`},
		{"POST", "/commit?container=web&pause=0", `{"User":"you"}`, 201, `commit web  by :  [] user=you pause=false`},
		{"POST", "/commit?container=web", "null", 201, `commit web  by :  [] user=the container's pause=true`},
		{"GET", "/images/json?all=1&shared-size=1", "", 200, "images all=true shared=true filters=map[]"},
		{"GET", "/images/docker.io/library/busybox:latest/json", "", 200, "image docker.io/library/busybox:latest platform=/"},
		{"GET", "/images/busybox/json?platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22arm64%22%7D", "", 200, "image busybox platform=linux/arm64"},
		{"GET", "/images/a/b/history", "", 200, "history a/b platform=/"},
		{"POST", "/images/a/b/tag?repo=c&tag=d", "", 201, "tag a/b c:d"},
		{"DELETE", "/images/a/b?force=1&noprune=1", "", 200, "rmi a/b force=true prune=false"},
		{"POST", "/images/prune", "", 200, "images prune map[]"},
		{"POST", "/images/create?fromImage=busybox&tag=latest&platform=linux/amd64", "", 200, "pull busybox:latest platform=linux/amd64 all=false auth=nobody"},
		{"POST", "/images/create?fromImage=busybox&tag=sha256:12", "", 200, "pull busybox@sha256:12 platform=/ all=false auth=nobody"},
		{"POST", "/images/create?fromImage=host:5000/busybox", "", 200, "pull host:5000/busybox platform=/ all=true auth=nobody"},
		{"POST", "/images/create?fromSrc=-&repo=a&tag=b&changes=CMD+x", "tar", 200, "import tar {Ref:a:b Message:Imported from - Changes:[CMD x] Platform:/}"},
		{"POST", "/images/host:5000/a/push?tag=b", "", 200, "push host:5000/a:b platform=/ auth=nobody"},
		{"POST", "/images/load?quiet=0", "tar", 200, "load tar platform=/ quiet=false"},
		{"GET", "/images/get?names=a&names=b", "", 200, "save [a b] platform=/"},
		{"GET", "/images/x/a/get", "", 200, "save [x/a] platform=/"},
		{"POST", "/build?t=a&t=b&target=x&nocache=1&buildargs=%7B%22A%22%3Anull%7D", "tar", 200, "build tar tags=[a b] target=x nocache=true args=1 auth=0"},
		{"POST", "/build/cancel?id=7", "", 200, "build cancel 7"},
		{"POST", "/build/prune?all=1&reserved-space=9", "", 200, "build prune all=true keep=9 map[]"},
		{"POST", "/v1.47/build/prune?keep-storage=8&reserved-space=9", "", 200, "build prune all=false keep=8 map[]"},
		{"GET", "/networks", "", 200, "networks map[]"},
		{"GET", "/networks/bridge", "", 200, "network bridge"},
		{"POST", "/networks/create", `{"Name":"back","IPAM":{"Config":[{"Subnet":"10.1.0.0/16"}]}}`, 201, "network create back bridge v4=true v6=false pools=1"},
		{"POST", "/networks/back/connect", `{"Container":"web","EndpointConfig":{"Aliases":["w"],"IPAMConfig":{"IPv4Address":"10.1.0.9"}}}`, 200, "connect back web [w] 10.1.0.9"},
		{"POST", "/networks/back/disconnect", `{"Container":"web","Force":true}`, 200, "disconnect back web true"},
		{"DELETE", "/networks/back", "", 204, "network rm back"},
		{"POST", "/networks/prune", "", 200, "networks prune map[]"},
		{"GET", "/volumes", "", 200, "volumes map[]"},
		{"GET", "/volumes/data", "", 200, "volume data"},
		{"POST", "/volumes/create", `{"Name":"data","Driver":"local","DriverOpts":{"a":"b"},"Labels":{"c":"d"}}`, 201, "volume create data local map[a:b] map[c:d]"},
		{"POST", "/volumes/create", "", 201, "volume create   map[] map[]"},
		{"DELETE", "/volumes/data?force=1", "", 204, "volume rm data true"},
		{"POST", "/volumes/prune", "", 200, "volumes prune map[]"},
		{"POST", "/v1.41/volumes/prune", "", 200, "volumes prune map[all:[true]]"},
		{"GET", "/volumes/data/export?snapshot=one&compression=zstd", "", 200, "export data tag=one zstd"},
		{"POST", "/volumes/data/import?replace=1", "tar", 200, "import data tar true"},
		{"POST", "/volumes/data/clone?name=new&pause=0", "", 200, "clone data tag= new false"},
		{"POST", "/v1.40/volumes/data/rename?name=new", "", 204, "volume rename data new"},
		{"GET", "/volumes/data/snapshots", "", 200, "snapshots data"},
		{"POST", "/volumes/data/snapshots?tag=one", "", 200, "snapshot data one true"},
		{"DELETE", "/volumes/data/snapshots?tag=one", "", 204, "snapshot rm data one"},
		{"POST", "/volumes/data/rollback?tag=one", "", 200, "rollback data one"},
		{"PUT", "/volumes/data", "{}", 503, ""},
		{"GET", "/info", "", 200, "info"},
		{"GET", "/system/df?type=image&type=volume", "", 200, "df [image volume]"},
		{"POST", "/auth", `{"username":"me","serveraddress":"r"}`, 200, "login me r"},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			t.Parallel()
			j, ts := daemon(t)
			status, answer, _ := ask(t, ts, test.method, test.path, test.body)
			if status != test.status || j.last() != test.call {
				t.Errorf("status %d (want %d), call %q (want %q), answer %s", status, test.status, j.last(), test.call, answer)
			}
		})
	}
}

func TestBadRequestsAreAnsweredInDockersWords(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, path, body, contentType string
		status                                int
		message                               string
	}{
		{"a version that is too old", "GET", "/v1.10/info", "", "", 400, "client version 1.10 is too old. Minimum supported API version is 1.40, please upgrade your client to a newer version"},
		{"a version that is too new", "GET", "/v1.99/info", "", "", 400, "client version 1.99 is too new. Maximum supported API version is 1.56"},
		{"a version of another age", "GET", "/v2.0/info", "", "", 400, "client version 2.0 is too new. Maximum supported API version is 1.56"},
		{"no version at all", "GET", "/v1.x/info", "", "", 404, "page not found"},
		{"an unknown path", "GET", "/nonsense", "", "", 404, "page not found"},
		{"a known path with another method", "PUT", "/info", "", "", 404, "page not found"},
		{"an empty body", "POST", "/containers/create", "", "application/json", 400, "invalid JSON: got EOF while reading request body"},
		{"null", "POST", "/containers/create", "null", "application/json", 400, "config cannot be empty in order to create a container"},
		{"nothing in it", "POST", "/containers/create", "{}", "application/json", 400, "config cannot be empty in order to create a container"},
		{"half a document", "POST", "/containers/create", `{"Image":`, "application/json", 400, "invalid JSON: unexpected EOF"},
		{"two documents", "POST", "/containers/create", `{"Image":"a"}{}`, "application/json", 400, "unexpected content after JSON"},
		{"text", "POST", "/containers/create", `{"Image":"a"}`, "text/plain", 400, "unsupported Content-Type header (text/plain): must be 'application/json'"},
		{"a broken type", "POST", "/containers/create", `{"Image":"a"}`, "a b", 400, "malformed Content-Type header (a b): mime: expected slash after first token"},
		{"a field of the wrong type", "POST", "/containers/create", `{"Image":"a","HostConfig":{"Memory":"much"}}`, "application/json", 400, "invalid JSON: json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Resources.Memory of type int64"},
		{"a port that is none", "POST", "/containers/create", `{"Image":"a","ExposedPorts":{"http":{}}}`, "application/json", 400, "invalid JSON: invalid port 'http': invalid syntax"},
		{"a protocol that is none", "POST", "/containers/create", `{"Image":"a","ExposedPorts":{"80/http":{}}}`, "application/json", 400, "invalid proto: http"},
		{"a platform that is none", "POST", "/containers/create?platform=a/b/c/d", `{"Image":"a"}`, "application/json", 400, `"a/b/c/d": cannot parse platform specifier: invalid argument`},
		{"options of another mount", "POST", "/containers/create", `{"Image":"a","HostConfig":{"Mounts":[{"Type":"bind","VolumeOptions":{}}]}}`, "application/json", 400, `VolumeOptions must not be specified on mount type "bind"`},
		{"filters that are none", "GET", "/containers/json?filters=[", "", "", 400, "invalid filter"},
		{"a limit that is none", "GET", "/containers/json?limit=x", "", "", 400, `invalid value for limit: "x"`},
		{"a query that can't be read", "GET", "/system/df?type=%25zz%zz", "", "", 400, `invalid URL escape "%zz"`},
		{"no stream of a log", "GET", "/containers/web/logs", "", "", 400, "Bad parameters: you must choose at least one stream"},
		{"a time that is none", "GET", "/containers/web/logs?stdout=1&since=soon", "", "", 400, `invalid timestamp "soon": invalid syntax`},
		{"a size that is none", "POST", "/containers/web/resize?h=x&w=1", "", "", 400, `invalid resize height "x": invalid syntax`},
		{"a start with a body", "POST", "/containers/web/start", `{"Binds":[]}`, "application/json", 400, "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"},
		{"a condition that is none", "POST", "/containers/web/wait?condition=bored", "", "", 400, `invalid condition: "bored"`},
		{"an exec of nothing", "POST", "/containers/web/exec", `{}`, "application/json", 400, "No exec command specified"},
		{"events that end before they begin", "GET", "/events?since=20&until=10", "", "", 400, "`since` time (20) cannot be after `until` time (10)"},
		{"an object that takes no space", "GET", "/system/df?type=soul", "", "", 400, "unknown object type: soul"},
		{"an image without a name", "DELETE", "/images/%20", "", "", 400, "image name cannot be blank"},
		{"a tag of nothing", "POST", "/images/a/tag", "", "", 400, "invalid reference format"},
		{"build arguments that are none", "POST", "/build?buildargs=x", "", "", 400, "error reading build args: invalid character 'x' looking for beginning of value"},
		{"a swarm", "GET", "/swarm", "", "", 503, `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`},
		{"services", "GET", "/services", "", "", 503, `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`},
		{"what is not there yet", "GET", "/containers/a/checkpoints", "", "", 501, "Berth does not have checkpoints yet"},
		{"a copy of nothing", "GET", "/containers/a/archive", "", "", 400, "bad parameter: path cannot be empty"},
		{"a copy to nowhere", "PUT", "/containers/a/archive?path=", "", "", 400, "bad parameter: path cannot be empty"},
		{"a plugin", "GET", "/plugins/a/b/json", "", "", 404, `plugin "a/b" not found`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, ts := daemon(t)
			status, answer, _ := ask(t, ts, test.method, test.path, test.body, "Content-Type", test.contentType)
			want := fmt.Sprintf(`"message":%q`, test.message)
			if got := unquote(answer); status != test.status || got != test.message {
				t.Errorf("status %d (want %d), answer %s (want %s)", status, test.status, answer, want)
			}
		})
	}
}

func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	_, ts := daemon(t)
	body := `{"Image":"` + strings.Repeat("a", maxBody) + `"}`
	status, answer, _ := ask(t, ts, "POST", "/containers/create", body)
	if status != 400 || !strings.Contains(answer, "larger than") {
		t.Errorf("status %d, answer %.200s", status, answer)
	}
}

func TestClassesOfErrorsHaveTheirStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err    error
		status int
	}{
		{core.NoSuchContainer("web"), 404},
		{core.NameInUse("web", "c1"), 409},
		{core.Invalid("no"), 400},
		{core.Forbidden("no"), 403},
		{core.Unauthorized("no"), 401},
		{core.NotModified("so"), 304},
		{core.NotImplemented("no"), 501},
		{core.Unavailable("no"), 503},
		{core.Internal("no"), 500},
		{errors.New("no class"), 500},
		{fmt.Errorf("start: %w", core.NotRunning("c1")), 409},
		{core.Conflict("because: %w", core.NoSuchImage("a")), 409},
	}
	for _, test := range tests {
		t.Run(test.err.Error(), func(t *testing.T) {
			t.Parallel()
			j, ts := daemon(t)
			j.err = test.err
			status, answer, _ := ask(t, ts, "POST", "/containers/web/start", "")
			want := test.err.Error()
			if test.status == http.StatusNotModified {
				want = ""
			}
			if status != test.status || unquote(answer) != want {
				t.Errorf("status %d (want %d), answer %s", status, test.status, answer)
			}
		})
	}
}

func TestAPanicIsAnsweredAndTheDaemonLives(t *testing.T) {
	t.Parallel()
	j, ts := daemon(t)
	j.fatal = "boom"
	if status, answer, _ := ask(t, ts, "GET", "/info", ""); status != 500 || strings.Contains(answer, "boom") {
		t.Errorf("status %d, answer %s", status, answer)
	}
	if status, _, _ := ask(t, ts, "GET", "/_ping", ""); status != 200 {
		t.Errorf("status %d after a panic", status)
	}
}

func TestPingAndVersionSayWhatAClientNegotiatesWith(t *testing.T) {
	t.Parallel()
	_, ts := daemon(t)
	for _, method := range []string{"GET", "HEAD"} {
		status, answer, header := ask(t, ts, method, "/_ping", "")
		if status != 200 || method == "GET" && answer != "OK" {
			t.Errorf("%s: %d %q", method, status, answer)
		}
		for name, want := range map[string]string{
			"Api-Version": "1.56", "Builder-Version": "2", "Swarm": "inactive", "Docker-Experimental": "false",
			"Ostype": "linux", "Server": "Berth/1.2.3 (linux)", "Cache-Control": "no-cache, no-store, must-revalidate",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: header %s is %q, want %q", method, name, got, want)
			}
		}
	}
	_, answer, _ := ask(t, ts, "GET", "/v1.40/version", "")
	for _, want := range []string{`"ApiVersion":"1.56"`, `"MinAPIVersion":"1.40"`, `"Version":"1.2.3"`} {
		if !strings.Contains(answer, want) {
			t.Errorf("%s is not in %s", want, answer)
		}
	}
}

// unquote gives the message of an error.
func unquote(answer string) string {
	var body struct{ Message string }
	if err := jsonUnmarshal(answer, &body); err != nil {
		return ""
	}
	return body.Message
}
