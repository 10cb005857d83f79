package define

import (
	"github.com/moby/term"

	"github.com/berth-engine/berth/core"
)

// DetachKeys reads what the user writes ("ctrl-p,ctrl-q"); nothing means Docker's default.
func DetachKeys(s string) ([]byte, error) {
	if s == "" {
		return []byte{16, 17}, nil
	}
	keys, err := term.ToBytes(s)
	if err != nil {
		return nil, core.Invalid("invalid detach keys (%s) provided", s)
	}
	return keys, nil
}
