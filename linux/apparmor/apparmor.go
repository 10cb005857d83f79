// Package apparmor gives containers a profile on hosts whose kernel confines programs with AppArmor (apparmor(7)).
package apparmor

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/berth-engine/berth/core"
)

// profile is that of containers which name none, in the language of apparmor.d(5); its name is core.AppArmorProfile.
//
//go:embed profile
var profile string

// Files of the kernel.
const (
	switchFile   = "/sys/module/apparmor/parameters/enabled"
	profilesFile = "/sys/kernel/security/apparmor/profiles"
)

// Enabled reports whether the kernel confines programs.
func Enabled() bool {
	state, err := os.ReadFile(switchFile)
	return err == nil && bytes.HasPrefix(state, []byte("Y"))
}

// Load puts the profile into the kernel in place of one of that name; processes that are confined by it follow the new one.
// It takes the program apparmor_parser, of the package apparmor.
func Load(ctx context.Context) error {
	parser, err := exec.LookPath("apparmor_parser")
	if errors.Is(err, exec.ErrNotFound) {
		parser, err = exec.LookPath("/sbin/apparmor_parser") // not in everybody's PATH
	}
	if err != nil {
		return fmt.Errorf("load the profile %s: %w", core.AppArmorProfile, err)
	}
	command := exec.CommandContext(ctx, parser, "--replace", "--skip-cache")
	command.Stdin = strings.NewReader(profile)
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("load the profile %s: %w: %s", core.AppArmorProfile, err, bytes.TrimSpace(said))
	}
	return nil
}

// Loaded reports whether the kernel has the profile, and enforces it.
func Loaded() (bool, error) {
	list, err := os.ReadFile(profilesFile)
	return strings.Contains("\n"+string(list), "\n"+core.AppArmorProfile+" (enforce)\n"), err
}
