package compat

import (
	"encoding/json"
	"net/http"
	"strings"
)

// runOptions are options that no other flow has: the genuine client says them, and reads what it is told.
func runOptions(c *cli) {
	run := func(want string, args ...string) {
		c.t.Helper()
		c.want(want, append([]string{"run", "--rm"}, args...)...)
	}
	run("/other/bin/busybox", "--mount", "type=image,source=busybox,target=/other", "busybox", "ls", "/other/bin/busybox")
	run("/tools/busybox", "--mount", "type=image,source=busybox,target=/tools,image-subpath=bin", "busybox", "ls", "/tools/busybox")
	run("", "-v", "options-box:/box", "busybox", "sh", "-c", "mkdir /box/part && echo inside >/box/part/file && ln -s /etc /box/out")
	run("inside", "--mount", "type=volume,src=options-box,dst=/part,volume-subpath=part", "busybox", "cat", "/part/file")
	c.fails(125, "escapes from", "run", "--rm", "--mount", "type=volume,src=options-box,dst=/part,volume-subpath=out", "busybox")
	c.fails(127, "cannot access path", "run", "--rm", "--mount", "type=volume,src=options-box,dst=/part,volume-subpath=none", "busybox")
	c.run("volume", "rm", "options-box")

	c.run("run", "-d", "--name", "options-db", "busybox", "sleep", "1000")
	c.run("run", "-d", "--name", "options-app", "--link", "options-db:db", "busybox", "sleep", "1000")
	c.want("[/options-db:/options-app/db]", "inspect", "-f", "{{.HostConfig.Links}}", "options-app")
	if hosts := c.run("exec", "options-app", "cat", "/etc/hosts"); !strings.Contains(hosts, "\tdb ") {
		c.t.Errorf("the linked container is not in hosts:\n%s", hosts)
	}
	c.run("rm", "--link", "options-app/db")
	if hosts := c.run("exec", "options-app", "cat", "/etc/hosts"); strings.Contains(hosts, "\tdb ") {
		c.t.Errorf("the container is linked still:\n%s", hosts)
	}
	c.run("rm", "-f", "options-app", "options-db")

	c.run("run", "-d", "--name", "options-sick", "--annotation", "io.berth.health-on-failure=kill",
		"--health-cmd", "false", "--health-interval", "50ms", "--health-retries", "1", "busybox", "sleep", "1000")
	c.want("137", "wait", "options-sick")
	c.run("rm", "options-sick")

	c.fails(125, `could not select device driver "" with capabilities: [[gpu]]`, "run", "--rm", "--gpus", "all", "busybox")
	c.fails(125, "CDI device injection failed: unresolvable CDI devices vendor.com/card=none", "run", "--rm", "--device", "vendor.com/card=none", "busybox")
	c.fails(1, "Requested CPUs are not available", "create", "--cpuset-cpus", "4000", "busybox")
	c.fails(1, "invalid CapAdd: unknown capability", "create", "--cap-add", "fly", "busybox")
	c.fails(1, "unknown or invalid runtime name: nobody", "create", "--runtime", "nobody", "busybox")
	c.fails(1, "conflicting options: port publishing and the container type network mode", "create", "--network", "container:x", "-p", "1:1", "busybox")
	c.fails(125, "could not get container for nobody: No such container: nobody", "run", "--rm", "--link", "nobody", "busybox")

	// Bodies that no client of Docker sends: a mistake of the client is a 400, never a 500, with the reason.
	for _, test := range []struct{ body, want string }{
		{`{"Image":"busybox","HostConfig":{"CpusetCpus":"x"}}`, "Invalid value x for cpuset cpus"},
		{`{"Image":"busybox","HostConfig":{"Ulimits":[{"Name":"luck","Soft":1,"Hard":1}]}}`, "invalid ulimit type: luck"},
		{`{"Image":"busybox","HostConfig":{"IOMaximumIOps":1}}`, "invalid option: QoS maximum IOPs configuration is not supported on linux"},
		{`{"Image":"busybox","HostConfig":{"Isolation":"hyperv"}}`, "invalid isolation 'hyperv' on linux"},
		{`{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"bind","Source":"/etc","Target":"/x","BindOptions":{"ReadOnlyForceRecursive":true}}]}}`, "mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive"},
		{`{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"npipe","Source":"/etc","Target":"/x"}]}}`, "mount type unknown"},
		{`{"Image":"busybox","HostConfig":{"Devices":[{"PathOnHost":"/dev/null","CgroupPermissions":"sing"}]}}`, "invalid device mode: sing"},
		{`{"Image":"busybox","HostConfig":{"Annotations":{"":"x"}}}`, "the empty string is not permitted as an annotation key"},
		{`{"Image":"busybox","Env":["=x"]}`, "invalid environment variable: =x"},
		{`{"Image":"busybox","StopSignal":"SIGNOT"}`, "invalid signal: SIGNOT"},
		{`{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"always","MaximumRetryCount":1}}}`, "maximum retry count can only be used with 'on-failure'"},
	} {
		status, answer, err := c.d.Call(http.MethodPost, "/containers/create", json.RawMessage(test.body))
		if err != nil {
			c.t.Fatal(err)
		}
		if status != http.StatusBadRequest || !strings.Contains(string(answer), test.want) {
			c.t.Errorf("%s\ngives %d %s\nwant  400 %s", test.body, status, answer, test.want)
		}
	}
}
