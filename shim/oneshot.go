//go:build cgo

package shim

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/berth-engine/berth/linux/cgroup"
	"github.com/berth-engine/berth/shim/filter"
	"github.com/berth-engine/berth/shim/limits"
)

// Descriptors of a shim that runs one bundle. What it reports and obeys is described at build.Shim.
const (
	stepReportFD  = 3
	stepControlFD = 4
)

// stepReport is a line of the report.
type stepReport struct {
	Started     bool   `json:"started,omitempty"`
	Exited      bool   `json:"exited,omitempty"`
	Code        int    `json:"code,omitempty"`
	OutOfMemory bool   `json:"outOfMemory,omitempty"`
	Error       string `json:"error,omitempty"`
}

// RunBundle runs an OCI bundle whose root file system is mounted, a step of a build, and ends with it: the whole life of
// "berth-shim run BUNDLE ID CACHE". The process has the shim's own standard streams. cache keeps compiled seccomp
// programs; empty: none are kept. The value is the shim's exit status; how the process ended is in the report.
func RunBundle(bundle, id, cache string) int {
	unix.CloseOnExec(stepReportFD)
	unix.CloseOnExec(stepControlFD)
	reports := os.NewFile(stepReportFD, "report")
	control := os.NewFile(stepControlFD, "control")
	tell := func(r stepReport) error {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = reports.Write(append(line, '\n'))
		return err
	}
	last, err := runStep(bundle, id, cache, control, func() error { return tell(stepReport{Started: true}) })
	if err != nil {
		last = stepReport{Error: err.Error()}
	}
	if err := tell(last); err != nil {
		fmt.Fprintln(os.Stderr, "berth-shim: report the end of a build step:", err)
		return 1
	}
	return 0
}

// runStep starts the process, waits for its end and takes everything apart.
func runStep(bundle, id, cache string, control *os.File, started func() error) (last stepReport, err error) {
	spec, err := readBundle(bundle)
	if err != nil {
		return last, err
	}
	if err := os.Chdir(bundle); err != nil { // specconv takes the bundle to be where we are
		return last, err
	}
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: id, Spec: spec})
	if err != nil {
		return last, err
	}
	if config.Rlimits, err = limits.Rlimits(spec.Process.Rlimits); err != nil {
		return last, err
	}
	process := newProcess("", spec.Process, true).lib
	process.Stdin, process.Stdout, process.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := stepFilter(process, config.Seccomp, cache); err != nil {
		return last, err
	}
	lib, err := libcontainer.Create(filepath.Join(bundle, "runc"), id, config)
	if err != nil {
		return last, err
	}
	defer func() { err = errors.Join(err, ignoreGone(lib.Destroy())) }()
	if err := lib.Run(process); err != nil {
		return last, err
	}
	if err := started(); err != nil {
		// Nobody listens: the daemon is gone, and with it the build.
		return last, errors.Join(err, lib.Signal(unix.SIGKILL), waitStep(process, &last))
	}
	go obey(control, lib)
	if err := waitStep(process, &last); err != nil {
		return last, err
	}
	if state, stateErr := lib.State(); stateErr == nil {
		if kills, killsErr := cgroup.OOMKills(state.CgroupPaths); killsErr == nil {
			last.OutOfMemory = kills > 0
		}
	}
	return last, nil
}

func readBundle(bundle string) (*specs.Spec, error) {
	data, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		return nil, err
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(bundle, "config.json"), err)
	}
	if spec.Process == nil || spec.Root == nil || spec.Linux == nil {
		return nil, fmt.Errorf("%s lacks process, root or linux", filepath.Join(bundle, "config.json"))
	}
	return &spec, nil
}

// stepFilter hands the compiled seccomp program to the process's init.
func stepFilter(process *libcontainer.Process, profile *configs.Seccomp, cache string) error {
	if profile == nil {
		return nil
	}
	file, err := new(filter.Filters).Get(profile, cache)
	if err != nil {
		return err
	}
	process.ExtraFiles = []*os.File{file}
	return nil
}

// waitStep waits for the process and notes how it ended.
func waitStep(process *libcontainer.Process, last *stepReport) error {
	state, err := process.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	if failed != nil {
		state = failed.ProcessState
	}
	last.Exited = true
	status, ok := state.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		last.Code = 128 + int(status.Signal())
	default:
		last.Code = state.ExitCode()
	}
	return nil
}

// obey passes signals on. At the end of the pipe, which the daemon closes or leaves behind, the step is killed.
func obey(control *os.File, lib *libcontainer.Container) {
	lines := bufio.NewScanner(control)
	for lines.Scan() {
		number, err := strconv.Atoi(lines.Text())
		if err != nil {
			break
		}
		signalStep(lib, syscall.Signal(number))
	}
	signalStep(lib, unix.SIGKILL)
}

// signalStep signals the process, if it still runs.
func signalStep(lib *libcontainer.Container, signal syscall.Signal) {
	err := lib.Signal(signal)
	if err == nil || errors.Is(err, os.ErrProcessDone) || errors.Is(err, libcontainer.ErrNotRunning) || errors.Is(err, unix.ESRCH) {
		return
	}
	fmt.Fprintln(os.Stderr, "berth-shim: signal a build step:", err)
}
