package build

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"

	"github.com/berth-engine/berth/core"
)

// StepError is a RUN whose process failed. Its code is for the client, which exits with it.
type StepError struct {
	Command string
	Code    int
	cause   error
}

// Error is Docker's sentence.
func (e *StepError) Error() string {
	return fmt.Sprintf("The command '%s' returned a non-zero code: %d", e.Command, e.Code)
}

// Unwrap gives what BuildKit said.
func (e *StepError) Unwrap() error { return e.cause }

// ExitCode is that of the process.
func (e *StepError) ExitCode() int { return e.Code }

var (
	processPattern = regexp.MustCompile(`process ("(?:[^"\\]|\\.)*") did not complete successfully`)
	missingPattern = regexp.MustCompile(`failed to calculate checksum of ref .*: "/?([^"]*)": not found$`)
)

// explain says what went wrong in Docker's words where it has them, and else in BuildKit's, with the line of the
// Dockerfile.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return core.Internal("Build cancelled")
	}
	text := err.Error()
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) && exit.ExitCode != uint32(gatewaypb.UnknownExitStatus) {
		if found := processPattern.FindStringSubmatch(text); found != nil {
			if command, unquoteErr := strconv.Unquote(found[1]); unquoteErr == nil {
				return &StepError{Command: command, Code: int(exit.ExitCode), cause: err}
			}
		}
	}
	file, line := where(err)
	if found := missingPattern.FindStringSubmatch(text); found != nil {
		text = fmt.Sprintf("COPY failed: file not found in build context or excluded by .dockerignore: stat %s: file does not exist", found[1])
	}
	if line == 0 || strings.Contains(text, fmt.Sprintf("line %d", line)) {
		return core.Internal("%s", text)
	}
	return core.Internal("%s (%s, line %d)", text, filepath.Base(file), line)
}

// where finds the place in the Dockerfile that an error is about; the line is 0 when it is about none.
func where(err error) (file string, line int) {
	for _, source := range errdefs.Sources(err) {
		if source.Info == nil || len(source.Ranges) == 0 || source.Ranges[0].Start == nil {
			continue
		}
		return source.Info.Filename, int(source.Ranges[0].Start.Line)
	}
	return "", 0
}
