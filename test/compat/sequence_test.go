package compat

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-engine/berth/test/daemon"
)

// TestGoldenEvents compares the events that commands of the genuine docker CLI make here, with their attributes and
// in their order, with those that they make at a genuine Docker 28.
func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	const file = "docker-28-events.txt"
	s := &suite{rootfs: daemon.RootFS(t)}
	s.docker, s.config = clients(t)
	if *record != "" {
		newSequence(s.on(t), *record).play().write(t, file)
		return
	}
	s.d = daemon.New(t, daemon.Options{Bin: daemon.Programs(t), Net: network, Number: 6})
	if err := s.d.Start(); err != nil {
		t.Fatal(err)
	}
	compare(t, newSequence(s.on(t), s.d.Socket).play(), readGolden(t, file), eventsThatStay)
}

// eventsThatStay are the differences from Docker 28.
var eventsThatStay = []accepted{
	{`^\d+ run -d with nothing to run: 02: missing`, "a container whose process can't be started was never told to be in its networks"},
	{`^\d+ image prune: 01: image delete`, "a build that is wholly cached makes an image of its own here, so that the one before is dangling"},
	{`^\d+ image prune: 0[12]: image prune`, "Docker's documentation has this event; Docker 28 forgets it with its containerd image store"},
	{`^\d+ system prune: 0[34]: `, "the same"},
}

// sequence plays commands against an engine and collects what happens.
type sequence struct {
	*peer
	cli   *cli
	marks int
}

func newSequence(c *cli, socket string) *sequence {
	c.host = "unix://" + socket
	return &sequence{peer: newPeer(c.t, socket), cli: c}
}

// act is a step of the play.
type act struct {
	title string
	args  []string
	code  int    // of the command's exit
	until string // an event, "container die", that the command does not wait for
	loose bool   // Docker's order is by chance
	after bool   // makes no sense when the act before it was refused
}

func acts(folder, registry string) []act {
	run := func(title string, args ...string) act { return act{title: title, args: args} }
	return []act{
		run("tag", "tag", "ev-base", "ev-other:v1"),
		run("untag", "rmi", "ev-other:v1"),
		run("save", "save", "-o", folder+"/saved.tar", "ev-base"),
		run("load", "load", "-i", folder+"/saved.tar"),
		run("push: tag", "tag", "ev-base", registry+"/ev-base"),
		run("push", "push", registry+"/ev-base"),
		run("rmi", "rmi", registry+"/ev-base"),
		run("pull", "pull", registry+"/ev-base"),
		run("pull again", "pull", registry+"/ev-base"),
		run("rmi of what was pulled", "rmi", registry+"/ev-base"),
		run("build", "build", "-q", "-t", "ev-built", folder),
		run("build again", "build", "-q", "-t", "ev-built", folder),
		run("rmi of what was built", "rmi", "ev-built"),
		run("builder prune", "builder", "prune", "-a", "-f"),

		run("network create", "network", "create", "--label", "sea=north", "ev-net"),
		run("volume create", "volume", "create", "--label", "sea=north", "ev-vol"),
		run("run --rm", "run", "--rm", "--name", "ev-brief", "ev-base", "true"),
		run("run --rm, network none", "run", "--rm", "--name", "ev-brief", "--network", "none", "ev-base", "sh", "-c", "exit 3").ends(3),
		run("create", "create", "--name", "ev-one", "--label", "fleet=ev", "--network", "ev-net", "-v", "ev-vol:/v", "-v", "/tmp:/host:ro", "ev-base", "sh", "-c", "trap 'exit 4' TERM; sleep 1000 & wait"),
		run("start", "start", "ev-one"),
		run("exec", "exec", "ev-one", "true"),
		run("exec that fails", "exec", "-e", "A=b", "ev-one", "sh", "-c", "exit 5").ends(5),
		run("exec of what is not there", "exec", "ev-one", "no-such-program").ends(127),
		run("exec -d", "exec", "-d", "ev-one", "true").waits("container exec_die"),
		run("top", "top", "ev-one"),
		run("stats", "stats", "--no-stream", "ev-one"),
		run("logs", "logs", "ev-one"),
		run("rename", "rename", "ev-one", "ev-two"),
		run("update", "update", "--cpu-shares", "100", "ev-two"),
		run("pause", "pause", "ev-two"),
		run("unpause", "unpause", "ev-two"),
		run("network connect", "network", "connect", "bridge", "ev-two"),
		run("network disconnect", "network", "disconnect", "bridge", "ev-two"),
		run("kill with a harmless signal", "kill", "-s", "WINCH", "ev-two"),
		run("restart", "restart", "ev-two").anyhow(),
		run("stop", "stop", "ev-two").anyhow(),
		run("stop again", "stop", "ev-two"),
		run("start again", "start", "ev-two"),
		run("kill", "kill", "ev-two").waits("container die"),
		run("commit", "commit", "ev-two", "ev-commit"),
		run("rmi of the commit", "rmi", "ev-commit").follows(),
		run("cp out", "cp", "ev-two:/bin/busybox", folder+"/copy"),
		run("cp in", "cp", folder+"/Dockerfile", "ev-two:/tmp/").follows(),
		run("diff", "diff", "ev-two"),
		run("export", "export", "-o", folder+"/export.tar", "ev-two"),
		run("connect of a stopped one", "network", "connect", "bridge", "ev-two"),
		run("disconnect of a stopped one", "network", "disconnect", "bridge", "ev-two"),
		run("rm", "rm", "ev-two"),
		run("run -d with nothing to run", "run", "-d", "--name", "ev-broken", "ev-base", "no-such-program").ends(127),
		run("rm of what never ran", "rm", "ev-broken"),
		run("run -d", "run", "-d", "--name", "ev-long", "ev-base", "sleep", "1000"),
		run("rm -f", "rm", "-f", "ev-long"),
		run("run with an anonymous volume", "run", "--rm", "--name", "ev-cargo", "-v", "/cargo", "ev-base", "true"),
		run("run with a restart policy", "run", "-d", "--name", "ev-again", "--restart", "on-failure:1", "--network", "none", "ev-base", "sh", "-c", "echo x >>/file; [ $(wc -l </file) = 1 ]; exit 6").waits("twice"),
		run("rm of it", "rm", "ev-again"),
		run("health", "run", "-d", "--name", "ev-well", "--network", "none", "--health-cmd", "test -e /tmp/ill || exit 0; exit 1", "--health-interval", "1h", "--health-start-interval", "100ms", "--health-start-period", "1m", "ev-base", "sleep", "1000").waits("container health_status: healthy"),
		run("rm of the healthy one", "rm", "-f", "ev-well"),
		run("create for prune", "create", "--name", "ev-old", "ev-base"),
		run("container prune", "container", "prune", "-f"),
		run("network rm", "network", "rm", "ev-net"),
		run("network create for prune", "network", "create", "ev-net"),
		run("network prune", "network", "prune", "-f"),
		run("volume rm", "volume", "rm", "ev-vol"),
		run("volume create for prune", "volume", "create", "ev-vol"),
		run("volume prune", "volume", "prune", "-a", "-f"),
		run("tag for prune", "tag", "ev-base", "ev-unused"),
		run("image prune", "image", "prune", "-f"),
		run("system prune", "system", "prune", "-f"),
		run("rmi of two names", "rmi", "ev-unused", "ev-base"),
	}
}

func (a act) ends(code int) act      { a.code = code; return a }
func (a act) waits(event string) act { a.until = event; return a }
func (a act) follows() act           { a.after = true; return a }
func (a act) anyhow() act            { a.loose = true; return a }

// play does it all and gives the events of each act.
func (q *sequence) play() golden {
	folder := write(q.T, map[string]string{"Dockerfile": "FROM ev-base\nRUN true\nLABEL sea=north\n"})
	g, refused := golden{}, ""
	c := q.cli
	all := append([]act{{title: "import", args: []string{"import", "-c", `CMD ["sh"]`, "-c", "ENV PATH=/bin", q.cli.rootfs, "ev-base"}}}, acts(folder, startRegistry(q.T))...)
	for i, a := range all {
		since, before := q.mark(), refused
		refused = ""
		title := fmt.Sprintf("%02d %s", i+1, a.title)
		if a.after && before != "" {
			g[title] = map[string]string{"message": before}
			continue
		}
		if got := c.feed("", a.args...); strings.Contains(got.stderr, notYet) {
			refused = got.stderr[strings.Index(got.stderr, notYet):]
			g[title] = map[string]string{"message": refused}
			continue
		} else if got.code != a.code {
			q.Errorf("docker %s: %+v", strings.Join(a.args, " "), got)
		}
		q.settle(since, a.until)
		lines := map[string]string{}
		events := q.events(since, q.mark())
		if a.loose {
			slices.Sort(events)
		}
		for n, event := range events {
			lines[fmt.Sprintf("%02d", n+1)] = event
		}
		g[title] = lines
	}
	return g
}

// mark makes an event that is no part of the play and gives its name.
func (q *sequence) mark() string {
	q.marks++
	name := fmt.Sprintf("mark-%d", q.marks)
	q.must(http.MethodPost, "/volumes/create", object{"Name": name}, nil)
	q.must(http.MethodDelete, "/volumes/"+name, nil, nil)
	return name
}

// settle waits for an event that comes when it comes.
func (q *sequence) settle(since, until string) {
	times := 1
	if until == "twice" {
		until, times = "container die", 2
	}
	if until == "" {
		return
	}
	kind, action, _ := strings.Cut(until, " ")
	q.follow(since, func(e event) bool {
		if e.Type == kind && e.Action == action {
			times--
		}
		return times > 0
	})
}

// event is what the API tells.
type event struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
}

// events gives what happened between two marks.
func (q *sequence) events(since, until string) (lines []string) {
	q.follow(since, func(e event) bool {
		if e.Actor.ID == until {
			return false
		}
		lines = append(lines, e.String())
		return true
	})
	return lines
}

// follow reads the events that come after a mark until more says no.
func (q *sequence) follow(since string, more func(event) bool) {
	q.Helper()
	request, err := http.NewRequestWithContext(q.Context(), http.MethodGet, "http://engine/events?since=1&filters="+url.QueryEscape("{}"), nil)
	if err != nil {
		q.Fatal(err)
	}
	answer, err := q.client.Do(request)
	if err != nil {
		q.Fatal(err)
	}
	defer answer.Body.Close()
	begun := false
	for values := json.NewDecoder(answer.Body); ; {
		var e event
		if err := values.Decode(&e); err != nil {
			q.Fatalf("the events end: %v", err)
		}
		switch {
		case e.Actor.ID == since:
			begun = e.Action == "destroy"
		case begun && !more(e):
			return
		}
	}
}

// loopback is the registry, whose port differs from run to run.
var loopback = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// String is an event as a line: "container start ID image=busybox name=web".
func (e event) String() string {
	line := e.Type + " " + e.Action + " " + e.Actor.ID
	for _, key := range slices.Sorted(maps.Keys(e.Actor.Attributes)) {
		value := e.Actor.Attributes[key]
		if key == "execDuration" || key == "reclaimed" {
			value = "N"
		}
		line += " " + key + "=" + value
	}
	return loopback.ReplaceAllString(withoutIDs(line), "REGISTRY")
}
