package peer

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestCommandsRunInTheRoomOfAPrefix(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("joining a mount namespace needs root")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("unshare is not installed")
	}
	r, err := openRoom(t.Context(), "unshare -m --propagation private env MARK=here")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}()
	namespace := func(start func(*exec.Cmd) error) string {
		var out strings.Builder
		cmd := exec.Command("readlink", "/proc/self/ns/mnt")
		cmd.Stdout = &out
		if err := start(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	inside, outside, again := namespace(r.start), namespace((*exec.Cmd).Start), namespace(r.start)
	if inside == outside || inside != again {
		t.Errorf("inside %q, outside %q, inside again %q", inside, outside, again)
	}
	if !strings.Contains(strings.Join(r.env, "\n"), "MARK=here") {
		t.Error("the prefix's environment is lost")
	}
	if path, err := r.find("sh"); err != nil || !strings.HasSuffix(path, "/sh") {
		t.Errorf("sh: %q, %v", path, err)
	}
	if _, err := r.find("no-such-command"); err == nil {
		t.Error("found what does not exist")
	}
}

func TestAPrefixThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := openRoom(t.Context(), "false"); err == nil {
		t.Error("no error")
	}
}
