package compat

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is a client that runs in a terminal of its own.
type terminal struct {
	t       *testing.T
	command *exec.Cmd
	*os.File
}

func (c *cli) terminal(args ...string) *terminal {
	c.t.Helper()
	command := c.command(c.t.Context(), args...)
	file, err := pty.Start(command)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { file.Close() })
	return &terminal{c.t, command, file}
}

// until reads until the text has been shown.
func (k *terminal) until(text string) {
	k.t.Helper()
	var seen []byte
	for buffer := make([]byte, 4096); !bytes.Contains(seen, []byte(text)); {
		n, err := k.Read(buffer)
		seen = append(seen, buffer[:n]...)
		if err != nil {
			k.t.Fatalf("the terminal shows %q, want %q", seen, text)
		}
	}
}

func (k *terminal) say(text string) {
	k.t.Helper()
	if _, err := k.WriteString(text); err != nil {
		k.t.Fatal(err)
	}
}

// code reads the rest and gives the exit code.
func (k *terminal) code() int {
	var rest bytes.Buffer
	_, _ = rest.ReadFrom(k) // ends with EIO when the client has closed its side
	_ = k.command.Wait()    // its code is in the state
	return k.command.ProcessState.ExitCode()
}

func attach(c *cli) {
	// Away and back with the usual keys, and with others.
	first := c.terminal("run", "-it", "--name", "at-one", "busybox", "sh")
	first.say("echo be'fo're\r")
	first.until("before")
	first.say("\x10\x11") // ctrl-p ctrl-q
	if code := first.code(); code != 0 {
		c.t.Errorf("detached: exit code %d", code)
	}
	c.want("true", "inspect", "-f", "{{.State.Running}}", "at-one")
	second := c.terminal("attach", "--detach-keys", "ctrl-x,x", "at-one")
	second.say("echo aft'er'\r")
	second.until("after")
	second.say("\x18x")
	second.code()
	c.want("true", "inspect", "-f", "{{.State.Running}}", "at-one")
	third := c.terminal("attach", "at-one")
	third.say("exit 6\r")
	if code := third.code(); code != 6 {
		c.t.Errorf("attached at its end: exit code %d", code)
	}
	// Without a terminal: the input goes in, the end is told.
	c.run("run", "-d", "-i", "--name", "at-two", "busybox", "sh", "-c", "while read x; do echo got $x; [ $x = end ] && exit 3; done; exit 4")
	k := c.start("attach", "at-two")
	k.say("one\n")
	k.until("got one")
	k.say("end\n")
	if got := k.rest(); got.stdout != "got end\n" || got.code != 3 {
		c.t.Errorf("attached: %+v", got)
	}
	c.fails(1, "cannot attach to a stopped container, start it first", "attach", "at-two")
	// start -a -i is attach and start in one.
	k = c.start("start", "-a", "-i", "at-two")
	k.say("two\n")
	k.until("got two")
	k.say("end\n")
	if got := k.rest(); got.stdout != "got end\n" || got.code != 3 {
		c.t.Errorf("start -ai: %+v", got)
	}
	// Two clients at one container see the same.
	c.run("run", "-d", "-i", "--name", "at-three", "busybox", "cat")
	a, b := c.start("attach", "at-three"), c.start("attach", "at-three")
	// Both are there once what either says comes back to both.
	a.say("from a\n")
	a.until("from a")
	b.say("from b\n")
	b.until("from b")
	a.until("from b")
	c.run("rm", "-f", "at-three")
}

func execute(c *cli) {
	c.run("run", "-d", "--name", "ex", "-e", "SEA=north", "-w", "/var", "busybox", "sleep", "1000")
	var all sync.WaitGroup
	for worker := range 2 {
		all.Go(func() {
			for i := range 25 {
				if got := c.feed("", "exec", "ex", "false"); got.code != 1 {
					c.t.Errorf("exec false, %d of worker %d: %+v", i, worker, got)
				}
			}
		})
	}
	all.Wait()
	c.fails(3, "", "exec", "ex", "sh", "-c", "exit 3")
	c.fails(137, "", "exec", "ex", "sh", "-c", "kill -9 $$")
	// What can't be started is told where its output would be: the connection carries nothing else any more.
	for _, test := range []struct {
		code     int
		sentence string
		args     []string
	}{
		{127, `exec: "no-such-program": executable file not found in $PATH`, []string{"ex", "no-such-program"}},
		{127, "no such file or directory", []string{"ex", "/no/such/program"}},
		{126, "permission denied", []string{"ex", "/etc/passwd"}},
		{126, "unable to find user nobody-here", []string{"-u", "nobody-here", "ex", "true"}},
	} {
		if got := c.feed("", append([]string{"exec"}, test.args...)...); got.code != test.code || !strings.Contains(got.stdout, test.sentence) {
			c.t.Errorf("exec %s: %+v, want %d and %q", test.args, got, test.code, test.sentence)
		}
	}
	if got := c.feed("in\n", "exec", "-i", "ex", "sh", "-c", "cat; echo err >&2"); got != (result{"in\n", "err\n", 0}) {
		c.t.Errorf("streams: %+v", got)
	}
	c.want("north east /home sailor", "exec", "-e", "MORE=east", "-w", "/home", "-u", "sailor", "ex", "sh", "-c", "echo $SEA $MORE $PWD $(id -un)")
	c.want("/var", "exec", "ex", "pwd")
	c.want("CapEff:\t000001ffffffffff", "exec", "--privileged", "ex", "sh", "-c", "grep CapEff /proc/self/status | sed 's/[0-9a-f]*$/000001ffffffffff/'")
	k := c.terminal("exec", "-it", "ex", "sh", "-c", "test -t 0 && echo terminal; read x; exit 9")
	k.until("terminal")
	k.say("\r")
	if code := k.code(); code != 9 {
		c.t.Errorf("exec in a terminal: exit code %d", code)
	}
	c.run("exec", "-d", "ex", "sh", "-c", "mkfifo /tmp/told; echo done >/tmp/told")
	c.want("done", "exec", "ex", "sh", "-c", "until [ -p /tmp/told ]; do :; done; cat /tmp/told")
	much := strings.Repeat("0123456789abcdef\n", 50_000)
	if got := c.feed(much, "exec", "-i", "ex", "cat"); got.stdout != much {
		c.t.Errorf("%d of %d bytes come back", len(got.stdout), len(much))
	}
	c.run("pause", "ex")
	c.fails(1, "is paused, unpause the container before exec", "exec", "ex", "true")
	c.run("unpause", "ex")
	c.run("rm", "-f", "ex")
	c.fails(1, "No such container: ex", "exec", "ex", "true")
	c.run("run", "--name", "ex-ended", "busybox", "true")
	c.fails(1, "is not running", "exec", "ex-ended", "true")
}

func logs(c *cli) {
	c.run("run", "--name", "lo-both", "busybox", "sh", "-c", "echo one; echo two >&2; echo three; printf four")
	if got := c.feed("", "logs", "lo-both"); got.stdout != "one\nthree\nfour" || got.stderr != "two\n" {
		c.t.Errorf("both streams: %+v", got)
	}
	c.want("", "logs", "--tail", "0", "lo-both")
	// One stream: how two are mixed is for the kernel to say.
	c.run("run", "--name", "lo-tail", "busybox", "seq", "1", "9")
	c.want("8\n9", "logs", "--tail", "2", "lo-tail")
	stamped := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one$`)
	if first, _, _ := strings.Cut(c.run("logs", "-t", "lo-both"), "\n"); !stamped.MatchString(first) {
		c.t.Errorf("-t: %q", first)
	}
	c.want("", "logs", "--since", time.Now().Add(time.Hour).Format(time.RFC3339), "lo-both")
	c.want("one\nthree\nfour", "logs", "--since", "1h", "lo-both")
	c.want("", "logs", "--until", "1h", "lo-both")
	writer := c.start("run", "-i", "--name", "lo-live", "busybox", "sh", "-c", "echo begin; cat; exit 3")
	writer.until("begin")
	follow := c.start("logs", "-f", "--tail", "all", "lo-live")
	follow.until("begin")
	for i := range 5 {
		line := fmt.Sprintf("line %d", i)
		writer.say(line + "\n")
		follow.until(line)
	}
	if got := writer.end(); got.code != 3 {
		c.t.Errorf("the attached writer: %+v", got)
	}
	if got := follow.rest(); got.code != 0 || got.stdout != "" {
		c.t.Errorf("follow to the end: %+v", got)
	}
	c.want("begin\nline 0\nline 1\nline 2\nline 3\nline 4", "logs", "lo-live")
	// A second life is appended, and --details shows what was asked for.
	c.run("run", "--name", "lo-tty", "-t", "busybox", "echo", "shown")
	if got := c.feed("", "logs", "lo-tty"); got.stdout != "shown\r\n" {
		c.t.Errorf("of a terminal: %+v", got)
	}
	c.run("run", "--name", "lo-none", "--log-driver", "none", "busybox", "echo", "lost")
	c.fails(1, "configured logging driver does not support reading", "logs", "lo-none")
	c.run("run", "--name", "lo-local", "--log-driver", "local", "--log-opt", "compress=false", "busybox", "echo", "kept")
	c.want("kept", "logs", "lo-local")
	c.run("run", "--name", "lo-attrs", "--label", "tier=front", "--log-opt", "labels=tier", "--log-opt", "tag={{.Name}}", "busybox", "echo", "told")
	c.want("tag=lo-attrs,tier=front told", "logs", "--details", "lo-attrs")
	c.fails(125, "unknown log opt 'colour' for json-file log driver", "run", "--log-opt", "colour=red", "busybox")
	c.fails(125, "failed to create task for container: failed to initialize logging driver: dial tcp 127.0.0.1:1: connect: connection refused",
		"run", "--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:1", "busybox")
	c.has([]string{"fluentd", "gelf", "journald", "json-file", "local", "syslog"}, "info", "--format", "{{.Plugins.Log}}")
	c.fails(1, "No such container: lo-nobody", "logs", "lo-nobody")
	c.run("run", "--name", "lo-turn", "--log-opt", "max-size=10k", "--log-opt", "max-file=2", "busybox", "seq", "1", "5000")
	if got := strings.Fields(c.run("logs", "lo-turn")); len(got) == 0 || len(got) >= 5000 || got[len(got)-1] != "5000" {
		c.t.Errorf("a rotated log has %d lines", len(got))
	}
	c.fails(125, "unknown log opt", "run", "--log-opt", "colour=red", "busybox")
}

func events(c *cli) {
	began := time.Now()
	k := c.start("events", "--since", began.Add(-time.Second).Format(time.RFC3339Nano), "--filter", "container=ev-one", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}")
	c.run("run", "--rm", "--name", "ev-one", "busybox", "true")
	for _, action := range []string{"create", "start", "die", "destroy"} {
		if got, want := k.until(action), "container "+action+" ev-one"; got != want {
			c.t.Errorf("the event is %q, want %q", got, want)
		}
	}
	since := began.Add(-time.Second).Format(time.RFC3339Nano)
	c.want("create\nattach\nstart\ndie\ndestroy", "events", "--since", since, "--until", now(), "--filter", "container=ev-one", "--format", "{{.Action}}")
	c.has([]string{`"Action":"die"`, `"exitCode":"0"`}, "events", "--since", since, "--until", now(), "--filter", "container=ev-one", "--filter", "event=die", "--format", "json")
	c.run("network", "create", "ev-net")
	c.run("network", "rm", "ev-net")
	c.run("volume", "create", "ev-vol")
	c.run("volume", "rm", "ev-vol")
	c.run("tag", "busybox", "ev-image")
	c.run("rmi", "ev-image")
	c.want("create\ndestroy", "events", "--since", since, "--until", now(), "--filter", "network=ev-net", "--format", "{{.Action}}")
	c.want("create\ndestroy", "events", "--since", since, "--until", now(), "--filter", "volume=ev-vol", "--format", "{{.Action}}")
	c.has([]string{"tag", "untag"}, "events", "--since", since, "--until", now(), "--filter", "type=image", "--format", "{{.Action}}")
}

// now is this moment as the client wants it. A duration ("0s") would be cut to whole seconds.
func now() string { return time.Now().Format(time.RFC3339Nano) }
