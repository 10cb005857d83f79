package script

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-engine/berth/test/daemon"
)

func TestScripts(t *testing.T) {
	run(t, testscript.Params{Dir: "testdata"}, 0, "runc")
}

// TestOtherRuntime has the transcript of another OCI runtime again with crun, where that can work: it refuses hosts whose
// cgroup v2 has controllers beside those of v1.
func TestOtherRuntime(t *testing.T) {
	if _, err := exec.LookPath("crun"); err != nil {
		t.Skip("crun is not installed")
	}
	if mixed, err := os.ReadFile("/sys/fs/cgroup/unified/cgroup.controllers"); err == nil && len(bytes.TrimSpace(mixed)) > 0 {
		t.Skipf("crun does not take a host with controllers of both versions of cgroups (v2 has %s)", bytes.TrimSpace(mixed))
	}
	run(t, testscript.Params{Files: []string{filepath.Join("testdata", "runtime.txtar")}}, 100, "crun")
}

// run runs transcripts, each with a daemon of its own; their numbers go from first+1 on. other is the program that stands
// for another OCI runtime.
func run(t *testing.T, params testscript.Params, first int32, other string) {
	if os.Getuid() != 0 {
		t.Skip("containers need root")
	}
	bin, base := daemon.Programs(t), daemon.RootFS(t)
	var number atomic.Int32
	number.Store(first)
	testscript.Run(t, testscript.Params{
		Dir: params.Dir, Files: params.Files,
		Setup: func(env *testscript.Env) error {
			d := daemon.New(t, daemon.Options{Bin: bin, Net: 198, Number: int(number.Add(1))})
			env.Values[daemonKey{}] = d
			env.Defer(d.Finish)
			env.Setenv("BERTH_HOST", d.Host())
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("BASE", base)
			env.Setenv("ROOT", d.Root)
			env.Setenv("OTHER", other)
			return d.Start()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"berth":  berth,
			"code":   code,
			"await":  await,
			"fetch":  fetch,
			"daemon": control,
			"image":  loadImage,

			"logserver": startServer,
			"heard":     heard,
		},
	})
}

// daemonKey finds a transcript's daemon.
type daemonKey struct{}

func daemonOf(ts *testscript.TestScript) *daemon.Daemon {
	return ts.Value(daemonKey{}).(*daemon.Daemon)
}

func berth(ts *testscript.TestScript, neg bool, args []string) {
	check(ts, neg, "berth", ts.Exec("berth", args...))
}

func check(ts *testscript.TestScript, neg bool, what string, err error) {
	if neg && err == nil {
		ts.Fatalf("%s succeeds, which is not expected", what)
	}
	if !neg {
		ts.Check(err)
	}
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARGUMENT…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await PATTERN COMMAND [ARGUMENT…]")
	}
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	command := exec.Command(args[1], args[2:]...)
	if !strings.Contains(args[1], "/") {
		command.Path, command.Err = filepath.Join(daemonOf(ts).Bin(), args[1]), nil
	}
	command.Env = append(os.Environ(), "BERTH_HOST="+ts.Getenv("BERTH_HOST"), "HOME="+ts.Getenv("HOME"))
	command.Dir = ts.MkAbs(".")
	output, err := command.StdoutPipe()
	ts.Check(err)
	command.Stderr = command.Stdout
	ts.Check(command.Start())
	found, seen := false, []string{}
	for lines := bufio.NewScanner(output); !found && lines.Scan(); {
		seen = append(seen, lines.Text())
		found = pattern.MatchString(lines.Text())
	}
	if err := command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		ts.Fatalf("%v", err)
	}
	_ = command.Wait() // it was killed: how it ended says nothing
	if !found {
		ts.Fatalf("the output ended without a match of %q:\n%s", args[0], strings.Join(seen, "\n"))
	}
}

func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: fetch URL")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(args[0])
	check(ts, neg, "fetch", err)
	if err != nil {
		return
	}
	content, err := io.ReadAll(answer.Body)
	ts.Check(errors.Join(err, answer.Body.Close()))
	_, err = io.WriteString(ts.Stdout(), string(content))
	ts.Check(err)
}

func control(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: daemon kill|stop|start|reload")
	}
	d := daemonOf(ts)
	switch args[0] {
	case "kill":
		ts.Check(d.Kill())
	case "stop":
		ts.Check(d.Stop())
	case "start":
		ts.Check(d.Start())
	case "reload":
		ts.Check(syscall.Kill(d.PID(), syscall.SIGHUP))
	default:
		ts.Fatalf("unknown: daemon %s", args[0])
	}
}

func loadImage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: image NAME")
	}
	ts.Check(ts.Exec("berth", "import", "-c", `CMD ["sh"]`, "-c", "ENV PATH=/bin", ts.Getenv("BASE"), args[0]))
}
