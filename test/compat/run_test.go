package compat

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/creack/pty"
)

func runCodes(c *cli) {
	for _, test := range []struct {
		code     int
		sentence string
		args     []string
	}{
		{0, "", []string{"true"}},
		{1, "", []string{"false"}},
		{3, "", []string{"sh", "-c", "exit 3"}},
		{143, "", []string{"--init", "busybox", "sh", "-c", "kill $$; sleep 10"}},
		{137, "", []string{"--init", "busybox", "sh", "-c", "kill -9 $$"}},
		{127, `exec: "no-such-program": executable file not found in $PATH`, []string{"no-such-program"}},
		{127, "no such file or directory", []string{"/no/such/program"}},
		{126, "permission denied", []string{"/etc/passwd"}},
		{126, "is a directory", []string{"/etc"}},
		{125, "unknown flag: --no-such-flag", []string{"--no-such-flag", "busybox"}},
		{125, "Unable to find image '127.0.0.1:1/none:latest' locally", []string{"127.0.0.1:1/none"}},
	} {
		args := append([]string{"run", "--rm"}, test.args...)
		if !strings.HasPrefix(test.args[0], "-") && !strings.HasPrefix(test.args[0], "127.") {
			args = append([]string{"run", "--rm", "busybox"}, test.args...)
		}
		c.fails(test.code, test.sentence, args...)
	}
	// The end is never lost, however short the life.
	for i := range 20 {
		if got := c.feed("", "run", "--rm", "--network", "none", "busybox", "sh", "-c", fmt.Sprintf("echo out; exit %d", i+1)); got.code != i+1 || got.stdout != "out\n" {
			c.t.Errorf("exit code %d, output %q; want %d and out", got.code, got.stdout, i+1)
		}
	}
	id := c.run("run", "-d", "--name", "codes-killed", "busybox", "sleep", "1000")
	c.want("codes-killed", "kill", "codes-killed")
	c.want("137", "wait", id)
}

func runStreams(c *cli) {
	if got := c.feed("ahoy\nthere\n", "run", "--rm", "-i", "busybox", "cat"); got != (result{stdout: "ahoy\nthere\n"}) {
		c.t.Errorf("cat: %+v", got)
	}
	if got := c.feed("", "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 5"); got != (result{"out\n", "err\n", 5}) {
		c.t.Errorf("out and err: %+v", got)
	}
	if got := c.feed("unread", "run", "--rm", "busybox", "cat"); got != (result{}) {
		c.t.Errorf("without -i nothing is read: %+v", got)
	}
	// Much of it, both ways at the same time.
	much := strings.Repeat("0123456789abcdef\n", 100_000)
	if got := c.feed(much, "run", "--rm", "-i", "busybox", "cat"); got.stdout != much || got.code != 0 {
		c.t.Errorf("%d of %d bytes come back, code %d %s", len(got.stdout), len(much), got.code, got.stderr)
	}
	if got := c.feed("", "run", "--rm", "-a", "stderr", "busybox", "sh", "-c", "echo out; echo err >&2"); got != (result{stderr: "err\n"}) {
		c.t.Errorf("-a stderr: %+v", got)
	}
}

func runDefinition(c *cli) {
	run := func(want string, args ...string) {
		c.t.Helper()
		c.want(want, append([]string{"run", "--rm"}, args...)...)
	}
	run("red  blue", "-e", "ONE=red", "-e", "TWO", "--env-file", filepath.Join(write(c.t, map[string]string{"env": "# colours\nTHREE=blue\n"}), "env"), "busybox", "sh", "-c", "echo $ONE $TWO \"\" $THREE")
	run("/var", "-w", "/var", "busybox", "pwd")
	run("/made/for/me", "-w", "/made/for/me", "busybox", "pwd")
	run("uid=1000(sailor) gid=1000(sailor) groups=1000(sailor)", "-u", "sailor", "busybox", "id")
	run("uid=7 gid=8 groups=8,9", "-u", "7:8", "--group-add", "9", "busybox", "id")
	run("mast", "--hostname", "mast", "busybox", "hostname")
	run("-x -y", "--entrypoint", "echo", "busybox", "-x", "-y")
	run("10.9.8.7\tdeck", "--add-host", "deck:10.9.8.7", "busybox", "grep", "deck", "/etc/hosts")
	run("nameserver 10.9.8.7", "--dns", "10.9.8.7", "busybox", "grep", "nameserver", "/etc/resolv.conf")
	run("2000", "--ulimit", "nofile=2000:3000", "busybox", "sh", "-c", "ulimit -n")
	run("1", "--sysctl", "net.ipv4.ip_forward=1", "busybox", "cat", "/proc/sys/net/ipv4/ip_forward")
	run("32768", "--shm-size", "32m", "busybox", "sh", "-c", "df -k /dev/shm | tail -1 | awk '{print $2}'")
	run("0000000000000000", "--cap-drop", "ALL", "busybox", "sh", "-c", "awk '/CapEff/ {print $2}' /proc/self/status")
	run("0000000000001000", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "busybox", "sh", "-c", "awk '/CapEff/ {print $2}' /proc/self/status")
	run("2", "busybox", "sh", "-c", "awk '/^Seccomp:/ {print $2}' /proc/self/status")
	run("0", "--security-opt", "seccomp=unconfined", "busybox", "sh", "-c", "awk '/^Seccomp:/ {print $2}' /proc/self/status")
	run("1", "--security-opt", "no-new-privileges", "busybox", "sh", "-c", "awk '/NoNewPrivs/ {print $2}' /proc/self/status")
	run("1", "busybox", "sh", "-c", "echo $$")
	c.fails(1, "Read-only file system", "run", "--rm", "--read-only", "busybox", "touch", "/x")
	run("ok", "--read-only", "--tmpfs", "/scratch:size=1m", "busybox", "sh", "-c", "touch /scratch/x && echo ok")
	run("yes", "--privileged", "busybox", "sh", "-c", "mkdir /m && mount -t tmpfs none /m && echo yes")
	c.fails(1, "", "run", "--rm", "busybox", "sh", "-c", "mkdir /m && mount -t tmpfs none /m")
	run("init", "--init", "busybox", "sh", "-c", "[ $$ != 1 ] && echo init")
}

func runTerminal(c *cli) {
	command := c.command(c.t.Context(), "run", "--rm", "-it", "busybox", "sh", "-c", "stty size; test -t 0 && test -t 1 && echo terminal; read x; echo got $x; exit 4")
	terminal, err := pty.StartWithSize(command, &pty.Winsize{Rows: 33, Cols: 99})
	if err != nil {
		c.t.Fatal(err)
	}
	defer terminal.Close()
	if _, err := terminal.WriteString("anchor\r"); err != nil {
		c.t.Fatal(err)
	}
	output, _ := io.ReadAll(terminal) // ends with EIO when the client has closed its side
	_ = command.Wait()                // its code is in the state
	for _, want := range []string{"33 99\r\n", "terminal\r\n", "got anchor\r\n"} {
		if !strings.Contains(string(output), want) {
			c.t.Errorf("the terminal shows %q, want %q in it", output, want)
		}
	}
	if code := command.ProcessState.ExitCode(); code != 4 {
		c.t.Errorf("exit code %d, want 4", code)
	}
	if got := c.feed("", "run", "--rm", "-it", "busybox", "true"); got.code == 0 || !strings.Contains(got.stderr, "not a") {
		c.t.Errorf("-t without a terminal: %+v", got)
	}
	c.want("a\r\nb", "run", "--rm", "-t", "busybox", "printf", `a\nb`)
}

func runLimits(c *cli) {
	// The files of control groups v2, then those of v1.
	limits := func(v2, v1 string) string {
		return fmt.Sprintf("cat /sys/fs/cgroup/%s 2>/dev/null || cat /sys/fs/cgroup/%s", v2, v1)
	}
	c.want("33554432", "run", "--rm", "--memory", "32m", "busybox", "sh", "-c", limits("memory.max", "memory/memory.limit_in_bytes"))
	c.want("17", "run", "--rm", "--pids-limit", "17", "busybox", "sh", "-c", limits("pids.max", "pids/pids.max"))
	if got := c.run("run", "--rm", "--cpus", "0.5", "busybox", "sh", "-c", limits("cpu.max", "cpu/cpu.cfs_quota_us")); got != "50000" && got != "50000 100000" {
		c.t.Errorf("half a processor: %s", got)
	}
	c.fails(137, "", "run", "--name", "limits-oom", "--memory", "16m", "--memory-swap", "16m", "busybox", "tail", "/dev/zero")
	c.want("true 137", "inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "limits-oom")
	if got := c.feed("", "run", "--rm", "--pids-limit", "4", "busybox", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done"); got.code == 0 {
		c.t.Errorf("eight processes where four are allowed: %+v", got)
	}
	c.want("500000000 33554432 17", "inspect", "-f", "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}",
		c.run("create", "--cpus", "0.5", "--memory", "32m", "--pids-limit", "17", "busybox"))
	c.fails(125, "Minimum memory limit allowed is 6MB", "run", "--memory", "1m", "busybox")
	c.fails(125, "range of CPUs is from 0.01", "run", "--cpus", "1000", "busybox")
}

func runNames(c *cli) {
	file := filepath.Join(c.t.TempDir(), "id")
	id := c.run("run", "-d", "--name", "names-one", "--cidfile", file, "--label", "harbour=north", "busybox", "sleep", "1000")
	if kept, err := os.ReadFile(file); err != nil || string(kept) != id || len(id) != 64 {
		c.t.Errorf("the file has %q, the output %q: %v", kept, id, err)
	}
	c.fails(125, `Conflict. The container name "/names-one" is already in use by container "`+id+`". You have to remove (or rename) that container to be able to reuse that name.`,
		"run", "--name", "names-one", "busybox")
	c.fails(125, "container ID file found", "run", "--cidfile", file, "busybox")
	c.fails(125, "Invalid container name", "run", "--name", "no/such", "busybox")
	c.want(id, "ps", "-q", "--no-trunc", "--filter", "label=harbour=north")
	c.want("names-one", "ps", "--filter", "id="+id[:8], "--format", "{{.Names}}")
	c.run("rm", "-f", "names-one")
	c.run("run", "--rm", "--name", "names-one", "busybox")
	c.want("", "ps", "-aq", "--filter", "name=names-one")
	c.fails(125, "missing", "run", "--rm", "--pull", "sometimes", "busybox")
}

func runVolumes(c *cli) {
	folder := write(c.t, map[string]string{"letter": "from the host\n"})
	c.want("from the host", "run", "--rm", "-v", folder+":/mnt", "busybox", "cat", "/mnt/letter")
	c.run("run", "--rm", "-v", folder+":/mnt", "busybox", "sh", "-c", "echo back >/mnt/answer")
	if answer, err := os.ReadFile(filepath.Join(folder, "answer")); err != nil || string(answer) != "back\n" {
		c.t.Errorf("the answer is %q, %v", answer, err)
	}
	c.fails(1, "Read-only file system", "run", "--rm", "-v", folder+":/mnt:ro", "busybox", "touch", "/mnt/x")
	c.want("from the host", "run", "--rm", "--mount", "type=bind,src="+folder+",dst=/mnt,readonly", "busybox", "cat", "/mnt/letter")
	c.fails(125, "bind source path does not exist: /no/such/folder", "run", "--rm", "--mount", "type=bind,src=/no/such/folder,dst=/mnt", "busybox")
	c.fails(125, "invalid", "run", "--rm", "-v", "relative/path:/mnt", "busybox")

	// What the host mounts is there, however lately.
	if output, err := exec.Command("mount", "-t", "tmpfs", "none", folder).CombinedOutput(); err != nil {
		c.t.Fatalf("%v: %s", err, output)
	}
	defer func() {
		if output, err := exec.Command("umount", folder).CombinedOutput(); err != nil {
			c.t.Errorf("%v: %s", err, output)
		}
	}()
	c.want("tmpfs", "run", "--rm", "-v", folder+":/mnt", "busybox", "sh", "-c", "awk '$2 == \"/mnt\" {print $3}' /proc/mounts")

	c.run("run", "--rm", "-v", "rv-hold:/hold", "busybox", "sh", "-c", "echo cargo >/hold/box")
	c.want("cargo", "run", "--rm", "-v", "rv-hold:/other", "busybox", "cat", "/other/box")
	c.run("run", "-d", "--name", "rv-one", "-v", "rv-hold:/hold", "-v", "/nameless", "busybox", "sleep", "1000")
	c.want("cargo", "run", "--rm", "--volumes-from", "rv-one", "busybox", "cat", "/hold/box")
	c.fails(1, "volume is in use", "volume", "rm", "rv-hold")
	c.want("rv-one", "ps", "--filter", "volume=rv-hold", "--format", "{{.Names}}")
	nameless := c.run("inspect", "-f", `{{range .Mounts}}{{if eq .Destination "/nameless"}}{{.Name}}{{end}}{{end}}`, "rv-one")
	c.run("rm", "-f", "-v", "rv-one")
	c.fails(1, "no such volume", "volume", "inspect", nameless)
	c.want("rv-hold", "volume", "rm", "rv-hold")
	// A new volume gets what the image has there, with owner and mode.
	c.want("drwxrwxrwt", "run", "--rm", "-v", "/tmp", "busybox", "sh", "-c", "ls -ld /tmp | cut -c1-10")
	c.want("sailor", "run", "--rm", "-v", "rv-etc:/etc", "busybox", "sh", "-c", "grep -o ^sailor /etc/passwd")
	c.run("volume", "rm", "rv-etc")
}

func runNetworks(c *cli) {
	c.want("lo", "run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net")
	host, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		c.t.Fatal(err)
	}
	c.want(host, "run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net")
	c.fails(125, "network nowhere not found", "run", "--rm", "--network", "nowhere", "busybox")
	c.run("network", "create", "rn-sea")
	c.run("run", "-d", "--name", "rn-ship", "--network", "rn-sea", "--network-alias", "vessel", "busybox", "sh", "-c", "echo ahoy >/tmp/index.html; exec httpd -f -p 80 -h /tmp")
	for _, name := range []string{"rn-ship", "vessel", "rn-ship.rn-sea"} {
		c.want("ahoy", "run", "--rm", "--network", "rn-sea", "busybox", "timeout", "20", "sh", "-c", "until wget -qO- http://"+name+"/; do :; done")
	}
	c.want("ahoy", "run", "--rm", "--network", "container:rn-ship", "busybox", "wget", "-qO-", "http://127.0.0.1/")
	address := c.run("inspect", "-f", `{{(index .NetworkSettings.Networks "rn-sea").IPAddress}}`, "rn-ship")
	c.has([]string{"Address", address}, "run", "--rm", "--network", "rn-sea", "busybox", "nslookup", "vessel")
	c.fails(1, "", "run", "--rm", "--network", "rn-sea", "busybox", "nslookup", "no-such-name.invalid")
	c.run("rm", "-f", "rn-ship")
	c.run("network", "rm", "rn-sea")
}

// get fetches a page.
func get(url string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	return string(page), err
}

func runPorts(c *cli) {
	c.run("run", "-d", "--name", "rp-web", "-p", "127.0.0.1:21801:80", "-p", "81", "busybox", "sh", "-c", "echo welcome >/tmp/index.html; httpd -p 80 -h /tmp; httpd -p 81 -h /tmp; echo ready; exec sleep 1000")
	c.start("logs", "-f", "rp-web").until("ready")
	c.want("127.0.0.1:21801", "port", "rp-web", "80")
	c.has([]string{"80/tcp -> 127.0.0.1:21801", "81/tcp -> 0.0.0.0:"}, "port", "rp-web")
	c.has([]string{"127.0.0.1:21801->80/tcp"}, "ps", "--filter", "name=rp-web", "--format", "{{.Ports}}")
	other := c.run("inspect", "-f", `{{(index (index .NetworkSettings.Ports "81/tcp") 0).HostPort}}`, "rp-web")
	for _, port := range []string{"21801", other} {
		if page, err := get("http://127.0.0.1:" + port); err != nil || page != "welcome\n" {
			c.t.Errorf("port %s: %q %v", port, page, err)
		}
	}
	c.fails(125, "port is already allocated", "run", "--name", "rp-second", "-p", "127.0.0.1:21801:80", "busybox", "sleep", "1000")
	c.run("rm", "rp-second")
	// Docker's client shows what Berth's can change while the container runs, and changes none of it.
	var answer struct {
		PortBindings map[string][]map[string]string
	}
	moved := map[string]any{
		"PublishPorts":   map[string]any{"80/tcp": []map[string]string{{"HostIp": "127.0.0.1", "HostPort": "21802"}}},
		"UnpublishPorts": map[string]any{"81/tcp": []any{}},
	}
	if err := c.d.Do(http.MethodPost, "/containers/rp-web/update", moved, &answer); err != nil || len(answer.PortBindings["80/tcp"]) != 2 {
		c.t.Errorf("the update: %v %v", answer, err)
	}
	c.run("update", "--restart", "no", "rp-web")
	c.want("80/tcp -> 127.0.0.1:21801\n80/tcp -> 127.0.0.1:21802", "port", "rp-web")
	if page, err := get("http://127.0.0.1:21802"); err != nil || page != "welcome\n" {
		c.t.Errorf("the new port: %q %v", page, err)
	}
	c.run("stop", "-t", "0", "rp-web")
	if page, err := get("http://127.0.0.1:21801"); err == nil {
		c.t.Errorf("a stopped container answers %q", page)
	}
	c.run("start", "rp-web")
	c.run("rm", "-f", "rp-web")
	// The port is free at once.
	c.run("run", "--rm", "-p", "127.0.0.1:21801:80", "busybox", "true")
	c.fails(125, "invalid", "run", "--rm", "-p", "99999:80", "busybox")
}

func runRestart(c *cli) {
	c.run("run", "-d", "--name", "rr-twice", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo try; exit 9")
	events := c.start("events", "--since", "1h", "--filter", "container=rr-twice", "--filter", "event=die", "--format", "{{.Actor.Attributes.exitCode}}")
	for range 3 {
		events.until("9")
	}
	c.run("wait", "rr-twice")
	c.want("2 exited 9", "inspect", "-f", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", "rr-twice")
	c.want("try\ntry\ntry", "logs", "rr-twice")
	c.run("run", "-d", "--name", "rr-always", "--restart", "always", "busybox", "sleep", "1000")
	starts := c.start("events", "--since", "1h", "--filter", "container=rr-always", "--filter", "event=start")
	starts.until("start")
	pid := c.run("inspect", "-f", "{{.State.Pid}}", "rr-always")
	process, err := os.StartProcess("/bin/kill", []string{"kill", "-9", pid}, &os.ProcAttr{})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := process.Wait(); err != nil {
		c.t.Fatal(err)
	}
	starts.until("start")
	c.want("true", "inspect", "-f", "{{.State.Running}}", "rr-always")
	c.run("stop", "-t", "0", "rr-always")
	c.want("exited", "inspect", "-f", "{{.State.Status}}", "rr-always")
	c.fails(125, "conflicting options", "run", "--rm", "--restart", "always", "busybox")
	c.fails(125, "invalid restart policy", "run", "--restart", "sometimes", "busybox")
}

func runHealth(c *cli) {
	c.run("run", "-d", "--name", "rh-one", "--health-cmd", "test -e /tmp/well || { echo unwell; false; }", "--health-interval", "200ms", "--health-retries", "2", "busybox", "sleep", "1000")
	states := c.start("events", "--since", "1h", "--filter", "container=rh-one", "--filter", "event=health_status", "--format", "{{.Action}}")
	states.until("health_status: unhealthy")
	c.want("unhealthy unwell", "inspect", "-f", "{{.State.Health.Status}} {{(index .State.Health.Log 0).Output}}", "rh-one")
	c.has([]string{"(unhealthy)"}, "ps", "--filter", "health=unhealthy", "--filter", "name=rh-one")
	c.run("exec", "rh-one", "touch", "/tmp/well")
	states.until("health_status: healthy")
	c.has([]string{"(healthy)"}, "ps", "--filter", "name=rh-one", "--format", "{{.Status}}")
	c.run("rm", "-f", "rh-one")
}

func runSignals(c *cli) {
	c.run("run", "-d", "--name", "rs-user", "busybox", "sh", "-c", `trap 'echo usr1; exit 6' USR1; echo ready; while :; do sleep 0.1; done`)
	c.start("logs", "-f", "rs-user").until("ready")
	c.run("kill", "-s", "USR1", "rs-user")
	c.want("6", "wait", "rs-user")
	c.has([]string{"usr1"}, "logs", "rs-user")
	c.fails(1, "is not running", "kill", "rs-user")
	c.run("rm", "rs-user")
	c.fails(1, "nvalid signal", "kill", "-s", "NONSENSE", c.run("run", "-d", "busybox", "sleep", "1000"))

	// Ctrl-C at the client's terminal reaches the container.
	k := c.start("run", "--rm", "busybox", "sh", "-c", `trap 'echo int; exit 42' INT; echo ready; while :; do sleep 0.1; done`)
	k.until("ready")
	if err := k.cmd.Process.Signal(os.Interrupt); err != nil {
		c.t.Fatal(err)
	}
	if got := k.rest(); got.code != 42 || !strings.Contains(got.stdout, "int") {
		c.t.Errorf("after an interrupt: %+v", got)
	}
	c.run("run", "-d", "--name", "rs-stop", "--stop-signal", "USR2", "busybox", "sh", "-c", `trap 'exit 8' USR2; echo ready; while :; do sleep 0.1; done`)
	c.start("logs", "-f", "rs-stop").until("ready")
	c.run("stop", "rs-stop")
	c.want("8", "wait", "rs-stop")
}
