package apparmor

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/berth-engine/berth/core"
)

func TestProfileHasTheNameThatContainersGet(t *testing.T) {
	t.Parallel()
	names := regexp.MustCompile(`(?m)(?:^profile|peer=)\s*(\S+?),?(?:\s|$)`).FindAllStringSubmatch(profile, -1)
	if len(names) < 2 {
		t.Fatalf("names: %q", names)
	}
	for _, name := range names {
		if name[1] != core.AppArmorProfile && name[1] != "unconfined" {
			t.Errorf("it speaks of %q", name[1])
		}
	}
}

// TestProfileIsUnderstood lets the parser translate the profile, for which the kernel need not have AppArmor.
func TestProfileIsUnderstood(t *testing.T) {
	t.Parallel()
	parser, err := exec.LookPath("/sbin/apparmor_parser")
	if err != nil {
		t.Skip("the package apparmor is not installed")
	}
	command := exec.Command(parser, "--skip-kernel-load", "--skip-cache")
	command.Stdin = strings.NewReader(profile)
	if said, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}

// TestLoad puts the profile into the kernel where that has AppArmor; it stays, as a daemon's does.
func TestLoad(t *testing.T) {
	if !Enabled() {
		t.Skip("the kernel has no AppArmor, or it is off")
	}
	for range 2 { // again: replaced
		if err := Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if loaded, err := Loaded(); err != nil || !loaded {
			t.Errorf("the kernel has it: %v, %v", loaded, err)
		}
	}
}
