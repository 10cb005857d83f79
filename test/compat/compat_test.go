package compat

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-engine/berth/test/daemon"
)

// network is the second number of the addresses that this package's daemons use.
const network = 188

// limit is how long one command of a client may take on a busy machine.
const limit = time.Minute

// suite is what the tests of one daemon share.
type suite struct {
	d      *daemon.Daemon
	host   string // its address
	bin    string // folder of our programs
	docker string // path of the genuine client
	config string // its folder of settings, with the plugin
	rootfs string // tar of the image busybox
}

// newSuite starts a daemon that has the image busybox.
func newSuite(t *testing.T, number int, args ...string) *suite {
	t.Helper()
	s := &suite{bin: daemon.Programs(t), rootfs: daemon.RootFS(t)}
	s.docker, s.config = clients(t)
	s.d = daemon.New(t, daemon.Options{Bin: s.bin, Net: network, Number: number, Args: args})
	s.host = s.d.Host()
	if err := errors.Join(s.d.Start(), s.d.Import(s.rootfs, "busybox")); err != nil {
		t.Fatal(err)
	}
	return s
}

// on is the client for one test.
func (s *suite) on(t *testing.T) *cli { return &cli{suite: s, t: t} }

// cli runs the genuine docker CLI for one test.
type cli struct {
	*suite
	t   *testing.T
	env []string
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           int
}

func (c *cli) command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, c.docker, args...)
	command.Env = append(append(os.Environ(), "DOCKER_HOST="+c.host, "DOCKER_CONFIG="+c.config, "DOCKER_CLI_HINTS=false", "BUILDX_METADATA_PROVENANCE=disabled"), c.env...)
	return command
}

// with gives a client with more in its environment.
func (c *cli) with(env ...string) *cli {
	return &cli{suite: c.suite, t: c.t, env: append(c.env, env...)}
}

// feed runs a command to its end with something on its standard input.
func (c *cli) feed(stdin string, args ...string) result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	command := c.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	if ctx.Err() != nil {
		c.t.Fatalf("docker %s does not end\nstdout: %s\nstderr: %s", strings.Join(args, " "), &stdout, &stderr)
	}
	return result{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// run runs a command that must succeed and gives what it printed.
func (c *cli) run(args ...string) string {
	c.t.Helper()
	got := c.feed("", args...)
	if got.code != 0 {
		c.t.Fatalf("docker %s: exit code %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return strings.TrimSpace(got.stdout)
}

// want runs a command that must print exactly this.
func (c *cli) want(output string, args ...string) {
	c.t.Helper()
	if got := c.run(args...); got != output {
		c.t.Errorf("docker %s printed %q, want %q", strings.Join(args, " "), got, output)
	}
}

// has runs a command whose output must hold all of these.
func (c *cli) has(parts []string, args ...string) {
	c.t.Helper()
	got := c.run(args...)
	for _, part := range parts {
		if !strings.Contains(got, part) {
			c.t.Errorf("docker %s printed %q, want %q in it", strings.Join(args, " "), got, part)
		}
	}
}

// fails runs a command that must end with this code and say this on standard error.
func (c *cli) fails(code int, sentence string, args ...string) {
	c.t.Helper()
	got := c.feed("", args...)
	if got.code != code || !strings.Contains(got.stderr, sentence) {
		c.t.Errorf("docker %s: exit code %d, stderr %q; want %d and %q", strings.Join(args, " "), got.code, got.stderr, code, sentence)
	}
}

// talk is a command that runs while the test goes on.
type talk struct {
	c      *cli
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Scanner // of standard output
	stderr bytes.Buffer
	cancel context.CancelFunc
}

// start starts a command; it is killed at the end of the test unless end waited for it.
func (c *cli) start(args ...string) *talk {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	k := &talk{c: c, cmd: c.command(ctx, args...), cancel: cancel}
	k.cmd.Stderr = &k.stderr
	stdout, outErr := k.cmd.StdoutPipe()
	stdin, inErr := k.cmd.StdinPipe()
	if err := errors.Join(outErr, inErr); err != nil {
		c.t.Fatal(err)
	}
	k.stdin, k.lines = stdin, bufio.NewScanner(stdout)
	if err := k.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		cancel()
		_ = k.cmd.Wait() // it was killed, or end has waited already
	})
	return k
}

// until reads lines until one holds the text, and gives it.
func (k *talk) until(text string) string {
	k.c.t.Helper()
	var seen []string
	for k.lines.Scan() {
		if strings.Contains(k.lines.Text(), text) {
			return k.lines.Text()
		}
		seen = append(seen, k.lines.Text())
	}
	k.c.t.Fatalf("%s: the output ended without %q\nstdout: %s\nstderr: %s", strings.Join(k.cmd.Args[1:], " "), text, strings.Join(seen, "\n"), &k.stderr)
	return ""
}

// say writes to standard input.
func (k *talk) say(text string) {
	k.c.t.Helper()
	if _, err := io.WriteString(k.stdin, text); err != nil {
		k.c.t.Fatal(err)
	}
}

// end closes standard input, reads the rest and gives how the command ended.
func (k *talk) end() result {
	k.c.t.Helper()
	if err := k.stdin.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		k.c.t.Fatal(err)
	}
	return k.rest()
}

// rest reads what is still printed and gives how the command ended.
func (k *talk) rest() result {
	k.c.t.Helper()
	var rest strings.Builder
	for k.lines.Scan() {
		rest.WriteString(k.lines.Text() + "\n")
	}
	_ = k.cmd.Wait() // its code is in the state
	k.cancel()
	return result{rest.String(), k.stderr.String(), k.cmd.ProcessState.ExitCode()}
}

// write makes files below a new folder and gives that.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
