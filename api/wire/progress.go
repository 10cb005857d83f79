package wire

import (
	"encoding/json"
	"errors"

	"github.com/moby/moby/api/types/jsonstream"

	"github.com/berth-engine/berth/core"
)

// progressLine is jsonstream.Message with the error a second time, as a plain string that scripts look for.
type progressLine struct {
	jsonstream.Message
	ErrorText string `json:"error,omitempty"`
}

// Progress shows one step of a pull, push, load, import or build.
func Progress(p core.Progress) (any, error) {
	if p.Error != nil {
		return ProgressError(p.Error), nil
	}
	line := jsonstream.Message{Stream: p.Stream, Status: p.Status, ID: p.ID}
	if p.Status != "" && (p.ID != "" || p.Current != 0 || p.Total != 0) {
		line.Progress = &jsonstream.Progress{Current: p.Current, Total: p.Total}
	}
	if p.Aux != nil {
		aux, err := json.Marshal(p.Aux)
		if err != nil {
			return nil, err
		}
		raw := json.RawMessage(aux)
		line.Aux = &raw
		if p.AuxID != "" {
			line.ID = p.AuxID
		}
	}
	return line, nil
}

// ProgressError is the line that ends a stream of progress with an error. An error that has an exit code (a step of a
// build) hands it on: the docker CLI ends with it.
func ProgressError(err error) any {
	failed := &jsonstream.Error{Message: err.Error()}
	if step, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		failed.Code = step.ExitCode()
	}
	return progressLine{Message: jsonstream.Message{Error: failed}, ErrorText: err.Error()}
}
