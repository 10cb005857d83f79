package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-engine/berth/cli/container"
	"github.com/berth-engine/berth/cli/contexts"
	"github.com/berth-engine/berth/cli/files"
	"github.com/berth-engine/berth/cli/image"
	"github.com/berth-engine/berth/cli/network"
	"github.com/berth-engine/berth/cli/registry"
	"github.com/berth-engine/berth/cli/session"
	"github.com/berth-engine/berth/cli/stats"
	"github.com/berth-engine/berth/cli/system"
	"github.com/berth-engine/berth/cli/volume"
)

// entry is a command and how it is made. Commands are made when they are asked for: to declare the flags of all of
// them, some of which have a hundred, costs more than to run one.
type entry struct {
	name string
	make func(*session.Session) *cobra.Command
}

// commands names every command, in the words of docker.
func commands(b system.Build) []entry {
	build := outside("build", "Build an image from a Dockerfile", "berth-build", "build")
	list := func(name string, aliases ...string) func(*session.Session) *cobra.Command {
		return func(s *session.Session) *cobra.Command { return container.NewList(s, name, aliases...) }
	}
	images := func(name string, aliases ...string) func(*session.Session) *cobra.Command {
		return func(s *session.Session) *cobra.Command { return image.NewList(s, name, aliases...) }
	}
	removeImage := func(name string, aliases ...string) func(*session.Session) *cobra.Command {
		return func(s *session.Session) *cobra.Command { return image.NewRemove(s, name, aliases...) }
	}
	info := func(s *session.Session) *cobra.Command { return system.NewInfo(s, b) }
	version := func(s *session.Session) *cobra.Command { return system.NewVersion(s, b) }
	return []entry{
		{"commit", files.NewCommit}, {"cp", files.NewCopy}, {"diff", files.NewDiff}, {"export", files.NewExport},
		{"attach", container.NewAttach}, {"create", container.NewCreate}, {"exec", container.NewExec}, {"kill", container.NewKill},
		{"logs", container.NewLogs}, {"pause", container.NewPause}, {"port", container.NewPort}, {"ps", list("ps")},
		{"rename", container.NewRename}, {"restart", container.NewRestart}, {"rm", container.NewRemove}, {"run", container.NewRun},
		{"start", container.NewStart}, {"stats", stats.New}, {"stop", container.NewStop}, {"top", container.NewTop},
		{"unpause", container.NewUnpause}, {"update", container.NewUpdate}, {"wait", container.NewWait},
		{"images", images("images")}, {"history", image.NewHistory}, {"import", image.NewImport}, {"load", image.NewLoad},
		{"pull", image.NewPull}, {"push", image.NewPush}, {"rmi", removeImage("rmi")}, {"save", image.NewSave}, {"tag", image.NewTag},
		{"login", registry.NewLogin}, {"logout", registry.NewLogout},
		{"events", system.NewEvents}, {"info", info}, {"inspect", system.NewInspect}, {"version", version},
		{"container", group("container", "Manage containers",
			files.NewCommit, files.NewCopy, files.NewDiff, files.NewExport,
			container.NewAttach, container.NewCreate, container.NewExec, container.NewInspect, container.NewKill, container.NewLogs,
			list("ls", "ps", "list"), container.NewPause, container.NewPort, container.NewPrune, container.NewRename,
			container.NewRestart, container.NewRemove, container.NewRun, container.NewStart, stats.New, container.NewStop,
			container.NewTop, container.NewUnpause, container.NewUpdate, container.NewWait)},
		{"image", group("image", "Manage images",
			build, image.NewHistory, image.NewImport, image.NewInspect, image.NewLoad, images("ls", "list"), image.NewPrune,
			image.NewPull, image.NewPush, removeImage("rm", "remove"), image.NewSave, image.NewTag)},
		{"builder", group("builder", "Manage builds", build, system.NewBuilderPrune)},
		{"network", network.New}, {"volume", volume.New},
		{"system", func(s *session.Session) *cobra.Command { return system.New(s, b) }},
		{"context", contexts.New},
		{"build", build},
		{"buildx", outside("buildx", "Build with BuildKit", "berth-build")},
		{"compose", outside("compose", "Define and run multi-container applications", "berth-compose")},
	}
}

func group(name, short string, makers ...func(*session.Session) *cobra.Command) func(*session.Session) *cobra.Command {
	return func(s *session.Session) *cobra.Command {
		g := session.Group(name, short)
		for _, m := range makers {
			g.AddCommand(m(s))
		}
		return g
	}
}

// addCommands makes the command that the arguments begin with, or all of them when they name none (help, completion, a
// typing error).
func addCommands(root *cobra.Command, s *session.Session, o Options) {
	all := commands(system.Build{Version: o.Version, Commit: o.Commit, Built: o.Built})
	first := firstWord(root.Flags(), o.Args)
	for _, e := range all {
		if e.name == first {
			all = []entry{e}
			break
		}
	}
	for _, e := range all {
		root.AddCommand(e.make(s))
	}
	finish(root)
}

// firstWord is the first argument that is neither a flag in front nor the value of one.
func firstWord(flags *pflag.FlagSet, args []string) string {
	for i := 0; i < len(args); i++ {
		word := args[i]
		if len(word) < 2 || word[0] != '-' {
			return word
		}
		if strings.Contains(word, "=") {
			continue
		}
		var f *pflag.Flag
		if long, isLong := strings.CutPrefix(word, "--"); isLong {
			f = flags.Lookup(long)
		} else {
			// Of letters in a row only the last can have its value in the next word.
			f = flags.ShorthandLookup(word[len(word)-1:])
			if first := flags.ShorthandLookup(word[1:2]); first != nil && first.NoOptDefVal == "" && len(word) > 2 {
				continue
			}
		}
		if f != nil && f.NoOptDefVal == "" {
			i++
		}
	}
	return ""
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
func outside(name, short, program string, words ...string) func(*session.Session) *cobra.Command {
	return func(s *session.Session) *cobra.Command {
		return &cobra.Command{
			Use:                name + " [OPTIONS] …",
			Short:              short,
			DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error {
				return become(s, program, append(words, args...))
			},
		}
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
