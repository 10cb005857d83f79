package runtime

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-engine/berth/core"
)

// BenchmarkOutput measures lines of 100 bytes on their way to the log, to a client, and to both.
func BenchmarkOutput(b *testing.B) {
	const size = 100 << 20
	dir := b.TempDir()
	must(b, os.WriteFile(filepath.Join(dir, "lines"), []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", size/100)), 0o644))
	for name, way := range map[string]struct{ log, client bool }{
		"log": {true, false}, "client": {false, true}, "both": {true, true}, "nobody": {false, false},
	} {
		b.Run(name, func(b *testing.B) {
			bb := newBench(b, 1)
			b.SetBytes(size)
			for b.Loop() {
				l := bb.container("cat", "/data/lines")
				l.Mounts = []core.FSMount{{Type: "bind", Source: dir, Target: "/data", Options: []string{"rbind", "ro"}}}
				if way.log {
					logTo(&l, filepath.Join(b.TempDir(), "log"))
				}
				if way.client {
					client := bb.attach(l, core.Streams{Stdout: true, Stderr: true, Framed: true})
					go func() { _, _ = io.Copy(io.Discard, client) }()
				}
				_, err := bb.Start(context.Background(), l)
				must(b, err)
				bb.exit()
				must(b, bb.Delete(context.Background(), l.Container.ID))
			}
		})
	}
}

// TestShimsAreSmall prints what a shim weighs right after a start; it fails when one has grown out of all proportion.
func TestShimsAreSmall(t *testing.T) {
	b := newBench(t, 1)
	l := b.container("sleep", "1000")
	b.start(l)
	pid := b.box(l.Container.ID, false).link.shim.pid
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	must(t, err)
	for line := range strings.Lines(string(data)) {
		for _, field := range []string{"Pss:", "Private_Dirty:", "Rss:"} {
			var kb int
			if strings.HasPrefix(line, field) {
				if _, err := fmt.Sscanf(line, field+" %d kB", &kb); err != nil {
					t.Error(err)
				}
				t.Logf("%s %d kB", field, kb)
				if kb > 30_000 {
					t.Errorf("%s %d kB", field, kb)
				}
			}
		}
	}
}
