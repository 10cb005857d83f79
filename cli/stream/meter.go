package stream

import (
	"io"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
)

// Metered shows on a terminal how much has been read of r; total is 0 when it is not known. In a pipe it shows nothing.
func Metered(r io.Reader, out *Out, id, status string, total int64) io.Reader {
	if !out.IsTerminal() {
		return r
	}
	return &metered{r: r, total: total, board: &board{out: out, lines: map[string]int{}, start: map[string]time.Time{}}, message: jsonstream.Message{ID: id, Status: status}}
}

type metered struct {
	r       io.Reader
	board   *board
	message jsonstream.Message
	total   int64
	done    int64
	shown   time.Time
}

// Read reads and, ten times a second and at the end, shows how much it was.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.done += int64(n)
	if err == nil && time.Since(m.shown) < 100*time.Millisecond {
		return n, nil
	}
	m.shown = time.Now()
	m.message.Progress = &jsonstream.Progress{Current: m.done, Total: m.total}
	if showing := m.board.show(m.message); showing != nil && err == nil {
		err = showing
	}
	return n, err
}
