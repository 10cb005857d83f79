package compat

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/berth-engine/berth/test/daemon"
)

// TestGoldenLists compares what the genuine docker CLI lists and prunes here, with filters of all kinds, with what it
// does at a genuine Docker 28.
func TestGoldenLists(t *testing.T) {
	t.Parallel()
	const file = "docker-28-lists.txt"
	s := &suite{rootfs: daemon.RootFS(t)}
	s.docker, s.config = clients(t)
	if *record != "" {
		s.host = "unix://" + *record
		s.on(t).lists().write(t, file)
		return
	}
	s.d = daemon.New(t, daemon.Options{Bin: daemon.Programs(t), Net: network, Number: 9})
	if err := s.d.Start(); err != nil {
		t.Fatal(err)
	}
	s.host = s.d.Host()
	compare(t, s.on(t).lists(), readGolden(t, file), listsThatStay)
}

// listsThatStay are the differences from Docker 28.
var listsThatStay = []accepted{
	{`filter health=starting: 01: ls-paused`, "a paused container has a health too"},
	{`images .* -a: 0[23]`, "a step of a build leaves no image"},
	{`network ls .*filter dangling=(true|false): `, "Docker takes a network for idle that a container runs in, and built-in ones for neither"},
	{`\d+ image prune -f: `, "a step of a build leaves no image"},
	{`system prune .*: `, "our /build keeps its steps in the build cache, which a system prune prunes"},
}

// amount is a size as the CLI prints it; how much something takes differs.
var amount = regexp.MustCompile(`\b[0-9.]+ ?[kMG]?B\b`)

// lists makes objects and lists them.
func (c *cli) lists() golden {
	c.furnish()
	g := golden{}
	note := func(args []string, got result) {
		lines := map[string]string{"code": fmt.Sprint(got.code)}
		text := got.stdout
		if got.code != 0 {
			text = got.stderr
		}
		for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
			if line == "" {
				continue
			}
			lines[fmt.Sprintf("%02d", i+1)] = amount.ReplaceAllString(withoutIDs(line), "SIZE")
		}
		g[fmt.Sprintf("%03d %s", len(g)+1, strings.Join(args, " "))] = lines
	}
	ask := func(args ...string) { note(args, c.feed("", args...)) }
	ps := func(args ...string) { ask(append([]string{"ps", "--format", "{{.Names}}"}, args...)...) }
	for _, filter := range []string{
		"ancestor=ls-base", "ancestor=ls-child", "ancestor=ls-base:latest", "ancestor=nobody", "before=ls-run", "since=ls-run", "before=nobody", "exited=0", "exited=3", "exited=x",
		"expose=80", "expose=80/tcp", "expose=80/udp", "expose=1-100", "publish=41080", "publish=80", "publish=41000-42000/tcp", "publish=41080/udp", "health=none", "health=healthy", "health=starting", "health=odd",
		"id=nothing", "is-task=true", "is-task=false", "isolation=default", "label=fleet", "label=fleet=ls", "label=fleet=x", "name=run", "name=^/ls-run$", "name=^ls-run$", "name=/ls-run", "name=(run|exit)", "name=[", "network=ls-net", "network=bridge", "network=none", "network=nobody",
		"status=running", "status=exited", "status=created", "status=paused", "status=odd", "volume=ls-vol", "volume=/v", "volume=/tmp", "volume=/nowhere", "colour=red",
	} {
		ps("--filter", filter)
		ps("-a", "--filter", filter)
	}
	ps()
	ps("-a")
	ps("-n", "2")
	ps("-l")
	ps("-n", "1", "--filter", "status=running")
	ps("-a", "--filter", "label=fleet", "--filter", "label=role=web")
	ps("-a", "--filter", "status=running", "--filter", "status=created")
	ps("-a", "--filter", "name=run", "--filter", "label=fleet=x")
	ask("ps", "-a", "--filter", "name=ls-exit", "--format", "{{.Names}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Ports}}|{{.Labels}}|{{.Mounts}}|{{.Networks}}|{{.LocalVolumes}}|{{.Size}}")
	ask("ps", "-a", "-s", "--no-trunc", "--filter", "name=ls-run", "--format", "{{.ID}}|{{.Names}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Ports}}|{{.Label \"fleet\"}}|{{.Mounts}}|{{.Networks}}|{{.LocalVolumes}}|{{.Size}}")
	images := func(args ...string) {
		ask(append([]string{"images", "--format", "{{.Repository}}:{{.Tag}}"}, args...)...)
	}
	images()
	images("-a")
	for _, filter := range []string{"dangling=true", "dangling=false", "label=fleet", "label=fleet=child", "label=fleet=x", "before=ls-child", "since=ls-base", "reference=ls-*", "reference=ls-b*:latest", "reference=nobody", "until=1h", "until=2099-01-01", "colour=red", "dangling=odd"} {
		images("--filter", filter)
	}
	images("ls-base")
	networks := func(args ...string) {
		ask(append([]string{"network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}"}, args...)...)
	}
	for _, filter := range []string{"driver=bridge", "driver=null", "name=ls", "name=bridge", "label=fleet", "scope=local", "scope=swarm", "type=custom", "type=builtin", "dangling=true", "dangling=false", "colour=red", "type=odd", "dangling=odd"} {
		networks("--filter", filter)
	}
	volumes := func(args ...string) {
		ask(append([]string{"volume", "ls", "--format", "{{.Name}} {{.Driver}}"}, args...)...)
	}
	for _, filter := range []string{"name=ls", "name=vol", "driver=local", "driver=odd", "label=fleet=ls", "dangling=true", "dangling=false", "colour=red", "dangling=odd"} {
		volumes("--filter", filter)
	}
	c.prunes(ask)
	return g
}

// furnish makes what is listed, one after the other, so that what is older is older everywhere.
func (c *cli) furnish() {
	c.run("import", "-c", `CMD ["sh"]`, "-c", "ENV PATH=/bin", c.rootfs, "ls-base")
	c.with("DOCKER_BUILDKIT=0").run("build", "-q", "-t", "ls-child", write(c.t, map[string]string{"Dockerfile": "FROM ls-base\nLABEL fleet=child\nRUN echo >/made\n"}))
	c.run("network", "create", "--label", "fleet=ls", "ls-net")
	c.run("network", "create", "ls-idle")
	c.run("volume", "create", "--label", "fleet=ls", "ls-vol")
	c.run("volume", "create", "ls-spare")
	c.run("create", "--name", "ls-made", "--label", "fleet=ls", "ls-base")
	c.run("run", "--name", "ls-exit", "--network", "none", "ls-child", "sh", "-c", "exit 0")
	if got := c.feed("", "run", "--name", "ls-three", "--network", "none", "ls-base", "sh", "-c", "exit 3"); got.code != 3 {
		c.t.Fatalf("%+v", got)
	}
	c.run("run", "-d", "--name", "ls-run", "--label", "fleet=ls", "--label", "role=web", "--network", "ls-net", "-p", "127.0.0.1:41080:80", "--expose", "81", "-v", "ls-vol:/v", "-v", "/tmp:/host", "ls-base", "sleep", "1000")
	c.run("run", "-d", "--name", "ls-paused", "--health-cmd", "true", "--health-interval", "1h", "--health-start-interval", "1h", "--health-start-period", "1h", "ls-child", "sleep", "1000")
	c.run("pause", "ls-paused")
}

// prunes removes it all, a part at a time.
func (c *cli) prunes(ask func(args ...string)) {
	ask("container", "prune", "-f", "--filter", "label=fleet=x")
	ask("container", "prune", "-f", "--filter", "until=24h")
	ask("container", "prune", "-f", "--filter", "label!=fleet=ls", "--filter", "label!=fleet=child")
	ask("ps", "-a", "--format", "{{.Names}}")
	ask("container", "prune", "-f", "--filter", "until=2099-01-01")
	ask("container", "prune", "-f", "--filter", "until=soon")
	ask("container", "prune", "-f", "--filter", "colour=red")
	ask("network", "prune", "-f", "--filter", "label=fleet")
	ask("network", "prune", "-f")
	ask("volume", "prune", "-f")
	ask("volume", "prune", "-f", "--filter", "label=fleet")
	ask("volume", "prune", "-f", "-a", "--filter", "label!=fleet=ls")
	ask("volume", "prune", "-f", "--filter", "until=1h")
	ask("image", "prune", "-f")
	ask("image", "prune", "-f", "-a", "--filter", "until=24h")
	ask("system", "prune", "-f", "--filter", "label=nobody")
	c.run("rm", "-f", "ls-run", "ls-paused")
	ask("system", "prune", "-f", "--volumes")
	c.run("create", "--name", "ls-last", "-v", "/nameless", "ls-base")
	c.run("volume", "rm", "ls-vol")
	ask("image", "prune", "-f", "-a")
	ask("images", "--format", "{{.Repository}}")
	ask("system", "prune", "-f", "-a", "--volumes")
	ask("images", "-q")
	ask("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}")
}
