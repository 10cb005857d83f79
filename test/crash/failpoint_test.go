package crash

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/lib/failpoint"
	"github.com/berth-engine/berth/test/daemon"
)

// network is the second number of the addresses that this package's daemons use.
const network = 192

// firstPort is below those that the kernel gives out by itself.
const firstPort = 21000

func TestTheDaemonDiesAtEveryFailpoint(t *testing.T) {
	drill{least: 15, scenario: scenario, untrue: untrue}.run(t)
}

// drill kills the daemon at every failpoint that a scenario passes, starts the next one, and looks.
type drill struct {
	first    int    // number of the first of its daemons
	prefix   string // of the failpoints that are meant; empty: all
	least    int    // how many there are at least
	scenario func(d *daemon.Daemon) error
	untrue   func(d *daemon.Daemon) []string // what is not as it should be after the death
}

func (dr drill) run(t *testing.T) {
	bin, rootfs := daemon.Programs(t), daemon.RootFS(t)
	for i, name := range dr.names(t, bin, rootfs) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := daemon.New(t, daemon.Options{Bin: bin, Net: network, Number: dr.first + i + 1})
			if err := errors.Join(d.Start(), d.Import(rootfs, "busybox"), d.Stop()); err != nil {
				t.Fatal(err)
			}
			if err := d.Start(failpoint.Variable + "=" + name); err != nil {
				t.Fatal(err)
			}
			err := dr.scenario(d)
			select {
			case <-d.Died():
			case <-time.After(20 * time.Second):
				t.Fatalf("the daemon survives; the scenario: %v", err)
			}
			if err := errors.Join(d.Kill(), d.Start()); err != nil {
				t.Fatalf("after its death: %v", err)
			}
			for _, wrong := range dr.untrue(d) {
				t.Error(wrong)
			}
			// What was half made is in nobody's way: the whole scenario works beside it.
			if err := errors.Join(d.Empty(), dr.scenario(d)); err != nil {
				t.Errorf("the scenario after that: %v", err)
			}
		})
	}
}

// names are the failpoints that the scenario passes when nobody dies.
func (dr drill) names(t *testing.T, bin, rootfs string) []string {
	trace := filepath.Join(t.TempDir(), "names")
	d := daemon.New(t, daemon.Options{Bin: bin, Net: network, Number: dr.first})
	if err := errors.Join(d.Start(failpoint.Variable+"=trace="+trace), d.Import(rootfs, "busybox")); err != nil {
		t.Fatal(err)
	}
	if err := dr.scenario(d); err != nil {
		t.Fatalf("the scenario fails by itself: %v", err)
	}
	learned, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	names := slices.DeleteFunc(strings.Fields(string(learned)), func(name string) bool { return !strings.HasPrefix(name, dr.prefix) })
	if len(names) < dr.least {
		t.Fatalf("only these failpoints were passed: %s", names)
	}
	return names
}

// scenario does a bit of everything, in order, and gives the first error: that the daemon died, in most runs.
func scenario(d *daemon.Daemon) error {
	post := func(path string, body any) func() error {
		return func() error { return d.Do(http.MethodPost, path, body, nil) }
	}
	remove := func(path string) func() error {
		return func() error { return d.Do(http.MethodDelete, path, nil, nil) }
	}
	look := func(path string) func() error {
		return func() error { return d.Do(http.MethodGet, path, nil, nil) }
	}
	for _, do := range []func() error{
		post("/networks/create", map[string]any{"Name": "sea"}),
		post("/networks/create", map[string]any{"Name": "strait"}),
		post("/containers/create?name=web", web(d, false)),
		look("/containers/web/archive?path=/etc"),
		post("/containers/web/start", nil),
		look("/containers/web/export"),
		func() error { return run(d, "web", "true") },
		post("/commit?container=web&repo=made", nil),
		post("/networks/strait/connect", map[string]any{"Container": "web", "EndpointConfig": map[string]any{"GwPriority": 9}}),
		post("/networks/sea/disconnect", map[string]any{"Container": "web"}),
		post("/networks/sea/connect", map[string]any{"Container": "web"}),
		post("/networks/strait/disconnect", map[string]any{"Container": "web"}),
		post("/containers/web/update", bindings(d, "PublishPorts", extraPort)),
		post("/containers/web/update", bindings(d, "UnpublishPorts", extraPort)),
		post("/containers/web/stop?t=0", nil),
		post("/containers/web/start", nil),
		post("/containers/web/restart?t=0", nil),
		post("/containers/web/kill", nil),
		post("/containers/web/wait", nil),
		remove("/containers/web?v=1"),
		post("/containers/create?name=other", web(d, false)),
		post("/containers/other/start", nil),
		remove("/containers/other?force=1&v=1"),
		// `run --rm`: it removes itself at its end.
		post("/containers/create?name=brief", web(d, true)),
		post("/containers/brief/start", nil),
		post("/containers/brief/kill", nil),
		post("/containers/brief/wait?condition=removed", nil),
		remove("/volumes/hold"),
		remove("/networks/sea"),
		remove("/networks/strait"),
	} {
		if err := do(); err != nil && !strings.Contains(err.Error(), " 404 ") {
			return err // 404: `wait` came after the container was gone
		}
	}
	return nil
}

// extraPort is added to a daemon's port for a second one, which is published and unpublished while the container runs.
const extraPort = 500

// bindings is a body that names a port of the daemon's for the container's port 80.
func bindings(d *daemon.Daemon, field string, extra int) map[string]any {
	return map[string]any{field: map[string]any{
		"80/tcp": []map[string]string{{"HostIp": "127.0.0.1", "HostPort": strconv.Itoa(firstPort + extra + d.Number())}},
	}}
}

// welcome is a shell's command that serves a page and says when.
const welcome = "echo ahoy >/tmp/index.html; httpd -p 80 -h /tmp; echo ready; exec sleep 1000"

// web is a container with a published port, a named and an anonymous volume, and a network of the user's. The port is
// fixed: one of the machine's choice could be taken by another test's daemon while this one is dead.
func web(d *daemon.Daemon, autoRemove bool) map[string]any {
	return map[string]any{
		"Image": "busybox", "Cmd": []string{"sh", "-c", welcome},
		"ExposedPorts": map[string]any{"80/tcp": struct{}{}},
		"Volumes":      map[string]any{"/nameless": struct{}{}},
		"HostConfig": map[string]any{
			"NetworkMode": "sea", "Binds": []string{"hold:/hold"}, "AutoRemove": autoRemove,
			"PortBindings": bindings(d, "PortBindings", 0)["PortBindings"],
		},
	}
}

// run executes a program in a container and waits for its end.
func run(d *daemon.Daemon, container string, command ...string) error {
	var made struct{ ID string }
	err := d.Do(http.MethodPost, "/containers/"+container+"/exec", map[string]any{"Cmd": command}, &made)
	if err != nil {
		return err
	}
	return d.Do(http.MethodPost, "/exec/"+made.ID+"/start", map[string]any{"Detach": true}, nil)
}

// shown is what `inspect` tells, as far as it is looked at here.
type shown struct {
	ID    string
	Name  string
	State struct {
		Status    string
		Running   bool
		Pid       int
		ExitCode  int
		OOMKilled bool
		StartedAt time.Time
	}
	HostConfig struct {
		PortBindings map[string][]struct{ HostPort string }
	}
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress, Gateway string }
		Ports    map[string][]struct{ HostPort string }
	}
}

// containers inspects all.
func containers(d *daemon.Daemon) ([]shown, error) {
	var list []struct{ ID string }
	if err := d.Get("/containers/json?all=1", &list); err != nil {
		return nil, err
	}
	var all []shown
	for _, entry := range list {
		var c shown
		if err := d.Get("/containers/"+entry.ID+"/json", &c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// fetch gets the page of a container over each of its published ports, once it says that it serves it. They must be those
// of its definition.
func fetch(d *daemon.Daemon, c shown) error {
	ports := c.NetworkSettings.Ports["80/tcp"]
	if len(ports) == 0 || !reflect.DeepEqual(ports, c.HostConfig.PortBindings["80/tcp"]) {
		return fmt.Errorf("its published ports are %v, and shall be %v", c.NetworkSettings.Ports, c.HostConfig.PortBindings)
	}
	if err := d.Follow(c.ID, c.State.StartedAt, "ready"); err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	for _, port := range ports {
		answer, err := client.Get("http://127.0.0.1:" + port.HostPort)
		if err != nil {
			return err
		}
		page, err := io.ReadAll(answer.Body)
		if err == nil && string(page) != "ahoy\n" {
			err = fmt.Errorf("its page is %q", page)
		}
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return err
		}
	}
	return nil
}

// connected checks that the kernel has the interfaces, addresses and the default route that the daemon says a container has,
// and no others.
func connected(c shown) error {
	read := func(name string) string {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", c.State.Pid, name))
		if err != nil {
			return err.Error()
		}
		return string(data)
	}
	devices, addresses, routes := read("dev"), read("fib_trie"), read("route")
	var errs []error
	// Two lines of titles, and the loopback.
	if have, want := strings.Count(devices, "\n")-3, len(c.NetworkSettings.Networks); have != want {
		errs = append(errs, fmt.Errorf("it has %d interfaces for %d networks:\n%s", have, want, devices))
	}
	gateway := false
	for name, n := range c.NetworkSettings.Networks {
		if !strings.Contains(addresses, "-- "+n.IPAddress+"\n") {
			errs = append(errs, fmt.Errorf("it does not have the address %q in %s", n.IPAddress, name))
		}
		if ip := net.ParseIP(n.Gateway).To4(); ip != nil {
			gateway = gateway || strings.Contains(routes, fmt.Sprintf("\t00000000\t%02X%02X%02X%02X\t", ip[3], ip[2], ip[1], ip[0]))
		}
	}
	if !gateway {
		errs = append(errs, fmt.Errorf("its default route leads to no gateway of its networks:\n%s", routes))
	}
	return errors.Join(errs...)
}

// untrue lists what the daemon says of its containers and what is not so.
func untrue(d *daemon.Daemon) (wrong []string) {
	all, err := containers(d)
	if err != nil {
		return []string{err.Error()}
	}
	var pids []int
	for _, c := range all {
		if c.State.Running != daemon.Alive(c.State.Pid) {
			wrong = append(wrong, fmt.Sprintf("container %s is said to be %s, and its process %d lives: %t", c.Name, c.State.Status, c.State.Pid, !c.State.Running))
		}
		if c.State.Running {
			pids = append(pids, c.State.Pid)
			if err := errors.Join(fetch(d, c), connected(c)); err != nil {
				wrong = append(wrong, fmt.Sprintf("container %s runs, but: %v", c.Name, err))
			}
		}
		if !slices.Contains([]string{"created", "running", "exited"}, c.State.Status) {
			wrong = append(wrong, fmt.Sprintf("container %s is %s", c.Name, c.State.Status))
		}
	}
	// A process that no container knows is one that got lost.
	for _, pid := range d.Processes() {
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.HasPrefix(string(command), "sleep") && !slices.Contains(pids, pid) {
			wrong = append(wrong, fmt.Sprintf("process %d belongs to no container", pid))
		}
	}
	return wrong
}
