package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/container"
	"github.com/berth-engine/berth/cli/contexts"
	"github.com/berth-engine/berth/cli/image"
	"github.com/berth-engine/berth/cli/network"
	"github.com/berth-engine/berth/cli/registry"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/system"
	"github.com/berth-engine/berth/cli/volume"
)

// addCommands names every command, in the words of docker.
func addCommands(root *cobra.Command, s *session.Session, o Options) {
	program := system.Build{Version: o.Version, Commit: o.Commit, Built: o.Built}
	root.AddCommand(
		container.NewAttach(s), container.NewCreate(s), container.NewExec(s), container.NewKill(s), container.NewLogs(s),
		container.NewPause(s), container.NewPort(s), container.NewList(s, "ps"), container.NewRename(s), container.NewRestart(s),
		container.NewRemove(s), container.NewRun(s), container.NewStart(s), container.NewStats(s), container.NewStop(s),
		container.NewTop(s), container.NewUnpause(s), container.NewUpdate(s), container.NewWait(s),
		image.NewList(s, "images"), image.NewHistory(s), image.NewImport(s), image.NewLoad(s), image.NewPull(s), image.NewPush(s),
		image.NewRemove(s, "rmi"), image.NewSave(s), image.NewTag(s),
		registry.NewLogin(s), registry.NewLogout(s),
		system.NewEvents(s), system.NewInfo(s, program), system.NewInspect(s), system.NewVersion(s, program),
		session.Group("container", "Manage containers",
			container.NewAttach(s), container.NewCreate(s), container.NewExec(s), container.NewInspect(s), container.NewKill(s),
			container.NewLogs(s), container.NewList(s, "ls", "ps", "list"), container.NewPause(s), container.NewPort(s),
			container.NewPrune(s), container.NewRename(s), container.NewRestart(s), container.NewRemove(s), container.NewRun(s),
			container.NewStart(s), container.NewStats(s), container.NewStop(s), container.NewTop(s), container.NewUnpause(s),
			container.NewUpdate(s), container.NewWait(s)),
		session.Group("image", "Manage images",
			outside(s, "build", "Build an image from a Dockerfile", "berth-build", "build"),
			image.NewHistory(s), image.NewImport(s), image.NewInspect(s), image.NewLoad(s), image.NewList(s, "ls", "list"),
			image.NewPrune(s), image.NewPull(s), image.NewPush(s), image.NewRemove(s, "rm", "remove"), image.NewSave(s), image.NewTag(s)),
		session.Group("builder", "Manage builds",
			outside(s, "build", "Build an image from a Dockerfile", "berth-build", "build"), system.NewBuilderPrune(s)),
		network.New(s), volume.New(s), system.New(s, program), contexts.New(s),
		outside(s, "build", "Build an image from a Dockerfile", "berth-build", "build"),
		outside(s, "buildx", "Build with BuildKit", "berth-build"),
		outside(s, "compose", "Define and run multi-container applications", "berth-compose"),
	)
	finish(root)
}

// finish sets what holds for every command: usage lines are ours, and help and mistakes look the same everywhere.
func finish(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	for _, sub := range cmd.Commands() {
		finish(sub)
	}
}

func completeContexts(s *session.Session) cobra.CompletionFunc { return contexts.Complete(s, -1) }

// outside is a command of a program of its own, so that what starts often stays small. The program takes this one's
// place: signals, terminal and exit code are its own.
func outside(s *session.Session, name, short, program string, words ...string) *cobra.Command {
	return &cobra.Command{
		Use:                name + " [OPTIONS] …",
		Short:              short,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			return become(s, program, append(words, args...))
		},
	}
}

// become replaces this process by another program, found beside it or in the PATH.
func become(s *session.Session, program string, args []string) error {
	path, err := locate(program)
	if err != nil {
		return &session.ExitError{Code: 1, Text: fmt.Sprintf("berth: %s is not installed: it was found neither beside berth nor in the PATH.\nInstall it, or build it with `make build`.", program)}
	}
	env := os.Environ()
	for name, value := range placeOf(s) {
		env = append(env, name+"="+value)
	}
	if err := syscall.Exec(path, append([]string{program}, args...), env); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	return nil
}

// placeOf passes on what the flags in front said about where the daemon is.
func placeOf(s *session.Session) map[string]string {
	place := map[string]string{}
	set := func(name, value string) {
		if value != "" {
			place[name] = value
		}
	}
	f := s.Flags
	if len(f.Hosts) > 0 {
		set("BERTH_HOST", s.DefaultHost())
		set("DOCKER_HOST", s.DefaultHost())
	}
	set("DOCKER_CONTEXT", f.Context)
	set("DOCKER_CONFIG", f.ConfigDir)
	if f.TLSVerify {
		set("DOCKER_TLS_VERIFY", "1")
	}
	if f.TLS {
		set("DOCKER_TLS", "1")
	}
	if f.CACert != "" {
		set("DOCKER_CERT_PATH", filepath.Dir(f.CACert))
	}
	return place
}

func locate(program string) (string, error) {
	if self, err := os.Executable(); err == nil {
		// A link to berth stands for where it points to.
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		beside := filepath.Join(filepath.Dir(self), program)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	path, err := exec.LookPath(program)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", err
	}
	return filepath.Abs(path)
}
