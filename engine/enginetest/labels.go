package enginetest

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/berth-engine/berth/core"
)

// Labels gives out "process-1" and "files-1", and so on; Options are those of each.
type Labels struct {
	*Calls
	Options [][]string
	// Off is a host without SELinux.
	Off bool
}

// Allot notes the options.
func (l *Labels) Allot(options []string) (process, files string, err error) {
	if l.Off {
		return "", "", nil
	}
	if slices.Contains(options, "bad") {
		return "", "", core.Invalid("bad label option")
	}
	l.Options = append(l.Options, options)
	if slices.Contains(options, "disable") {
		return "", "files-disabled", nil
	}
	return fmt.Sprintf("process-%d", len(l.Options)), fmt.Sprintf("files-%d", len(l.Options)), nil
}

// Like is one option that names the label.
func (l *Labels) Like(process string) ([]string, error) {
	if process == "" {
		return nil, nil
	}
	return []string{"like:" + process}, nil
}

// Keep is noted.
func (l *Labels) Keep(process string) error { return l.Note("label keep", process) }

// Release is noted.
func (l *Labels) Release(process string) { _ = l.Note("label release", process) }

// Relabel is noted where there is a label.
func (l *Labels) Relabel(path, files string, shared bool) error {
	if files == "" {
		return nil
	}
	return l.Note("label files", filepath.Base(path), files, fmt.Sprintf("shared=%t", shared))
}
