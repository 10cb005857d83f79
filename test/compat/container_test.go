package compat

import (
	"regexp"
	"strings"
)

func list(c *cli) {
	c.run("network", "create", "ps-net")
	up := c.run("run", "-d", "--name", "ps-up", "--label", "fleet=ps", "--label", "rank=1", "--network", "ps-net", "busybox", "sleep", "1000")
	c.fails(3, "", "run", "--name", "ps-ended", "--label", "fleet=ps", "busybox", "sh", "-c", "exit 3")
	c.run("create", "--name", "ps-made", "--label", "fleet=ps", "busybox")
	c.run("pause", c.run("run", "-d", "--name", "ps-still", "--label", "fleet=ps", "busybox", "sleep", "1000"))
	names := func(want string, filters ...string) {
		c.t.Helper()
		args := []string{"ps", "-a", "--filter", "label=fleet=ps", "--format", "{{.Names}}"}
		for _, f := range filters {
			args = append(args, "--filter", f)
		}
		c.want(want, args...)
	}
	names("ps-still\nps-made\nps-ended\nps-up")
	names("ps-up", "status=running")
	names("ps-still", "status=paused")
	names("ps-still\nps-up", "status=paused", "status=running")
	names("ps-made", "status=created")
	names("ps-ended", "exited=3")
	names("", "exited=4")
	names("ps-up", "label=rank")
	names("ps-up", "name=s-u")
	names("ps-up", "id="+up)
	names("ps-up", "network=ps-net")
	names("ps-still\nps-made\nps-ended", "since=ps-up")
	names("ps-up", "before=ps-ended")
	names("ps-still\nps-made\nps-ended\nps-up", "ancestor=busybox")
	names("", "ancestor=no-such-image")
	c.want("ps-still\nps-up", "ps", "--filter", "label=fleet=ps", "--format", "{{.Names}}")
	c.fails(1, "invalid filter 'colour'", "ps", "--filter", "colour=red")
	c.fails(1, "invalid filter 'status=asleep'", "ps", "--filter", "status=asleep")
	table := c.run("ps", "-a", "--filter", "label=fleet=ps")
	for _, want := range []string{
		`^CONTAINER ID\s+IMAGE\s+COMMAND\s+CREATED\s+STATUS\s+PORTS\s+NAMES`, up[:12] + `\s+busybox\s+"sleep 1000"\s+\S.* ago\s+Up \S.*ps-up`,
		`Exited \(3\) \S.* ago\s+ps-ended`, `Created\s+ps-made`, `Up .* \(Paused\)\s+ps-still`,
	} {
		if !regexp.MustCompile(want).MatchString(table) {
			c.t.Errorf("the table has no %s:\n%s", want, table)
		}
	}
	c.has([]string{`"Names":"ps-up"`, `"State":"running"`, `"Labels":"`}, "ps", "--filter", "name=ps-up", "--format", "json")
	c.has([]string{"virtual"}, "ps", "-s", "--filter", "name=ps-up")
	c.want(up, "ps", "-q", "--no-trunc", "--filter", "name=ps-up")
	c.run("rm", "-f", "ps-up", "ps-still", "ps-made", "ps-ended")
	c.run("network", "rm", "ps-net")
}

func inspect(c *cli) {
	id := c.run("create", "--name", "in-one", "-e", "A=b", "-p", "127.0.0.1::80", "--label", "x=y", "--restart", "always", "busybox", "sleep", "1")
	c.want(id+" /in-one busybox created [sleep 1] always y", "inspect", "-f",
		`{{.Id}} {{.Name}} {{.Config.Image}} {{.State.Status}} {{.Config.Cmd}} {{.HostConfig.RestartPolicy.Name}} {{index .Config.Labels "x"}}`, "in-one")
	c.has([]string{"A=b", "PATH=/bin"}, "inspect", "-f", "{{json .Config.Env}}", id[:10])
	c.has([]string{`"80/tcp":[{"HostIp":"127.0.0.1","HostPort":""}]`}, "inspect", "-f", "{{json .HostConfig.PortBindings}}", "in-one")
	c.want("sleep [1] json-file bridge", "inspect", "-f", "{{.Path}} {{.Args}} {{.HostConfig.LogConfig.Type}} {{.HostConfig.NetworkMode}}", "in-one")
	c.has([]string{`"SizeRw"`, `"SizeRootFs"`}, "inspect", "-s", "in-one")
	c.want("busybox:latest", "inspect", "--type", "image", "-f", "{{index .RepoTags 0}}", "busybox")
	c.want("amd64 linux", "image", "inspect", "-f", "{{.Architecture}} {{.Os}}", "busybox")
	c.fails(1, "no such object: in-nobody", "inspect", "in-nobody")
	c.fails(1, "template", "inspect", "-f", "{{.NoSuchField}}", "in-one")
	c.want("bridge", "inspect", "--type", "network", "-f", "{{.Name}}", "bridge")
	c.run("rm", "in-one")
}

func startStop(c *cli) {
	c.run("create", "--name", "ss-one", "busybox", "sh", "-c", "trap 'echo term; exit 4' TERM; echo up; while :; do sleep 0.1; done")
	c.want("ss-one", "start", "ss-one")
	c.start("logs", "-f", "ss-one").until("up")
	c.want("ss-one", "start", "ss-one") // already running is no error
	c.want("ss-one", "stop", "ss-one")
	c.want("exited 4", "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ss-one")
	c.want("ss-one", "stop", "ss-one")
	c.run("start", "ss-one")
	before := c.run("inspect", "-f", "{{.State.Pid}}", "ss-one")
	c.want("ss-one", "restart", "-t", "0", "ss-one")
	if after := c.run("inspect", "-f", "{{.State.Pid}}", "ss-one"); after == before || after == "0" {
		c.t.Errorf("process %s, after the restart %s", before, after)
	}
	c.run("kill", "ss-one")
	c.want("137", "wait", "ss-one")
	c.run("run", "-d", "--name", "ss-deaf", "busybox", "sleep", "1000") // the first process of a container ignores SIGTERM
	c.run("stop", "-t", "1", "ss-deaf")
	c.want("137", "inspect", "-f", "{{.State.ExitCode}}", "ss-deaf")
	c.want("again", "start", "-a", c.run("create", "busybox", "echo", "again"))
	c.fails(1, "No such container: ss-nobody", "start", "ss-nobody")
	c.fails(1, "No such container: ss-nobody", "stop", "ss-nobody")
	// One that can't start says why, stays, and has the exit code for it.
	c.run("create", "--name", "ss-bad", "busybox", "no-such-program")
	c.fails(1, `exec: "no-such-program": executable file not found in $PATH`, "start", "ss-bad")
	c.want("created 127", "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ss-bad")
	c.run("rm", "ss-one", "ss-deaf", "ss-bad")
}

func tend(c *cli) {
	c.run("run", "-d", "--name", "te-one", "--memory", "64m", "busybox", "sh", "-c", "sleep 999 & exec sleep 1000")
	c.run("pause", "te-one")
	c.want("paused", "inspect", "-f", "{{.State.Status}}", "te-one")
	c.fails(1, "is already paused", "pause", "te-one")
	c.run("unpause", "te-one")
	c.fails(1, "is not paused", "unpause", "te-one")
	c.run("rename", "te-one", "te-two")
	c.fails(1, "No such container: te-one", "inspect", "--type", "container", "te-one")
	c.fails(1, "Renaming a container with the same name as its current name", "rename", "te-two", "te-two")
	c.run("update", "--memory", "48m", "--memory-swap", "48m", "--restart", "on-failure:3", "te-two")
	c.want("50331648 on-failure", "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}", "te-two")
	c.has([]string{"PID", "sleep 999", "sleep 1000"}, "top", "te-two")
	c.has([]string{"sleep 1000"}, "top", "te-two", "-eo", "pid,args")
	row := c.run("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "te-two")
	if !regexp.MustCompile(`^te-two [0-9.]+[KM]?i?B / 48MiB 2$`).MatchString(row) {
		c.t.Errorf("stats: %q", row)
	}
	k := c.start("wait", "te-two")
	c.run("update", "--restart", "no", "te-two")
	c.run("stop", "-t", "0", "te-two")
	if got := k.rest(); got.stdout != "137\n" {
		c.t.Errorf("wait: %+v", got)
	}
	c.want("137\n137", "wait", "te-two", "te-two")
	c.fails(1, "No such container: te-nobody", "wait", "te-nobody")
	c.fails(1, "is not running", "top", "te-two")
	c.run("rm", "te-two")
}

func remove(c *cli) {
	c.run("run", "-d", "--name", "rm-one", "busybox", "sleep", "1000")
	c.fails(1, "container is running: stop the container before removing or force remove", "rm", "rm-one")
	c.want("rm-one", "rm", "-f", "rm-one")
	c.fails(1, "No such container: rm-one", "rm", "rm-one")
	c.run("rm", "-f", "rm-one") // -f does not mind
	c.run("create", "--name", "rm-two", "busybox")
	c.want("rm-two", "container", "rm", "rm-two")
	for range 10 {
		c.run("run", "--rm", "--name", "rm-again", "busybox", "true") // the name is free when run ends
	}
	ids := c.run("run", "-d", "--rm", "--name", "rm-self", "busybox", "sleep", "1000")
	c.run("stop", "-t", "0", "rm-self")
	c.run("run", "--rm", "--name", "rm-self", "busybox", "true")
	c.want("", "ps", "-aq", "--filter", "id="+ids)
}

func mistakes(c *cli) {
	for _, test := range []struct {
		sentence string
		args     []string
	}{
		{"unknown command: docker nonsense", []string{"nonsense"}},
		{"No such image: no-such-image", []string{"rmi", "no-such-image"}},
		{"No such image: no-such-image", []string{"image", "inspect", "no-such-image"}},
		{"No such image: no-such-image", []string{"tag", "no-such-image", "x"}},
		{"No such image: no-such-image", []string{"history", "no-such-image"}},
		{"No such container: no-such", []string{"logs", "no-such"}},
		{"No such container: no-such", []string{"kill", "no-such"}},
		{"No such container: no-such", []string{"rename", "no-such", "x"}},
		{"No such container: no-such", []string{"update", "--memory", "64m", "no-such"}},
		{"No such container: no-such", []string{"port", "no-such"}},
		{"No such container: no-such", []string{"stats", "--no-stream", "no-such"}},
		{"network no-such not found", []string{"network", "inspect", "no-such"}},
		{"network no-such not found", []string{"network", "connect", "no-such", "x"}},
		{"no such volume", []string{"volume", "inspect", "no-such"}},
		{"invalid reference format", []string{"tag", "busybox", "UPPER"}},
		{"This node is not a swarm manager", []string{"service", "ls"}},
	} {
		got := c.feed("", test.args...)
		if got.code == 0 || !strings.Contains(got.stderr, test.sentence) {
			c.t.Errorf("docker %s: exit code %d, stderr %q, want %q", strings.Join(test.args, " "), got.code, got.stderr, test.sentence)
		}
	}
}
