package compat

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stack is three services: web (nginx) → api (ours) → db (PostgreSQL), on the networks front (web, api) and back (api,
// db), which is internal. The database and the files of web are in named volumes; web is published.
type stack struct {
	*cli
	port string
	// visitors ask for a page over and over, each at an address of the host.
	visitors []*visitor
}

// visitor makes one request after the other, each over a connection of its own.
type visitor struct {
	url string
	// steady are those whose way does not lead through the daemon: none of their requests may fail while it is away.
	steady bool

	mu      sync.Mutex // guards all below
	changed *sync.Cond
	asked   int
	served  int
	refusal []string // of the requests that failed
}

// visits makes requests until told to end.
func (v *visitor) visits(end *atomic.Bool) {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for !end.Load() {
		err := v.visit(client)
		v.mu.Lock()
		if v.asked++; err == nil {
			v.served++
		} else {
			v.refusal = append(v.refusal, err.Error())
		}
		v.changed.Broadcast()
		v.mu.Unlock()
	}
}

func (v *visitor) visit(client *http.Client) error {
	answer, err := client.Get(v.url)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err == nil && !strings.HasPrefix(string(body), "visit ") {
		err = fmt.Errorf("%s: %q", answer.Status, body)
	}
	return err
}

// await waits until a number of further requests have ended, or have been served.
func (v *visitor) await(served bool, further int) error {
	timer := time.AfterFunc(limit, v.changed.Broadcast)
	defer timer.Stop()
	late := time.Now().Add(limit)
	v.mu.Lock()
	defer v.mu.Unlock()
	count := &v.asked
	if served {
		count = &v.served
	}
	for target := *count + further; *count < target; {
		if time.Now().After(late) {
			return fmt.Errorf("%s: %d of %d requests in %s, %d failed: %q", v.url, *count+further-target, further, limit, len(v.refusal), v.refusal[max(0, len(v.refusal)-3):])
		}
		v.changed.Wait()
	}
	return nil
}

// forget gives the requests that failed, and begins anew.
func (v *visitor) forget() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	failed := v.refusal
	v.refusal = nil
	return failed
}

// apiProgram names the variable with the path of the API's program, for the test in its namespace.
const apiProgram = "BERTH_TEST_API"

// TestStackKeepsAnswering lets requests go on at each address of the host while the firewall is flushed, the daemon is
// killed, is away, comes back, and is restarted in order. Since no other test's rules may be flushed, the host is a
// network namespace, which this program is started in once more for this test alone.
func TestStackKeepsAnswering(t *testing.T) {
	t.Parallel()
	if os.Getenv(apiProgram) == "" {
		again(t)
		return
	}
	s := newSuite(t, 20)
	c := &stack{cli: s.on(t)}
	c.images()
	c.up()
	var end atomic.Bool
	var all sync.WaitGroup
	for _, v := range c.visitors {
		all.Go(func() { v.visits(&end) })
	}
	defer all.Wait()
	defer end.Store(true)
	const some = 20
	everybody := func(served bool) {
		for _, v := range c.visitors {
			c.must(v.await(served, some))
		}
	}
	everybody(true)
	c.atMost(math.MaxInt, "the start") // nginx may not listen yet
	everybody(true)
	c.none("while all is well", nil)

	c.flush()
	everybody(true)
	// What is on its way breaks, once when the rules go and once when they are back: what comes in between is passed
	// on by the daemon itself.
	c.atMost(2, "a flush of the firewall")

	c.must(s.d.Kill())
	everybody(false) // it is away
	c.none("while the daemon is away", (*visitor).isSteady)
	c.must(s.d.Start())
	everybody(true)
	c.none("when the daemon comes back", (*visitor).isSteady)

	c.must(errors.Join(s.d.Stop(), s.d.Start()))
	everybody(true)
	c.none("while the daemon is restarted", (*visitor).isSteady)
	c.none("after all", nil)

	end.Store(true)
	all.Wait()
	c.count()
}

// again builds what needs a way to the outside, and runs the test where there is none.
func again(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	clients(t)
	api := filepath.Join(t.TempDir(), "api")
	build := exec.Command("go", "build", "-mod=readonly", "-ldflags=-s -w", "-o", api, "./api")
	build.Dir = "containers"
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the API: %v\n%s", err, output)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	inside := exec.Command("unshare", "--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	inside.Env = append(os.Environ(), apiProgram+"="+api)
	output, err := inside.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Error(err)
	}
}

func (v *visitor) isSteady() bool { return v.steady }

// none demands that no request has failed of those that may not.
func (c *stack) none(when string, which func(*visitor) bool) {
	c.t.Helper()
	for _, v := range c.visitors {
		failed := v.forget()
		if len(failed) == 0 {
			continue
		}
		if which == nil || which(v) {
			c.t.Errorf("%s: %d requests of %s failed, the first: %s", when, len(failed), v.url, failed[0])
		} else {
			c.t.Logf("%s: %d requests of %s failed, the first: %s", when, len(failed), v.url, failed[0])
		}
	}
}

// atMost says how many requests an event has cost, and how many it may cost of each visitor.
func (c *stack) atMost(n int, what string) {
	c.t.Helper()
	for _, v := range c.visitors {
		if failed := v.forget(); len(failed) > n {
			c.t.Errorf("%s cost %d requests of %s, the last: %s", what, len(failed), v.url, failed[len(failed)-1])
		} else if len(failed) > 0 {
			c.t.Logf("%s cost %d requests of %s, the first: %s", what, len(failed), v.url, failed[0])
		}
	}
}

func (c *stack) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// images makes the images of the services.
func (c *stack) images() {
	c.buildPostgres(c.t)
	packed{
		dockerfile: "FROM busybox\nCOPY files /\nRUN mkdir -p /var/log/nginx /var/lib/nginx\nEXPOSE 80\nVOLUME /srv\nSTOPSIGNAL QUIT\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n",
		programs:   []string{"nginx"},
		files: map[string]string{
			"etc/group": "root:x:0:\n",
			"etc/nginx/nginx.conf": `user root;
pid /tmp/nginx.pid;
error_log stderr;
events { }
http {
	access_log off;
	server {
		listen 80;
		listen [::]:80;
		location / { root /srv; }
		location /visit { proxy_pass http://api:8080; }
	}
}
`,
		},
	}.build(c.t, c.suite, "nginx")
	program, err := os.ReadFile(os.Getenv(apiProgram))
	c.must(err)
	c.with("DOCKER_BUILDKIT=0").run("build", "-q", "-t", "api", write(c.t, map[string]string{
		"Dockerfile": "FROM scratch\nCOPY --chmod=755 api /\nEXPOSE 8080\nCMD [\"/api\"]\n", "api": string(program)}))
}

// up starts the services, each when what it needs is there.
func (c *stack) up() {
	c.run("network", "create", "--ipv6", "--subnet", "fd00:188:20::/64", "front")
	c.run("network", "create", "--internal", "back")
	c.run("volume", "create", "--label", "stack=one", "data")
	c.run("run", "-d", "--name", "db", "--network", "back", "--restart", "unless-stopped", "-v", "data:/var/lib/data", "postgres")
	c.ready("db", "database system is ready to accept connections")
	c.run("create", "--name", "api", "--network", "front", "--restart", "on-failure",
		"-e", "DATABASE=postgres://postgres@db/postgres?sslmode=disable", "api")
	c.run("network", "connect", "back", "api")
	c.run("start", "api")
	c.ready("api", "the API listens")
	c.run("run", "-d", "--name", "web", "--network", "front", "--restart", "always", "-v", "pages:/srv", "-p", "80", "nginx")
	_, c.port, _ = strings.Cut(strings.Fields(c.run("port", "web", "80/tcp"))[0], ":")
	for _, address := range []struct {
		ip     string
		steady bool
	}{
		{"127.0.0.1", true},
		{"::1", false}, // the kernel leads nothing from there elsewhere: the daemon passes it on
		{c.run("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge"), true},
		{c.gateway(), true},
	} {
		v := &visitor{url: "http://" + net.JoinHostPort(address.ip, c.port) + "/visit", steady: address.steady}
		v.changed = sync.NewCond(&v.mu)
		c.visitors = append(c.visitors, v)
	}
	c.fails(1, "", "exec", "web", "nslookup", "db") // it is on the other network
}

// gateway is an address of the host's of version 6.
func (c *stack) gateway() string {
	for _, word := range strings.Fields(c.run("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Gateway}} {{end}}", "front")) {
		if strings.Contains(word, ":") {
			return word
		}
	}
	c.t.Fatal("front has no address of version 6")
	return ""
}

// ready waits for a line of a container's log.
func (c *stack) ready(name, line string) {
	c.t.Helper()
	c.cli.start("logs", "-f", name).until(line) // it is ended with the test
}

// flush does what a tool does that takes the firewall for its own.
func (c *stack) flush() {
	c.t.Helper()
	if output, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
		c.t.Fatalf("nft flush ruleset: %v\n%s", err, output)
	}
}

// count compares what the database holds with what was served: no row is lost, since each was written before its answer.
func (c *stack) count() {
	rows, err := strconv.Atoi(c.run("exec", "db", "psql", "-tAc", "SELECT count(*) FROM visits"))
	c.must(err)
	served := 0
	for _, v := range c.visitors {
		served += v.served
	}
	if rows < served {
		c.t.Errorf("%d visits were answered, %d are in the database", served, rows)
	}
	c.t.Logf("%d visits were answered, %d are in the database", served, rows)
}
