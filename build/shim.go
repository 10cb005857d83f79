package build

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Bundle is a build step that is ready to run: an OCI bundle whose root file system is mounted, and its streams.
type Bundle struct {
	ID  string
	Dir string // holds config.json
	// Cache is a folder where compiled seccomp programs are kept from step to step.
	Cache string
	// Stdin, Stdout and Stderr are connected to the process; nil is /dev/null.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Signals        <-chan syscall.Signal // to pass on to the process; may be nil
	Started        func()                // is called once, when the process runs
}

// ExitError is how a step ended that did not end with 0.
type ExitError struct {
	Code        int
	OutOfMemory bool // the kernel killed it for that
}

func (e *ExitError) Error() string { return fmt.Sprintf("exit code: %d", e.Code) }

// stepReport is what "berth-shim run" writes to descriptor 3, one line of JSON each.
type stepReport struct {
	Started     bool   `json:"started,omitempty"`
	Exited      bool   `json:"exited,omitempty"`
	Code        int    `json:"code,omitempty"`
	OutOfMemory bool   `json:"outOfMemory,omitempty"`
	Error       string `json:"error,omitempty"` // it never ran, or nobody knows how it ended
}

// patience is how long a shim that was told to end may take before it is killed.
const patience = 10 * time.Second

// Shim gives a Run for Options that runs each step with "berth-shim run BUNDLE ID CACHE". path is that of berth-shim.
//
// The process's streams are the shim's own. Descriptor 3 carries reports to us, descriptor 4 signals from us, one number
// a line; its end, by our will or by our death, makes the shim kill the step and remove its cgroup.
func Shim(path string) func(ctx context.Context, bundle Bundle) error {
	return func(ctx context.Context, bundle Bundle) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return runShim(ctx, path, bundle)
	}
}

func runShim(ctx context.Context, path string, bundle Bundle) error {
	reports, reportEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reports.Close()
	controlEnd, control, err := os.Pipe()
	if err != nil {
		return errors.Join(err, reportEnd.Close())
	}
	defer control.Close()
	command := exec.Command(path, "run", bundle.Dir, bundle.ID, bundle.Cache)
	command.Dir = bundle.Dir
	command.Stdin, command.Stdout, command.Stderr = bundle.Stdin, bundle.Stdout, bundle.Stderr
	command.ExtraFiles = []*os.File{reportEnd, controlEnd}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at our terminal is not the step's
	command.WaitDelay = patience
	err = command.Start()
	err = errors.Join(err, reportEnd.Close(), controlEnd.Close())
	if err != nil {
		return fmt.Errorf("start berth-shim: %w", err)
	}
	done := make(chan struct{})
	go pass(ctx, command.Process, control, bundle.Signals, done)
	last, readErr := follow(reports, bundle.Started)
	waitErr := command.Wait()
	close(done)
	switch {
	case last.Error != "":
		return errors.New(last.Error)
	case last.Exited && last.Code == 0:
		return nil
	case last.Exited:
		return &ExitError{Code: last.Code, OutOfMemory: last.OutOfMemory}
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return errors.Join(errors.New("berth-shim ended without a word about the build step"), readErr, waitErr)
}

// pass hands signals on until the shim is done. When the build is cancelled it closes the shim's control pipe, which
// ends the step, and kills a shim that does not obey.
func pass(ctx context.Context, shim *os.Process, control *os.File, signals <-chan syscall.Signal, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case signal, ok := <-signals:
			if !ok {
				signals = nil
				continue
			}
			if _, err := fmt.Fprintf(control, "%d\n", signal); err != nil {
				return // the shim is gone; Wait tells how
			}
		case <-ctx.Done():
			if control.Close() != nil {
				return
			}
			select {
			case <-done:
			case <-time.After(patience):
				if err := shim.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					return
				}
			}
			return
		}
	}
}

// follow reads reports to the end and gives the last one.
func follow(reports io.Reader, started func()) (last stepReport, err error) {
	lines := bufio.NewScanner(reports)
	for lines.Scan() {
		var report stepReport
		if err := json.Unmarshal(lines.Bytes(), &report); err != nil {
			return last, fmt.Errorf("berth-shim reported %q: %w", strings.TrimSpace(lines.Text()), err)
		}
		if report.Started && started != nil {
			started()
		}
		last = report
	}
	return last, lines.Err()
}

// reader and writer turn BuildKit's optional streams into true nils, which os/exec connects with /dev/null.
func reader(r io.ReadCloser) io.Reader {
	if r == nil {
		return nil
	}
	return r
}

func writer(w io.WriteCloser) io.Writer {
	if w == nil {
		return nil
	}
	return w
}
