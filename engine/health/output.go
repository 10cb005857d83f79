package health

import (
	"bytes"
	"io"
)

// maxOutput is how many bytes of a check's output are kept.
const maxOutput = 4096

// Head reads all of a check's output and keeps the beginning.
func Head(r io.Reader) []byte {
	var kept bytes.Buffer
	if _, err := io.CopyN(&kept, r, maxOutput); err == nil {
		_, _ = io.Copy(io.Discard, r) // the rest is not kept; an error is the end of the stream
	}
	return kept.Bytes()
}
