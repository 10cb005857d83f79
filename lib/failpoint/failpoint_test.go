package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOffByDefault(t *testing.T) {
	if os.Getenv(Variable) != "" {
		t.Skip("the test itself runs with a failpoint")
	}
	if err := Hit("anything"); err != nil {
		t.Fatal(err)
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	if err := parse("a:b=error").hit("a:c"); err != nil {
		t.Errorf("another place fails: %v", err)
	}
	if err := parse("a:b=error").hit("a:b"); err == nil || err.Error() != "failpoint a:b" {
		t.Errorf("error gives %v", err)
	}
	if err := parse("a:b=sneeze").hit("a:b"); err == nil {
		t.Error("an unknown action is no error")
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_ = parse("a:b=panic").hit("a:b")
}

func TestTraceListsEachNameOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "names")
	p := parse("trace=" + path)
	for _, name := range []string{"x:1", "x:2", "x:1"} {
		if err := p.hit(name); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "x:1\nx:2\n" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestKillIsTheDefault(t *testing.T) {
	if os.Getenv(Variable) != "" {
		t.Log(Hit("here"))
		return
	}
	t.Parallel()
	c := exec.Command(os.Args[0], "-test.run=TestKillIsTheDefault")
	c.Env = append(os.Environ(), Variable+"=here")
	err := c.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process ended with %v", err)
	}
}
