package runtime

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-engine/berth/core"
)

// Processes runs ps(1) with arguments on the host and keeps the rows of the container's processes.
func (r *Runtime) Processes(ctx context.Context, id core.ContainerID, psArgs []string) ([]string, [][]string, error) {
	for _, arg := range psArgs {
		if strings.HasPrefix(arg, "--pid") || slices.Contains([]string{"-p", "p", "-q", "q"}, arg) {
			return nil, nil, core.Invalid("invalid ps argument %q: the processes are those of the container", arg)
		}
	}
	pids, err := r.PIDs(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	out, err := exec.CommandContext(ctx, "ps", psArgs...).Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			return nil, nil, core.Invalid("ps: %s", strings.TrimSpace(string(failed.Stderr)))
		}
		return nil, nil, core.Internal("run ps: %w", err)
	}
	return psRows(string(out), pids)
}

// psRows keeps the header and the rows whose PID is one of those given.
func psRows(out string, pids []int) (titles []string, rows [][]string, err error) {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	titles = strings.Fields(lines[0])
	at := slices.Index(titles, "PID")
	if at < 0 {
		return nil, nil, core.Invalid("Couldn't find PID field in ps output")
	}
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) <= at {
			continue
		}
		pid, err := strconv.Atoi(fields[at])
		if err != nil || !slices.Contains(pids, pid) {
			continue
		}
		if len(fields) > len(titles) { // the last column is the command, with spaces
			fields = append(fields[:len(titles)-1], strings.Join(fields[len(titles)-1:], " "))
		}
		rows = append(rows, fields)
	}
	return titles, rows, nil
}
