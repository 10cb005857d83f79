package reaper_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-engine/berth/shim/reaper"
)

// TestMain is also the init itself, when a test runs this binary anew.
func TestMain(m *testing.M) {
	if os.Getenv("BERTH_TEST_INIT") != "" {
		os.Exit(reaper.Run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// initOf runs a shell script under the init, which is the child subreaper of nobody: orphans need a PID namespace.
func initOf(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	command := exec.Command("/proc/self/exe", "--", "/bin/sh", "-c", script)
	command.Env = append(os.Environ(), "BERTH_TEST_INIT=1")
	command.Stderr = os.Stderr
	if os.Geteuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	}
	return command
}

func code(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func TestTheCodeIsTheCommands(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 137} {
		if got := code(initOf(t, script).Run()); got != want {
			t.Errorf("%s: %d, want %d", script, got, want)
		}
	}
	command := initOf(t, "")
	command.Args = []string{"init", "--", "no-such-program"}
	command.Stderr = nil
	if got := code(command.Run()); got != 127 {
		t.Errorf("no such program: %d", got)
	}
}

func TestOrphansAreBuried(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("orphans come to process 1 of a PID namespace, which takes root to make")
	}
	t.Parallel()
	// A grandchild is left behind and ends; its pipe ends with it, and then it must leave the table. The shell waits for
	// that by asking until the process is gone.
	command := initOf(t, `orphan=$(sh -c 'sleep 0 >/dev/null & echo $!'); while kill -0 $orphan 2>/dev/null; do :; done; echo buried`)
	output, err := command.Output()
	if err != nil || strings.TrimSpace(string(output)) != "buried" {
		t.Errorf("%q %v", output, err)
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	command := initOf(t, `trap 'exit 9' TERM; echo ready; while :; do sleep 1 & wait $!; done`)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q %v", line, err)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := code(command.Wait()); got != 9 {
		t.Errorf("code %d, want 9", got)
	}
}
