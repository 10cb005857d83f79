package compat

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// TestGoSDK drives the daemon through moby/moby/client: with a negotiated version, and as old clients do.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	s := newSuite(t, 3)
	for _, test := range []struct {
		name    string
		version string // "": negotiated
	}{
		{"negotiated", ""},
		{"version 1.40, of Docker 19.03", "1.40"},
		{"version 1.44, of Docker 25", "1.44"},
		{"version 1.51, of Docker 28", "1.51"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			options := []client.Opt{client.WithHost(s.d.Host())}
			if test.version != "" {
				options = append(options, client.WithAPIVersion(test.version))
			}
			c, err := client.New(options...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			k := &kit{t, c, ctx}
			k.version(test.version)
			k.life()
			k.console()
			k.exec()
			k.files()
			k.events()
			k.errors()
		})
	}
	t.Run("pull and push", func(t *testing.T) {
		t.Parallel()
		c, err := client.New(client.WithHost(s.d.Host()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		(&kit{t, c, t.Context()}).registry(startRegistry(t))
	})
}

// kit is the SDK in one version.
type kit struct {
	*testing.T
	c   *client.Client
	ctx context.Context
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func (k *kit) version(want string) {
	ping, err := k.c.Ping(k.ctx, client.PingOptions{NegotiateAPIVersion: want == ""})
	k.must(err)
	if ping.OSType != "linux" || ping.APIVersion == "" {
		k.Errorf("ping: %+v", ping)
	}
	if want != "" && k.c.ClientVersion() != want {
		k.Errorf("the client speaks %s, want %s", k.c.ClientVersion(), want)
	}
	version, err := k.c.ServerVersion(k.ctx, client.ServerVersionOptions{})
	k.must(err)
	if version.MinAPIVersion != "1.40" || version.Os != "linux" {
		k.Errorf("version: %+v", version)
	}
	info, err := k.c.Info(k.ctx, client.InfoOptions{})
	k.must(err)
	if info.Info.Driver != "overlayfs" {
		k.Errorf("info: %+v", info.Info)
	}
}

// create makes a container that runs a script.
func (k *kit) create(script string, change func(*container.Config)) string {
	k.Helper()
	config := &container.Config{Image: "busybox", Cmd: []string{"sh", "-c", script}}
	if change != nil {
		change(config)
	}
	made, err := k.c.ContainerCreate(k.ctx, client.ContainerCreateOptions{Config: config, HostConfig: &container.HostConfig{}})
	k.must(err)
	k.Cleanup(func() {
		_, err := k.c.ContainerRemove(context.WithoutCancel(k.ctx), made.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !errdefs.IsNotFound(err) {
			k.Error(err)
		}
	})
	return made.ID
}

// code waits for a container's end.
func (k *kit) code(wait client.ContainerWaitResult) int64 {
	k.Helper()
	select {
	case end := <-wait.Result:
		return end.StatusCode
	case err := <-wait.Error:
		k.Fatal(err)
	}
	return -1
}

func (k *kit) life() {
	id := k.create("echo out; echo err >&2; exit 5", nil)
	wait := k.c.ContainerWait(k.ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	_, err := k.c.ContainerStart(k.ctx, id, client.ContainerStartOptions{})
	k.must(err)
	if code := k.code(wait); code != 5 {
		k.Errorf("exit code %d, want 5", code)
	}
	logs, err := k.c.ContainerLogs(k.ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	k.must(err)
	var stdout, stderr bytes.Buffer
	_, err = stdcopy.StdCopy(&stdout, &stderr, logs)
	k.must(errors.Join(err, logs.Close()))
	if stdout.String() != "out\n" || stderr.String() != "err\n" {
		k.Errorf("logs: %q %q", &stdout, &stderr)
	}
	shown, err := k.c.ContainerInspect(k.ctx, id, client.ContainerInspectOptions{})
	k.must(err)
	if c := shown.Container; c.State.ExitCode != 5 || c.State.Status != container.StateExited || c.Config.Image != "busybox" {
		k.Errorf("inspect: %+v %+v", c.State, c.Config)
	}
	list, err := k.c.ContainerList(k.ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("id", id)})
	k.must(err)
	if len(list.Items) != 1 || list.Items[0].ID != id || list.Items[0].State != container.StateExited {
		k.Errorf("list: %+v", list.Items)
	}
	wait = k.c.ContainerWait(k.ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
	_, err = k.c.ContainerRemove(k.ctx, id, client.ContainerRemoveOptions{})
	k.must(err)
	if code := k.code(wait); code != 5 {
		k.Errorf("waiting for the removal: %d", code)
	}
}

func (k *kit) console() {
	id := k.create("cat; exit 6", func(c *container.Config) {
		c.OpenStdin, c.StdinOnce, c.AttachStdin, c.AttachStdout = true, true, true, true
	})
	attached, err := k.c.ContainerAttach(k.ctx, id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	k.must(err)
	defer attached.Close()
	wait := k.c.ContainerWait(k.ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	_, err = k.c.ContainerStart(k.ctx, id, client.ContainerStartOptions{})
	k.must(err)
	_, err = io.WriteString(attached.Conn, "ahoy\n")
	k.must(errors.Join(err, attached.CloseWrite()))
	var stdout, stderr bytes.Buffer
	_, err = stdcopy.StdCopy(&stdout, &stderr, attached.Reader)
	k.must(err)
	if stdout.String() != "ahoy\n" || stderr.Len() > 0 {
		k.Errorf("attached: %q %q", &stdout, &stderr)
	}
	if code := k.code(wait); code != 6 {
		k.Errorf("exit code %d, want 6", code)
	}
}

func (k *kit) exec() {
	id := k.create("exec sleep 1000", nil)
	_, err := k.c.ContainerStart(k.ctx, id, client.ContainerStartOptions{})
	k.must(err)
	for _, test := range []struct {
		command      []string
		tty          bool
		code         int
		stdout, says string
	}{
		{[]string{"sh", "-c", "echo $SEA; echo err >&2; exit 3"}, false, 3, "north\n", "err\n"},
		{[]string{"sh", "-c", "test -t 0 && echo terminal"}, true, 0, "terminal\r\n", ""},
		{[]string{"false"}, false, 1, "", ""},
	} {
		made, err := k.c.ExecCreate(k.ctx, id, client.ExecCreateOptions{Cmd: test.command, TTY: test.tty, Env: []string{"SEA=north"}, AttachStdout: true, AttachStderr: true, AttachStdin: test.tty})
		k.must(err)
		attached, err := k.c.ExecAttach(k.ctx, made.ID, client.ExecAttachOptions{TTY: test.tty})
		k.must(err)
		var stdout, stderr bytes.Buffer
		if test.tty {
			_, err = io.Copy(&stdout, attached.Reader)
		} else {
			_, err = stdcopy.StdCopy(&stdout, &stderr, attached.Reader)
		}
		attached.Close()
		k.must(err)
		end, err := k.c.ExecInspect(k.ctx, made.ID, client.ExecInspectOptions{})
		k.must(err)
		if end.Running || end.ExitCode != test.code || stdout.String() != test.stdout || stderr.String() != test.says {
			k.Errorf("exec %s: %+v %q %q", test.command, end, &stdout, &stderr)
		}
	}
	timeout := 0
	_, err = k.c.ContainerStop(k.ctx, id, client.ContainerStopOptions{Timeout: &timeout})
	k.must(err)
}

func (k *kit) events() {
	id := k.create("exit 7", nil)
	began := time.Now().Add(-time.Minute)
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	stream := k.c.Events(ctx, client.EventsListOptions{Since: began.Format(time.RFC3339Nano), Filters: client.Filters{}.Add("container", id)})
	_, err := k.c.ContainerStart(k.ctx, id, client.ContainerStartOptions{})
	k.must(err)
	for _, want := range []string{"create", "start", "die"} {
		select {
		case event := <-stream.Messages:
			if string(event.Action) != want || event.Actor.ID != id || string(event.Type) != "container" {
				k.Errorf("the event is %+v, want %s", event, want)
			}
			if want == "die" && event.Actor.Attributes["exitCode"] != "7" {
				k.Errorf("the end is %+v", event.Actor)
			}
		case err := <-stream.Err:
			k.Fatal(err)
		}
	}
}

func (k *kit) errors() {
	_, err := k.c.ContainerInspect(k.ctx, "no-such", client.ContainerInspectOptions{})
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "No such container: no-such") {
		k.Errorf("inspect: %v", err)
	}
	_, err = k.c.ContainerCreate(k.ctx, client.ContainerCreateOptions{Config: &container.Config{Image: "no-such-image"}})
	if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "No such image: no-such-image") {
		k.Errorf("create: %v", err)
	}
	id := k.create("true", nil)
	_, err = k.c.ContainerKill(k.ctx, id, client.ContainerKillOptions{})
	if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "is not running") {
		k.Errorf("kill: %v", err)
	}
	_, err = k.c.ContainerCreate(k.ctx, client.ContainerCreateOptions{Config: &container.Config{Image: "busybox"}, HostConfig: &container.HostConfig{Resources: container.Resources{Memory: 1}}})
	if !errdefs.IsInvalidArgument(err) {
		k.Errorf("a byte of memory: %v", err)
	}
}

func (k *kit) registry(address string) {
	name := address + "/sdk/tender:v1"
	_, err := k.c.ImageTag(k.ctx, client.ImageTagOptions{Source: "busybox", Target: name})
	k.must(err)
	push, err := k.c.ImagePush(k.ctx, name, client.ImagePushOptions{RegistryAuth: "e30="})
	k.must(err)
	k.must(push.Wait(k.ctx))
	_, err = k.c.ImageRemove(k.ctx, name, client.ImageRemoveOptions{})
	k.must(err)
	pull, err := k.c.ImagePull(k.ctx, name, client.ImagePullOptions{})
	k.must(err)
	k.must(pull.Wait(k.ctx))
	shown, err := k.c.ImageInspect(k.ctx, name)
	k.must(err)
	if shown.Os != "linux" || len(shown.RootFS.Layers) != 1 {
		k.Errorf("inspect: %+v", shown)
	}
	saved, err := k.c.ImageSave(k.ctx, []string{name})
	k.must(err)
	archive, err := io.ReadAll(saved)
	k.must(errors.Join(err, saved.Close()))
	_, err = k.c.ImageRemove(k.ctx, name, client.ImageRemoveOptions{})
	k.must(err)
	loaded, err := k.c.ImageLoad(k.ctx, bytes.NewReader(archive))
	k.must(err)
	said, err := io.ReadAll(loaded)
	k.must(errors.Join(err, loaded.Close()))
	if !strings.Contains(string(said), "Loaded image: "+name) {
		k.Errorf("load: %s", said)
	}
	_, err = k.c.ImageRemove(k.ctx, name, client.ImageRemoveOptions{})
	k.must(err)
}
