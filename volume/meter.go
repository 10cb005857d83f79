package volume

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/docker/go-units"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/linux/tree"
)

// period is how often progress is told.
const period = 100 * time.Millisecond

// meter tells how far a copy is.
type meter struct {
	id, what string // what is copied, as the user called it, and what for: "Clone"
	progress core.ProgressFunc

	how   tree.Copying
	total int64
	done  int64
	told  time.Time
}

// begin measures what there is to do.
func (m *meter) begin(ctx context.Context, from *os.File) (err error) {
	if m.progress == nil {
		return nil
	}
	m.progress(core.Progress{ID: m.id, Status: "Copying"})
	m.total, err = folderSize(ctx, tree.ProcPath(int(from.Fd()), "."))
	return err
}

// count is told of each piece. Calls come from one goroutine.
func (m *meter) count(bytes int64) {
	m.done += bytes
	if m.progress == nil || time.Since(m.told) < period {
		return
	}
	m.told = time.Now()
	m.progress(core.Progress{ID: m.id, Status: "Copying", Current: m.done, Total: max(m.total, m.done)})
}

// end says what was done.
func (m *meter) end() {
	if m.progress == nil {
		return
	}
	shared := ""
	if m.how.Shared > 0 {
		shared = ", " + units.HumanSize(float64(m.how.Shared)) + " of it shared"
	}
	m.progress(core.Progress{ID: m.id, Status: fmt.Sprintf("%s complete: %d files, %s%s", m.what, m.how.Files, units.HumanSize(float64(m.how.Bytes)), shared)})
}
