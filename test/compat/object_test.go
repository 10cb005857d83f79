package compat

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func networks(c *cli) {
	id := c.run("network", "create", "--label", "fleet=nw", "nw-one")
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(id) {
		c.t.Errorf("create printed %q", id)
	}
	c.fails(1, "network with name nw-one already exists", "network", "create", "nw-one")
	c.want("nw-one bridge local", "network", "ls", "--filter", "label=fleet=nw", "--format", "{{.Name}} {{.Driver}} {{.Scope}}")
	c.run("network", "create", "--subnet", "10.187.250.0/24", "--gateway", "10.187.250.9", "--internal", "nw-two")
	c.want("10.187.250.0/24 10.187.250.9 true", "network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}} {{.Internal}}", "nw-two")
	c.fails(1, "invalid pool request", "network", "create", "--subnet", "10.187.250.0/25", "nw-three")
	c.run("run", "-d", "--name", "nw-a", "--network", "nw-two", "--ip", "10.187.250.77", "busybox", "sleep", "1000")
	c.want("10.187.250.77", "inspect", "-f", `{{(index .NetworkSettings.Networks "nw-two").IPAddress}}`, "nw-a")
	c.run("run", "-d", "--name", "nw-b", "--network", "nw-one", "busybox", "sleep", "1000")
	c.fails(1, "", "exec", "nw-b", "nslookup", "nw-a")
	c.run("network", "connect", "--alias", "friend", "nw-two", "nw-b")
	c.run("exec", "nw-b", "ping", "-c", "1", "-W", "10", "nw-a")
	c.run("exec", "nw-a", "ping", "-c", "1", "-W", "10", "friend")
	c.has([]string{"nw-a", "nw-b"}, "network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "nw-two")
	c.fails(1, "has active endpoints", "network", "rm", "nw-two")
	c.run("network", "disconnect", "nw-two", "nw-b")
	c.fails(1, "", "exec", "nw-b", "nslookup", "nw-a")
	c.fails(1, "is not connected to", "network", "disconnect", "nw-two", "nw-b")
	c.want("nw-b", "ps", "--filter", "network=nw-one", "--format", "{{.Names}}")
	c.fails(1, "bridge is a pre-defined network and cannot be removed", "network", "rm", "bridge")
	c.run("rm", "-f", "nw-a", "nw-b")
	c.run("network", "create", "-d", "macvlan", "--subnet", "10.187.251.0/24", "--aux-address", "router=10.187.251.1", "nw-lan")
	c.want("macvlan true", "network", "inspect", "-f", "{{.Driver}} {{.Internal}}", "nw-lan")
	c.want("10.187.251.2", "run", "--rm", "--network", "nw-lan", "busybox", "hostname", "-i")
	c.fails(1, "requested macvlan mode 'x' is not valid", "network", "create", "-d", "macvlan", "-o", "macvlan_mode=x", "nw-x")
	c.fails(1, "unknown gateway mode x", "network", "create", "-o", "com.docker.network.bridge.gateway_mode_ipv6=x", "nw-x")
	c.run("network", "rm", "nw-lan")
	c.want("nw-one\nnw-two", "network", "rm", "nw-one", "nw-two")
	c.fails(1, "network nw-one not found", "network", "rm", "nw-one")
}

func volumes(c *cli) {
	c.want("vo-one", "volume", "create", "--label", "fleet=vo", "vo-one")
	c.want("vo-one", "volume", "create", "vo-one") // the same again is no error
	c.want("vo-one local", "volume", "ls", "--filter", "label=fleet=vo", "--format", "{{.Name}} {{.Driver}}")
	folder := c.run("volume", "inspect", "-f", "{{.Mountpoint}}", "vo-one")
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		c.t.Errorf("the folder %q: %v", folder, err)
	}
	c.want("local map[fleet:vo]", "volume", "inspect", "-f", "{{.Scope}} {{.Labels}}", "vo-one")
	nameless := c.run("volume", "create")
	if len(nameless) != 64 {
		c.t.Errorf("a volume without a name is called %q", nameless)
	}
	c.want(nameless, "volume", "ls", "-q", "--filter", "name="+nameless, "--filter", "dangling=true")
	c.want("vo-one\n"+nameless, "volume", "rm", "vo-one", nameless)
	c.fails(1, "no such volume", "volume", "rm", "vo-one")
	c.run("volume", "rm", "-f", "vo-one")
	c.fails(1, "includes invalid characters for a local volume name", "volume", "create", "a b")
	c.run("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "vo-tmp")
	c.has([]string{"tmpfs"}, "run", "--rm", "-v", "vo-tmp:/m", "busybox", "grep", " /m ", "/proc/mounts")
	c.run("volume", "rm", "vo-tmp")
	volumeOptions(c)
	propagation(c)
}

// volumeOptions are those of the local driver, and limits that this file system can't keep.
func volumeOptions(c *cli) {
	host := c.t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "file"), []byte("hosted"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.run("volume", "create", "-o", "type=none", "-o", "o=bind,ro", "-o", "device="+host, "vo-bind")
	c.want("hosted", "run", "--rm", "-v", "vo-bind:/v", "busybox", "cat", "/v/file")
	c.fails(1, "Read-only file system", "run", "--rm", "-v", "vo-bind:/v", "busybox", "touch", "/v/more")
	c.want("map[device:"+host+" o:bind,ro type:none]", "volume", "inspect", "-f", "{{.Options}}", "vo-bind")
	c.fails(1, "invalid option: \"colour\"", "volume", "create", "-o", "colour=red", "vo-x")
	c.fails(1, "missing required option: \"device\"", "volume", "create", "-o", "type=nfs", "vo-x")
	c.run("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device="+host+"/missing", "vo-gone")
	c.fails(127, "failed to mount local volume: mount "+host+"/missing:", "run", "--rm", "-v", "vo-gone:/v", "busybox", "true")
	c.want("here", "run", "--rm", "--mount", "type=volume,dst=/v,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-label=a=b", "busybox", "sh", "-c", "grep -q ' /v tmpfs' /proc/mounts && echo here")
	c.run("volume", "rm", "vo-bind", "vo-gone")
	table, err := os.ReadFile("/proc/mounts")
	if err != nil {
		c.t.Fatal(err)
	}
	if !strings.Contains(string(table), "prjquota") {
		c.fails(1, "quota size requested but no quota support", "volume", "create", "-o", "size=1m", "vo-x")
		c.fails(125, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option", "run", "--storage-opt", "size=1g", "busybox")
	}
}

// TestVolumesInUse is how containers have volumes, and which of them go with whom.
func TestVolumesInUse(t *testing.T) {
	t.Parallel()
	c := newSuite(t, 10).on(t)
	c.run("create", "--name", "vo-a", "-v", "vo-named:/named", "-v", "/nameless", "--mount", "type=volume,src=vo-etc,dst=/etc", "busybox")
	c.run("run", "--rm", "--mount", "type=volume,src=vo-empty,dst=/etc,volume-nocopy", "busybox", "true")
	nameless := c.run("inspect", "-f", `{{range .Mounts}}{{if eq .Destination "/nameless"}}{{.Name}}{{end}}{{end}}`, "vo-a")
	c.has([]string{"passwd"}, "run", "--rm", "-v", "vo-etc:/v", "busybox", "ls", "/v")
	c.fails(1, "No such file or directory", "run", "--rm", "-v", "vo-empty:/v", "busybox", "cat", "/v/passwd")
	c.want("rw-ro", "run", "--rm", "--volumes-from", "vo-a", "busybox", "sh", "-c", "touch /named/x /nameless/x && echo rw-ro")
	c.fails(1, "Read-only file system", "run", "--rm", "--volumes-from", "vo-a:ro", "busybox", "touch", "/named/y")
	c.fails(1, "volume is in use - [", "volume", "rm", nameless)
	c.want("", "volume", "ls", "-q", "--filter", "dangling=true", "--filter", "name="+nameless)
	c.run("rm", "vo-a") // without -v
	c.want(nameless, "volume", "ls", "-q", "--filter", "dangling=true", "--filter", "name="+nameless)
	c.run("volume", "create", "--label", "keep=", "vo-keep")
	c.has([]string{nameless}, "volume", "prune", "-f", "--filter", "label!=keep")
	c.want("vo-keep\nvo-named", "volume", "ls", "-q", "--filter", "name=vo-keep", "--filter", "name=vo-named")
	c.has([]string{"vo-named"}, "volume", "prune", "-af", "--filter", "label!=keep")
	c.want("vo-keep", "volume", "rm", "vo-keep")
	c.run("run", "--name", "vo-b", "--rm", "-v", "/nameless", "-v", "vo-named:/n", "busybox", "true")
	c.want("vo-named", "volume", "ls", "-q", "--filter", "name=vo-named")
	c.run("volume", "rm", "vo-named")
}

// propagation lets a container mount something for the host to see, where the host's mount is shared.
func propagation(c *cli) {
	top := filepath.Join(c.t.TempDir(), "top")
	if err := errors.Join(os.Mkdir(top, 0o755), syscall.Mount("tmpfs", top, "tmpfs", 0, ""), syscall.Mount("", top, "", syscall.MS_PRIVATE, "")); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := syscall.Unmount(top, 0); err != nil {
			c.t.Error(err)
		}
	})
	run := []string{"run", "--rm", "--privileged", "--mount", "type=bind,src=" + top + ",dst=/top,bind-propagation=rshared", "busybox", "sh", "-c", "mkdir /top/in && mount -t tmpfs made /top/in && touch /top/in/file"}
	c.fails(125, "path "+top+" is mounted on "+top+" but it is not a shared mount", run...)
	c.fails(125, "is not a shared or slave mount", "run", "--rm", "-v", top+":/top:rslave", "busybox", "true")
	if err := syscall.Mount("", top, "", syscall.MS_SHARED, ""); err != nil {
		c.t.Fatal(err)
	}
	c.run(run...)
	if _, err := os.Stat(filepath.Join(top, "in/file")); err != nil {
		c.t.Errorf("what the container mounted is not seen here: %v", err)
	}
	c.want("file", "run", "--rm", "-v", top+":/top:rslave", "busybox", "ls", "/top/in")
	if err := syscall.Unmount(filepath.Join(top, "in"), 0); err != nil {
		c.t.Error(err)
	}
}

// TestSystem looks at and cleans up everything that a daemon has.
func TestSystem(t *testing.T) {
	t.Parallel()
	c := newSuite(t, 2, "--label", "port=home").on(t)
	c.has([]string{"Server: Berth", "API version:"}, "version")
	c.want("1.40", "version", "-f", "{{.Server.MinAPIVersion}}")
	c.want("0 1 overlayfs [port=home]", "info", "-f", "{{.Containers}} {{.Images}} {{.Driver}} {{.Labels}}")
	c.run("run", "--name", "one", "-v", "kept:/v", "-v", "/nameless", "busybox", "sh", "-c", "dd if=/dev/zero of=/file bs=1k count=100 2>/dev/null")
	c.run("run", "-d", "--name", "two", "busybox", "sleep", "1000")
	c.run("network", "create", "idle")
	c.want("2 1 0 1", "info", "-f", "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}}")
	df := c.run("system", "df")
	for _, want := range []string{`Images\s+1\s+1\s+\S+`, `Containers\s+2\s+1\s+\S+`, `Local Volumes\s+2\s+`, `Build Cache\s+0`} {
		if !regexp.MustCompile(want).MatchString(df) {
			t.Errorf("system df has no %s:\n%s", want, df)
		}
	}
	c.has([]string{"Images space usage:", "kept", "sleep 1000"}, "system", "df", "-v")
	c.has([]string{"idle"}, "network", "prune", "-f")
	one := c.run("inspect", "-f", "{{.Id}}", "one")
	c.has([]string{"Deleted Containers:", one, "Total reclaimed space: "}, "container", "prune", "-f")
	c.has([]string{"Deleted Volumes:"}, "volume", "prune", "-f")
	c.want("kept", "volume", "ls", "-q")
	c.has([]string{"kept"}, "volume", "prune", "-f", "--all")

	c.with("DOCKER_BUILDKIT=0").run("build", "-q", "-t", "made", write(t, map[string]string{"Dockerfile": "FROM busybox\nRUN echo >/x\n"}))
	c.run("tag", "busybox", "made") // the built one has no name now
	c.want("1", "images", "-q", "--filter", "dangling=true", "--format", "1")
	c.has([]string{"Total reclaimed space"}, "image", "prune", "-f")
	c.want("", "images", "-q", "--filter", "dangling=true")
	c.has([]string{"Total"}, "builder", "prune", "-f", "--all")
	c.run("rm", "-f", "two")
	c.has([]string{"untagged: made:latest", "Total reclaimed space"}, "system", "prune", "-f", "--all", "--volumes")
	if left := strings.Fields(c.run("images", "-q")); len(left) != 0 {
		t.Errorf("images are left: %s", left)
	}
	c.want("", "ps", "-aq")
}
